"""RangeRequest: which pairs, in which order, how many; in one go, or in slices over a view.

Rules
1. A range is half open; ``Interval`` has etcd's three conventions behind it (no end: one key; ``00``: no bound).
2. Pairs come in the order of keys. Where nothing else is asked for they pass through in the bytes in which they are
   stored; a filter or another order collects them first.
3. ``count`` is the number of keys in the range, ``more`` says that the limit left something out (etcd 3.5).
4. Old revisions cost one seek for the key and one for its newest change, so a slice is bounded however long a key's
   history is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from typing_extensions import override

from ratified.kv import names
from ratified.kv.encoding import OK, field, header, varint
from ratified.kv.mvcc import DELETE, EVENTS, HISTORY, LIVE, PAIR_AT, Rows
from ratified.machine import Continuation, Slice
from ratified.storage.space import View
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import RangeRequest

Pairs = Iterator[tuple[bytes, bytes]]
"""(key, serialized KeyValue), by key."""

_PAST_A_KEY = b"\xff" * 12
"""As a position: after every change of a key."""


class Interval(NamedTuple):
    """first <= key < end; end None is no bound."""

    first: bytes
    end: bytes | None

    def holds(self, key: bytes) -> bool:
        return self.first <= key and (self.end is None or key < self.end)

    @property
    def empty(self) -> bool:
        """Whether no key can be in it."""
        return self.end is not None and self.end <= self.first


def interval(key: bytes, range_end: bytes) -> Interval:
    """What a request's ``key`` and ``range_end`` mean."""
    if not range_end:
        return Interval(key, key + b"\x00")
    return Interval(key, None if range_end == b"\x00" else range_end)


def live_pairs(rows: Rows, wanted: Interval) -> Pairs:
    if wanted.empty:
        return
    group: list[tuple[bytes, bytes]] = []
    shared = b""
    last = None if wanted.end is None else names.last_name(wanted.end)
    for name, pair in rows.scan(LIVE, names.first_name(wanted.first), last):
        if group and name[: names.NAME_BYTES_MAX] != shared:
            yield from _in_order(group, wanted)
            group = []
        if names.is_whole(name):
            yield names.key_of(name), pair
        else:
            shared = name[: names.NAME_BYTES_MAX]
            group.append((KeyValue.FromString(pair).key, pair))
    yield from _in_order(group, wanted)


def present(rows: Rows, key: bytes, range_end: bytes) -> Sequence[tuple[bytes, bytes]]:
    """The newest pairs of a request's range; one key is one look-up."""
    if range_end:
        return list(live_pairs(rows, interval(key, range_end)))
    pair = rows.get(LIVE, names.name(key))
    return () if pair is None else ((key, pair),)


def _in_order(group: list[tuple[bytes, bytes]], wanted: Interval) -> Pairs:
    return (row for row in sorted(group) if wanted.holds(row[0]))


def newest_at(rows: Rows, name: bytes, revision: int) -> bytes | None:
    """A key's pair at ``revision``, by its name; None where it did not exist."""
    first, last = name + names.TERMINATOR, names.history_key(name, revision + 1, 0)
    for key, kind in rows.scan(HISTORY, first, last, reverse=True):
        if kind == DELETE:
            return None
        event = rows.get(EVENTS, key[-12:])
        assert event is not None, "every row of history has its event"
        return event[PAIR_AT:]
    return None


def pairs_at(rows: Rows, wanted: Interval, revision: int) -> Pairs:
    """The pairs as they were at ``revision``."""
    if wanted.empty:
        return
    cursor = names.first_name(wanted.first)
    last = None if wanted.end is None else names.last_name(wanted.end)
    while True:
        row = next(iter(rows.scan(HISTORY, cursor, last)), None)
        if row is None:
            return
        name = names.split_history_key(row[0])[0]
        if names.is_whole(name):
            pair = newest_at(rows, name, revision)
            if pair is not None:
                yield names.key_of(name), pair
            cursor = name + names.TERMINATOR + _PAST_A_KEY
        else:
            first, cursor = names.group_of(name)
            yield from _in_order(list(_group_at(rows, first, cursor, revision)), wanted)


def _group_at(rows: Rows, first: bytes, last: bytes, revision: int) -> Pairs:
    cursor = first
    while (row := next(iter(rows.scan(HISTORY, cursor, last)), None)) is not None:
        name = names.split_history_key(row[0])[0]
        pair = newest_at(rows, name, revision)
        if pair is not None:
            yield KeyValue.FromString(pair).key, pair
        cursor = name + names.TERMINATOR + _PAST_A_KEY


_SORT_KEYS: dict[int, Callable[[KeyValue], int | bytes]] = {
    RangeRequest.KEY: lambda pair: pair.key,
    RangeRequest.VERSION: lambda pair: pair.version,
    RangeRequest.CREATE: lambda pair: pair.create_revision,
    RangeRequest.MOD: lambda pair: pair.mod_revision,
    RangeRequest.VALUE: lambda pair: pair.value,
}


