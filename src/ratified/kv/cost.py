"""What a transaction may cost where it is applied. Every replica comes to the same sum, so all refuse the same ones.

1. The sum is made before anything is written, over the state before the transaction, and is an upper bound: what the
   transaction itself puts counts in every range of it that could show it.
2. The limits are no options: an answer must not depend on a member's flags, now or when the log is replayed.
3. Rows that some replicas have and others have not, since their tombstones and removals have come differently far, cost
   nothing. Where they are looked at they take time all the same: what is yielded, and estimated, is the *work* that
   looking takes on this replica, by which it goes in pieces; and where too many of them are in the way a long
   transaction has to wait until they are gone (``TidyFirst``), before it has done anything.
4. What is too large is refused like a request that etcd finds too large, with nothing done.
5. A put that keeps a value writes it again, and the request says nothing of how large it is. So its bytes are work as
   they are written, and a transaction may keep a limited number of them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice

from ratified.kv import names
from ratified.kv.errors import EtcdError
from ratified.kv.intervals import Interval, interval
from ratified.kv.ranges import is_in_order, is_of_older
from ratified.kv.tables import LIVE
from ratified.kv.tombstones import VisibleRows
from ratified.kv.walks import COVERED, Charged, Look, Spared, at_revision, charged_at, charged_present
from ratified.machine import TidyFirst
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

TXN_RESPONSE_BYTES_MAX = 64 * 1024 * 1024
"""Of a transaction's answer, those of nested ones included."""
TXN_KEPT_BYTES_MAX = 16 * 1024 * 1024
"""Of the pairs whose values one transaction writes again (``ignore_value``); a single pair may be larger."""
LOOK = 1
"""What a row costs that is looked at. All other costs are in such rows, by the time that they take."""
DELETED = 4
"""A pair that is deleted."""
PUT = 4
"""A pair that is put; and what any other command costs that is not long."""
TXN_ROWS_MAX = 50_000
"""What a transaction which writes may cost before it runs, by what it looks at: in comparisons, ranges and deletes
together. (One DeleteRange, and a transaction that only reads, may go over any number.)"""
_ABSENT = 4
"""The work to see that a compaction drops a key."""
BYTES_A_LOOK = 4096
"""Of a pair that is looked at, what takes as much work as the look itself."""
KEPT_BYTES_A_ROW = 1024
"""Of a value that is written again, what takes a row's part of the time of a put: 6 ms a megabyte."""
_PUTS_A_ROW = 8
"""How many of the transaction's own puts are compared with a range in the time that one row takes."""
_PAIR_OVERHEAD_BYTES = 64
"""More than what stands around a pair in an answer, or beside key and value in a pair."""


def work_of(look: Look | Spared) -> int:
    """Of looking at it, in rows of the ordinary size."""
    if isinstance(look, Spared):
        return look.work
    return LOOK + len(look[1]) // BYTES_A_LOOK if look else LOOK


