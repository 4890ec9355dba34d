"""Rows and revisions: etcd's multi-version store on an ordered map.

Tables
- ``live``: name -> KeyValue, the newest pair of each key that exists, in the very bytes in which it is sent.
- ``history``: (name, revision, sub) -> kind. Every change that is still held; says where in ``events`` its pair is.
- ``events``: (revision, sub) -> kind (1 byte), KeyValue. What watches read, and old revisions.
- ``attached``: (lease, name) -> key, the keys of each lease.
- ``meta``: ``state`` (below) and, this replica's own and in no digest, ``removal``, the pending tombstones and what
  ``order`` says of itself.
- ``order``: this replica's own, and in no digest or size: the order of long keys.

Rules
1. The revision starts at 1 and is raised by one where a command ends that changed something. Inside the command reads
   see what it wrote so far, at revision + 1.
2. A deletion is an event whose pair has nothing but the key and the revision of the deletion.
3. Compaction at C moves a number, at once. Below C only a key's newest change at C is
   held, and only if it is no deletion; what happened *at* C is all held, so that a watch can begin there.
4. Rows are physically removed later, in pieces: with other commands, and in turns of their own. Nobody may see a
   difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from struct import Struct
from typing import NamedTuple

import msgspec

from ratified.kv import names
from ratified.kv.covered import Covered, Walk
from ratified.kv.digest import FACTOR, MODULUS_MASK, Sums, row_hash
from ratified.kv.encoding import field, varint
from ratified.kv.errors import EtcdError
from ratified.kv.history import DELETE, EVENTS, HISTORY, PAIR_AT, PUT, newest_at, past
from ratified.kv.order_upkeep import OrderUpkeep
from ratified.kv.plain import PlainPut
from ratified.kv.tables import ATTACHED, LIVE, META, lease_bounds, lease_prefix
from ratified.kv.tombstones import KEY, KEY_END, PutSince, Rows, Tombstone, VisibleRows
from ratified.storage.space import Space, View
from ratified.wire.etcd import errors
from ratified.wire.etcd.kv_pb2 import KeyValue

STATE = Struct(">qqQQ")
"""The row ``state`` begins with revision, compact revision and era; the sums follow."""
_REMOVAL = Struct(">QIQ16s")
FIRST_REVISION = 1
NEVER_COMPACTED = -1
FIRST_STATE = STATE.pack(FIRST_REVISION, NEVER_COMPACTED, 0, 0) + Sums().encode()
"""The row ``state`` where nothing was written yet."""


class Change:
    """One event, as all watchers share it: the pair, and the one before its revision."""

    __slots__ = ("_event", "_event_with_previous", "before", "deleted", "key", "pair", "revision")

    def __init__(self, revision: int, key: bytes, deleted: bool, pair: bytes, before: bytes | None) -> None:
        self.revision = revision
        self.key = key
        self.deleted = deleted
        self.pair = pair
        self.before = before
        self._event: bytes | None = None
        self._event_with_previous: bytes | None = None

    @property
    def size_bytes(self) -> int:
        """What it holds of pairs."""
        return len(self.pair) + (0 if self.before is None else len(self.before))

    def event(self, with_previous: bool) -> bytes:
        """As a field of a ``WatchResponse``; the same bytes for all who ask."""
        if with_previous and self.before is not None:
            if self._event_with_previous is None:
                self._event_with_previous = event_field(self.deleted, self.pair, self.before)
            return self._event_with_previous
        if self._event is None:
            self._event = event_field(self.deleted, self.pair, None)
        return self._event


def event_field(deleted: bool, pair: bytes, before: bytes | None) -> bytes:
    """A ``mvccpb.Event`` as a field of a ``WatchResponse``."""
    event = (b"\x08\x01" if deleted else b"") + field(b"\x12", pair)
    return field(b"\x5a", event if before is None else event + field(b"\x1a", before))


class Removal(NamedTuple):
    """The row ``removal``: the position that removal has reached, ``Mvcc.size_bytes`` and ``Mvcc.held``."""

    reached: tuple[int, int] = (0, 0)
    size_bytes: int = 0
    held: int = 0

    @classmethod
    def read(cls, rows: Rows) -> Removal:
        row = rows.get(META, b"removal")
        return cls() if row is None else cls.decode(row)

    @classmethod
    def decode(cls, row: bytes) -> Removal:
        revision, sub, size_bytes, held = _REMOVAL.unpack(row)
        return cls((revision, sub), size_bytes, int.from_bytes(held))

    def encode(self) -> bytes:
        return _REMOVAL.pack(*self.reached, self.size_bytes, self.held.to_bytes(16))


class Mvcc:
    """The key-value pairs of one space, at all revisions since the last compaction."""

    def __init__(self, space: Space) -> None:
        self.listening = False
        """Whether anybody wants ``changes``."""
        self.open(space)

    def open(self, space: Space) -> None:
        """Read what the rows of this space say, and keep it up from here on."""
        self.space = space
        self.revision = FIRST_REVISION
        self.compact_revision = NEVER_COMPACTED
        self.era = (0, 0)
        self.sums = Sums()
        self.size_bytes = 0
        """Bytes of keys and values in all rows of keys, those not yet removed included."""
        self.held = 0
        """The sum of the hashes of all rows in ``events``, those not yet removed included."""
        self.order = OrderUpkeep(space, is_empty=space.get(META, b"state") is None)
        self.visible = VisibleRows(space)
        """The rows as commands and reads must see them."""
        self.changes: list[Change] = []
        self._sub = 0
        self._sums_before: Sums | None = None
        """The sums before the command that is being applied in pieces."""
        self._removed = (0, 0)
        """Removal has dealt with every event below this position."""
        self._walk: Walk | None = None
        """How far the oldest tombstone has come."""
        self._show(read_tombstones(space))
        self._note_puts()
        state = space.get(META, b"state")
        if state is not None:
            self.load_state(state)
        removal = Removal.read(space)
        self._removed, self.size_bytes, self.held = removal.reached, removal.size_bytes, removal.held

    # -- the replicated state -------------------------------------------------------------------------------------

    def load_state(self, state: bytes) -> None:
        """Take over what ``state`` of another replica, or of an earlier life, gave."""
        self.revision, self.compact_revision, self.era, self.sums = _decode_state(state)

    def end_loading(self) -> None:
        """All events of another replica's snapshot were taken over: nothing among them is dead."""
        self._removed = self._compacted_at

    def state(self) -> bytes:
        """Revision, compact revision, era and sums."""
        return STATE.pack(self.revision, self.compact_revision, *self.era) + self.sums_at_revision.encode()

    def save(self) -> None:
        """Write what is kept up in memory, in the transaction of the rows that it describes."""
        self.space.put(META, b"state", self.state())
        self.save_removal()

    def save_removal(self) -> None:
        """Write how far removal has come."""
        removal = Removal(self._removed, self.size_bytes, self.held).encode()
        self.space.put(META, b"removal", removal)
        self.order.save(self.state(), removal)

    @property
    def sums_at_revision(self) -> Sums:
        """The sums of ``revision``, without what a command in pieces has done so far."""
        return self.sums if self._sums_before is None else self._sums_before

    def digest(self) -> bytes:
        """16 bytes over the whole logical state."""
        return self.sums_at_revision.digest(self.revision, self.compact_revision, *self.era)

    # -- reads inside a command -----------------------------------------------------------------------------------

    @property
    def reading_revision(self) -> int:
        """The revision that a read of this command sees."""
        return self.revision + 1 if self._sub else self.revision

    def get(self, key: bytes) -> KeyValue | None:
        """The key's newest pair."""
        pair = self.space.get(LIVE, names.name(key))
        return None if pair is None or self.visible.covered_by(pair) else KeyValue.FromString(pair)

    # -- changes --------------------------------------------------------------------------------------------------

    def put(self, key: bytes, value: bytes, lease: int) -> bytes | None:
        """Write one key; gives the pair before."""
        name = names.name(key)
        before = self.space.get(LIVE, name)
        revision = self.revision + 1
        create, version, old_lease = revision, 1, 0
        if before is not None:
            old = KeyValue.FromString(before)
            old_lease = old.lease
            self.size_bytes -= len(name) + len(before)
            if self.visible.covered_by(before):
                before = None
            else:
                create, version = old.create_revision, old.version + 1
        elif not names.is_whole(name):
            self.order.note(key, name, is_live=True)
        pair = KeyValue(
            key=key, create_revision=create, mod_revision=revision, version=version, value=value, lease=lease
        ).SerializeToString()
        self.space.put(LIVE, name, pair)
        self._note_put(name)
        self.size_bytes += len(name) + len(pair)
        if old_lease != lease:
            self._attach(name, key, old_lease, lease)
        self._record(name, key, pair, before)
        return before

    def put_each(self, puts: Iterable[PlainPut]) -> None:
        """Commands of one ``put`` each, without a lease; each ends, and makes a revision. No tombstone is pending."""
        assert not self.tombstones, "who puts over a tombstone looks at it"
        assert not self._sub, "no command is under way"
        collects = self._collects
        get, put, position = self.space.get, self.space.put, names.position
        events: list[tuple[bytes, bytes]] = []
        history: list[tuple[bytes, bytes]] = []
        revision, order, held, size_bytes = self.revision, self.sums.order, self.held, self.size_bytes
        for key, value in puts:
            revision += 1
            name = names.escaped(key)
            before, create, version = get(LIVE, name), revision, 0
            if before is not None:
                old = KeyValue.FromString(before)
                create, version = old.create_revision, old.version
                size_bytes -= len(name) + len(before)
                if old.lease:
                    self._attach(name, key, old.lease, 0)
            at = position(revision, 0)
            version += 1
            pair = plain_pair(key, create, revision, version, value)
            row = PUT + pair
            number = row_hash(at + row)
            order = (order * FACTOR + number) & MODULUS_MASK
            held += number
            put(LIVE, name, pair)
            events.append((at, row))
            history.append((name + names.TERMINATOR + at, PUT))
            size_bytes += len(name) + len(pair) + _rows_bytes(name, row)
            if collects:
                self.changes.append(Change(revision, key, False, pair, before))
        self.space.put_all(EVENTS, events)
        self.space.put_all(HISTORY, history)
        self.revision, self.sums.order, self.held, self.size_bytes = revision, order, held & MODULUS_MASK, size_bytes

    def delete(self, found: Sequence[tuple[bytes, bytes]]) -> None:
        """Delete these keys, whose present pairs are beside them, in this order."""
        revision = self.revision + 1
        first = self._sub
        key_names = [names.name(key) for key, _ in found]
        attached: list[bytes] = []
        for name, (key, before) in zip(key_names, found, strict=True):
            lease = KeyValue.FromString(before).lease
            if lease and not self._is_awaited(lease, key):
                attached.append(lease_prefix(lease) + name)
            self.size_bytes -= len(name) + len(before)
            if not names.is_whole(name):
                self.order.note(key, name, is_live=False)
        rows = self._write_deletions(revision, first, key_names, [key for key, _ in found])
        self.space.delete_all(LIVE, key_names)
        if attached:
            self.space.delete_all(ATTACHED, attached)
        self._sub = first + len(found)
        if self._collects:
            previous: Sequence[bytes | None] = [before for _, before in found]
            if first:
                previous = [
                    self._before_revision(name, before) for name, (_, before) in zip(key_names, found, strict=True)
                ]
            self.changes += [
                Change(revision, key, True, row[PAIR_AT:], before)
                for (key, _), before, row in zip(found, previous, rows, strict=True)
            ]

    def _before_revision(self, name: bytes, before: bytes) -> bytes | None:
        """A key's pair at the present revision; ``before`` is what it has now, perhaps from the same command."""
        if KeyValue.FromString(before).mod_revision <= self.revision:
            return before
        return newest_at(self.visible, name, self.revision)

    def _write_deletions(
        self, revision: int, first: int, key_names: Sequence[bytes], keys: Sequence[bytes]
    ) -> Sequence[bytes]:
        """The events of these deletions, and their history; gives the rows of ``events``."""
        rows = [deletion_row(key, revision) for key in keys]
        ats = [names.position(revision, sub) for sub in range(first, first + len(rows))]
        self.space.put_all(EVENTS, zip(ats, rows, strict=True))
        self.space.put_all(
            HISTORY, [(name + names.TERMINATOR + at, DELETE) for name, at in zip(key_names, ats, strict=True)]
        )
        self.held = (self.held + sum(map(event_hash, ats, rows))) & MODULUS_MASK
        self.size_bytes += sum(map(_rows_bytes, key_names, rows))
        return rows

    def end_delete(self, first: bytes, range_end: bytes, count: int) -> None:
        """The keys of a request's range have been deleted, so many."""
        if count:
            at = names.position(self.revision + 1, self._sub)
            self.sums.add(row_hash(DELETE + at + field(b"\x0a", first) + field(b"\x12", range_end) + varint(count)))

    def end_revoke(self, lease: int) -> None:
        """The keys of a lease have been deleted."""
        self.sums.add(row_hash(lease_prefix(lease) + names.position(self.revision + 1, 0)))

    @property
    def _collects(self) -> bool:
        """Does anybody want the changes of this command one by one?"""
        return self.listening and self._sums_before is None

    def _record(self, name: bytes, key: bytes, pair: bytes, before: bytes | None) -> None:
        """A put becomes an event."""
        revision, sub = self.revision + 1, self._sub
        at, row = names.position(revision, sub), PUT + pair
        number = event_hash(at, row)
        self.sums.add(number)
        self.held = (self.held + number) & MODULUS_MASK
        self.space.put(EVENTS, at, row)
        self.space.put(HISTORY, name + names.TERMINATOR + at, PUT)
        self.size_bytes += _rows_bytes(name, row)
        self._sub = sub + 1
        if self._collects:
            self.changes.append(Change(revision, key, False, pair, before))

    def load_event(self, at: bytes, row: bytes) -> None:
        """Take over an event from another replica's snapshot, after all events before it."""
        if row[:PAIR_AT] not in (PUT, DELETE):
            raise ValueError(f"an event is of kind {row[:PAIR_AT]!r}")
        pair = row[PAIR_AT:]
        parsed = KeyValue.FromString(pair)
        name = names.name(parsed.key)
        kind = row[:PAIR_AT]
        self.space.put(EVENTS, at, row)
        self.space.put(HISTORY, name + names.TERMINATOR + at, kind)
        self.size_bytes += _rows_bytes(name, row)
        self.held = (self.held + event_hash(at, row)) & MODULUS_MASK
        before = self.space.get(LIVE, name)
        old_lease = 0
        if before is not None:
            old_lease = KeyValue.FromString(before).lease
            self.size_bytes -= len(name) + len(before)
        if kind == DELETE:
            self.space.delete(LIVE, name)
        else:
            self.space.put(LIVE, name, pair)
            self.size_bytes += len(name) + len(pair)
        if not names.is_whole(name):
            self.order.note(parsed.key, name, is_live=kind == PUT)
        if old_lease != parsed.lease:
            self._attach(name, parsed.key, old_lease, parsed.lease)

    def _attach(self, name: bytes, key: bytes, old_lease: int, lease: int) -> None:
        if old_lease and not self._is_awaited(old_lease, key):
            self.space.delete(ATTACHED, lease_prefix(old_lease) + name)
        if lease:
            self.space.put(ATTACHED, lease_prefix(lease) + name, key)

    def attached(self, lease: int) -> Iterator[bytes | None]:
        """The keys of a lease; None: a row was looked at that is none of them."""
        rows = self.space.scan(ATTACHED, *lease_bounds(lease))
        if not self.tombstones:
            return (key for _, key in rows)
        return (key if (pair := self.get(key)) is not None and pair.lease == lease else None for _, key in rows)

    # -- tombstones -----------------------------------------------------------------------------------------------

    @property
    def tombstones(self) -> tuple[Tombstone, ...]:
        """Those that are pending, the oldest first."""
        return self.visible.tombstones

    def first_unwritten(self, revision: int) -> int:
        """The first revision from this one on whose events are not all in the table.

        That of a tombstone, or the one after the present revision.
        """
        pending = (each.revision for each in self.tombstones if revision <= each.revision <= self.revision)
        return next(pending, self.revision + 1)

    @property
    def in_pieces(self) -> bool:
        """Whether the command that is being applied is long."""
        return self._sums_before is not None

    def bury(self, tombstone: Tombstone, count: int) -> None:
        """Delete what it covers, which is ``count`` keys."""
        self.space.put(META, tombstone.key, tombstone.encode())
        self._show((*self.tombstones, tombstone))
        self._sub += count

    @property
    def buried(self) -> Tombstone | None:
        """The tombstone of the command that is being applied."""
        newest = self.tombstones[-1] if self.tombstones else None
        return newest if newest is not None and newest.revision > self.revision else None

    def _show(self, tombstones: tuple[Tombstone, ...]) -> None:
        known = {each.revision: each for each in self.visible.put_since}
        put_since = tuple(known.get(each.revision) or PutSince(each) for each in tombstones if not each.lease)
        self.visible = VisibleRows(self.space, tombstones, put_since, has_order=self.order.is_kept)

    def _note_puts(self) -> None:
        """What was put since the tombstones that are pending, in an earlier life."""
        if not self.visible.put_since:
            return
        oldest = self.visible.put_since[0]
        for _, row in self.space.scan(EVENTS, names.position(oldest.revision + 1, 0), None):
            if row[:PAIR_AT] == PUT:
                self._note_put(names.name(KeyValue.FromString(row[PAIR_AT:]).key))

    def _note_put(self, name: bytes) -> None:
        for each in self.visible.put_since:
            each.note(name)

    def visible_in(self, view: View) -> VisibleRows:
        """The rows of a view of the last commit, as reads must see them."""
        return VisibleRows(
            view, self.tombstones, self.visible.put_since, has_order=partial(self.order.is_kept_in, view)
        )

    def _is_awaited(self, lease: int, key: bytes) -> bool:
        """Whether a tombstone has still to find this key among those of the lease: it was one of them then. What has
        become one since is no tombstone's, and whether a walk still comes by is left open: it collects groups."""
        return any(
            tombstone.lease == lease and names.escaped(key) > tombstone.after and self._was_attached(tombstone, key)
            for tombstone in self.tombstones
        )

    def _was_attached(self, tombstone: Tombstone, key: bytes) -> bool:
        pair = newest_at(self.visible, names.name(key), tombstone.revision - 1)
        return pair is not None and tombstone.covers(KeyValue.FromString(pair))

    def write_tombstone(self, rows_max: int, bytes_max: int) -> bool:
        """Write the rows of some deletions of the oldest tombstone; whether it is done with."""
        tombstone, *others = self.tombstones
        if self._walk is None:
            self._walk = Walk(tombstone)
        piece = self._walk.piece(self.visible, rows_max, bytes_max)
        if piece:
            tombstone = self._write_piece(tombstone, piece)
        if self._walk.finished:
            self._walk = None
            self.space.delete(META, tombstone.key)
            self._show(tuple(others))
            return True
        if piece:
            self.space.put(META, tombstone.key, tombstone.encode())
            self._show((tombstone, *others))
        return False

    def _write_piece(self, tombstone: Tombstone, piece: Sequence[Covered]) -> Tombstone:
        """The deletions of these keys have their rows from now on; gives the tombstone that says so."""
        dead = [each for each in piece if each.covered]
        self._write_deletions(
            tombstone.revision, tombstone.written, [each.name for each in dead], [each.key for each in dead]
        )
        for each in dead:
            self._remove_covered(tombstone, each.name)
        if tombstone.lease and all(other.lease != tombstone.lease for other in self.tombstones[1:]):
            self.space.delete_all(ATTACHED, self._detached(tombstone.lease, [each.name for each in piece]))
        return msgspec.structs.replace(tombstone, written=tombstone.written + len(dead), after=piece[-1].position)

    def _remove_covered(self, tombstone: Tombstone, name: bytes) -> None:
        """Remove the pair with this name from ``live`` where it is covered, and from the keys of its lease."""
        pair = self.space.get(LIVE, name)
        if pair is not None and tombstone.covers(parsed := KeyValue.FromString(pair)):
            self.space.delete(LIVE, name)
            self.size_bytes -= len(name) + len(pair)
            if not names.is_whole(name):
                self.order.note(parsed.key, name, is_live=False)
            if parsed.lease and not self._is_awaited(parsed.lease, parsed.key):
                self.space.delete(ATTACHED, lease_prefix(parsed.lease) + name)

    def _detached(self, lease: int, key_names: Sequence[bytes]) -> Iterator[bytes]:
        """The rows of ``attached`` of these keys, where they are not of that lease any more."""
        for name in key_names:
            pair = self.space.get(LIVE, name)
            if pair is None or KeyValue.FromString(pair).lease != lease:
                yield lease_prefix(lease) + name

    def begin_pieces(self) -> None:
        """What follows is a command that is applied in pieces: until it ends, all that is read is as it is now."""
        self._sums_before = msgspec.structs.replace(self.sums)

    def forget_pieces(self) -> None:
        """The command that was begun has done nothing, and is applied later."""
        self._sums_before = None

    def next_revision(self) -> None:
        """What the command does from here on is of a further revision; it has made one."""
        assert self._sub, "there is no revision without a change"
        self.revision += 1
        self._sub = 0

    def end_command(self) -> Sequence[Change]:
        """The command is done: its changes become a revision."""
        self._sums_before = None
        if self._sub:
            self.revision += 1
            self._sub = 0
        if not self.changes:
            return ()
        changes, self.changes = self.changes, []
        return changes

    # -- compaction -----------------------------------------------------------------------------------------------

    def check_revision(self, revision: int, newest: int) -> None:
        """Raise etcd's error where a read at ``revision`` is impossible."""
        if revision > newest:
            raise EtcdError(*errors.FUTURE_REVISION)
        if revision < self.compact_revision:
            raise EtcdError(*errors.COMPACTED)

    def compact(self, revision: int) -> None:
        """Forget what was before ``revision``."""
        if revision <= self.compact_revision:
            raise EtcdError(*errors.COMPACTED)
        if revision > self.revision:
            raise EtcdError(*errors.FUTURE_REVISION)
        self._removed = min(self._removed, self._compacted_at)  # deletions of that revision stayed until now
        self.compact_revision = revision

    @property
    def holds_dead_rows(self) -> bool:
        """Whether a compaction has left rows that have not been looked at yet."""
        return self._removed != self._compacted_at

    @property
    def _compacted_at(self) -> tuple[int, int]:
        """Where removal stands when it has looked at everything: deletions of this revision are looked at again."""
        return max(self.compact_revision, 0), 0

    def remove_dead_rows(self, events_max: int, bytes_max: int) -> None:
        """One piece of the physical removal: look at about so many events."""
        if not self.holds_dead_rows or self.tombstones:
            return
        last = names.position(self.compact_revision + 1, 0)
        piece: list[tuple[bytes, bytes]] = []
        for at, row in self.space.scan(EVENTS, names.position(*self._removed), last):
            piece.append((at, row))
            bytes_max -= len(row)
            if len(piece) == events_max or bytes_max <= 0:
                revision, sub = names.read_position(at)
                self._removed = (revision, sub + 1)
                break
        else:
            self._removed = self._compacted_at
        for at, row in piece:
            self._remove_what_died(at, row)

    def _remove_what_died(self, at: bytes, row: bytes) -> None:
        for name, dead_at, dead in list(died(self.space, self.compact_revision, at, row)):
            self.space.delete(EVENTS, dead_at)
            self.space.delete(HISTORY, name + names.TERMINATOR + dead_at)
            self.size_bytes -= _rows_bytes(name, dead)
            self.held = (self.held - event_hash(dead_at, dead)) & MODULUS_MASK
            if not (names.is_whole(name) or self.space.keys(HISTORY, name + names.TERMINATOR, past(name), 1)):
                self.order.remove(KeyValue.FromString(dead[PAIR_AT:]).key, name)


