"""Put, DeleteRange and Txn, as etcd 3.5 applies them.

Rules
1. A command is checked as a whole before it writes: which branch each nested transaction takes is decided by the state
   before the command, and every put and every range of the branches taken is checked first, and what they cost
   (``cost``). A put that keeps the value or the lease of a key that an earlier operation deletes finds no key (etcd 3.5
   crashes there).
2. Inside a transaction every operation sees what those before it wrote.
3. Headers: a put says the revision that it makes; a range, the one that it sees; a delete, the one made so far; the
   transaction, the one that holds when it is done. A nested transaction's header is empty.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from typing import TypeVar

from ratified.kv import names
from ratified.kv.compares import holds
from ratified.kv.cost import TXN_RESPONSE_BYTES_MAX, Cost
from ratified.kv.encoding import field, header, varint
from ratified.kv.errors import EtcdError
from ratified.kv.intervals import IntervalMap
from ratified.kv.leases import Leases
from ratified.kv.mvcc import LIVE, Mvcc
from ratified.kv.ranges import RangeRead, interval, present
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

_Answer = TypeVar("_Answer")


def at_once(steps: Generator[None, None, _Answer]) -> _Answer:
    """Take all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: _Answer = end.value
            return answer


def check_put(mvcc: Mvcc, leases: Leases, request: PutRequest) -> None:
    """Raise etcd's error where the put is impossible."""
    if _keeps(request) and mvcc.get(request.key) is None:
        raise EtcdError(*errors.KEY_NOT_FOUND)
    leases.check(request.lease)


def _keeps(request: PutRequest) -> bool:
    return request.ignore_value or request.ignore_lease


def put(mvcc: Mvcc, request: PutRequest) -> bytes:
    """Write; gives the PutResponse."""
    value, lease = request.value, request.lease
    if _keeps(request):
        old = mvcc.get(request.key)
        assert old is not None, "check_put has seen it"
        value = old.value if request.ignore_value else value
        lease = old.lease if request.ignore_lease else lease
    before = mvcc.put(request.key, value, lease)
    response = header(mvcc.reading_revision)
    if request.prev_kv and before is not None:
        response += field(b"\x12", before)
    return response


def delete_range(mvcc: Mvcc, request: DeleteRangeRequest) -> Generator[None, None, bytes]:
    """Delete; gives the DeleteRangeResponse. Yields after each row, so that it can be done in pieces."""
    keys: list[bytes] = []
    answer_bytes = 0
    for look in present(mvcc.space, request.key, request.range_end):
        if look is not None:
            keys.append(look[0])
            answer_bytes += len(look[1])
            if request.prev_kv and answer_bytes > TXN_RESPONSE_BYTES_MAX:
                raise EtcdError(*errors.REQUEST_TOO_LARGE)
        yield
    pairs: list[bytes] = []
    for key in keys:
        pair = _delete(mvcc, key)
        if request.prev_kv:
            pairs.append(field(b"\x1a", pair))
        yield
    count = b"\x10" + varint(len(keys)) if keys else b""
    return b"".join([header(mvcc.reading_revision), count, *pairs])


def _delete(mvcc: Mvcc, key: bytes) -> bytes:
    """Delete a key that is there; gives the pair before."""
    pair = mvcc.space.get(LIVE, names.name(key))
    assert pair is not None, "it was found in the same transaction"
    mvcc.delete(key, pair)
    return pair


