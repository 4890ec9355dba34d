"""Walks over the rows of a range, in the order of keys: the newest pairs, or those of an older revision.

Rules
1. A walk yields what it looks at, one after another, whether it is a pair of the range or not.
2. A group of long keys is read as a whole and sorted, or, one of more than ``COLLECTED_MAX``, through its order where
   that is kept (``order``), and then only what is in the range is looked at.
3. What a transaction costs must not depend on whether a member has the order. So those walks by which costs are summed
   up say also what looks at a group they have spared (``Spared``): with those it comes to the same looks everywhere.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import repeat
from typing import NamedTuple, TypeAlias

from ratified.kv import names, order
from ratified.kv.history import changes_at, is_dropped, name_of, names_of, newest_at
from ratified.kv.intervals import Interval, interval
from ratified.kv.runs import Runs
from ratified.kv.tables import LIVE
from ratified.kv.tombstones import VisibleRows
from ratified.wire.etcd.kv_pb2 import KeyValue

Pair: TypeAlias = tuple[bytes, bytes]
"""(key, serialized KeyValue)."""
COVERED: tuple[()] = ()
Look: TypeAlias = Pair | tuple[()] | None
Looks: TypeAlias = Iterator[Look]
"""What a walk over rows looks at, one after another: a pair of the range, in the order of keys; None: none of it; or
``COVERED``: a pair that a tombstone covers, or a key that a compaction drops, whose rows some replicas still have."""


class Spared(NamedTuple):
    """Looks at none of the range that were spared, and the work that it took instead."""

    looks: int
    work: int


Charged: TypeAlias = Iterator[Look | Spared]

_ABSENT_A_LOOK = 8
"""How many changes of keys that were not there are passed over in the time that it takes to look at a pair."""
COLLECTED_MAX = 16
"""To read so many keys and sort them takes less time than to look them up by their order."""
_NAMES_A_LOOK = 4
"""How many names are counted in the time that it takes to look at a row."""


# ---------------------------------------------------------------------------------------------------------------
# The newest pairs


def present(rows: VisibleRows, key: bytes, range_end: bytes) -> Looks:
    """The newest pairs of a request's range; one key is one look-up."""
    return live(rows, interval(key, range_end)) if range_end else _one(rows, key)


def charged_present(rows: VisibleRows, key: bytes, range_end: bytes) -> Charged:
    """The same, of a transaction whose cost is summed up."""
    return charged_live(rows, interval(key, range_end)) if range_end else _one(rows, key)


def _one(rows: VisibleRows, key: bytes) -> Looks:
    pair = rows.get(LIVE, names.name(key))
    return iter(() if pair is None or rows.covered_by(pair) else ((key, pair),))


def live(rows: VisibleRows, wanted: Interval) -> Looks:
    """The newest pairs of a range."""
    if wanted.empty:
        return
    first, last = names_of_keys(wanted)
    while (name := (yield from _up_to_large_group(rows, wanted, first, last, charged=False))) is not None:
        yield from _by_order(rows, name[: names.NAME_BYTES_MAX], wanted)
        first = names.group_of(name)[1]


def charged_live(rows: VisibleRows, wanted: Interval) -> Charged:
    """The same, of a transaction whose cost is summed up."""
    if wanted.empty:
        return
    first, last = names_of_keys(wanted)
    while (name := (yield from _up_to_large_group(rows, wanted, first, last, charged=True))) is not None:
        yield from _charged_by_order(rows, name, wanted)
        first = names.group_of(name)[1]


def names_of_keys(wanted: Interval) -> tuple[bytes, bytes | None]:
    """Bounds of all names that keys of the range can have."""
    return names.first_name(wanted.first), None if wanted.end is None else names.last_name(wanted.end)


def _up_to_large_group(
    rows: VisibleRows, wanted: Interval, first: bytes, last: bytes | None, *, charged: bool
) -> Generator[Look, None, bytes | None]:
    """Returns the name at which it has left a group that is to be read by its order; None: there is none."""
    group = Runs[bytes]()
    shared = b""
    collected = 0
    whole_bytes_max = names.NAME_BYTES_MAX
    for name, pair in rows.live(first, last):
        if group and name[:whole_bytes_max] != shared:
            yield from _in_order(group, wanted)
            group = Runs[bytes]()
            collected = 0
        if not pair:
            yield COVERED
        elif len(name) <= whole_bytes_max:
            yield (names.key_of(name) if b"\x00" in name else name), pair
        elif collected == COLLECTED_MAX and _goes_by_order(rows, name, charged=charged):
            return name
        else:
            shared = name[:whole_bytes_max]
            collected += 1
            group.add((KeyValue.FromString(pair).key, pair))
            yield None
    yield from _in_order(group, wanted)
    return None


def _goes_by_order(rows: VisibleRows, name: bytes, *, charged: bool) -> bool:
    """Where a tombstone covers all names of a group, only what was put since is looked at, which is less. And what some
    tombstone may cover costs nothing, so it must be seen whether it is covered."""
    if rows.tombstones:
        group = names.group_of(name)
        if rows.put_since_covered(*group) or (charged and rows.may_be_covered(*group)):
            return False
    return rows.has_order()


