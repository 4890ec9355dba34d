"""Whether the rows in a store's file are those whose digest it has recorded; asked before LMDB maps the file.

The record is the row ``state``: revision, compact revision, era and the sums of ``digest``; and, of what is in
``events``, a sum in the row ``removal``. ``history``, ``live`` and ``attached`` follow from ``events``, so each row is
held to what it follows from, or to what follows from it. What a pending tombstone covers counts as not deleted yet.
``order`` follows from ``history`` and ``live``, and is looked at where it says that it was kept: no program reads it
elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import google_crc32c
import msgspec
from google.protobuf.message import DecodeError

from ratified.kv import alarms, auth, leases, names, order
from ratified.kv.digest import MODULUS_MASK, Sums, row_hash
from ratified.kv.history import DELETE, EVENTS, HISTORY, PAIR_AT, PUT
from ratified.kv.mvcc import FIRST_REVISION, STATE, Removal, event_hash
from ratified.kv.tables import ATTACHED, LIVE, META, ORDER
from ratified.kv.tombstones import KEY, KEY_END, Tombstone
from ratified.storage.guard import RowChecks
from ratified.storage.pages import StoredRows, StoreUnsound
from ratified.wire.etcd.kv_pb2 import KeyValue

_LEASE = struct.Struct(">Q")
_APPLIED_BYTES = (8, 24)
_POSITION_BYTES = 12


class _Recorded(NamedTuple):
    """What the store says of itself."""

    revision: int
    compact_revision: int
    sums: Sums
    size_bytes: int
    held: int
    tombstones: Sequence[Tombstone]

    def is_buried(self, revision: int) -> bool:
        """Whether events of this revision may be missing."""
        return any(tombstone.revision == revision for tombstone in self.tombstones)

    def is_ending(self, lease: bytes) -> bool:
        """Whether a lease may still have keys that it does not have any more."""
        return any(tombstone.lease and _lease(tombstone.lease) == lease for tombstone in self.tombstones)


class _Event(msgspec.Struct, frozen=True, gc=False):
    """A row of ``events``."""

    at: bytes
    revision: int
    number: int
    kind: bytes
    deleted: bool
    name: bytes
    lease: int
    pair: bytes


def whole(rows: StoredRows) -> None:
    """Read every row; raise ``StoreUnsound`` where they do not have the recorded digest, or contradict each other."""
    with _what_cannot_be_read_is_unsound():
        recorded = _recorded(rows)
        events = _Events(recorded)
        size_bytes = 0
        for at, value in rows.scan(EVENTS, b""):
            events.add(_event(at, value))
            size_bytes += len(at) + len(value)
        events.compare()
        size_bytes += _whole_history(rows, events) + _whole_live(rows, events)
        _whole_order(rows, events)
        _whole_attached(rows, events, recorded)
        _whole_leases_users_and_alarms(rows, recorded.sums)
        if size_bytes != recorded.size_bytes:
            raise StoreUnsound(f"its rows have {size_bytes} bytes, and {recorded.size_bytes} are recorded")


def sums(rows: StoredRows) -> None:
    """Raise ``StoreUnsound`` where the newest events are not those of the recorded revision."""
    with _what_cannot_be_read_is_unsound():
        recorded = _recorded(rows)
        revision = recorded.revision
        newest = next(rows.scan(EVENTS, names.position(revision, 0)), None)
        found = None if newest is None else names.read_position(newest[0])
        if found != ((revision, 0) if revision > FIRST_REVISION else None) and not recorded.is_buried(revision):
            raise StoreUnsound(f"its revision is {revision}, and its events do not end with that one")
        if next(rows.scan(EVENTS, names.position(revision + 1, 0)), None) is not None:
            raise StoreUnsound(f"its revision is {revision}, and it has later events")


def row(rows: StoredRows, table: str, key: bytes, value: bytes) -> None:
    """Hold one row to the other tables; raise ``StoreUnsound`` where they contradict it."""
    with _what_cannot_be_read_is_unsound():
        if table == EVENTS:
            _check_event(rows, _event(key, value))
        elif table == HISTORY:
            _check_history(rows, key, value)
        elif table == LIVE:
            _check_live(rows, key, value)
        elif table == ATTACHED:
            _check_attached(rows, key, value)
        elif table == ORDER:
            _check_order(rows, key, value)


KV_CHECKS = RowChecks(whole, sums, row)


def _recorded(rows: StoredRows) -> _Recorded:
    state, removal, applied = (rows.get(META, key) for key in (b"state", b"removal", b"applied"))
    if state is None or removal is None or applied is None or len(applied) not in _APPLIED_BYTES:
        raise StoreUnsound("it has rows, and not what it says of itself")
    revision, compact_revision, _, _ = STATE.unpack(state[: STATE.size])
    of_rows = Removal.decode(removal)
    sums_of_digest = Sums.decode(state[STATE.size :])
    return _Recorded(
        revision, compact_revision, sums_of_digest, of_rows.size_bytes, of_rows.held, list(_tombstones(rows))
    )


def _tombstones(rows: StoredRows) -> Iterator[Tombstone]:
    for key, row in rows.scan(META, KEY):
        if key >= KEY_END:
            return
        yield Tombstone.decode(row)


def _event(at: bytes, row: bytes) -> _Event:
    revision, _ = names.read_position(at)
    kind, pair = row[:PAIR_AT], row[PAIR_AT:]
    parsed = KeyValue.FromString(pair)
    if kind not in (PUT, DELETE) or parsed.mod_revision != revision:
        raise StoreUnsound(f"its event at revision {revision} is one of revision {parsed.mod_revision}")
    name = names.name(parsed.key)
    return _Event(at, revision, event_hash(at, row), kind, kind == DELETE, name, parsed.lease, pair)


@contextmanager
def _what_cannot_be_read_is_unsound() -> Iterator[None]:
    try:
        yield
    except (DecodeError, struct.error, ValueError, msgspec.DecodeError) as error:
        raise StoreUnsound(f"a row in it cannot be read: {error}") from error


# ---------------------------------------------------------------------------------------------------------------
# All rows


class _Newest(msgspec.Struct, frozen=True, gc=False):
    """The last event of a key, as far as events were read; ``number`` is the hash of its pair."""

    deleted: bool
    number: int
    lease: int
    long_key: bytes
    """The key, escaped, where it is not whole in its name."""


class _Events:
    """What the events add up to, read in their order, and what follows from them."""

    def __init__(self, recorded: _Recorded) -> None:
        self._recorded = recorded
        self._revision = FIRST_REVISION
        self._held = 0
        self.newest: dict[bytes, _Newest] = {}
        self.history = 0
        """The sum of the checksums of the rows that ``history`` must have."""

    def add(self, event: _Event) -> None:
        """The next event."""
        self._held += event.number
        self._revision = event.revision
        long_key = b"" if names.is_whole(event.name) else names.escaped(KeyValue.FromString(event.pair).key)
        self.newest[event.name] = _Newest(event.deleted, row_hash(event.pair), event.lease, long_key)
        self.history += _checksum(event.name + names.TERMINATOR + event.at, event.kind)

    def compare(self) -> None:
        """With what the store says of itself."""
        revision = self._recorded.revision
        if self._revision != revision and not self._recorded.is_buried(revision):
            raise StoreUnsound(f"its events end at revision {self._revision}, and its own is {revision}")
        if self._held & MODULUS_MASK != self._recorded.held:
            raise StoreUnsound("its events do not have the sum that is recorded")


def _whole_history(rows: StoredRows, events: _Events) -> int:
    size_bytes = found = 0
    for key, kind in rows.scan(HISTORY, b""):
        found += _checksum(key, kind)
        size_bytes += len(key) + len(kind)
    if found != events.history:
        raise StoreUnsound("its history is not that of its events")
    return size_bytes


def _whole_live(rows: StoredRows, events: _Events) -> int:
    size_bytes = count = 0
    for name, pair in rows.scan(LIVE, b""):
        newest = events.newest.get(name)
        if newest is None or newest.deleted or newest.number != row_hash(pair):
            raise StoreUnsound(f"key {name!r} has not the value of its newest event")
        count += 1
        size_bytes += len(name) + len(pair)
    if count != sum(not newest.deleted for newest in events.newest.values()):
        raise StoreUnsound("keys that its events have written are missing")
    return size_bytes


def _whole_order(rows: StoredRows, events: _Events) -> None:
    mark = rows.get(META, order.MARK)
    if mark is not None and not order.is_mark(mark):
        raise StoreUnsound("what it says of the order of its long keys cannot be read")
    if not order.is_kept(rows.get):
        return
    long = sorted(
        (newest.long_key, order.value(name, is_live=not newest.deleted))
        for name, newest in events.newest.items()
        if newest.long_key
    )
    found = sum(_checksum(key, value) for key, value in rows.scan(ORDER, b""))
    if found != sum(_checksum(key, value) for key, value in order.rows_of(long)):
        raise StoreUnsound("the order of its long keys is not theirs")


def _whole_attached(rows: StoredRows, events: _Events, recorded: _Recorded) -> None:
    count = 0
    for key, user_key in rows.scan(ATTACHED, b""):
        lease, name = key[: _LEASE.size], key[_LEASE.size :]
        newest = events.newest.get(name)
        if newest is None or newest.deleted or _lease(newest.lease) != lease or names.name(user_key) != name:
            if names.name(user_key) == name and recorded.is_ending(lease):
                continue
            raise StoreUnsound(f"key {name!r} is attached to a lease that its newest event does not have")
        count += 1
    if count != sum(newest.lease != 0 and not newest.deleted for newest in events.newest.values()):
        raise StoreUnsound("keys of its leases are missing")


def _whole_leases_users_and_alarms(rows: StoredRows, recorded: Sums) -> None:
    found = 0
    for key, value in rows.scan(leases.TABLE, b""):
        found += row_hash(key + value)
    for first, end in ((alarms.KEY, alarms.KEY_END), (auth.KEY, auth.KEY_END)):
        for key, value in rows.scan(META, first):
            if key >= end:
                break
            found += row_hash(key + value)
    if found & MODULUS_MASK != recorded.rows:
        raise StoreUnsound("its leases, users, roles and alarms do not have the digest that is recorded")


def _checksum(key: bytes, value: bytes) -> int:
    return int(google_crc32c.value(key + value))


def _lease(lease: int) -> bytes:
    return _LEASE.pack(lease & 2**64 - 1)


# ---------------------------------------------------------------------------------------------------------------
# One row


def _check_event(rows: StoredRows, event: _Event) -> None:
    key = event.name + names.TERMINATOR + event.at
    if rows.get(HISTORY, key) != event.kind:
        raise StoreUnsound(f"its history does not have the event at revision {event.revision}")
    later = next(rows.scan(HISTORY, key + b"\0"), None)
    if later is not None and _is_of(later[0], event.name):
        return
    if rows.get(LIVE, event.name) != (None if event.deleted else event.pair):
        raise StoreUnsound(f"key {event.name!r} has not the value of its newest event")
    if not _is_in_order(rows, event.name, event.pair, is_live=not event.deleted):
        raise StoreUnsound(f"long key {event.name!r} is missing in their order")


def _check_history(rows: StoredRows, key: bytes, kind: bytes) -> None:
    name, revision, sub = names.split_history_key(key)
    at = names.position(revision, sub)
    value = rows.get(EVENTS, at)
    event = None if value is None else _event(at, value)
    if event is None or (event.kind, event.name) != (kind, name):
        raise StoreUnsound(f"its history has an event at revision {revision} that its events do not have")


def _check_live(rows: StoredRows, name: bytes, pair: bytes) -> None:
    revision = KeyValue.FromString(pair).mod_revision
    if _newest(rows, name, names.position(revision, 0)) != pair:
        raise StoreUnsound(f"key {name!r} has not the value of its newest event")
    if not _is_in_order(rows, name, pair, is_live=True):
        raise StoreUnsound(f"long key {name!r} is missing in their order")


def _is_in_order(rows: StoredRows, name: bytes, pair: bytes, *, is_live: bool) -> bool:
    """Whether a key is in the order of long ones, where it must be and as far as that was kept."""
    if names.is_whole(name) or not order.is_kept(rows.get):
        return True
    return order.found(rows.get, KeyValue.FromString(pair).key, name) == order.value(name, is_live=is_live)


def _check_attached(rows: StoredRows, key: bytes, user_key: bytes) -> None:
    name = key[_LEASE.size :]
    pair = rows.get(LIVE, name)
    if pair is None or _lease(KeyValue.FromString(pair).lease) != key[: _LEASE.size] or names.name(user_key) != name:
        if names.name(user_key) == name and _recorded(rows).is_ending(key[: _LEASE.size]):
            return
        raise StoreUnsound(f"key {name!r} is attached to a lease that it does not have")


def _check_order(rows: StoredRows, key: bytes, value: bytes) -> None:
    """Whether it is there rightly can be seen only by the key's other rows."""
    if order.is_kept(rows.get) and not order.is_row(key, value):
        raise StoreUnsound(f"row {key!r} of the order of its long keys cannot be read")


def _newest(rows: StoredRows, name: bytes, since: bytes) -> bytes | None:
    """The pair of the newest event, from this position on, of the key with that name."""
    newest = b""
    for key, _ in rows.scan(HISTORY, name + names.TERMINATOR + since):
        if not _is_of(key, name):
            break
        newest = key
    value = rows.get(EVENTS, newest[-_POSITION_BYTES:])
    return None if value is None else value[PAIR_AT:]


def _is_of(history_key: bytes, name: bytes) -> bool:
    """Is this a change of the key with that name?"""
    return history_key[: -names.HISTORY_SUFFIX_BYTES] == name
