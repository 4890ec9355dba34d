"""RangeRequest: which pairs, in which order, how many; in one go, or in slices over a view.

Rules
1. A range is half open; ``Interval`` has etcd's three conventions behind it (no end: one key; ``00``: no bound).
2. Pairs come in the order of keys. Where nothing else is asked for they pass through in the bytes in which they are
   stored; a filter or another order collects them first.
3. ``count`` is the number of keys in the range, ``more`` says that the limit left something out (etcd 3.5). A limit
   with something to sort by, and no order, takes one pair more than it admits, in the order of keys, and sorts those.
4. Each row that is looked at counts into a slice, whether it is a pair of the range or not. Of a long history of one
   key only ``history.CHANGES_WALKED_MAX`` changes are walked; then its newest one is sought.
5. Pairs that are only counted are not looked at (``counting``).
6. Newest pairs that pass through are taken from the rows many at a time, while no tombstone is pending, up to the first
   long key; from there on they are walked to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice

from typing_extensions import override

from ratified.kv import names
from ratified.kv.counting import Counted, keys_at, keys_in
from ratified.kv.encoding import OK, field, header, varint
from ratified.kv.intervals import Interval, interval
from ratified.kv.runs import Runs
from ratified.kv.shared_counts import SharedCounts
from ratified.kv.tables import LIVE
from ratified.kv.tombstones import VisibleRows
from ratified.kv.walks import COVERED, Looks, at_revision, live, live_at, names_of_keys, present
from ratified.machine import Continuation, Slice
from ratified.storage.space import View
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import RangeRequest

_TAKEN_AT_ONCE = 64
"""Pairs; the rows that follow may be much larger than those before."""
_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    RangeRequest.KEY: lambda pair: pair.key,
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


def is_of_older(request: RangeRequest, newest: int) -> bool:
    """Whether a revision before the newest one is asked for."""
    return 0 < request.revision < newest


def looks(rows: VisibleRows, request: RangeRequest, newest: int) -> Looks:
    """The walk over the rows, whose revision is ``newest``, that answers the request."""
    if is_of_older(request, newest):
        return at_revision(rows, request.key, request.range_end, request.revision)
    return present(rows, request.key, request.range_end)


def _looks_where(rows: VisibleRows, shared: SharedCounts, request: RangeRequest) -> Looks:
    """The walk at an older revision, through those parts of the range alone that have something."""
    for part in shared.there(interval(request.key, request.range_end), request.revision):
        yield from live_at(rows, part, request.revision)


def is_in_order(request: RangeRequest) -> bool:
    """Whether the pairs are answered as they are met: all of them, in the order of keys."""
    return (
        request.sort_target == RangeRequest.KEY and request.sort_order != RangeRequest.DESCEND and not _filters(request)
    )


def is_of_newest(request: RangeRequest) -> bool:
    """Whether it asks for one key's newest pair and nothing else (for one key neither limit nor order matter)."""
    return not (request.range_end or request.revision or request.keys_only or request.count_only or _filters(request))


def newest_of(rows: VisibleRows, key: bytes, newest: int) -> bytes:
    """The RangeResponse of one key's newest pair, the commonest read of all."""
    return header(newest) + newest_pair(rows, key)


def newest_pair(rows: VisibleRows, key: bytes) -> bytes:
    """The same without its header."""
    pair = rows.get(LIVE, names.name(key))
    if pair is None or (rows.tombstones and rows.covered_by(pair)):
        return b""
    return field(b"\x12", pair) + b"\x20\x01"


