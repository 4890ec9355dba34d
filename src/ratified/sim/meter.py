"""Counts messages, frames and bytes as they leave the nodes, and bytes as they reach the logs."""

from __future__ import annotations

import msgspec

from ratified.sim.cluster import Cluster
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import Batch, Frame


class Traffic(msgspec.Struct, frozen=True):
    """Counts; ``messages`` are the engine's own, ``wire_bytes`` those of whole frames."""

    messages: int = 0
    frames: int = 0
    wire_bytes: int = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.messages + other.messages, self.frames + other.frames, self.wire_bytes + other.wire_bytes)


class Meter:
    """Counts what the members of one cluster send and write."""

    def __init__(self, cluster: Cluster) -> None:
        self.log_bytes = 0
        self._message = cluster.options.row.message
        self._codec = PeerCodec(self._message)
        self._links: dict[tuple[int, int], Traffic] = {}
        cluster.checkers.on_frame = self._count_frame
        cluster.checkers.on_write = self._count_write

    def reset(self) -> None:
        self.log_bytes = 0
        self._links = {}

    def total(self) -> Traffic:
        return sum(self._links.values(), Traffic())

    def of(self, member: int) -> Traffic:
        """What went to this member or came from it."""
        return sum((traffic for link, traffic in self._links.items() if member in link), Traffic())

    def _count_frame(self, member: int, target: int, frame: Frame) -> None:
        messages = 0
        if isinstance(frame, Batch):
            messages = sum(isinstance(message, self._message) for _, message in frame.messages)
        link = (member, target)
        self._links[link] = self._links.get(link, Traffic()) + Traffic(messages, 1, len(self._codec.encode(frame)))

    def _count_write(self, size_bytes: int) -> None:
        self.log_bytes += size_bytes
