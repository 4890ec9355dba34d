"""Where the checks look: in each replica, at each disk, at each frame that leaves.

A replica shows what passes between it and its engine; a disk is observed by reading the records out of the batches that
are written to it, messages by looking at frames as they leave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ratified.check.at_most_once import AtMostOnce
from ratified.check.barriers import BarrierIndexes
from ratified.check.digests import Digests
from ratified.check.early import Early
from ratified.check.forwards import Forwards
from ratified.check.group import GroupChecks
from ratified.check.oracle import Listeners, Oracle
from ratified.check.protocols import PROTOCOLS
from ratified.check.uncommitted import Uncommitted
from ratified.check.violation import Violation
from ratified.consensus.contract import (
    Base,
    BaseRecord,
    Durable,
    Entry,
    Membership,
    Proposal,
    Ready,
    Record,
    StateRecord,
)
from ratified.consensus.engines import EngineRow
from ratified.consensus.entry import decode_entry
from ratified.sim.limits import SystemLimits
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
from ratified.wire.codec import Assembly, MessageCodec
from ratified.wire.peer import Batch, Forward, ForwardAnswer, Fragment, Frame, SnapshotOver, SnapshotPiece

ORACLES: tuple[Callable[[GroupChecks[Any]], Oracle], ...] = (Early, BarrierIndexes, Forwards, Digests)
"""What judges every group, beside its own checks, its protocol's, and those that its clients feed."""

TURNS_A_TIMEOUT = 2
"""No turn takes longer than this part of an election timeout."""


class ObservedReplica:
    """One start of one replica, shown to the checks."""

    def __init__(self, member: int, group: GroupChecks[Any], work: Counter[int], counters: Counter[str]) -> None:
        self._member = member
        self._counters = counters
        self._work = work
        self._group = group
        self._listeners = group.listeners

    def taken(self, proposals: Sequence[Proposal]) -> None:
        self._counters["proposals taken"] += len(proposals)
        for taken in self._listeners.taken:
            taken(self._member, proposals)

    def barrier_fed(self, token: int) -> None:
        for barrier_fed in self._listeners.barrier_fed:
            barrier_fed(self._member, token)

    def ready(self, ready: Ready) -> None:
        self._work[self._member] += len(ready.deliver)
        self._group.ready(self._member, ready)

    def installed(self, base: Base) -> None:
        self._counters["snapshots installed"] += 1
        self._group.installed(self._member, base)

    def sent(self, member: int, message: object, ticket: int | None) -> None:
        for sent in self._listeners.sent:
            sent(self._member, member, message, ticket)


