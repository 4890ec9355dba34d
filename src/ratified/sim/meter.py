"""An observer that also counts: messages, frames and bytes as they leave the nodes, bytes as they reach the logs."""

from __future__ import annotations

from collections import Counter

import msgspec

from ratified.consensus.contract import Membership
from ratified.consensus.engines import EngineRow
from ratified.sim.checkers import Checkers
from ratified.storage.files import WriteAt
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import Batch, Frame


class Traffic(msgspec.Struct, frozen=True):
    """Counts; ``messages`` are the engine's own, ``wire_bytes`` those of whole frames."""

    messages: int = 0
    frames: int = 0
    wire_bytes: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.messages + other.messages, self.frames + other.frames, self.wire_bytes + other.wire_bytes)


class Meter(Checkers):
    """All checks of one world, and what passed before them."""

    def __init__(self, engine: EngineRow, memberships: dict[int, Membership], counters: Counter[str]) -> None:
        super().__init__(engine, memberships, counters)
        self.log_bytes = 0
        self._message = engine.message
        self._codec = PeerCodec(engine.message)
        self._links: dict[tuple[int, int], Traffic] = {}

    def reset(self) -> None:
        """Count from 0 again."""
        self.log_bytes = 0
        self._links = {}

    def total(self) -> Traffic:
        """Everything."""
        return sum(self._links.values(), Traffic())

    def of(self, member: int) -> Traffic:
        """What went to this member or came from it."""
        return sum((traffic for link, traffic in self._links.items() if member in link), Traffic())

    def leaves(self, member: int, connection: int, target: int, frame: Frame) -> None:
        """Check the frame, and count it."""
        super().leaves(member, connection, target, frame)
        messages = 0
        if isinstance(frame, Batch):
            messages = sum(isinstance(message, self._message) for _, message in frame.messages)
        link = (member, target)
        self._links[link] = self._links.get(link, Traffic()) + Traffic(messages, 1, len(self._codec.encode(frame)))

    def written(self, member: int, op: WriteAt) -> None:
        """Check what was written to a log, and count it."""
        super().written(member, op)
        self.log_bytes += len(op.data)
