"""The eyes of the checks: around each engine, at each disk, at each frame that leaves.

Production code has no hook for the simulator: an engine is observed by making it through a row whose factory wraps it,
a disk by reading the records out of the batches that are written to it, messages by looking at frames as they leave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ratified.check.forwards import Forwards
from ratified.check.protocols import PROTOCOLS
from ratified.check.violation import Violation
from ratified.consensus.contract import (
    Durable,
    Engine,
    Era,
    Membership,
    Options,
    Proposal,
    Ready,
    Record,
    Refused,
    StateRecord,
    Status,
    Taken,
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


class ObservedEngine:
    """An engine that shows its Readys, barriers and proposals to the checks before its replica sees them."""

    def __init__(self, engine: Engine, member: int, group: int, observer: Observer) -> None:
        self._engine = engine
        self._member = member
        self._group = group
        self._observer = observer
        self._checks = observer.groups[group]
        # What nobody looks at goes straight through.
        self.tick = engine.tick
        self.step = engine.step
        self.peer = engine.peer
        self.persisted = engine.persisted
        self.applied = engine.applied
        self.fetched = engine.fetched
        self.campaign = engine.campaign
        self.propose_membership = engine.propose_membership
        self.transfer_leadership = engine.transfer_leadership
        self.lost = engine.lost

    @property
    def deadline(self) -> int | None:
        """The engine's."""
        return self._engine.deadline

    @property
    def leading(self) -> Era | None:
        """The engine's."""
        return self._engine.leading

    def status(self) -> Status:
        """The engine's."""
        return self._engine.status()

    def propose(self, now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        """The engine's answer; what it takes is noted."""
        answer = self._engine.propose(now, proposals)
        if isinstance(answer, Taken):
            self._checks.taken(proposals)
        return answer

    def read_barrier(self, now: int, token: int) -> None:
        """Note what was delivered anywhere by now: the answer may not be lower."""
        self._checks.barrier_fed(self._member, token)
        self._engine.read_barrier(now, token)

    def ready(self) -> Ready | None:
        """The engine's, after the checks have read it."""
        ready = self._engine.ready()
        if ready is not None:
            self._observer.ready(self._member, self._group, ready)
        return ready


class _Leaving:
    """What one process may send, and when: messages that wait for a write, and how far its writes must have come."""

    def __init__(self) -> None:
        self.records_asked = 0
        self.tickets: dict[int, int] = {0: 0}
        self.waiting: dict[int, tuple[Any, int]] = {}


class Observer:
    """All checks of one world, fed."""

    def __init__(self, engine: EngineRow, memberships: dict[int, Membership], counters: Counter[str]) -> None:
        make = PROTOCOLS[engine.name]
        self.groups = {group: make(group, membership, counters) for group, membership in memberships.items()}
        self.elected: Callable[[int], None] = lambda member: None
        """Called with every member that is elected."""
        self._row = engine
        self._forwards = {group: Forwards(group) for group in memberships}
        self._leaving: dict[tuple[int, int], _Leaving] = {}
        self._incarnations: dict[int, int] = {}
        self._ends: dict[tuple[int, int], int] = {}
        """By connection and member, the incarnation of the process at that end."""
        self._written_file: dict[int, str] = {}
        self._counters = counters

    # -----------------------------------------------------------------------------------------------------------
    # Engines

    def row(self, member: int, files: Files, *, killed: bool) -> EngineRow:
        """The engine's row for one start of a process on ``files``: its engines are observed.

        A node makes the engines of its groups in ascending order, after recovery has put its log in order.
        """
        groups = iter(sorted(self.groups))
        looked_at: list[bool] = []

        def engine(now: int, options: Options, durable: Durable) -> Engine:
            if not looked_at:
                looked_at.append(True)
                self._recovered(member, files, killed=killed)
            group = next(groups)
            last = max((run.last for run in durable.runs), default=durable.base.index)
            self.groups[group].started(member, durable.applied, durable.state, last)
            self._leaving[member, group] = _Leaving()
            return ObservedEngine(self._row.engine(now, options, durable), member, group, self)

        return EngineRow(self._row.name, engine, self._row.message, self._row.decode_state)

    def booted(self, member: int, incarnation: int) -> None:
        """The member's process runs: its peers know this start by its incarnation."""
        self._incarnations[member] = incarnation

    def ready(self, member: int, group: int, ready: Ready) -> None:
        """An engine gave this."""
        checks = self.groups[group]
        leaving = self._leaving[member, group]
        if ready.write is not None:
            checks.asked_to_write(member, ready.write.records)
            leaving.records_asked += len(ready.write.records)
            leaving.tickets[ready.write.ticket] = leaving.records_asked
        if ready.send_after:
            needed = leaving.tickets[ready.after]
            for send in ready.send_after:
                leaving.waiting[id(send.message)] = (send.message, needed)
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
            if not isinstance(message, self._row.message):
                continue
            disk = self.groups[group].members[member].disk
            leaving = self._leaving[member, group]
            waiting = leaving.waiting.get(id(message))
            if waiting is not None and disk.records < waiting[1]:
                raise Violation(
                    "nothing early",
                    f"group {group}: member {member} sends {message} before {waiting[1] - disk.records} records are "
                    "durable that it waits for",
                )
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
        # What has left cannot leave early any more.
        for group, checks in self.groups.items():
            leaving = self._leaving.get((member, group))
            if leaving is not None and leaving.waiting:
                records = checks.members[member].disk.records
                leaving.waiting = {key: waiting for key, waiting in leaving.waiting.items() if waiting[1] > records}

    def _recovered(self, member: int, files: Files, *, killed: bool) -> None:
        images = {group: checks.new_image() for group, checks in self.groups.items()}
        for name in files.names():
            if segment_number(name) is not None:
                for group, record in _records(files.read(name, 0, files.size(name)), 0):
                    images[group].take(record)
        for group, image in images.items():
            image.records = 0
            self.groups[group].recovered(member, image, killed=killed)

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