class Branches:
    """Which way a transaction and those nested in it go, in the state before it."""

    __slots__ = ("nested", "operations", "succeeded")

    def __init__(self, mvcc: Mvcc, request: TxnRequest, cost: Cost) -> None:
        self.succeeded = all(_holds(mvcc, compare, cost) for compare in request.compare)
        self.operations: Sequence[RequestOp] = request.success if self.succeeded else request.failure
        self.nested = [
            Branches(mvcc, operation.request_txn, cost) if operation.WhichOneof("request") == "request_txn" else None
            for operation in self.operations
        ]

    def check(self, mvcc: Mvcc, leases: Leases, cost: Cost) -> None:
        """Raise where an operation of the branches taken is impossible, or all together cost too much."""
        operations = [(operation.WhichOneof("request"), operation) for operation in self._in_order()]
        deleted: IntervalMap[None] = IntervalMap()
        for kind, operation in operations:
            if kind == "request_delete_range":
                request = operation.request_delete_range
                deleted.add(interval(request.key, request.range_end), None)
            elif kind == "request_put":
                if _keeps(operation.request_put) and deleted.holding(operation.request_put.key):
                    raise EtcdError(*errors.KEY_NOT_FOUND)
                check_put(mvcc, leases, operation.request_put)
        for kind, operation in operations:
            if kind == "request_range" and operation.request_range.revision:
                mvcc.check_revision(operation.request_range.revision, mvcc.revision)
        for kind, operation in operations:
            match kind:
                case "request_put":
                    cost.put(operation.request_put)
                case "request_delete_range":
                    cost.delete_range(operation.request_delete_range)
                case "request_range":
                    cost.range(operation.request_range)

    def _in_order(self) -> Iterator[RequestOp]:
        """The operations of the branches taken, in the order in which they will run."""
        for operation, nested in zip(self.operations, self.nested, strict=True):
            if nested is None:
                yield operation
            else:
                yield from nested._in_order()

    def run(self, mvcc: Mvcc) -> bytes:
        """The TxnResponse without its header."""
        out = [b"\x10\x01"] if self.succeeded else []
        for operation, nested in zip(self.operations, self.nested, strict=True):
            if nested is not None:
                response = field(b"\x22", b"\x0a\x00" + nested.run(mvcc))
            else:
                response = _run(mvcc, operation)
            out.append(field(b"\x1a", response))
        return b"".join(out)


def transact(mvcc: Mvcc, leases: Leases, request: TxnRequest) -> bytes:
    """Run a transaction; gives the TxnResponse."""
    cost = Cost(mvcc.space, mvcc.revision)
    branches = Branches(mvcc, request, cost)
    branches.check(mvcc, leases, cost)
    body = branches.run(mvcc)
    return header(mvcc.reading_revision) + body


def _run(mvcc: Mvcc, operation: RequestOp) -> bytes:
    """One operation; gives the ResponseOp."""
    match operation.WhichOneof("request"):
        case "request_put":
            return field(b"\x12", put(mvcc, operation.request_put))
        case "request_delete_range":
            return field(b"\x1a", at_once(delete_range(mvcc, operation.request_delete_range)))
        case "request_range":
            return field(b"\x0a", _whole_range(mvcc, operation.request_range))
    raise AssertionError("an operation without a request is refused before it is proposed")


def _whole_range(mvcc: Mvcc, request: RangeRequest) -> bytes:
    read = RangeRead(mvcc.space, request, mvcc.reading_revision)
    out = []
    while not read.finished:
        out.append(read.advance(sys.maxsize, sys.maxsize))
    return b"".join(out)


def revoke(mvcc: Mvcc, leases: Leases, lease: int) -> Generator[None, None, None]:
    """End a lease: its keys are deleted, all at one revision, in their order. Yields after each row."""
    if lease not in leases:
        raise EtcdError(*errors.LEASE_NOT_FOUND)
    keys: list[bytes] = []
    for key in mvcc.attached(lease):
        keys.append(key)
        yield
    for key in sorted(keys):
        _delete(mvcc, key)
        yield
    leases.remove(lease, mvcc.sums)


def _holds(mvcc: Mvcc, compare: Compare, cost: Cost) -> bool:
    cost.look()
    comparison = holds(mvcc.space, compare)
    while True:
        try:
            next(comparison)
        except StopIteration as end:
            return bool(end.value)
        cost.look()