def _decode_state(state: bytes) -> tuple[int, int, tuple[int, int], Sums]:
    revision, compact_revision, high, low = STATE.unpack(state[: STATE.size])
    return revision, compact_revision, (high, low), Sums.decode(state[STATE.size :])


def compact_revision_of(state: bytes) -> int:
    """What a row ``state`` says of it."""
    return _decode_state(state)[1]


def digest_of(state: bytes) -> bytes:
    """As ``Mvcc.digest``, from the row ``state``."""
    revision, compact_revision, era, sums = _decode_state(state)
    return sums.digest(revision, compact_revision, *era)


def read_tombstones(rows: Rows) -> tuple[Tombstone, ...]:
    """Those that are pending in the rows, the oldest first."""
    return tuple(Tombstone.decode(row) for _, row in rows.scan(META, KEY, KEY_END))


def is_retained(rows: VisibleRows, compact_revision: int, at: bytes, row: bytes) -> bool:
    """Whether an event still belongs to the logical state."""
    revision, sub = names.read_position(at)
    if revision >= compact_revision:
        return True
    pair = row[PAIR_AT:]
    if row[:PAIR_AT] == DELETE or rows.covered_by(pair, compact_revision):
        return False
    name = names.name(KeyValue.FromString(pair).key)
    next_change = names.history_key(name, revision, sub + 1)
    compacted = names.history_key(name, compact_revision + 1, 0)
    return next(iter(rows.scan(HISTORY, next_change, compacted)), None) is None


