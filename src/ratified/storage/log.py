"""The log planner: what is to be written, in which order, and what is durable. It does no I/O.

1. All that waits is one batch, up to ``batch_bytes_max``; one batch is one write job. The next batch is planned only
   when the job of the one before was carried out: no byte of batch n + 1 is written before batch n is durable.
2. A job writes and syncs, in this order: where the segment is full, a new one under a temporary name, its renaming,
   the directory; then the batch; then fdatasync. Only its completion makes tickets durable.
3. After a rest, and at ``close``, a mark is written: an empty batch whose presence says that the one before it was
   durable, so that a later damage to that one cannot be taken for a torn write.
4. Reads go in jobs of their own, at any time. Jobs are carried out in the order in which they were given out, so a
   read finds whatever was planned before it.
   So do operations on files that are not the log's (``carry_out``).
5. A fetch is resolved when it is asked for: it answers the entries as they were then. Truncating them later does not
   reach a fetch under way (bytes of a segment are never written over); its asker knows its own truncations and
   drops what they made stale. What was truncated in an earlier plan cannot be asked for: that is an error of the
   caller, and raises.
6. A segment's first batch begins with its *head*: what all earlier batches say beside entries. So whatever segment is
   the oldest one that is left, the log can be read from there.
7. A segment goes when no group has an entry above its base in it or before it. First the bases are durable, then a
   ``cut`` record, then the files are removed, the oldest first, in a job of their own. A start looks at this anew: the
   process before may have been killed between the two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import google_crc32c
import msgspec

from ratified.consensus.contract import BaseRecord, Entry, Record, Size, Sizes, StateRecord, TruncateRecord
from ratified.storage.files import Create, Job, Op, Remove, Rename, SyncData, SyncDirectory, WriteAt
from ratified.storage.format import (
    NEW_SUFFIX,
    RECORD,
    SECTOR,
    BegunRecord,
    ClusterRecord,
    CutRecord,
    DropRecord,
    LogLimits,
    NodeRecord,
    NodesOwn,
    PeerRecord,
    RecordKind,
    encode_batch,
    encode_record,
    extent,
    place,
    segment_file,
)
from ratified.storage.index import GroupIndex, Location
from ratified.storage.recovery import Recovered
from ratified.storage.spans import Span, entries_in, spans

_SEGMENT_BYTES_LIMIT = 1 << 32
STARTS_KEPT = 64
"""How many starts of the node a head remembers."""
_ENTRY = int(RecordKind.ENTRY)
_RECORD = RECORD.pack


class Fetched(msgspec.Struct, frozen=True):
    """The answer to ``fetch``: a prefix of the range, at least one entry."""

    token: int
    group: int
    entries: Sequence[Entry]


class Aside(NamedTuple):
    """A job on files that are not the log's, which a group has given out, and what its operations gave."""

    group: int
    job: int
    results: Sequence[bytes | None]


class Completed(msgspec.Struct, frozen=True):
    """What a job's completion means."""

    persisted: Sequence[tuple[int, int]] = ()
    """(group, highest ticket that is durable now), one a group that had records in the batch."""
    fetched: Sequence[Fetched] = ()
    own: Sequence[NodesOwn] = ()
    """The node's own records that are durable now."""
    aside: Aside | None = None
    """What was carried out beside the log."""


_Written: TypeAlias = Record | DropRecord | CutRecord | NodesOwn


class _Waiting(NamedTuple):
    """Records that belong together; ``ticket`` 0: no group waits for them."""

    group: int
    ticket: int
    records: Sequence[_Written]


class _Batch(NamedTuple):
    """What one batch holds; ``placed`` are its records with their group and their body's offset in the payload."""

    payload: bytes
    placed: Sequence[tuple[int, _Written, int]]
    tickets: dict[int, int]
    own: Sequence[NodesOwn]
    kinds: Collection[type[_Written]] = ()
    """Of the records that are no entries."""


def _cut_of(batch: _Batch) -> int | None:
    """Before which segment nothing is needed, as the batch says."""
    if CutRecord not in batch.kinds:
        return None
    return max(record.segment for _, record, _ in batch.placed if isinstance(record, CutRecord))


class _Place(NamedTuple):
    """Where a batch goes: its first byte, its size, and the length of the segment's file."""

    segment: int
    offset: int
    size: int
    capacity: int


class _Writing(NamedTuple):
    """The batch whose job is under way."""

    job: int
    tickets: dict[int, int]
    own: Sequence[NodesOwn]
    rebased: bool
    """A group's base moved, or a group is gone, perhaps just before this start: segments may be of no use any more."""
    cut: int | None
    """What its ``cut`` record says; a later one may wait already."""


