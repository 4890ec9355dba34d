"""The log planner: what is to be written, in which order, and what is durable. It does no I/O.

1. All that waits is one batch, up to ``batch_bytes_max``; one batch is one write job. The next batch is planned only
   when the job of the one before was carried out: no byte of batch n + 1 is written before batch n is durable.
2. A job writes and syncs, in this order: where the segment is full, a new one under a temporary name, its renaming,
   the directory; then the batch; then fdatasync. Only its completion makes tickets durable.
3. After a rest, and at ``close``, a mark is written: an empty batch whose presence says that the one before it was
   durable, so that a later damage to that one cannot be taken for a torn write.
4. Reads go in jobs of their own, at any time. Jobs are carried out in the order in which they were given out, so a
   read finds whatever was planned before it.
5. A fetch is resolved when it is asked for: it answers the entries as they were then. Truncating them later does not
   reach a fetch under way (bytes of a segment are never written over); its asker knows its own truncations and
   drops what they made stale. What was truncated in an earlier plan cannot be asked for: that is an error of the
   caller, and raises.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c
import msgspec

from ratified.consensus.contract import BaseRecord, Entry, Record, TruncateRecord
from ratified.storage.files import Create, Job, Op, Rename, SyncData, SyncDirectory, WriteAt
from ratified.storage.format import (
    NEW_SUFFIX,
    RECORD,
    SECTOR,
    DropRecord,
    LogLimits,
    NodesOwn,
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
_ENTRY = int(RecordKind.ENTRY)
_RECORD = RECORD.pack


class Fetched(msgspec.Struct, frozen=True):
    """The answer to ``fetch``: a prefix of the range, at least one entry."""

    token: int
    group: int
    entries: Sequence[Entry]


class Completed(msgspec.Struct, frozen=True):
    """What a job's completion means."""

    persisted: Sequence[tuple[int, int]] = ()
    """(group, highest ticket that is durable now), one a group that had records in the batch."""
    fetched: Sequence[Fetched] = ()
    own: Sequence[NodesOwn] = ()
    """The node's own records that are durable now."""


class _Waiting(NamedTuple):
    """Records that belong together; ``ticket`` 0: no group waits for them, they are the node's own."""

    group: int
    ticket: int
    records: Sequence[Record | DropRecord | NodesOwn]


class _Batch(NamedTuple):
    """What one batch holds; ``placed`` are its records with their group and their body's offset in the payload."""

    payload: bytes
    placed: Sequence[tuple[int, Record | DropRecord | NodesOwn, int]]
    tickets: dict[int, int]
    own: Sequence[NodesOwn]


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
        self._size_before = position.size_before
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
        self._resting_since: int | None = None
        self._closing = False
        self._last_job = 0

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
        busy = self._waiting or self._fetches or self._writing is not None or self._reading
        return not busy and (self._marked or not self._closing)

    @property
    def size_bytes(self) -> int:
        """How much of the log is written, for people: the space that lies ready in the last segment is left out."""
        return self._size_before + self._offset

    def plan(self, now: int) -> Sequence[Job]:
        """The jobs to carry out now, in this order and after all that were planned before."""
        jobs: list[Job] = []
        if self._may_write():
            if self._waiting:
                jobs.append(self._plan_batch())
            elif not self._marked:
                if self._mark_is_due(now):
                    jobs.append(self._write(b"", self._next_place(0), {}, ()))
                elif self._resting_since is None:
                    self._resting_since = now
        for reading in self._fetches:
            job = self._job([span.read for span in reading.spans])
            self._reading[job.id] = reading
            jobs.append(job)
        self._fetches.clear()
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
            return Completed(persisted=list(writing.tickets.items()), own=writing.own)
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

    def _plan_batch(self) -> Job:
        batch = self._take_waiting()
        start = self._next_place(len(batch.payload))
        self._note(batch.placed, start)
        return self._write(batch.payload, start, batch.tickets, batch.own)

    def _take_waiting(self) -> _Batch:
        """Everything that waits, up to ``batch_bytes_max`` and at least one ticket's records."""
        parts: list[bytes] = []
        placed: list[tuple[int, Record | DropRecord | NodesOwn, int]] = []
        tickets: dict[int, int] = {}
        own: list[NodesOwn] = []
        size = 0
        waiting = self._waiting
        while waiting:
            group, ticket, records = waiting[0]
            unit: list[bytes] = []
            unit_placed: list[tuple[int, Record | DropRecord | NodesOwn, int]] = []
            end = size
            for record in records:
                if type(record) is Entry:
                    encoded = record.encoded
                    unit.append(_RECORD(_ENTRY, group, len(encoded)))
                    unit.append(encoded)
                    unit_placed.append((group, record, end + RECORD.size))
                    end += RECORD.size + len(encoded)
                else:
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
            if ticket:
                tickets[group] = ticket
            else:
                own += [record for record in records if isinstance(record, NodesOwn)]
        return _Batch(b"".join(parts), placed, tickets, own)

    def _next_place(self, length: int) -> _Place:
        """Where a batch with this much payload goes: behind the last one, or in a new segment."""
        size = extent(length)
        if self._offset + size <= self._capacity:
            return _Place(self._segment, self._offset, size, self._capacity)
        return _Place(self._segment + 1, 0, size, max(size, self._limits.segment_bytes))

    def _note(self, placed: Sequence[tuple[int, Record | DropRecord | NodesOwn, int]], start: _Place) -> None:
        """Bring the index up to the batch that is about to be written at ``start``."""
        indexes = self._indexes
        segment, offset = start.segment, start.offset
        crc_of = google_crc32c.value
        for group, record, at in placed:
            if type(record) is Entry:
                encoded = record.encoded
                indexes[group].put(record.index, segment, offset + place(at), len(encoded), crc_of(encoded))
            elif type(record) is TruncateRecord:
                indexes[group].truncate(record.first)
            elif type(record) is BaseRecord:
                if group in indexes:
                    indexes[group].rebase(record.base.index)
                else:
                    indexes[group] = GroupIndex(record.base.index, self._limits.index_gap_entries_max)
            elif type(record) is DropRecord:
                indexes.pop(group, None)

    def _write(self, payload: bytes, start: _Place, tickets: dict[int, int], own: Sequence[NodesOwn]) -> Job:
        number = self._number + 1
        data, crc = encode_batch(start.segment, number, self._durable_to, self._crc, payload)
        file = segment_file(start.segment)
        ops: list[Op] = []
        if start.segment != self._segment:
            ops += (Create(file + NEW_SUFFIX, start.capacity), Rename(file + NEW_SUFFIX, file), SyncDirectory())
            self._size_before += self._offset
        ops += (WriteAt(file, start.offset, data), SyncData(file))
        job = self._job(ops)
        self._segment, self._capacity = start.segment, start.capacity
        self._offset = start.offset + start.size
        self._number, self._crc, self._marked = number, crc, not payload
        self._resting_since = None
        self._writing = _Writing(job.id, tickets, own)
        return job

    def _job(self, ops: Sequence[Op]) -> Job:
        self._last_job += 1
        return Job(self._last_job, ops)