def died(rows: Rows, compact_revision: int, at: bytes, row: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Of the event at ``at``: what it replaced, and itself if it is a deletion, where that is below compaction.

    As (name, position, row of ``events``). Over all events up to the compaction each dead one comes once.
    """
    compacted = names.position(max(compact_revision, 0), 0)
    name = names.name(KeyValue.FromString(row[PAIR_AT:]).key)
    here = name + names.TERMINATOR + at
    for key, kind in rows.scan(HISTORY, name + names.TERMINATOR, here, reverse=True):
        before = key[-len(at) :]
        # A deletion came as itself.
        if kind == PUT and before < compacted:
            replaced = rows.get(EVENTS, before)
            assert replaced is not None, "every row of history has its event"
            yield name, before, replaced
        break
    if row[:PAIR_AT] == DELETE and at < compacted:
        yield name, at, row


def deletion_row(key: bytes, revision: int) -> bytes:
    """The row in ``events``: a KeyValue of key and mod_revision alone, as protobuf writes it."""
    return DELETE + field(b"\x0a", key) + b"\x18" + varint(revision)


def plain_pair(key: bytes, create: int, revision: int, version: int, value: bytes) -> bytes:
    """A KeyValue without a lease, as protobuf writes it; ``value`` has its length in front, and is not empty."""
    revisions = b"\x10" + varint(create) + b"\x18" + varint(revision) + b"\x20" + varint(version)
    return field(b"\x0a", key) + revisions + b"\x2a" + value


def event_hash(at: bytes, row: bytes) -> int:
    """The hash of a row of ``events``."""
    return row_hash(at + row)


def _rows_bytes(name: bytes, event: bytes) -> int:
    """The bytes of one change's rows in ``events`` and ``history``."""
    return 12 + len(event) + len(name) + names.HISTORY_SUFFIX_BYTES + 1
