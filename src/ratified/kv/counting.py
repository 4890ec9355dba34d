"""How many keys a range or a lease has now, mostly without looking at a pair.

Rules
1. Names are counted by themselves. Of a group of long keys that the range cuts in two each pair is looked at.
2. Where a pending tombstone of a range reaches, only what was put since is looked at. So it does not matter how many
   keys the tombstone covers.
3. Of a lease that has ended, and whose tombstone is pending, the keys in the range are looked at one by one.
4. All goes in steps, each with what it has found, less than nothing where it corrects another, and what that took
   (``cost``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ratified.kv import names
from ratified.kv.intervals import Interval
from ratified.kv.tables import ATTACHED, LEASE_BYTES, LIVE, lease_bounds
from ratified.kv.tombstones import PutSince, VisibleRows
from ratified.wire.etcd.kv_pb2 import KeyValue

_NAMES_A_STEP = 256
_NAMES_A_LOOK = 4
"""How many names are counted in the time that it takes to look at a row."""
_LOOKS_A_STEP = 16


class Counted(NamedTuple):
    keys: int
    work: int


class _Part(NamedTuple):
    """Of a range, and what was put since a tombstone covered all of it; None: none does."""

    interval: Interval
    put_since: PutSince | None


def keys_in(rows: VisibleRows, wanted: Interval) -> Iterator[Counted]:
    """How many keys a range has."""
    leases = dict.fromkeys(tombstone.lease for tombstone in rows.tombstones if tombstone.lease)
    for part, put_since in _parts(rows, wanted):
        if put_since is not None:
            yield from _in_steps(_is_there(rows, part, name) for name in put_since.between(*_names_of(part)))
            continue
        yield from _all_in(rows, part)
        for lease in leases:
            yield from _less_covered(rows, lease, part)


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


def _all_in(rows: VisibleRows, wanted: Interval) -> Iterator[Counted]:
    first, last = _names_of(wanted)
    for bound in (wanted.first, wanted.end):
        if bound is not None and not names.has_whole_name(bound) and (last is None or first < last):
            group = names.group_of(names.escaped(bound))
            yield from _held(rows, group, wanted)
            if bound is wanted.first:
                first = group[1]
            else:
                last = group[0]
    if last is None or first < last:
        yield from _names_between(rows, LIVE, first, last)


def _names_between(rows: VisibleRows, table: str, first: bytes, last: bytes | None) -> Iterator[Counted]:
    while found := rows.keys(table, first, last, _NAMES_A_STEP):
        yield Counted(len(found), len(found) // _NAMES_A_LOOK + 1)
        first = found[-1] + b"\x00"
        if len(found) < _NAMES_A_STEP:
            break


def _held(rows: VisibleRows, group: tuple[bytes, bytes], wanted: Interval) -> Iterator[Counted]:
    """Those of a group that are in the range."""
    return _in_steps(wanted.holds(KeyValue.FromString(pair).key) for _, pair in rows.scan(LIVE, *group))


def _names_of(wanted: Interval) -> tuple[bytes, bytes | None]:
    """Bounds of all names that keys of the range can have."""
    return names.first_name(wanted.first), None if wanted.end is None else names.last_name(wanted.end)


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