class Checkers:
    """All oracles of one world, fed: from each replica, each disk, and each frame that leaves."""

    def __init__(
        self, engine: EngineRow, memberships: dict[int, Membership], counters: Counter[str], joiners: Sequence[int] = ()
    ) -> None:
        row = PROTOCOLS[engine.name]
        self.groups: dict[int, GroupChecks[Any]] = {
            group: GroupChecks(group, membership, counters, row.shape(counters), joiners)
            for group, membership in memberships.items()
        }
        self.requests = {group: AtMostOnce(checks) for group, checks in self.groups.items()}
        self.uncommitted = {group: Uncommitted(checks) for group, checks in self.groups.items()}
        for group, checks in self.groups.items():
            checks.listeners = Listeners(
                [
                    row.checks(checks),
                    *(make(checks) for make in ORACLES),
                    self.requests[group],
                    self.uncommitted[group],
                ]
            )
        self.on_frame: Callable[[int, int, Frame], None] = lambda member, target, frame: None
        """Called with every frame that leaves: of whom, to whom."""
        self.on_write: Callable[[int], None] = lambda size_bytes: None
        """Called with the size of every write to a log."""
        self._message = engine.message
        self._incarnations: dict[int, int] = {}
        self._ends: dict[tuple[int, int], int] = {}
        """By connection and member, the incarnation of the process at that end."""
        self._written_file: dict[int, str] = {}
        self._work: Counter[int] = Counter()
        """Entries that a member has delivered in its present turn."""
        self._codec = MessageCodec(engine.message)
        self._assemblies: dict[tuple[str, int, int], Assembly] = {}
        """Of fragments, as they leave and as they arrive, by connection and member."""
        self._counters = counters

    # -----------------------------------------------------------------------------------------------------------
    # Processes

    def recovered(self, member: int, files: Files, *, killed: bool) -> None:
        """A process of the member's has put its log in order, and its replicas begin."""
        for group, image in self._images(files).items():
            self.groups[group].recovered(member, image, killed=killed)

    def replaced(self, member: int, files: Files) -> None:
        """An operator has put another data directory in the place of the member's."""
        for group, image in self._images(files).items():
            self.groups[group].replaced(member, image)

    def _images(self, files: Files) -> dict[int, Any]:
        """What is left of each group's log. Entries at or below its base may be missing already, so none counts."""
        images = {group: checks.shape.new_image() for group, checks in self.groups.items()}
        segments = [name for name in files.names() if segment_number(name) is not None]
        records = [each for name in segments for each in log_records(files.read(name, 0, files.size(name)), 0)]
        bases = {group: record for group, record in records if isinstance(record, BaseRecord)}
        for group, base in bases.items():
            images[group].take(base)
        for group, record in records:
            is_gone = isinstance(record, Entry) and record.index <= bases[group].base.index
            if not is_gone and not isinstance(record, BaseRecord):
                images[group].take(record)
        for image in images.values():
            image.records = 0
        return images

    def observe(self, member: int, group: int, durable: Durable) -> ObservedReplica:
        """A replica begins with what its log held."""
        self.groups[group].begins(member, durable)
        return ObservedReplica(member, self.groups[group], self._work, self._counters)

    def turn_ends(self, member: int, limits: SystemLimits) -> int:
        """How many entries the turn delivered. A turn may apply so many; a group that reaches that is not interrupted
        (rule 15 of the contract)."""
        applied = self._work.pop(member, 0)
        most = limits.node.apply_entries_max - 1 + limits.engine.deliver_entries_max
        if applied > most:
            raise Violation("work", f"member {member} applied {applied} entries in one turn; the limits admit {most}")
        return applied

    def turn_took(self, member: int, cost_us: int, election_timeout_us: int) -> None:
        """Whatever is asked of a node, its heartbeats are not late: a turn is far shorter than an election."""
        if cost_us * TURNS_A_TIMEOUT > election_timeout_us:
            raise Violation(
                "turn length",
                f"member {member} was busy for {cost_us} us in one turn; the election timeout is "
                f"{election_timeout_us} us, and no turn may take more than 1/{TURNS_A_TIMEOUT} of it",
            )

    def booted(self, member: int, incarnation: int) -> None:
        """The member's process runs: its peers know this start by its incarnation."""
        self._incarnations[member] = incarnation
        self._work.pop(member, None)

    def digest(self, member: int, group: int, applied: int, digest: bytes) -> None:
        for listener in self.groups[group].listeners.digest:
            listener(member, applied, digest)

    # -----------------------------------------------------------------------------------------------------------
    # Frames

    def connected(self, member: int, connection: int) -> None:
        """A connection has this member's present process at one of its ends."""
        self._ends[connection, member] = self._incarnations[member]

    def leaves(self, member: int, connection: int, target: int, frame: Frame) -> None:
        """The node hands this frame to the network."""
        self.on_frame(member, target, frame)
        for group, message in self._messages(("sent", connection, member), frame):
            if isinstance(message, Forward):
                for _, data, _ in message.proposals:
                    self._counters["forwards sent" if data is not None else "voids sent"] += 1
            elif isinstance(message, ForwardAnswer):
                self._counters["forwards refused" if message.index is None else "forwards taken"] += message.count
                incarnation = self._ends[connection, target]
                for place in range(message.count):
                    index = None if message.index is None else message.index + place
                    for answered in self.groups[group].listeners.forward_answered:
                        answered(member, message.era, target, incarnation, message.first + place, index)
            elif isinstance(message, SnapshotPiece):
                self._counters["snapshot pieces sent"] += 1
            elif isinstance(message, SnapshotOver):
                self._counters["snapshots given up"] += not message.ok
            elif isinstance(message, self._message):
                self._counters["heartbeats of rest"] += getattr(message, "rests", False)
                for leaves in self.groups[group].listeners.leaves:
                    leaves(member, target, message)

    def arrives(self, member: int, connection: int, frame: Frame) -> None:
        """The network hands this frame to the node."""
        for group, message in self._messages(("arrived", connection, member), frame):
            if isinstance(message, Forward):
                for number in range(message.first, message.first + len(message.proposals)):
                    for forward_arrives in self.groups[group].listeners.forward_arrives:
                        forward_arrives(member, message.era, message.origin, message.incarnation, number)

    def _messages(self, where: tuple[str, int, int], frame: Frame) -> Sequence[tuple[int, Any]]:
        """Those of a batch, and the one that a fragment completes."""
        if isinstance(frame, Batch):
            return frame.messages
        if not isinstance(frame, Fragment):
            return ()
        self._counters["fragments"] += where[0] == "sent"
        assembly = self._assemblies.get(where)
        if assembly is None:
            assembly = self._assemblies[where] = Assembly(self._codec)
        completed = assembly.add(frame)
        return () if completed is None else (completed,)

    # -----------------------------------------------------------------------------------------------------------
    # Disks

    def written(self, member: int, op: WriteAt) -> None:
        self.on_write(len(op.data))
        self._written_file[member] = op.file
        for group, record in log_records(op.data, 0):
            self.groups[group].written(member, record)

    def synced(self, member: int, file: str) -> None:
        if file != self._written_file.get(member):
            return
        for checks in self.groups.values():
            checks.synced(member)


def log_records(data: bytes, offset: int = 0) -> Iterator[tuple[int, Record]]:
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
