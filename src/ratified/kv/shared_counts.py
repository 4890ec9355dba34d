"""The ranges at older revisions of one transaction that only reads, counted in one pass over ``history``.

Rules
1. The ends of the ranges cut the names into *segments*, so a range is some segments in a row, and its count their sum.
   A segment is counted in one pass (``history_counts``), at the revisions of the ranges that it is in and at no other.
2. Where no two ranges meet nothing is done: each is read alone, as outside a transaction.
3. The counts are those of ``history``: what a pending tombstone hides is in them. Who counts takes them only where no
   tombstone reaches, so the ends of tombstones cut as well. So do those of a group of long keys that a range cuts in
   two, which is counted by itself.
4. The pass also finds *where* there was something: intervals of keys, outside of which nobody need look for a pair. So
   keys that were not there are passed over once, and not by each range again. An interval may be too large, or hold
   nothing but what a tombstone hides.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, pairwise
from operator import add

from ratified.kv import names
from ratified.kv.history_counts import keys_between
from ratified.kv.intervals import Interval, interval
from ratified.kv.tombstones import VisibleRows
from ratified.wire.etcd.rpc_pb2 import RangeRequest

_BEHIND_ALL = b"\xff" * (names.NAME_BYTES_MAX + 1)
"""A bound above all names."""
_SEGMENTS_A_LOOK = 16
"""How many segments are told of a range in the time that it takes to look at a row."""


def shared_counts(rows: VisibleRows, requests: Iterable[RangeRequest], newest: int) -> SharedCounts | None:
    """Of those that are ranges at older revisions, of rows whose revision is ``newest``; None: no two of them meet."""
    older = [
        (interval(each.key, each.range_end), each.revision)
        for each in requests
        if each.range_end and 0 < each.revision < newest
    ]
    ranges = sorted((within for within, _ in older if not within.empty), key=lambda each: each.first)
    if any(one.end is None or other.first < one.end for one, other in pairwise(ranges)):
        return SharedCounts(rows, older)
    return None


class SharedCounts:
    """Of ranges, each at its revision; to be asked once ``read`` is done."""

    def __init__(self, rows: VisibleRows, wanted: Sequence[tuple[Interval, int]]) -> None:
        self._rows = rows
        self._wanted = wanted
        self._cuts: list[bytes] = []
        self._keys: dict[int, list[int]] = {}
        """By revision, the keys of each segment: number n is from cut n to the next one."""
        self._there: dict[int, list[Interval]] = {revision: [] for _, revision in wanted}

    def read(self) -> Iterator[int]:
        """Make the pass, in steps; yields the work of each."""
        cuts = self._cuts = sorted(self._ends())
        revisions: list[set[int]] = [set() for _ in cuts]
        for within, revision in self._wanted:
            number, behind = self._segments(_first(within), _last(within))
            for each in revisions[number:behind]:
                each.add(revision)
            yield max(behind - number, 0) // _SEGMENTS_A_LOOK + 1
        self._keys = {revision: [0] * len(cuts) for revision in self._there}
        for number, (first, last) in enumerate(pairwise(cuts)):
            if revisions[number]:
                yield from self._read_segment(number, first, last, sorted(revisions[number]))

    def keys(self, revision: int, first: bytes, last: bytes | None) -> int | None:
        """How many keys there were with names between these bounds, by ``history``; None: no segments end there."""
        if last is None:
            last = _BEHIND_ALL
        number, behind = self._segments(first, last)
        if self._cuts[number : number + 1] != [first] or self._cuts[behind : behind + 1] != [last]:
            return None
        return sum(self._keys[revision][number:behind])

    def there(self, wanted: Interval, revision: int) -> Iterator[Interval]:
        """Parts of this range, in order, outside of which it had no key at the revision."""
        found = self._there[revision]
        at = bisect_right(found, wanted.first, key=lambda each: each.first)
        for each in found[max(at - 1, 0) :]:
            if wanted.end is not None and wanted.end <= each.first:
                return
            end = each.end if wanted.end is None or (each.end is not None and each.end < wanted.end) else wanted.end
            part = Interval(max(each.first, wanted.first), end)
            if not part.empty:
                yield part

    def _ends(self) -> set[bytes]:
        """All names where a segment ends."""
        ends = {_BEHIND_ALL}
        tombstones = (Interval(each.first, each.end) for each in self._rows.tombstones if not each.lease)
        for within in (*(within for within, _ in self._wanted), *tombstones):
            for key in (within.first, within.end):
                if key is not None:
                    ends.update((names.first_name(key), names.last_name(key)))
        return ends

    def _segments(self, first: bytes, last: bytes) -> tuple[int, int]:
        return bisect_left(self._cuts, first), bisect_left(self._cuts, last)

    def _read_segment(self, number: int, first: bytes, last: bytes, revisions: Sequence[int]) -> Iterator[int]:
        behind = [names.position(revision + 1, 0) for revision in revisions]
        there = [self._there[revision] for revision in revisions]
        counted = [0] * len(revisions)
        for piece in keys_between(self._rows, first, last, behind):
            end = last if piece.end is None else piece.end
            part = Interval(_key_from(first), _key_behind(end))
            for parts in compress(there, piece.keys):
                _extend(parts, part)
            counted = list(map(add, counted, piece.keys))
            first = end
            yield piece.work
        for revision, keys in zip(revisions, counted, strict=True):
            self._keys[revision][number] = keys


def _first(within: Interval) -> bytes:
    return names.first_name(within.first)


def _last(within: Interval) -> bytes:
    return _BEHIND_ALL if within.end is None else names.last_name(within.end)


def _extend(parts: list[Interval], part: Interval) -> None:
    """By one that begins behind the beginnings of all others, and ends behind their ends."""
    if not parts:
        parts.append(part)
        return
    newest = parts[-1]
    if newest.end is None or part.first <= newest.end:
        parts[-1] = Interval(newest.first, part.end)
    else:
        parts.append(part)


def _key_from(bound: bytes) -> bytes:
    """No key with a name from this bound on is less."""
    return names.key_of(bound[: names.NAME_BYTES_MAX])


def _key_behind(bound: bytes) -> bytes | None:
    """Every key with a name below this bound is less; None: no key is known that is greater."""
    if names.is_whole(bound):
        return names.key_of(bound)
    shared = bound[: names.NAME_BYTES_MAX].rstrip(b"\xff")
    return names.key_of(shared[:-1] + bytes([shared[-1] + 1])) if shared else None
