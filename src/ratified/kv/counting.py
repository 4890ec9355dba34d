"""How many keys a range or a lease has, or a range had at an older revision, mostly without looking at a pair.

Rules
1. Names are counted by themselves. Those of a group of long keys that the range cuts in two are counted by their order,
   and where that is not kept (``order``) each pair is looked at.
2. At an older revision those names count whose last change up to then was a put: ``history`` says so, and no event is
   read (``history_counts``). The ranges of one transaction may have been counted together (``shared_counts``).
3. Where a pending tombstone of a range reaches, only what was put since counts. Now that alone is looked at, so it does
   not matter how many keys the tombstone covers.
4. Where the tombstone of a lease is pending, the keys of the lease in the range are looked at one by one; at an older
   revision all keys in the range are.
5. All goes in steps, each with what it has found, less than nothing where it corrects another, and what that took
   (``cost``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import NamedTuple, TypeAlias

from ratified.kv import names, order
from ratified.kv.history import PUT, names_at
from ratified.kv.history_counts import keys_between, last_kind
from ratified.kv.intervals import Interval
from ratified.kv.shared_counts import SharedCounts
from ratified.kv.tables import ATTACHED, LEASE_BYTES, LIVE, lease_bounds
from ratified.kv.tombstones import PutSince, VisibleRows
from ratified.kv.walks import names_of_keys
from ratified.wire.etcd.kv_pb2 import KeyValue

_NAMES_A_STEP = 256
_NAMES_A_LOOK = 4
"""How many names are counted in the time that it takes to look at a row."""
_LOOKS_A_STEP = 16
_AMONG_MAX = 32_768
"""Of so many keys of a group the changes are found in one pass."""
_SOUGHT_MAX = 64
"""Of so many the last change of each is sought."""


class Counted(NamedTuple):
    keys: int
    work: int


_Count: TypeAlias = Callable[[bytes, bytes | None], Iterator[Counted]]
"""How many keys there are with names between these bounds (None: there is none)."""


class _Part(NamedTuple):
    """Of a range, and what was put since a tombstone covered all of it; None: none does."""

    interval: Interval
    put_since: PutSince | None


def keys_in(rows: VisibleRows, wanted: Interval) -> Iterator[Counted]:
    """How many keys a range has."""
    leases = dict.fromkeys(tombstone.lease for tombstone in rows.tombstones if tombstone.lease)
    for part, put_since in _parts(rows, wanted):
        if put_since is not None:
            yield from _in_steps(_is_there(rows, part, name) for name in put_since.between(*names_of_keys(part)))
            continue
        yield from _all_in(part, partial(_names_between, rows, LIVE), partial(_held, rows, part))
        for lease in leases:
            yield from _less_covered(rows, lease, part)


def keys_at(
    rows: VisibleRows, wanted: Interval, revision: int, shared: SharedCounts | None = None
) -> Iterator[Counted]:
    """How many keys a range had at ``revision``; what ``shared`` has counted is not counted again."""
    behind = names.position(revision + 1, 0)
    then = rows.until(revision)
    has_lease = any(tombstone.lease for tombstone in then.tombstones)
    for part, put_since in _parts(then, wanted):
        if has_lease:
            yield from _each_between(then, part, revision, *names_of_keys(part))
            continue
        since = b"" if put_since is None else names.position(put_since.revision, 0)
        count: _Count = partial(_there_between, rows, behind, since)
        if shared is not None and put_since is None:
            count = partial(_shared_or_counted, shared, revision, count)
        yield from _all_in(part, count, partial(_held_at, then, part, revision, behind, since))


def keys_of_lease(rows: VisibleRows, lease: int) -> Iterator[Counted]:
    """How many keys are attached to a lease."""
    everything = Interval(b"", None)
    yield from _names_between(rows, ATTACHED, *lease_bounds(lease))
    if any(tombstone.lease == lease for tombstone in rows.tombstones):  # it keeps rows of keys that are not attached
        yield from _less_foreign(rows, lease, everything)
        return
    for part, put_since in _parts(rows, everything):
        if put_since is not None:
            yield from _less_covered(rows, lease, part)


def _parts(rows: VisibleRows, wanted: Interval) -> Iterator[_Part]:
    """The range, cut wherever a tombstone of a range begins or ends."""
    if wanted.empty:
        return
    ranges = [tombstone for tombstone in rows.tombstones if not tombstone.lease]
    bounds = {bound for each in ranges for bound in (each.first, each.end) if bound is not None}
    first = wanted.first
    for end in (*sorted(bound for bound in bounds if first < bound and wanted.holds(bound)), wanted.end):
        # The newest one is the last.
        covering = [since for each, since in zip(ranges, rows.put_since, strict=True) if each.meets(first, end)]
        yield _Part(Interval(first, end), covering[-1] if covering else None)
        if end is not None:
            first = end


def _all_in(wanted: Interval, count: _Count, count_held: _Count) -> Iterator[Counted]:
    """``count_held`` is for a group that the range cuts in two."""
    first, last = names_of_keys(wanted)
    for bound in (wanted.first, wanted.end):
        if bound is not None and not names.has_whole_name(bound) and (last is None or first < last):
            group = names.group_of(names.escaped(bound))
            yield from count_held(*group)
            if bound is wanted.first:
                first = group[1]
            else:
                last = group[0]
    if last is None or first < last:
        yield from count(first, last)


def _names_between(rows: VisibleRows, table: str, first: bytes, last: bytes | None) -> Iterator[Counted]:
    while found := rows.keys(table, first, last, _NAMES_A_STEP):
        yield Counted(len(found), len(found) // _NAMES_A_LOOK + 1)
        first = found[-1] + b"\x00"
        if len(found) < _NAMES_A_STEP:
            break


def _there_between(
    rows: VisibleRows, behind: bytes, since: bytes, first: bytes, last: bytes | None
) -> Iterator[Counted]:
    """Those that were there at the revision before the position ``behind``, and put after ``since``."""
    for piece in keys_between(rows, first, last, (behind,), since):
        yield Counted(piece.keys[0], piece.work)


def _shared_or_counted(
    shared: SharedCounts, revision: int, count: _Count, first: bytes, last: bytes | None
) -> Iterator[Counted]:
    keys = shared.keys(revision, first, last)
    return count(first, last) if keys is None else iter((Counted(keys, 1),))


def _held(rows: VisibleRows, wanted: Interval, first: bytes, last: bytes | None) -> Iterator[Counted]:
    """Those of a group, which has all such names, that are in the range."""
    if rows.has_order():
        counted = order.count_in(rows, first[: names.NAME_BYTES_MAX], wanted)
        return (Counted(keys, looked // _NAMES_A_LOOK + 1) for keys, looked in counted)
    return _in_steps(wanted.holds(KeyValue.FromString(pair).key) for _, pair in rows.scan(LIVE, first, last))


def _held_at(
    rows: VisibleRows, wanted: Interval, revision: int, behind: bytes, since: bytes, first: bytes, last: bytes | None
) -> Iterator[Counted]:
    """Those of a group, which has all such names, that were in the range."""
    if not rows.has_order():
        yield from _each_between(rows, wanted, revision, first, last)
        return
    shared = first[: names.NAME_BYTES_MAX]
    by_order = order.names_in(rows, shared, wanted, live_only=False)
    are_left = True
    while are_left:
        among: dict[bytes, None] = {}
        while are_left and len(among) < _AMONG_MAX:
            found = list(islice(by_order, _NAMES_A_STEP))
            among.update((names.hash_in(name), None) for name in found if name is not None)
            are_left = len(found) == _NAMES_A_STEP
            yield Counted(0, len(found) // _NAMES_A_LOOK + 1)
        if len(among) <= _SOUGHT_MAX:
            found_names = (names.name_of_group(shared, each) for each in among)
            yield from _in_steps(last_kind(rows, name, since, behind) == PUT for name in found_names)
            continue
        for piece in keys_between(rows, first, last, (behind,), since, among):
            yield Counted(piece.keys[0], piece.work)


def _each_between(
    rows: VisibleRows, wanted: Interval, revision: int, first: bytes, last: bytes | None
) -> Iterator[Counted]:
    """Those with such names that were in the range, looked at one by one."""
    return _in_steps(
        pair is not None and wanted.holds(KeyValue.FromString(pair).key)
        for _, pair in names_at(rows, first, last, revision)
    )


def _is_there(rows: VisibleRows, wanted: Interval, name: bytes) -> bool:
    pair = rows.get(LIVE, name)
    return pair is not None and not rows.covered_by(pair) and wanted.holds(KeyValue.FromString(pair).key)


def _less_covered(rows: VisibleRows, lease: int, wanted: Interval) -> Iterator[Counted]:
    """Less those keys of a lease in the range that a tombstone covers.

    One that an ending lease has lost since has a row of each lease, and counts as one of the last.
    """
    return _in_steps(
        -1
        if pair is not None and wanted.holds(key) and KeyValue.FromString(pair).lease == lease and rows.covered_by(pair)
        else 0
        for key, pair in _attached(rows, lease, wanted)
    )


def _less_foreign(rows: VisibleRows, lease: int, wanted: Interval) -> Iterator[Counted]:
    """Less those rows of a lease whose keys are not attached to it."""
    return _in_steps(
        0 if pair is not None and KeyValue.FromString(pair).lease == lease and not rows.covered_by(pair) else -1
        for _, pair in _attached(rows, lease, wanted)
    )


def _attached(rows: VisibleRows, lease: int, wanted: Interval) -> Iterator[tuple[bytes, bytes | None]]:
    """The keys that ``attached`` names, and a few beside the range, with what is there in ``live``."""
    prefix, behind = lease_bounds(lease)
    first = prefix + names.first_name(wanted.first)
    last = behind if wanted.end is None else prefix + names.last_name(wanted.end)
    for at, key in rows.scan(ATTACHED, first, last):
        yield key, rows.get(LIVE, at[LEASE_BYTES:])


def _in_steps(found: Iterator[int]) -> Iterator[Counted]:
    """One row is looked at for each."""
    keys = looks = 0
    for each in found:
        keys += each
        looks += 1
        if looks == _LOOKS_A_STEP:
            yield Counted(keys, looks)
            keys = looks = 0
    if looks:
        yield Counted(keys, looks)
