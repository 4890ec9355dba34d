"""What a tombstone covers, in the order of keys, walked in pieces.

Names sort as keys do, but not inside a group of long keys. A large one is walked by its order where that is kept
(``order``); any other is looked at as a whole, in as many pieces as that takes, before its first key comes. What there
was before the tombstone's revision does not change while it is pending, so it does not matter what is written between
two pieces; after a restart the group is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from ratified.kv import names, order
from ratified.kv.history import names_at, newest_at, past
from ratified.kv.intervals import Interval
from ratified.kv.runs import Runs
from ratified.kv.tables import ATTACHED, LEASE_BYTES, LIVE, lease_bounds, lease_prefix
from ratified.kv.tombstones import Tombstone, VisibleRows
from ratified.kv.walks import COLLECTED_MAX
from ratified.wire.etcd.kv_pb2 import KeyValue


class Covered(NamedTuple):
    """A key that the walk has come to: one that the tombstone covers or, of a lease, one that was attached and is not.

    ``position`` sorts as the key does.
    """

    name: bytes
    key: bytes
    covered: bool
    size_bytes: int
    """Of its pair, and of its name in the two tables from which it goes."""

    @property
    def position(self) -> bytes:
        return names.escaped(self.key)


_Item: TypeAlias = tuple[bytes, bytes, bool, int]
"""A ``Covered`` that the garbage collector forgets: groups may be large."""


class Walk:
    """What is left of a tombstone, that is behind ``Tombstone.after``."""

    def __init__(self, tombstone: Tombstone) -> None:
        self._tombstone = tombstone
        self._next, self._last = _bounds(tombstone)
        self._group: Runs[_Item] = Runs()
        self._shared = b""
        """With which the names of the group begin."""
        self._seen = 0
        """Names of the group that were looked at."""
        self._in_order: Iterator[tuple[bytes, _Item]] = iter(())
        """What is left of a group that was looked at as a whole."""
        self._by_order = False
        """Whether the group is walked by its order."""
        self._first = b""
        """The key from which that goes on."""
        self.finished = False

    def piece(self, rows: VisibleRows, looks_max: int, bytes_max: int) -> Sequence[Covered]:
        """Look at about so much; ``finished`` then says whether that was all."""
        found: list[Covered] = []
        while looks_max > 0 and bytes_max > 0 and not self.finished:
            if (each := self._next_of_group()) is not None:
                found.append(each)
                looks_max -= 1
                bytes_max -= each.size_bytes
            elif self._by_order:
                looks_max, bytes_max = self._look_by_order(rows, found, looks_max, bytes_max)
            else:
                looks_max, bytes_max = self._look(rows, found, looks_max, bytes_max)
        return found

    def whole(self, rows: VisibleRows) -> Iterator[Covered]:
        """All that is covered; the rows must stay the same meanwhile."""
        while not self.finished:
            yield from (each for each in self.piece(rows, 1_000, 1 << 20) if each.covered)

    def _next_of_group(self) -> Covered | None:
        found = next(self._in_order, None)
        return None if found is None else Covered(*found[1])

    def _look(self, rows: VisibleRows, found: list[Covered], looks_max: int, bytes_max: int) -> tuple[int, int]:
        """Go on in the table up to the end of a group; gives what is left of the room."""
        tombstone = self._tombstone
        walk = _names_of_lease if tombstone.lease else _names_of_range
        for name, each in walk(rows, tombstone, self._next, self._last):
            if self._group and name[: names.NAME_BYTES_MAX] != self._shared:
                self._end_group()
                return looks_max, bytes_max
            self._next = _behind(tombstone, name)
            looks_max -= 1
            if not names.is_whole(name) and self._is_large_group(rows, name):
                self._begin_order()
                return looks_max, bytes_max
            if each is not None:
                bytes_max -= each.size_bytes
                if names.is_whole(name):
                    found.append(each)
                elif each.position > tombstone.after:
                    self._group.add((each.key, (each.name, each.key, each.covered, each.size_bytes)))
            if looks_max <= 0 or bytes_max <= 0:
                return looks_max, bytes_max
        if self._group:
            self._end_group()
        else:
            self.finished = True
        return looks_max, bytes_max

    def _end_group(self) -> None:
        self._in_order, self._group = self._group.in_order(), Runs()

    def _is_large_group(self, rows: VisibleRows, name: bytes) -> bool:
        """With this name, whether it is to be walked by its order."""
        shared = name[: names.NAME_BYTES_MAX]
        self._seen = self._seen + 1 if shared == self._shared else 1
        self._shared = shared
        return self._seen > COLLECTED_MAX and not self._tombstone.lease and rows.has_order()

    def _begin_order(self) -> None:
        self._by_order = True
        self._group = Runs()
        self._first = max(self._tombstone.first, names.key_of(self._tombstone.after) + b"\x00")

    def _look_by_order(
        self, rows: VisibleRows, found: list[Covered], looks_max: int, bytes_max: int
    ) -> tuple[int, int]:
        """Go on in a group; gives what is left of the room."""
        tombstone = self._tombstone
        wanted = Interval(self._first, tombstone.end)
        for name in order.names_in(rows, self._shared, wanted, live_only=False):
            looks_max -= 1
            if name is None:
                continue
            pair = newest_at(rows, name, tombstone.revision - 1)
            key = order.key_of(rows, name) if pair is None else KeyValue.FromString(pair).key
            if pair is not None:
                found.append(Covered(name, key, True, len(pair) + 2 * len(name)))
                bytes_max -= found[-1].size_bytes
            self._first = key + b"\x00"
            if looks_max <= 0 or bytes_max <= 0:
                return looks_max, bytes_max
        self._by_order = False
        self._next = names.group_of(self._shared)[1]
        return looks_max, bytes_max


def _names_of_range(
    rows: VisibleRows, tombstone: Tombstone, first: bytes, last: bytes | None
) -> Iterator[tuple[bytes, Covered | None]]:
    for name, pair in names_at(rows, first, last, tombstone.revision - 1):
        if pair is None:
            yield name, None
        elif names.is_whole(name):
            yield name, Covered(name, names.key_of(name), True, len(pair) + 2 * len(name))
        else:
            parsed = KeyValue.FromString(pair)  # the bounds of the range may be inside its group
            yield name, Covered(name, parsed.key, True, len(pair) + 2 * len(name)) if tombstone.covers(parsed) else None


def _names_of_lease(
    rows: VisibleRows, tombstone: Tombstone, first: bytes, last: bytes | None
) -> Iterator[tuple[bytes, Covered]]:
    for at, key in rows.scan(ATTACHED, first, last):
        name = at[LEASE_BYTES:]
        pair = rows.get(LIVE, name)
        if pair is not None and tombstone.covers(KeyValue.FromString(pair)):
            by = rows.covered_by(pair)
            ours = by is not None and by.revision == tombstone.revision  # not an older one
        else:  # something was put over what was there, which is in the history
            pair = newest_at(rows, name, tombstone.revision - 1)
            ours = pair is not None and tombstone.covers(KeyValue.FromString(pair))
        yield name, Covered(name, key, ours, len(pair or b"") + 2 * len(name))


def _bounds(tombstone: Tombstone) -> tuple[bytes, bytes | None]:
    """The first row that is left, and one behind all, in the table that is walked."""
    after = tombstone.after
    if not after:
        first = names.first_name(tombstone.first)
    elif names.is_whole(after):
        first = past(after)
    else:
        first = names.group_of(after)[0]
    if tombstone.lease:
        prefix, last = lease_bounds(tombstone.lease)
        return prefix + first, last
    return first, None if tombstone.end is None else names.last_name(tombstone.end)


def _behind(tombstone: Tombstone, name: bytes) -> bytes:
    """What follows the rows of this name."""
    return _row(tombstone, past(name))


def _row(tombstone: Tombstone, name: bytes) -> bytes:
    """Where a name is in the table that is walked."""
    return lease_prefix(tombstone.lease) + name if tombstone.lease else name
