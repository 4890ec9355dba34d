"""The eyes of the checks: in each replica, at each disk, at each frame that leaves.

A replica shows what passes between it and its engine; a disk is observed by reading the records out of the batches that
are written to it, messages by looking at frames as they leave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ratified.check.early import Early
from ratified.check.forwards import Forwards
from ratified.check.group import GroupChecks
from ratified.check.protocols import PROTOCOLS
from ratified.consensus.contract import (
    Durable,
    Membership,
    Proposal,
    Ready,
    Record,
    StateRecord,
)
from ratified.consensus.engines import EngineRow
from ratified.consensus.entry import decode_entry
from ratified.storage.files import Files, WriteAt
from ratified.storage.format import (
    RecordKind,
    decode_base,
    decode_truncate,
    extent,
    payload_of,
    read_header,
    records_of,
    segment_number,
)
from ratified.wire.peer import Batch, Forward, ForwardAnswer, Frame


class ReplicaTap:
    """One start of one replica, shown to the checks."""

    def __init__(self, member: int, checks: GroupChecks[Any], observer: Observer) -> None:
        self.early = Early(f"group {checks.group}: member {member}")
        self._member = member
        self._checks = checks
        self._disk = checks.members[member]
        self._observer = observer

    def taken(self, proposals: Sequence[Proposal]) -> None:
        self._checks.taken(proposals)

    def barrier_fed(self, token: int) -> None:
        self._checks.barrier_fed(self._member, token)

    def ready(self, ready: Ready) -> None:
        self.early.ready(ready)
        self._observer.ready(self._member, self._checks, ready)

    def leaves(self, member: int, message: object, ticket: int | None) -> None:
        self.early.let_go(member, message, ticket, self._disk.disk.records)


class Observer:
    """All checks of one world, fed."""

    def __init__(self, engine: EngineRow, memberships: dict[int, Membership], counters: Counter[str]) -> None:
        make = PROTOCOLS[engine.name]
        self.groups = {group: make(group, membership, counters) for group, membership in memberships.items()}
        self.elected: Callable[[int], None] = lambda member: None
        """Called with every member that is elected."""
        self._message = engine.message
        self._forwards = {group: Forwards(group) for group in memberships}
        self._taps: dict[tuple[int, int], ReplicaTap] = {}
        self._incarnations: dict[int, int] = {}
        self._ends: dict[tuple[int, int], int] = {}
        """By connection and member, the incarnation of the process at that end."""
        self._written_file: dict[int, str] = {}
        self._counters = counters

    # -----------------------------------------------------------------------------------------------------------
    # Engines

    def recovered(self, member: int, files: Files, *, killed: bool) -> None:
        """A process of the member's has put its log in order, and its replicas begin."""
        images = {group: checks.new_image() for group, checks in self.groups.items()}
        for name in files.names():
            if segment_number(name) is not None:
                for group, record in _records(files.read(name, 0, files.size(name)), 0):
                    images[group].take(record)
        for group, image in images.items():
            image.records = 0
            self.groups[group].recovered(member, image, killed=killed)

    def observe(self, member: int, group: int, durable: Durable) -> ReplicaTap:
        """A replica begins with what its log held."""
        last = max((run.last for run in durable.runs), default=durable.base.index)
        self.groups[group].started(member, durable.applied, durable.state, last)
        tap = self._taps[member, group] = ReplicaTap(member, self.groups[group], self)
        return tap

    def booted(self, member: int, incarnation: int) -> None:
        """The member's process runs: its peers know this start by its incarnation."""
        self._incarnations[member] = incarnation

    def ready(self, member: int, checks: GroupChecks[Any], ready: Ready) -> None:
        """An engine gave this."""
        if ready.write is not None:
            checks.asked_to_write(member, ready.write.records)
        if ready.leader is not None:
            checks.lead(member, ready.leader)
            if ready.leader.member == member and not ready.leader.serving:
                self.elected(member)
        if ready.deliver:
            checks.delivered(member, ready.deliver)
            self._counters["entries delivered"] += len(ready.deliver)
        if ready.reads:
            checks.barriers_answered(member, ready.reads)
        if ready.fetch:
            self._counters["fetches"] += len(ready.fetch)

    # -----------------------------------------------------------------------------------------------------------
    # Frames

    def connected(self, member: int, connection: int) -> None:
        """A connection has this member's present process at one of its ends."""
        self._ends[connection, member] = self._incarnations[member]

    def leaves(self, member: int, connection: int, target: int, frame: Frame) -> None:
        """The node hands this frame to the network."""
        if not isinstance(frame, Batch):
            return
        for group, message in frame.messages:
            if isinstance(message, Forward):
                self._counters["forwards sent" if message.data is not None else "voids sent"] += 1
                continue
            if isinstance(message, ForwardAnswer):
                self._counters["forwards refused" if message.index is None else "forwards taken"] += 1
                self._forwards[group].answered(
                    member, message.era, target, self._ends[connection, target], message.number, message.index
                )
                continue
            if not isinstance(message, self._message):
                continue
            self._taps[member, group].early.leaves(target, message)
            self.groups[group].leaves(member, target, message)

    def arrives(self, member: int, frame: Frame) -> None:
        """The network hands this frame to the node."""
        if not isinstance(frame, Batch):
            return
        for group, message in frame.messages:
            if isinstance(message, Forward):
                name = message.id
                self._forwards[group].arrived(member, message.era, name.origin, name.incarnation, message.number)

    # -----------------------------------------------------------------------------------------------------------
    # Disks

    def written(self, member: int, op: WriteAt) -> None:
        """Bytes were written to the member's log."""
        self._written_file[member] = op.file
        for group, record in _records(op.data, 0):
            self.groups[group].written(member, record)

    def synced(self, member: int, file: str) -> None:
        """A file of the member's was synced."""
        if file != self._written_file.get(member):
            return
        for checks in self.groups.values():
            checks.synced(member)

    def stopped(self, member: int) -> None:
        """The member's process is gone."""
        for checks in self.groups.values():
            checks.stopped(member)


def _records(data: bytes, offset: int) -> Iterator[tuple[int, Record]]:
    """Every record in the batches of ``data``, until there is no further batch."""
    while (header := read_header(data, offset)) is not None:
        end = offset + extent(header.length)
        for raw in records_of(payload_of(header, data[offset:end])):
            decode = _DECODERS.get(raw.kind)
            if decode is not None:
                yield raw.group, decode(raw.body)
        offset = end


_DECODERS: dict[RecordKind, Callable[[bytes], Record]] = {
    RecordKind.ENTRY: decode_entry,
    RecordKind.STATE: StateRecord,
    RecordKind.TRUNCATE: decode_truncate,
    RecordKind.BASE: decode_base,
}