class RangeRead:
    """One range being read: hand it room, get bytes of the RangeResponse, until ``finished``.

    ``rows`` must stay the same until then; ``newest`` is their revision. That the requested one can be read has been
    checked. ``shared`` has what was found of several ranges together, this one among them.
    """

    def __init__(
        self, rows: VisibleRows, request: RangeRequest, newest: int, shared: SharedCounts | None = None
    ) -> None:
        self.finished = False
        self.looked = 0
        """Rows looked at."""
        self._request = request
        self._newest = newest
        self._count = 0
        self._begun = False
        self._exhausted = False
        self._passes_through = is_in_order(request) or request.count_only
        self._sends_max = sys.maxsize
        """After so many pairs, sent or collected, the others are only counted."""
        if request.count_only:
            self._sends_max = 0
        elif self._passes_through and request.limit > 0:
            self._sends_max = request.limit
        elif request.sort_order == RangeRequest.NONE and request.limit > 0 and not _filters(request):
            self._sends_max = request.limit + 1
        self._sort_key = _SORT_KEYS[request.sort_target]
        self._collected = Runs[bytes](descending=request.sort_order == RangeRequest.DESCEND)
        self._found = 0
        """Pairs that were collected."""
        self._sorted: Iterator[tuple[object, bytes]] | None = None
        self._sent = 0
        self._rows = rows
        self._is_of_older = is_of_older(request, newest)
        self._shared = shared if request.range_end and self._is_of_older else None
        if self._shared is None:
            self._looks = looks(rows, request, newest)
        else:
            self._looks = _looks_where(rows, self._shared, request)
        self._counted: Iterator[Counted] | None = None
        """What is only counted, from where that began."""
        self._last: bytes | None = None
        """The last key that was read, behind which the counting goes on."""
        self._stretch: tuple[bytes, bytes | None] | None = None
        """The names, from the first to before the last, that are still to be taken many at a time; None: none are."""
        takes_many = self._passes_through and self._sends_max and not (self._is_of_older or request.keys_only)
        if takes_many and request.range_end and not rows.tombstones:
            wanted = interval(request.key, request.range_end)
            self._stretch = None if wanted.empty else names_of_keys(wanted)

    def advance(self, rows_max: int, bytes_max: int) -> bytes:
        """The next piece of the response, from about that much of the rows; each at least 1."""
        out = [] if self._begun else [header(self._newest)]
        self._begun = True
        if not self._exhausted:
            out += self._read(rows_max, bytes_max)
        elif self._sent < self._answered:
            out += self._send(rows_max, bytes_max)
        if self._exhausted and self._sent == self._answered:
            self.finished = True
            out.append(self._end())
        return b"".join(out)

    def _read(self, rows_max: int, bytes_max: int) -> list[bytes]:
        """Read on; what passes through is sent as it is met."""
        out: list[bytes] = []
        if self._count < self._sends_max and self._counted is None:
            looked = self.looked
            if self._stretch is not None:
                self._take_many(*self._stretch, rows_max, bytes_max, out)
            else:
                self._walk(rows_max, bytes_max, out)
            rows_max -= self.looked - looked
        only_counts = self._count >= self._sends_max or self._counted is not None
        if only_counts and rows_max > 0 and not self._exhausted:
            self._count_on(rows_max)
        return out

    def _walk(self, rows_max: int, bytes_max: int, out: list[bytes]) -> None:
        for look in self._looks:
            rows_max -= 1
            self.looked += 1
            if look:
                self._last, pair = look
                self._count += 1
                bytes_max -= len(pair)
                self._take(pair, out)
            if rows_max <= 0 or bytes_max <= 0 or self._count >= self._sends_max:
                return
        self._exhausted = True

    def _take_many(self, first: bytes, last: bytes | None, rows_max: int, bytes_max: int, out: list[bytes]) -> None:
        """How many at a time follows from the largest so far: what is read beyond the bytes is read again."""
        many = 1
        while rows_max > 0 and bytes_max > 0 and self._count < self._sends_max:
            most = min(many, rows_max, self._sends_max - self._count)
            found, pairs = self._rows.columns(LIVE, first, last, most)
            if found and max(map(len, found)) > names.NAME_BYTES_MAX:
                self._walk_on()
                return
            taken = 0
            while taken < len(pairs) and bytes_max > 0:
                pair = pairs[taken]
                out += (b"\x12" + varint(len(pair)), pair)
                bytes_max -= len(pair)
                taken += 1
            if taken:
                first = found[taken - 1] + b"\x00"
                self._last = names.key_of(found[taken - 1])
            self._count += taken
            self.looked += taken
            rows_max -= taken
            if len(found) < most and taken == len(found):
                self._exhausted = True
                return
            largest = max(map(len, pairs), default=1)
            many = max(min(2 * many, bytes_max // largest, _TAKEN_AT_ONCE), 1)
        self._stretch = first, last

    def _walk_on(self) -> None:
        """From behind what was taken."""
        self._stretch = None
        if self._last is not None:
            end = interval(self._request.key, self._request.range_end).end
            self._looks = live(self._rows, Interval(self._last + b"\x00", end))

    def _count_on(self, rows_max: int) -> None:
        """Only count what is left."""
        if not self._request.range_end:
            found = list(islice(self._looks, rows_max))
            self.looked += len(found)
            self._count += len(found) - found.count(None) - found.count(COVERED)
            self._exhausted = len(found) < rows_max
            return
        if self._counted is None:
            wanted = interval(self._request.key, self._request.range_end)
            if self._shared is not None:
                self._count = 0  # all of it was counted, and no part of it
            elif self._last is not None:
                wanted = Interval(self._last + b"\x00", wanted.end)
            if self._is_of_older:
                self._counted = keys_at(self._rows, wanted, self._request.revision, self._shared)
            else:
                self._counted = keys_in(self._rows, wanted)
        for counted in self._counted:
            self._count += counted.keys
            self.looked += counted.work
            rows_max -= counted.work
            if rows_max <= 0:
                return
        self._exhausted = True

    def _take(self, pair: bytes, out: list[bytes]) -> None:
        request = self._request
        if not self._passes_through:
            parsed = KeyValue.FromString(pair)
            if _passes(request, parsed):
                self._collected.add((self._sort_key(parsed), pair))
                self._found += 1
        else:
            out.append(field(b"\x12", _without_value(KeyValue.FromString(pair)) if request.keys_only else pair))

    @property
    def _answered(self) -> int:
        """How many of the collected pairs the limit admits."""
        limit = self._request.limit
        return min(self._found, limit) if limit > 0 else self._found

    def _send(self, rows_max: int, bytes_max: int) -> list[bytes]:
        """Send on from what was collected."""
        out: list[bytes] = []
        if self._sorted is None:
            self._sorted = self._collected.in_order()
        while self._sent < self._answered and rows_max > 0 and bytes_max > 0:
            _, pair = next(self._sorted)
            out.append(field(b"\x12", _without_value(KeyValue.FromString(pair)) if self._request.keys_only else pair))
            self._sent += 1
            rows_max -= 1
            bytes_max -= len(out[-1])
        return out

    def _end(self) -> bytes:
        request = self._request
        if self._passes_through:
            more = not request.count_only and 0 < request.limit < self._count
        else:
            more = self._answered < self._found
        return (b"\x18\x01" if more else b"") + (b"\x20" + varint(self._count) if self._count else b"")


def _filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def _passes(request: RangeRequest, pair: KeyValue) -> bool:
    return not (
        (request.max_mod_revision and pair.mod_revision > request.max_mod_revision)
        or (request.min_mod_revision and pair.mod_revision < request.min_mod_revision)
        or (request.max_create_revision and pair.create_revision > request.max_create_revision)
        or (request.min_create_revision and pair.create_revision < request.min_create_revision)
    )


def _without_value(pair: KeyValue) -> bytes:
    pair.ClearField("value")
    return pair.SerializeToString()


class SlicedRange(Continuation):
    """A long range as a continuation; its chunks, joined, are one answer."""

    def __init__(self, view: View, read: RangeRead, begun: bytes) -> None:
        self._view = view
        self._read = read
        self._begun = OK + begun

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        piece = self._begun + self._read.advance(rows_max, bytes_max)
        self._begun = b""
        if self._read.finished:
            self._view.close()
        return Slice([piece] if piece else [], self._read.finished)

    @override
    def cancel(self) -> None:
        self._view.close()
