"""RangeRequest: which pairs, in which order, how many; in one go, or in slices over a view.

Rules
1. A range is half open; ``Interval`` has etcd's three conventions behind it (no end: one key; ``00``: no bound).
2. Pairs come in the order of keys. Where nothing else is asked for they pass through in the bytes in which they are
   stored; a filter or another order collects them first.
3. ``count`` is the number of keys in the range, ``more`` says that the limit left something out (etcd 3.5).
4. Each row that is looked at counts into a slice, whether it is a pair of the range or not. Of a long history of one
   key only ``history.CHANGES_WALKED_MAX`` changes are walked; then its newest one is sought.
5. Pairs that are only counted are not looked at (``counting``).
6. A group of long keys is read as a whole and sorted. Of a commit, one of more than ``_COLLECTED_MAX`` keys is read by
   its order instead (``order``), where no tombstone is pending.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice, repeat
from typing import TypeAlias

from typing_extensions import override

from ratified.kv import names, order
from ratified.kv.counting import Counted, keys_at, keys_in
from ratified.kv.encoding import OK, field, header, varint
from ratified.kv.history import changes_at, is_dropped, names_of
from ratified.kv.intervals import Interval, interval
from ratified.kv.runs import Runs
from ratified.kv.shared_counts import SharedCounts
from ratified.kv.tables import LIVE
from ratified.kv.tombstones import VisibleRows
from ratified.machine import Continuation, Slice
from ratified.storage.space import View
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import RangeRequest

Pair: TypeAlias = tuple[bytes, bytes]
"""(key, serialized KeyValue)."""
COVERED: tuple[()] = ()
Look: TypeAlias = Pair | tuple[()] | None
Looks: TypeAlias = Iterator[Look]
"""What a walk over rows looks at, one after another: a pair of the range, in the order of keys; None: none of it; or
``COVERED``: a pair that a tombstone covers, or a key that a compaction drops, whose rows some replicas still have."""


_ABSENT_A_LOOK = 8
"""How many changes of keys that were not there are passed over in the time that it takes to look at a pair."""


_COLLECTED_MAX = 16
"""To read so many keys and sort them takes less time than to look them up by their order."""


def live(rows: VisibleRows, wanted: Interval) -> Looks:
    """The newest pairs."""
    if wanted.empty:
        return
    first = names.first_name(wanted.first)
    last = None if wanted.end is None else names.last_name(wanted.end)
    while (shared := (yield from _up_to_large_group(rows, wanted, first, last))) is not None:
        yield from _by_order(rows, shared, wanted)
        first = names.group_of(shared)[1]


def _up_to_large_group(
    rows: VisibleRows, wanted: Interval, first: bytes, last: bytes | None
) -> Generator[Look, None, bytes | None]:
    """Returns what the keys of a group share that is to be read by its order; None: there is none."""
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
        elif collected == _COLLECTED_MAX and order.may_be_used(rows):
            return name[:whole_bytes_max]
        else:
            shared = name[: names.NAME_BYTES_MAX]
            collected += 1
            group.add((KeyValue.FromString(pair).key, pair))
            yield None
    yield from _in_order(group, wanted)
    return None


def _by_order(rows: VisibleRows, shared: bytes, wanted: Interval) -> Looks:
    """The pairs of a group."""
    for name in order.names_in(rows, shared, wanted):
        pair = None if name is None else rows.get(LIVE, name)
        key = None if pair is None else KeyValue.FromString(pair).key
        yield (key, pair) if key is not None and pair is not None and wanted.holds(key) else None


def present(rows: VisibleRows, key: bytes, range_end: bytes) -> Looks:
    """The newest pairs of a request's range; one key is one look-up."""
    if range_end:
        return live(rows, interval(key, range_end))
    pair = rows.get(LIVE, names.name(key))
    return iter(() if pair is None or rows.covered_by(pair) else ((key, pair),))


def _in_order(group: Runs[bytes], wanted: Interval) -> Looks:
    for key, pair in group.in_order():
        yield (key, pair) if wanted.holds(key) else None


