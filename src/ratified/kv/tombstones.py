"""Tombstones: what a long delete has deleted, in one row, until the rows of each of its keys are written.

Rules
1. A tombstone *covers* the pairs that its delete found: those of its range, or of its lease, that were put before its
   revision. What is covered is not there for anybody who reads at the tombstone's revision or later.
2. The rows of the deletions are written later, in pieces, in the order of keys, of the oldest tombstone first. No read,
   digest, hash or snapshot depends on how far that has come, and no removal goes by a tombstone.
3. A put over a covered pair finds no key. The pair before is in ``history`` still, which is where the deletions are
   read from; of a lease that is ending, ``attached`` keeps each row until its tombstone has found it.
4. A watch waits at the revision of a tombstone until all its events are there.
5. A tombstone is used up in the order of keys, which is not that of names where keys are long (``covered``).
6. Where a tombstone of a range covers all names there are, what is there was put since. Those names are kept in memory
   (``PutSince``), so who reads such a range looks at them alone, however many pairs are covered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from ratified.kv import names
from ratified.kv.tables import LIVE
from ratified.wire.etcd.kv_pb2 import KeyValue

KEY = b"tombstone"
"""With the revision behind it the key of a tombstone's row in ``meta``."""
KEY_END = b"tombstonf"


class Rows(Protocol):
    """What can be read from: a space, or a view of it."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with first <= key < last."""

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The keys of the first so many of these rows."""

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """The keys and the values of the first so many of these rows."""


class Tombstone(msgspec.Struct, frozen=True, array_like=True):
    """The keys from ``first`` to ``end`` (None: no bound), or those of ``lease`` (0: of a range), at ``revision``.

    ``written`` deletions have their rows: those of the keys up to ``after``, escaped (``names``).
    """

    revision: int
    first: bytes = b""
    end: bytes | None = None
    lease: int = 0
    written: int = 0
    after: bytes = b""

    @property
    def key(self) -> bytes:
        return KEY + self.revision.to_bytes(8)

    def covers(self, pair: KeyValue) -> bool:
        if pair.mod_revision >= self.revision:
            return False
        if self.lease:
            return pair.lease == self.lease
        return self.meets(pair.key, pair.key + b"\x00")

    def meets(self, first: bytes, end: bytes | None) -> bool:
        """Whether it may cover keys of this range."""
        return (self.end is None or first < self.end) and (end is None or self.first < end)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, row: bytes) -> Tombstone:
        return msgspec.msgpack.decode(row, type=Tombstone)


class PutSince:
    """The names in the range of a pending tombstone that were put since, those of whole groups at its ends included.

    A name may be there that was not: whose put was undone, or which an older reader does not see.
    """

    __slots__ = ("_first", "_last", "_names", "covers_before", "covers_from", "revision")

    def __init__(self, tombstone: Tombstone) -> None:
        self.revision = tombstone.revision
        self._first = names.first_name(tombstone.first)
        self._last = None if tombstone.end is None else names.last_name(tombstone.end)
        self._names: list[bytes] = []
        self.covers_from, self.covers_before = self._first, self._last
        """Between them all names are of keys of its range: a group that the range cuts in two is outside."""
        if not names.has_whole_name(tombstone.first):
            self.covers_from = names.group_of(names.escaped(tombstone.first))[1]
        if tombstone.end is not None and not names.has_whole_name(tombstone.end):
            self.covers_before = names.group_of(names.escaped(tombstone.end))[0]

    def note(self, name: bytes) -> None:
        """It is put."""
        if self._first <= name and (self._last is None or name < self._last):
            at = bisect_left(self._names, name)
            if at == len(self._names) or self._names[at] != name:
                self._names.insert(at, name)

    def reaches(self, first: bytes, last: bytes) -> bool:
        """Whether its range may have keys with names between these bounds."""
        return self._first < last and (self._last is None or first < self._last)

    def between(self, first: bytes, last: bytes | None) -> Iterator[bytes]:
        """In order; more may be put meanwhile."""
        at = bisect_left(self._names, first)
        while at < len(self._names) and (last is None or self._names[at] < last):
            name = self._names[at]
            yield name
            at = bisect_right(self._names, name)


class Stretch(NamedTuple):
    """Names, and what was put since a tombstone covered all of them; None: none does."""

    first: bytes
    last: bytes | None
    put_since: PutSince | None


class VisibleRows:
    """Rows, the tombstones that are pending in them, the oldest first, and what was put since those of ranges.

    ``has_order`` says, where long keys are read, whether their order is kept (``order``).
    """

    __slots__ = ("columns", "get", "has_order", "keys", "put_since", "rows", "scan", "tombstones")

    def __init__(
        self,
        rows: Rows,
        tombstones: tuple[Tombstone, ...] = (),
        put_since: tuple[PutSince, ...] = (),
        *,
        has_order: Callable[[], bool] = lambda: False,
    ) -> None:
        self.rows = rows
        self.has_order = has_order
        self.get = rows.get
        self.scan = rows.scan
        self.keys = rows.keys
        self.columns = rows.columns
        self.tombstones = tombstones
        self.put_since = put_since

    def until(self, revision: int) -> VisibleRows:
        """The same rows, with those tombstones alone that a read at ``revision`` finds."""
        return VisibleRows(
            self.rows,
            tuple(each for each in self.tombstones if each.revision <= revision),
            tuple(each for each in self.put_since if each.revision <= revision),
            has_order=self.has_order,
        )

    def live(self, first: bytes, last: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """Rows of ``live`` in order. A pair that a tombstone covers is empty, and not all that are covered come.

        Who was put since and is gone comes as one that is covered: it is looked at."""
        return self._live(first, last) if self.tombstones else self.scan(LIVE, first, last)

    def _live(self, first: bytes, last: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        of_leases = len(self.put_since) < len(self.tombstones)
        for stretch in self._stretches(first, last):
            if stretch.put_since is None:
                for name, pair in self.scan(LIVE, stretch.first, stretch.last):
                    # No range covers all names here; one may still cover some of a group.
                    may_be_covered = of_leases or not names.is_whole(name)
                    yield name, b"" if may_be_covered and self.covered_by(pair) else pair
                continue
            for name in stretch.put_since.between(stretch.first, stretch.last):
                found = self.get(LIVE, name)  # None: it was put since, and deleted again
                yield name, b"" if found is None or self.covered_by(found) else found

    def _stretches(self, first: bytes, last: bytes | None) -> Iterator[Stretch]:
        """These names, cut wherever a tombstone's begin or end."""
        bounds = {bound for each in self.put_since for bound in (each.covers_from, each.covers_before)}
        inside = (each for each in bounds if each is not None and first < each and (last is None or each < last))
        for end in (*sorted(inside), last):
            yield Stretch(first, end, self.put_since_covered(first, end))
            if end is not None:
                first = end

    def put_since_covered(self, first: bytes, last: bytes | None) -> PutSince | None:
        """What was put since the newest tombstone that covers all names between these bounds; None: none does."""
        for each in reversed(self.put_since):
            behind = each.covers_before
            if each.covers_from <= first and (behind is None or (last is not None and last <= behind)):
                return each
        return None

    def may_be_covered(self, first: bytes, last: bytes) -> bool:
        """Whether a tombstone may cover keys with names between these bounds."""
        of_leases = len(self.put_since) < len(self.tombstones)
        return of_leases or any(each.reaches(first, last) for each in self.put_since)

    def covered_by(self, pair: bytes, revision: int | None = None) -> Tombstone | None:
        """The tombstone that a read at ``revision`` (None: the newest) finds this pair under; None: it is there."""
        if not self.tombstones:
            return None
        parsed = KeyValue.FromString(pair)
        for tombstone in self.tombstones:
            if revision is not None and tombstone.revision > revision:
                break
            if tombstone.covers(parsed):
                return tombstone
        return None