def work_of_put(rows: VisibleRows, request: PutRequest) -> int:
    """Of writing it, looked at before that."""
    return PUT + (pair_bytes(rows, request.key) // KEPT_BYTES_A_ROW if request.ignore_value else 0)


def pair_bytes(rows: VisibleRows, key: bytes) -> int:
    """Of the key's newest pair; 0: there is none."""
    pair = rows.get(LIVE, names.name(key))
    return 0 if pair is None or rows.covered_by(pair) else len(pair)


def estimate(rows: VisibleRows, newest: int, request: TxnRequest, most: int) -> int:
    """The work of a transaction at least, looked at from outside and up to ``most``, whatever branches it takes."""
    work = 0
    for compare in request.compare:
        work += LOOK + work_in(charged_present(rows, compare.key, compare.range_end), most - work)
        if work >= most:
            return most
    for branch in (request.success, request.failure):
        for operation in branch:
            work += _estimate_one(rows, newest, operation, most - work)
            if work >= most:
                return most
    return work


def _estimate_one(rows: VisibleRows, newest: int, operation: RequestOp, most: int) -> int:
    match operation.WhichOneof("request"):
        case "request_put":
            return work_of_put(rows, operation.request_put)
        case "request_range":
            asked = operation.request_range
            if is_of_older(asked, newest):
                return LOOK + work_in(at_revision(rows, asked.key, asked.range_end, asked.revision), most)
            return LOOK + work_in(charged_present(rows, asked.key, asked.range_end), most)
        case "request_delete_range":
            request = operation.request_delete_range
            return LOOK + DELETED * work_in(charged_present(rows, request.key, request.range_end), most)
        case "request_txn":
            return estimate(rows, newest, operation.request_txn, most)
    return LOOK


def work_in(walk: Charged, most: int) -> int:
    """What it takes to look at all of it, up to ``most``."""
    work = 0
    for look in walk:
        work += work_of(look)
        if work >= most:
            return most
    return work


def count_up_to(items: Iterator[object], most: int) -> int:
    return sum(1 for _ in islice(items, max(most, 0)))


class Cost:
    """What is left of the limits for one transaction, and what it will have put so far.

    Its operations are to be told in the order in which they run. Each raises ``EtcdError`` where it is too much, and
    gives, or yields, what it has cost to find that out.
    """

    def __init__(self, rows: VisibleRows, newest: int, compact_revision: int, unseen_max: int | None) -> None:
        """``unseen_max``: so many rows that cost nothing are passed over; None: any number."""
        self._rows = rows
        self._unseen_left = sys.maxsize if unseen_max is None else unseen_max
        self._newest = newest
        self._compact_revision = compact_revision
        self._rows_left = TXN_ROWS_MAX
        self._bytes_left = TXN_RESPONSE_BYTES_MAX
        self._kept_bytes = 0
        self._put: list[tuple[bytes, int]] = []

    def look(self, rows: int = 1) -> int:
        self._rows_left -= rows
        if self._rows_left < 0:
            raise EtcdError(*errors.TOO_MANY_OPS)
        return rows

    def pass_over(self, rows: int) -> int:
        """They cost nothing; raises ``TidyFirst``."""
        self._unseen_left -= rows
        if self._unseen_left < 0:
            raise TidyFirst
        return rows

    def keep(self, request: PutRequest) -> int:
        """What a put keeps of the pair before it; to be told of each put before ``put`` is of any."""
        if not (request.ignore_value or request.ignore_lease):
            return 0
        kept_bytes = pair_bytes(self._rows, request.key)
        if request.ignore_value:
            is_first = self._kept_bytes == 0
            self._kept_bytes += kept_bytes
            if self._kept_bytes > TXN_KEPT_BYTES_MAX and not is_first:
                raise EtcdError(*errors.REQUEST_TOO_LARGE)
        return kept_bytes // BYTES_A_LOOK

    def put(self, request: PutRequest) -> int:
        before_bytes = pair_bytes(self._rows, request.key)
        self.look(PUT)
        if request.prev_kv:
            self._answer(before_bytes + self._put_in(Interval(request.key, request.key + b"\x00")))
        # A put that keeps the value puts the old one again.
        self._put.append((request.key, request.ByteSize() + (before_bytes if request.ignore_value else 0)))
        return LOOK + before_bytes // BYTES_A_LOOK

    def delete_range(self, request: DeleteRangeRequest) -> Iterator[int]:
        for look in charged_present(self._rows, request.key, request.range_end):
            yield work_of(look)
            if isinstance(look, Spared):
                self.look(DELETED * look.looks)
                continue
            if look == COVERED:
                self.pass_over(1)
                continue
            self.look(DELETED)
            if look and request.prev_kv:
                self._answer(len(look[1]))
        if request.prev_kv:
            self._answer(self._put_in(interval(request.key, request.range_end)))

    def range(self, request: RangeRequest) -> Iterator[int]:
        wanted = interval(request.key, request.range_end)
        answered = 0
        in_order = is_in_order(request)
        for look in self._looks(request):
            if isinstance(look, Spared):
                self.look(look.looks)
                yield look.work
                continue
            yield work_of(look) if look or not request.revision else _ABSENT
            if look == COVERED:
                self.pass_over(1)
                continue
            self.look()
            if not look or request.count_only:
                continue
            answered += 1
            if not (in_order and 0 < request.limit < answered):
                self._answer(len(look[0]) if request.keys_only else len(look[1]))
        if not request.count_only:
            self._answer(self._put_in(wanted))

    def _looks(self, request: RangeRequest) -> Charged:
        if is_of_older(request, self._newest):
            wanted = interval(request.key, request.range_end)
            return charged_at(self._rows, wanted, request.revision, self._compact_revision)
        return charged_present(self._rows, request.key, request.range_end)

    def _put_in(self, wanted: Interval) -> int:
        """The bytes of what the transaction will have put into the range."""
        self.look(len(self._put) // _PUTS_A_ROW)
        return sum(size + _PAIR_OVERHEAD_BYTES for key, size in self._put if wanted.holds(key))

    def _answer(self, size: int) -> None:
        self._bytes_left -= size + _PAIR_OVERHEAD_BYTES
        if self._bytes_left < 0:
            raise EtcdError(*errors.REQUEST_TOO_LARGE)