def at_revision(rows: VisibleRows, wanted: Interval, revision: int, dropped_by: int | None = None) -> Looks:
    """The pairs as they were at ``revision``; what a compaction at ``dropped_by`` drops is said to be so."""
    if wanted.empty:
        return
    group = Runs[bytes]()
    shared = b""
    first = names.first_name(wanted.first)
    last = None if wanted.end is None else names.last_name(wanted.end)
    for found in changes_at(rows, first, last, revision):
        if isinstance(found, list):
            yield from _absent(rows, found, dropped_by)
            continue
        name, pair = found
        if group and name[: names.NAME_BYTES_MAX] != shared:
            yield from _in_order(group, wanted)
            group = Runs[bytes]()
        if pair is None:
            yield None if dropped_by is None or not is_dropped(rows, name, dropped_by) else COVERED
        elif names.is_whole(name):
            yield names.key_of(name), pair
        else:
            shared = name[: names.NAME_BYTES_MAX]
            group.add((KeyValue.FromString(pair).key, pair))
            yield None
    yield from _in_order(group, wanted)


def _absent(rows: VisibleRows, changes: Sequence[bytes], dropped_by: int | None) -> Looks:
    """Keys that were not there. Where nobody counts them one by one, they are counted by the time that they take."""
    if dropped_by is None:
        yield from repeat(None, len(changes) // _ABSENT_A_LOOK + 1)
    else:
        for name in names_of(changes):
            yield COVERED if is_dropped(rows, name, dropped_by) else None


_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    RangeRequest.KEY: lambda pair: pair.key,
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


def looks(rows: VisibleRows, request: RangeRequest, newest: int, dropped_by: int | None = None) -> Looks:
    """The walk over the rows, whose revision is ``newest``, that answers the request."""
    if 0 < request.revision < newest:
        return at_revision(rows, interval(request.key, request.range_end), request.revision, dropped_by)
    return present(rows, request.key, request.range_end)


def _looks_where(rows: VisibleRows, shared: SharedCounts, request: RangeRequest) -> Looks:
    """The walk at an older revision, through those parts of the range alone that have something."""
    for part in shared.there(interval(request.key, request.range_end), request.revision):
        yield from at_revision(rows, part, request.revision)


def is_in_order(request: RangeRequest) -> bool:
    """Whether the pairs are answered as they are met: all of them, in the order of keys."""
    return (
        request.sort_target == RangeRequest.KEY and request.sort_order != RangeRequest.DESCEND and not _filters(request)
    )


def is_plain_get(request: RangeRequest) -> bool:
    """Whether it asks for one key's newest pair and nothing else (for one key neither limit nor order matter)."""
    return not (request.range_end or request.revision or request.keys_only or request.count_only or _filters(request))


def plain_get(rows: VisibleRows, key: bytes, newest: int) -> bytes:
    """The RangeResponse of one key's newest pair, the commonest read of all."""
    pair = rows.get(LIVE, names.name(key))
    if pair is not None and rows.tombstones and rows.covered_by(pair):
        pair = None
    return header(newest) if pair is None else header(newest) + field(b"\x12", pair) + b"\x20\x01"


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
        """After so many pairs the others are only counted."""
        if request.count_only:
            self._sends_max = 0
        elif self._passes_through and request.limit > 0:
            self._sends_max = request.limit
        self._sort_key = _SORT_KEYS[request.sort_target]
        self._collected = Runs[bytes](descending=request.sort_order == RangeRequest.DESCEND)
        self._found = 0
        """Pairs that were collected."""
        self._sorted: Iterator[tuple[object, bytes]] | None = None
        self._sent = 0
        self._rows = rows
        self._is_of_newest = not 0 < request.revision < newest
        self._shared = shared if request.range_end and not self._is_of_newest else None
        if self._shared is None:
            self._looks = looks(rows, request, newest)
        else:
            self._looks = _looks_where(rows, self._shared, request)
        self._counted: Iterator[Counted] | None = None
        """What is only counted, from where that began."""
        self._last: bytes | None = None
        """The last key that was read, behind which the counting goes on."""

    def advance(self, rows_max: int, bytes_max: int) -> bytes:
        """The next piece of the response, from about that much of the rows."""
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
        if self._count >= self._sends_max or self._counted is not None:
            self._count_on(rows_max)
            return out
        for look in self._looks:
            rows_max -= 1
            self.looked += 1
            if look:
                self._last, pair = look
                self._count += 1
                bytes_max -= len(pair)
                self._take(pair, out)
            if rows_max <= 0 or bytes_max <= 0 or self._count >= self._sends_max:
                return out
        self._exhausted = True
        return out

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
            if self._is_of_newest:
                self._counted = keys_in(self._rows, wanted)
            else:
                self._counted = keys_at(self._rows, wanted, self._request.revision, self._shared)
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