class _Head:
    """What the log says beside entries, as of the last batch that was planned: the next segment's head."""

    def __init__(self, recovered: Recovered) -> None:
        first = recovered.incarnation + 1 - max(len(recovered.starts), 1)
        starts = list(reversed(recovered.starts)) or [0]
        self._starts = [NodeRecord(first + at, recovered.directory, start) for at, start in enumerate(starts)]
        self._peers = dict(recovered.peers)
        self._begun = recovered.begun
        self._cluster = recovered.cluster
        self._bases = {number: group.base for number, group in recovered.groups.items()}
        self._states = {number: group.state for number, group in recovered.groups.items() if group.state}

    def take(self, group: int, record: _Written) -> None:
        """One more record that is no entry."""
        match record:
            case StateRecord(data):
                self._states[group] = data
            case BaseRecord(base):
                self._bases[group] = base
            case DropRecord():
                self._bases.pop(group, None)
                self._states.pop(group, None)
            case NodeRecord():
                self._starts = [*self._starts, record][-STARTS_KEPT:]
            case PeerRecord():
                self._peers[record.member] = record
            case BegunRecord():
                self._begun = True
            case ClusterRecord():
                self._cluster = record
            case _:
                pass

    def encode(self) -> bytes:
        own: list[NodesOwn] = [*self._starts, *(self._peers[member] for member in sorted(self._peers))]
        parts = [encode_record(0, record) for record in own]
        if self._begun:
            parts.append(encode_record(0, BegunRecord()))
        if self._cluster is not None:
            parts.append(encode_record(0, self._cluster))
        for group in sorted(self._bases):
            parts.append(encode_record(group, BaseRecord(self._bases[group])))
            if group in self._states:
                parts.append(encode_record(group, StateRecord(self._states[group])))
        return b"".join(parts)


class _Reading(NamedTuple):
    """A fetch whose job is under way."""

    token: int
    group: int
    spans: Sequence[Span]


