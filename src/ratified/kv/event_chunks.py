"""What watchers that catch up read from ``events``: each row once, however many want it.

Rules
1. A chunk is a run of rows, read at once and kept for all who come by. Chunks never overlap: one ends, at the latest,
   where the next one begins. So a watcher that comes from behind goes through what was read before it up to whoever is
   ahead of it, and from there on they go together.
2. A chunk says of every position from its start to its end what is there. It ends, at the latest, with the present
   revision, and before a revision of which a tombstone has still to write rows. So what it says stays true: commands
   and tombstones write above it, and compaction removes only what no watcher may ask for any more. Another state has
   chunks of its own.
3. A pair before an event that was looked up is given no more once the event's revision is compacted.
4. A turn reads so much. Who finds no chunk after that waits for the next turn; the first to ask in a turn finds one.
5. What is kept is bounded, by bytes: the chunks that nobody has asked for in the longest time go first. The last one
   stays, however large it is: whoever takes a part of it in each turn would else read all of it for each part. All go
   when nobody has been behind for a while: of those who come one after the other each would be the only one for a
   moment.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ratified.kv import names
from ratified.kv.history import DELETE, EVENTS, PAIR_AT, newest_at
from ratified.kv.intervals import Interval
from ratified.kv.limits import KvLimits
from ratified.kv.mvcc import Mvcc, event_field
from ratified.wire.etcd.kv_pb2 import KeyValue

_CHUNK_BYTES = 4096
"""What a chunk counts for beside its rows, so that there are not many small ones."""
_ROW_BYTES = 200
"""About what Python adds to the bytes of a row."""


class Chunk:
    """The rows of ``events`` from ``start`` on and before ``end``, found by key and by position, and their events."""

    __slots__ = (
        "_events",
        "_events_with_before",
        "_keys",
        "_mvcc",
        "_numbers",
        "_positions",
        "_rows",
        "end",
        "revisions",
        "size_bytes",
        "start",
        "used_in",
    )

    def __init__(self, mvcc: Mvcc, start: bytes, end: bytes, rows: Sequence[tuple[bytes, bytes]]) -> None:
        self._mvcc = mvcc
        self.start = start
        self.end = end
        self._positions = [at for at, _ in rows]
        self._rows = [row for _, row in rows]
        self.revisions = [names.read_position(at)[0] for at in self._positions]
        """Of each row, by its number."""
        keys = [KeyValue.FromString(row[PAIR_AT:]).key for row in self._rows]
        self._numbers = sorted(range(len(keys)), key=keys.__getitem__)
        self._keys = [keys[number] for number in self._numbers]
        """In order, as ``_numbers``: which rows they are of."""
        self._events: list[bytes | None] = [None] * len(rows)
        self._events_with_before: list[bytes | None] = [None] * len(rows)
        self.size_bytes = _CHUNK_BYTES + sum(map(len, self._rows)) + sum(map(len, keys)) + _ROW_BYTES * len(rows)
        self.used_in = 0
        """The last turn in which somebody asked for it."""

    def matching(self, wanted: Interval, at: bytes) -> Sequence[int]:
        """The numbers of the rows from this position on whose keys are in the range, in order."""
        first = bisect_left(self._positions, at) if at > self.start else 0
        begin = bisect_left(self._keys, wanted.first)
        end = len(self._keys) if wanted.end is None else bisect_left(self._keys, wanted.end, begin)
        if end - begin == len(self._keys):
            return range(first, end)
        found = sorted(self._numbers[begin:end])
        return found[bisect_left(found, first) :]

    def position(self, number: int) -> bytes:
        return self._positions[number]

    def is_deletion(self, number: int) -> bool:
        return self._rows[number].startswith(DELETE)

    def event(self, number: int, with_before: bool) -> bytes:
        """The same bytes for all."""
        if with_before and self.revisions[number] > self._mvcc.compact_revision:
            return self._events_with_before[number] or self._encode_with_before(number)
        return self._events[number] or self._encode(number)

    def _encode(self, number: int) -> bytes:
        event = event_field(self.is_deletion(number), self._rows[number][PAIR_AT:], None)
        self._events[number] = event
        self.size_bytes += len(event)
        return event

    def _encode_with_before(self, number: int) -> bytes:
        pair = self._rows[number][PAIR_AT:]
        parsed = KeyValue.FromString(pair)
        before = None
        if parsed.create_revision != parsed.mod_revision:  # nothing is said to be before a creation
            before = newest_at(self._mvcc.visible, names.name(parsed.key), self.revisions[number] - 1)
        event = event_field(self.is_deletion(number), pair, before)
        self._events_with_before[number] = event
        self.size_bytes += len(event)
        return event


class EventChunks:
    """The chunks of one store."""

    def __init__(self, mvcc: Mvcc, limits: KvLimits) -> None:
        self._mvcc = mvcc
        self._limits = limits
        self._starts: list[bytes] = []
        self._chunks: list[Chunk] = []
        """In the order of their positions, as ``_starts``."""
        self._turn = 0
        self._wanted_at = 0
        """The time of the last turn in which somebody was behind."""
        self._rows_left = limits.watch_rows_a_turn
        self._bytes_left = limits.watch_bytes_a_turn

    def at(self, at: bytes) -> Chunk | None:
        """The chunk with this position, which is below ``Mvcc.first_unwritten``; None: ask in the next turn."""
        number = bisect_right(self._starts, at) - 1
        chunk = self._chunks[number] if number >= 0 else None
        if chunk is None or at >= chunk.end:
            if self._rows_left <= 0 or self._bytes_left <= 0:
                return None
            number += 1
            chunk = self._read(at, min([self._end_after(at), *self._starts[number : number + 1]]))
            self._starts.insert(number, at)
            self._chunks.insert(number, chunk)
        chunk.used_in = self._turn
        return chunk

    def begin_turn(self, now: int, *, wanted: bool) -> None:
        """``wanted``: somebody is behind."""
        if wanted:
            self._wanted_at = now
        elif self._chunks and now - self._wanted_at >= self._limits.watch_cache_us:
            self.clear()
        self._turn += 1
        self._rows_left, self._bytes_left = self._limits.watch_rows_a_turn, self._limits.watch_bytes_a_turn
        size_bytes = sum(chunk.size_bytes for chunk in self._chunks)
        while size_bytes > self._limits.watch_cache_bytes_max and len(self._chunks) > 1:
            number = min(range(len(self._chunks)), key=lambda each: self._chunks[each].used_in)
            del self._starts[number]
            size_bytes -= self._chunks.pop(number).size_bytes

    def clear(self) -> None:
        self._starts.clear()
        self._chunks.clear()

    def _end_after(self, at: bytes) -> bytes:
        """Up to where all that follows on this position is written for good."""
        revision, _ = names.read_position(at)
        return names.position(self._mvcc.first_unwritten(revision), 0)

    def _read(self, start: bytes, end: bytes) -> Chunk:
        rows: list[tuple[bytes, bytes]] = []
        for at, row in self._mvcc.space.scan(EVENTS, start, end):
            rows.append((at, row))
            self._rows_left -= 1
            self._bytes_left -= len(row)
            if self._rows_left <= 0 or self._bytes_left <= 0:
                revision, sub = names.read_position(at)
                end = names.position(revision, sub + 1)
                break
        return Chunk(self._mvcc, start, end, rows)