def whole_range(rows: Rows, request: RangeRequest, newest: int) -> bytes:
    """The RangeResponse at once: for reads inside a command, which is never sliced."""
    read = RangeRead(request, newest)
    out = []
    while not read.finished:
        out.append(read.advance(rows, sys.maxsize, sys.maxsize))
    return b"".join(out)


def is_plain_get(request: RangeRequest) -> bool:
    """Whether it asks for one key's newest pair and nothing else (for one key neither limit nor order matter)."""
    return not (request.range_end or request.revision or request.keys_only or request.count_only or _filters(request))


def plain_get(rows: Rows, key: bytes, newest: int) -> bytes:
    """The RangeResponse of one key's newest pair, the commonest read of all."""
    pair = rows.get(LIVE, names.name(key))
    return header(newest) if pair is None else header(newest) + field(b"\x12", pair) + b"\x20\x01"


class RangeRead:
    """One range being read: hand it room, get bytes of the RangeResponse, until ``finished``."""

    def __init__(self, request: RangeRequest, newest: int) -> None:
        """``newest`` is the reader's present revision; that the requested one can be read has been checked."""
        self.finished = False
        self._request = request
        self._newest = newest
        self._rest = interval(request.key, request.range_end)
        self._count = 0
        self._begun = False
        self._exhausted = False
        plain_order = request.sort_target == RangeRequest.KEY and request.sort_order != RangeRequest.DESCEND
        self._passes_through = (plain_order and not _filters(request)) or request.count_only
        self._collected: list[KeyValue] = []
        self._sent = 0
        self._more = False

    def advance(self, rows: Rows, rows_max: int, bytes_max: int) -> bytes:
        """The next piece of the response, from about that much of ``rows``, always the same state."""
        out = [] if self._begun else [header(self._newest)]
        self._begun = True
        if not self._exhausted:
            out += self._read(rows, rows_max, bytes_max)
        elif self._sent < len(self._collected):
            out += self._send(rows_max, bytes_max)
        if self._exhausted and self._sent == len(self._collected):
            self.finished = True
            out.append(self._end())
        return b"".join(out)

    def _read(self, rows: Rows, rows_max: int, bytes_max: int) -> list[bytes]:
        """Read on; what passes through is sent as it is met."""
        out: list[bytes] = []
        for key, pair in self._pairs(rows):
            self._count += 1
            rows_max -= 1
            bytes_max -= len(pair)
            self._take(pair, out)
            if rows_max <= 0 or bytes_max <= 0:
                self._rest = Interval(key + b"\x00", self._rest.end)
                return out
        self._exhausted = True
        if not self._passes_through:
            self._sort()
        return out

    def _pairs(self, rows: Rows) -> Pairs:
        request = self._request
        if 0 < request.revision < self._newest:
            return pairs_at(rows, self._rest, request.revision)
        if not request.range_end:
            # One key is read in one piece, however large it is: behind it there is nothing.
            return iter(present(rows, request.key, b"") if self._rest.first == request.key else ())
        return live_pairs(rows, self._rest)

    def _take(self, pair: bytes, out: list[bytes]) -> None:
        request = self._request
        if not self._passes_through:
            parsed = KeyValue.FromString(pair)
            if _passes(request, parsed):
                self._collected.append(parsed)
        elif not request.count_only and not 0 < request.limit < self._count:
            out.append(field(b"\x12", _without_value(KeyValue.FromString(pair)) if request.keys_only else pair))

    def _sort(self) -> None:
        """Put what was collected in its order, and leave out what is beyond the limit."""
        request = self._request
        descending = request.sort_order == RangeRequest.DESCEND
        self._collected.sort(key=_SORT_KEYS[request.sort_target], reverse=descending)
        self._more = 0 < request.limit < len(self._collected)
        if self._more:
            del self._collected[request.limit :]

    def _send(self, rows_max: int, bytes_max: int) -> list[bytes]:
        """Send on from what was collected."""
        out: list[bytes] = []
        while self._sent < len(self._collected) and rows_max > 0 and bytes_max > 0:
            pair = self._collected[self._sent]
            out.append(field(b"\x12", _without_value(pair) if self._request.keys_only else pair.SerializeToString()))
            self._sent += 1
            rows_max -= 1
            bytes_max -= len(out[-1])
        return out

    def _end(self) -> bytes:
        request = self._request
        if self._passes_through:
            more = not request.count_only and 0 < request.limit < self._count
        else:
            more = self._more
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
        piece = self._begun + self._read.advance(self._view, rows_max, bytes_max)
        self._begun = b""
        if self._read.finished:
            self._view.close()
        return Slice([piece] if piece else [], self._read.finished)

    @override
    def cancel(self) -> None:
        self._view.close()