class LogPlanner:
    """Plans one node's log, for all its groups."""

    def __init__(self, recovered: Recovered, limits: LogLimits) -> None:
        if limits.segment_bytes % SECTOR or not SECTOR <= limits.segment_bytes < _SEGMENT_BYTES_LIMIT:
            raise ValueError(
                f"segment_bytes is {limits.segment_bytes} and must be a multiple of {SECTOR} below "
                f"{_SEGMENT_BYTES_LIMIT}"
            )
        position = recovered.position
        self._head = _Head(recovered)
        self._older = dict(position.older)
        """Of each segment before the last one, ascending, how much of it is written."""
        self._first_cut = recovered.first_with_head
        self._cut: int | None = None
        """Everything before this segment can be removed now."""
        self._announced = min(self._older, default=position.segment)
        """The oldest segment, once what is announced is removed."""
        self._limits = limits
        self._indexes = {number: group.index for number, group in recovered.groups.items()}
        self._segment = position.segment
        self._offset = position.offset
        self._capacity = max(position.capacity, limits.segment_bytes)
        self._number = position.number
        self._crc = position.crc
        self._marked = position.marked
        self._durable_to = position.number
        self._waiting: deque[_Waiting] = deque()
        self._fetches: list[_Reading] = []
        self._writing: _Writing | None = None
        self._reading: dict[int, _Reading] = {}
        self._removing: int | None = None
        """The job that removes segments."""
        self._asides: list[Job] = []
        """Given out with the next plan."""
        self._aside: dict[int, int] = {}
        """Of the jobs on other files, whose each is."""
        self._resting_since: int | None = None
        self._closing = False
        self._last_job = 0
        self.written_bytes = 0
        """Since this start."""

    # -----------------------------------------------------------------------------------------------------------
    # What is asked for

    def append(self, group: int, ticket: int, records: Sequence[Record]) -> None:
        """Write these, in order, after everything appended before; tickets of a group ascend."""
        self._waiting.append(_Waiting(group, ticket, records))

    def append_own(self, record: NodesOwn) -> None:
        """Write a record of the node itself; ``Completed.own`` reports it durable."""
        self._waiting.append(_Waiting(0, 0, (record,)))

    def drop(self, group: int, ticket: int) -> None:
        """The group is gone with all that it had."""
        self._waiting.append(_Waiting(group, ticket, (DropRecord(),)))

    def fetch(self, token: int, group: int, first: int, last: int, bytes_max: int) -> None:
        """Read entries ``first`` to ``last``, or a prefix of at most ``bytes_max`` (of one entry at least).

        Raises ``ValueError`` where the log has no entry ``first``.
        """
        locations: list[Location] = []
        index = self._indexes.get(group)
        for number in range(first, last + 1):
            location = index.find(number) if index is not None else None
            if location is None:
                break
            bytes_max -= location.length
            if locations and bytes_max < 0:
                break
            locations.append(location)
        if not locations:
            raise ValueError(f"group {group} was asked for entry {first}, which its log does not have")
        self._fetches.append(_Reading(token, group, spans(locations, self._limits.read_gap_bytes_max)))

    def carry_out(self, group: int, ops: Sequence[Op]) -> int:
        """Carry out these on files that are not the log's, in a job of their own: its number, which
        ``Completed.aside`` names again."""
        job = self._job(ops)
        self._asides.append(job)
        self._aside[job.id] = group
        return job.id

    def close(self, now: int) -> None:
        """Write what waits, and a last mark; then ``idle`` stays true."""
        self._closing = True

    # -----------------------------------------------------------------------------------------------------------
    # What is under way

    @property
    def deadline(self) -> int | None:
        """When ``plan`` wants to be called for a mark; None: no mark is due."""
        if self._resting_since is None:
            return None
        return self._resting_since + self._limits.rest_before_mark_us

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is under way (and after ``close``, the last mark is durable)."""
        writing = self._waiting or self._writing is not None
        reading = self._fetches or self._reading
        busy = writing or reading or self._aside or self._cut is not None or self._removing is not None
        return not busy and (self._marked or not self._closing)

    @property
    def size_bytes(self) -> int:
        """How much of the log is written, for people: the space that lies ready in the last segment is left out."""
        return sum(self._older.values()) + self._offset

    def sizes(self) -> Sizes:
        """Segments and indexes follow the log's length, and are not among them."""
        return {
            "writes that wait for the log": Size(len(self._waiting) + (self._writing is not None)),
            "reads of the log": Size(len(self._fetches) + len(self._reading)),
            "jobs on other files": Size(len(self._aside)),
        }

    @property
    def position(self) -> tuple[int, int]:
        """Segment and offset behind everything that was planned."""
        return self._segment, self._offset

    def written_since(self, segment: int, offset: int) -> int:
        """How much of what is behind this position is there."""
        whole = sum(size for number, size in self._older.items() if number >= segment) + self._offset
        return whole - offset if segment in self._older or segment == self._segment else whole

    def plan(self, now: int) -> Sequence[Job]:
        """The jobs to carry out now, in this order and after all that were planned before."""
        jobs: list[Job] = []
        if self._may_write():
            if self._waiting:
                jobs.append(self._plan(self._take_waiting()))
            elif not self._marked:
                if self._mark_is_due(now):
                    jobs.append(self._plan(_Batch(b"", (), {}, ())))
                elif self._resting_since is None:
                    self._resting_since = now
        if self._cut is not None and self._removing is None:
            jobs.append(self._remove_before(self._cut))
            self._cut = None
        for reading in self._fetches:
            job = self._job([span.read for span in reading.spans])
            self._reading[job.id] = reading
            jobs.append(job)
        self._fetches.clear()
        jobs += self._asides
        self._asides.clear()
        return jobs

    def done(self, now: int, job: int, results: Sequence[bytes | None]) -> Completed:
        """The job was carried out without an error; raises ``LogDamaged`` where a read gave something else.

        A job that failed is never reported here: what it wrote may or may not be there, and the node stops.
        """
        writing = self._writing
        if writing is not None and writing.job == job:
            self._writing = None
            self._durable_to = self._number
            if not self._marked:
                self._resting_since = now
            self._cut_after(writing)
            return Completed(persisted=list(writing.tickets.items()), own=writing.own)
        if job == self._removing:
            self._removing = None
            return Completed()
        group = self._aside.pop(job, None)
        if group is not None:
            return Completed(aside=Aside(group, job, results))
        reading = self._reading.pop(job)
        entries: list[Entry] = []
        for span, data in zip(reading.spans, results, strict=True):
            assert data is not None, "a read has a result"
            entries += entries_in(span, data)
        return Completed(fetched=[Fetched(reading.token, reading.group, entries)])

    # -----------------------------------------------------------------------------------------------------------
    # Writing

    def _may_write(self) -> bool:
        """May the next batch be planned? Only when the one before is durable."""
        return self._writing is None

    def _mark_is_due(self, now: int) -> bool:
        deadline = self.deadline
        return self._closing or (deadline is not None and now >= deadline)

    def _plan(self, batch: _Batch) -> Job:
        """The job that writes this batch; one that holds nothing is a mark."""
        start = self._next_place(len(batch.payload))
        head = b""
        if not start.offset:
            head = self._head.encode()
            start = self._next_place(len(head) + len(batch.payload))
        self._note(batch.placed, start, len(head))
        return self._write(head, batch, start)

    def _take_waiting(self) -> _Batch:
        """Everything that waits, up to ``batch_bytes_max`` and at least one ticket's records."""
        parts: list[bytes] = []
        placed: list[tuple[int, _Written, int]] = []
        tickets: dict[int, int] = {}
        own: list[NodesOwn] = []
        kinds: set[type[_Written]] = set()
        size = 0
        waiting = self._waiting
        while waiting:
            group, ticket, records = waiting[0]
            unit: list[bytes] = []
            unit_kinds: list[type[_Written]] = []
            unit_placed: list[tuple[int, _Written, int]] = []
            end = size
            for record in records:
                if type(record) is Entry:
                    encoded = record.encoded
                    unit.append(_RECORD(_ENTRY, group, len(encoded)))
                    unit.append(encoded)
                    unit_placed.append((group, record, end + RECORD.size))
                    end += RECORD.size + len(encoded)
                else:
                    unit_kinds.append(type(record))
                    raw = encode_record(group, record)
                    unit.append(raw)
                    unit_placed.append((group, record, end + RECORD.size))
                    end += len(raw)
            if parts and end > self._limits.batch_bytes_max:
                break
            waiting.popleft()
            parts += unit
            placed += unit_placed
            size = end
            kinds.update(unit_kinds)
            if ticket:
                tickets[group] = ticket
            else:
                own += [record for record in records if isinstance(record, NodesOwn)]
        return _Batch(b"".join(parts), placed, tickets, own, kinds)

    def _next_place(self, length: int) -> _Place:
        """Where a batch with this much payload goes: behind the last one, or in a new segment."""
        size = extent(length)
        if self._offset + size <= self._capacity:
            return _Place(self._segment, self._offset, size, self._capacity)
        return _Place(self._segment + 1, 0, size, max(size + extent(0), self._limits.segment_bytes))

    def _note(self, placed: Sequence[tuple[int, _Written, int]], start: _Place, head_bytes: int) -> None:
        """Bring index and head up to the batch that is about to be written at ``start``, behind a head of that size."""
        indexes = self._indexes
        segment, offset = start.segment, start.offset
        crc_of = google_crc32c.value
        for group, record, at in placed:
            if type(record) is Entry:
                encoded = record.encoded
                indexes[group].put(
                    record.index, segment, offset + place(head_bytes + at), len(encoded), crc_of(encoded)
                )
                continue
            self._head.take(group, record)
            if type(record) is TruncateRecord:
                indexes[group].truncate(record.first)
            elif type(record) is BaseRecord:
                if group in indexes:
                    indexes[group].rebase(record.base.index)
                else:
                    indexes[group] = GroupIndex(record.base.index, self._limits.index_gap_entries_max)
            elif type(record) is DropRecord:
                indexes.pop(group, None)

    def _write(self, head: bytes, batch: _Batch, start: _Place) -> Job:
        number = self._number + 1
        payload = head + batch.payload if head else batch.payload
        data, crc = encode_batch(start.segment, number, self._durable_to, self._crc, payload)
        file = segment_file(start.segment)
        ops: list[Op] = []
        if start.segment != self._segment:
            ops += (Create(file + NEW_SUFFIX, start.capacity), Rename(file + NEW_SUFFIX, file), SyncDirectory())
            self._older[self._segment] = self._offset
        ops += (WriteAt(file, start.offset, data), SyncData(file))
        job = self._job(ops)
        self._segment, self._capacity = start.segment, start.capacity
        self._offset = start.offset + start.size
        self.written_bytes += start.size
        self._number, self._crc, self._marked = number, crc, not payload
        self._resting_since = None
        kinds = batch.kinds
        rebased = BaseRecord in kinds or DropRecord in kinds or NodeRecord in kinds
        self._writing = _Writing(job.id, batch.tickets, batch.own, rebased, _cut_of(batch))
        return job

    # -----------------------------------------------------------------------------------------------------------
    # Letting segments go

    def _cut_after(self, writing: _Writing) -> None:
        """This batch is durable: the next step of rule 7, where it was the one before."""
        if writing.cut is not None:
            self._cut = writing.cut
        if writing.rebased:
            needed = [index.oldest_segment for index in self._indexes.values()]
            oldest = min((each for each in needed if each is not None), default=self._segment)
            if oldest > self._announced and oldest >= self._first_cut:
                self._announced = oldest
                self._waiting.append(_Waiting(0, 0, (CutRecord(oldest),)))

    def _remove_before(self, segment: int) -> Job:
        gone = [number for number in self._older if number < segment]
        for number in gone:
            del self._older[number]
        job = self._job([*(Remove(segment_file(number)) for number in gone), SyncDirectory()])
        self._removing = job.id
        return job

    def _job(self, ops: Sequence[Op]) -> Job:
        self._last_job += 1
        return Job(self._last_job, ops)
