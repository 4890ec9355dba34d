"""The logical state as a stream of records (``state_stream``), whatever store holds it and whatever it has removed.

Rules
1. Behind the head comes the state (revision, compact revision, era, sums), then the leases, users, roles and alarms,
   then the retained events in order. What is live, the history and the keys of the leases follow from the events.
2. It is read from one view, in which a row may be looked at that a compaction has dropped, and rows of a tombstone may
   not be there yet: what is read is as if all removal and writing were done.
3. The end is the digest, and the sum of the hashes of the events. That sum follows from the one that the store has
   recorded, not from the rows that were read, so that a row which rotted does not travel.
4. It is loaded into an empty space. Nothing of it is used before its end has been seen, and all compared.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from itertools import repeat

from google.protobuf.message import DecodeError
from typing_extensions import override

from ratified.kv import alarms, auth, leases, names
from ratified.kv.alarms import Alarms
from ratified.kv.auth import Auth
from ratified.kv.covered import Walk
from ratified.kv.digest import MODULUS_MASK, row_hash
from ratified.kv.history import EVENTS
from ratified.kv.leases import Leases
from ratified.kv.limits import KvLimits
from ratified.kv.mvcc import (
    FIRST_STATE,
    Mvcc,
    Removal,
    compact_revision_of,
    deletion_row,
    digest_of,
    event_hash,
    is_retained,
    read_tombstones,
)
from ratified.kv.tables import META
from ratified.kv.tombstones import Tombstone, VisibleRows
from ratified.machine import Era, SnapshotDamaged, StateLoader
from ratified.state_stream import RecordParser, RecordReader, record
from ratified.storage.space import Space, View

APPLIED = b"applied"
"""The row of ``meta`` with the applied index and its era."""
POSITION = struct.Struct(">QQQ")
_STATE = b"s"
_LEASE = b"l"
_AUTH = b"u"
_ALARM = b"a"
_EVENT = b"e"
_KINDS = (b"", _STATE, _LEASE, _AUTH, _ALARM, _EVENT)
"""In their order; before them comes nothing."""
_LEASE_BYTES = 8
_POSITION_BYTES = 12
_HELD_BYTES = 16
_WALK_ROWS = 16
"""Looked at together in what a tombstone covers."""
_WALK_BYTES = 64 * 1024


def read_applied(row: bytes | None) -> tuple[int, Era]:
    """What the row ``applied`` says. Before eras were remembered it held the index alone."""
    if row is None or len(row) != POSITION.size:
        return int.from_bytes(row or b""), (0, 0)
    index, first, second = POSITION.unpack(row)
    return index, (first, second)


def read_state(view: View, limits: KvLimits) -> RecordReader:
    """Read what the view shows, which is closed with the reader."""
    index, era = read_applied(view.get(META, APPLIED))
    return RecordReader(index, era, _records(view), limits.snapshot_rows_at_once, view.close)


def _records(view: View) -> Generator[bytes, None, bytes]:
    state = view.get(META, b"state") or FIRST_STATE
    yield record(_STATE, state)
    for key, row in view.scan(leases.TABLE, b"", None):
        yield record(_LEASE, key + row)
    for key, row in view.scan(META, auth.KEY, auth.KEY_END):
        yield record(_AUTH, bytes([len(key)]) + key + row)
    for key, row in view.scan(META, alarms.KEY, alarms.KEY_END):
        yield record(_ALARM, bytes([len(key)]) + key + row)
    held = yield from _events(view, compact_revision_of(state))
    return _compared(state, held)


def _compared(state: bytes, held: int) -> bytes:
    """The body of the end."""
    return digest_of(state) + (held & MODULUS_MASK).to_bytes(_HELD_BYTES)


def _events(view: View, compact_revision: int) -> Generator[bytes, None, int]:
    """The records of what is retained; returns the sum of the hashes that these have."""
    held = Removal.read(view).held
    rows = VisibleRows(view, read_tombstones(view))
    begin = b""
    for tombstone in rows.tombstones:
        end = names.position(tombstone.revision + 1, 0)
        held = yield from _stored(rows, begin, end, compact_revision, held)
        held = yield from _pending(rows, tombstone, compact_revision, held)
        begin = end
    return (yield from _stored(rows, begin, None, compact_revision, held))


def _stored(
    rows: VisibleRows, begin: bytes, end: bytes | None, compact_revision: int, held: int
) -> Generator[bytes, None, int]:
    for at, row in rows.scan(EVENTS, begin, end):
        if is_retained(rows, compact_revision, at, row):
            yield record(_EVENT, at + row)
        else:
            held -= event_hash(at, row)
            yield b""
    return held


def _pending(rows: VisibleRows, tombstone: Tombstone, compact_revision: int, held: int) -> Generator[bytes, None, int]:
    """What ``events`` will have when the tombstone is done with."""
    walk, sub = Walk(tombstone), tombstone.written
    while not walk.finished:
        piece = [each for each in walk.piece(rows, _WALK_ROWS, _WALK_BYTES) if each.covered]
        yield from repeat(b"", _WALK_ROWS - len(piece))
        for each in piece:
            at, row = names.position(tombstone.revision, sub), deletion_row(each.key, tombstone.revision)
            sub += 1
            if tombstone.revision < compact_revision:
                yield b""
                continue
            held += event_hash(at, row)
            yield record(_EVENT, at + row)
    return held


class KvStateLoader(StateLoader):
    """``on_switch`` and ``on_abandon`` are called where either ends it."""

    def __init__(
        self,
        space: Space,
        index: int,
        era: Era,
        on_switch: Callable[[KvStateLoader], None],
        on_abandon: Callable[[KvStateLoader], None],
    ) -> None:
        self.index = index
        self.era = era
        self.leases = Leases(space)
        self.auth = Auth(space)
        self.alarms = Alarms(space)
        self._space = space
        self._mvcc = Mvcc(space)
        self._parser = RecordParser()
        self._on_switch = on_switch
        self._on_abandon = on_abandon
        self._state: bytes | None = None
        self._rows = 0
        """The sum of the hashes of the rows of leases, users, roles and alarms."""
        self._last = (b"", b"")
        """The kind of the last record, and what it sorts by among those of its kind."""
        self._whole = False

    @override
    def load(self, piece: bytes) -> None:
        try:
            for kind, body in self._parser.feed(piece):
                self._load(kind, body)
        except (DecodeError, struct.error, ValueError) as error:
            raise SnapshotDamaged(f"a record of a snapshot cannot be read: {error}") from error
        if self._parser.end is not None:
            self._compare(self._parser.end)

    @override
    def switch(self) -> None:
        if not self._whole:
            raise SnapshotDamaged("a snapshot ends before its digest has come")
        self._mvcc.save()
        self._space.put(META, APPLIED, POSITION.pack(self.index, *self.era))
        self._on_switch(self)

    @override
    def abandon(self) -> None:
        self._whole = False
        self._on_abandon(self)

    def _load(self, kind: bytes, body: bytes) -> None:
        if kind == _EVENT:
            at = body[:_POSITION_BYTES]
            self._expect_order(kind, at)
            self._mvcc.load_event(at, body[_POSITION_BYTES:])
        elif kind == _LEASE:
            key, row = body[:_LEASE_BYTES], body[_LEASE_BYTES:]
            self._expect_order(kind, key)
            self.leases.load(key, row)
            self._rows += row_hash(body)
        elif kind == _AUTH:
            key, row = body[1 : 1 + body[0]], body[1 + body[0] :]
            self._expect_order(kind, key)
            self.auth.load(key, row)
            self._rows += row_hash(key + row)
        elif kind == _ALARM:
            key, row = body[1 : 1 + body[0]], body[1 + body[0] :]
            self._expect_order(kind, key)
            self.alarms.load(key, row)
            self._rows += row_hash(key + row)
        elif kind == _STATE:
            self._expect_order(kind, b"\x00")
            self._state = body
            self._mvcc.load_state(body)
        else:
            raise SnapshotDamaged(f"a snapshot has a record of the unknown kind {kind!r}")

    def _expect_order(self, kind: bytes, key: bytes) -> None:
        last_kind, last_key = self._last
        if (_KINDS.index(kind), key) <= (_KINDS.index(last_kind), last_key):
            raise SnapshotDamaged("a snapshot's records are out of order")
        self._last = kind, key

    def _compare(self, end: bytes) -> None:
        """Raise ``SnapshotDamaged`` where the rows are not those of the digest."""
        rows_match = self._rows & MODULUS_MASK == self._mvcc.sums.rows
        if self._state is None or not rows_match or end != _compared(self._state, self._mvcc.held):
            raise SnapshotDamaged(
                "a snapshot's rows do not have the digest that it ends with: they rotted where it began"
            )
        self._mvcc.end_loading()
        self._whole = True