def _in_order(group: Runs[bytes], wanted: Interval) -> Looks:
    for key, pair in group.in_order():
        yield (key, pair) if wanted.holds(key) else None


def _by_order(rows: VisibleRows, shared: bytes, wanted: Interval) -> Looks:
    """The newest pairs of the group whose keys begin with ``shared``."""
    for name in order.names_in(rows, shared, wanted, live_only=True):
        pair = None if name is None else rows.get(LIVE, name)
        if pair is not None and rows.covered_by(pair):
            yield COVERED
        else:
            yield None if pair is None else (KeyValue.FromString(pair).key, pair)


def _charged_by_order(rows: VisibleRows, name: bytes, wanted: Interval) -> Charged:
    """The pairs of a group, of which the ``COLLECTED_MAX`` names before this one were looked at already.

    Who reads it as a whole looks at each name, and then at each key in order.
    """
    shared = name[: names.NAME_BYTES_MAX]
    left, begun = 0, COLLECTED_MAX
    for counted, looked in order.count_in(rows, shared, Interval(b"", None)):
        yield Spared(max(counted - begun, 0), looked // _NAMES_A_LOOK + 1)
        left += counted
        begun = max(begun - counted, 0)
    first = names.escaped(wanted.first)
    if len(first) > len(shared) and first.startswith(shared):
        for before, looked in order.count_in(rows, shared, Interval(b"", wanted.first)):
            yield Spared(before, looked // _NAMES_A_LOOK + 1)
            left -= before
    for look in _by_order(rows, shared, wanted):
        if look:
            yield look
            left -= 1
        else:
            yield Spared(0, 1)
    yield Spared(left, 0)


# ---------------------------------------------------------------------------------------------------------------
# An older revision


def at_revision(rows: VisibleRows, key: bytes, range_end: bytes, revision: int) -> Looks:
    """The pairs of a request's range as they were at ``revision``; one key is one look-up."""
    if range_end:
        yield from live_at(rows, interval(key, range_end), revision)
    elif (pair := newest_at(rows, names.name(key), revision)) is not None:
        yield key, pair


def live_at(rows: VisibleRows, wanted: Interval, revision: int) -> Looks:
    """The pairs of a range as they were at ``revision``."""
    if wanted.empty:
        return
    first, last = names_of_keys(wanted)
    while (name := (yield from _up_to_large_group_at(rows, wanted, first, last, revision, None))) is not None:
        yield from _by_order_at(rows, name[: names.NAME_BYTES_MAX], wanted, revision)
        first = names.group_of(name)[1]


def charged_at(rows: VisibleRows, wanted: Interval, revision: int, dropped_by: int) -> Looks:
    """The same, of a transaction whose cost is summed up; what a compaction at ``dropped_by`` drops is said to be so.

    It reads all groups as a whole.
    """
    if not wanted.empty:
        yield from _up_to_large_group_at(rows, wanted, *names_of_keys(wanted), revision, dropped_by)


def _up_to_large_group_at(
    rows: VisibleRows, wanted: Interval, first: bytes, last: bytes | None, revision: int, dropped_by: int | None
) -> Generator[Look, None, bytes | None]:
    """Returns a name of a group that is to be read by its order; None: there is none.

    ``dropped_by``: as in ``charged_at``, and no group is read by its order.
    """
    group = Runs[bytes]()
    shared = b""
    collected = 0
    for found in changes_at(rows, first, last, revision):
        name, pair = (name_of(found[-1]), None) if isinstance(found, list) else found
        if name[: names.NAME_BYTES_MAX] != shared:
            yield from _in_order(group, wanted)
            group = Runs[bytes]()
            shared = name[: names.NAME_BYTES_MAX]
            collected = 0
        if dropped_by is None and not names.is_whole(name) and collected <= COLLECTED_MAX:
            collected += len(found) if isinstance(found, list) and found[0].startswith(shared) else 1
            if collected > COLLECTED_MAX and rows.has_order():
                return name
        if isinstance(found, list):
            yield from _absent(rows, found, dropped_by)
        elif pair is None:
            yield None if dropped_by is None or not is_dropped(rows, name, dropped_by) else COVERED
        elif names.is_whole(name):
            yield names.key_of(name), pair
        else:
            group.add((KeyValue.FromString(pair).key, pair))
            yield None
    yield from _in_order(group, wanted)
    return None


def _absent(rows: VisibleRows, changes: Sequence[bytes], dropped_by: int | None) -> Looks:
    """Keys that were not there. Where nobody counts them one by one, they are counted by the time that they take."""
    if dropped_by is None:
        yield from repeat(None, len(changes) // _ABSENT_A_LOOK + 1)
    else:
        for name in names_of(changes):
            yield COVERED if is_dropped(rows, name, dropped_by) else None


def _by_order_at(rows: VisibleRows, shared: bytes, wanted: Interval, revision: int) -> Looks:
    """The pairs of the group whose keys begin with ``shared``, as they were at ``revision``."""
    for name in order.names_in(rows, shared, wanted, live_only=False):
        pair = None if name is None else newest_at(rows, name, revision)
        yield None if pair is None else (KeyValue.FromString(pair).key, pair)
