"""Put, DeleteRange and Txn, as etcd 3.5 applies them.

Rules
1. A command is checked as a whole before it writes: which branch each nested transaction takes is decided by the state
   before the command, and every put and every range of the branches taken is checked first. A put that keeps the value
   or the lease of a key that an earlier operation deletes finds no key (etcd 3.5 crashes there).
2. Inside a transaction every operation sees what those before it wrote.
3. Headers: a put says the revision that it makes; a range, the one that it sees; a delete, the one made so far; the
   transaction, the one that holds when it is done. A nested transaction's header is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ratified.kv.encoding import field, header, varint
from ratified.kv.errors import EtcdError
from ratified.kv.leases import Leases
from ratified.kv.mvcc import Mvcc
from ratified.kv.ranges import Interval, interval, present, whole_range
from ratified.wire.etcd import errors
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RequestOp,
    TxnRequest,
)

_NO_KEY = KeyValue()
_Value = TypeVar("_Value", int, bytes)


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


def delete_range(mvcc: Mvcc, request: DeleteRangeRequest) -> bytes:
    """Delete; gives the DeleteRangeResponse."""
    deleted = present(mvcc.space, request.key, request.range_end)
    for key, pair in deleted:
        mvcc.delete(key, pair)
    response = [header(mvcc.reading_revision)]
    if deleted:
        response.append(b"\x10" + varint(len(deleted)))
    if request.prev_kv:
        response += [field(b"\x1a", pair) for _, pair in deleted]
    return b"".join(response)


class Branches:
    """Which way a transaction and those nested in it go, in the state before it."""

    __slots__ = ("nested", "operations", "succeeded")

    def __init__(self, mvcc: Mvcc, request: TxnRequest) -> None:
        self.succeeded = all(_holds(mvcc, compare) for compare in request.compare)
        self.operations: Sequence[RequestOp] = request.success if self.succeeded else request.failure
        self.nested = [
            Branches(mvcc, operation.request_txn) if operation.WhichOneof("request") == "request_txn" else None
            for operation in self.operations
        ]

    def check(self, mvcc: Mvcc, leases: Leases | None) -> None:
        """Raise where an operation of the branches taken is impossible; ``leases`` None: it is all reads."""
        if leases is not None:
            self._check_puts(mvcc, leases, [])
        self._check_ranges(mvcc)

    def _check_puts(self, mvcc: Mvcc, leases: Leases, deleted: list[Interval]) -> None:
        """``deleted`` is what the operations before delete, in the order in which they will run."""
        for operation, nested in zip(self.operations, self.nested, strict=True):
            if nested is not None:
                nested._check_puts(mvcc, leases, deleted)
                continue
            match operation.WhichOneof("request"):
                case "request_delete_range":
                    request = operation.request_delete_range
                    deleted.append(interval(request.key, request.range_end))
                case "request_put":
                    put = operation.request_put
                    if _keeps(put) and any(gone.holds(put.key) for gone in deleted):
                        raise EtcdError(*errors.KEY_NOT_FOUND)
                    check_put(mvcc, leases, put)

    def _check_ranges(self, mvcc: Mvcc) -> None:
        for operation, nested in zip(self.operations, self.nested, strict=True):
            if nested is not None:
                nested._check_ranges(mvcc)
            elif operation.WhichOneof("request") == "request_range" and operation.request_range.revision:
                mvcc.check_revision(operation.request_range.revision, mvcc.revision)

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


def transact(mvcc: Mvcc, leases: Leases | None, request: TxnRequest) -> bytes:
    """Run a transaction; gives the TxnResponse. Without ``leases`` it must be one of reads only."""
    branches = Branches(mvcc, request)
    branches.check(mvcc, leases)
    body = branches.run(mvcc)
    return header(mvcc.reading_revision) + body


def _run(mvcc: Mvcc, operation: RequestOp) -> bytes:
    """One operation; gives the ResponseOp."""
    match operation.WhichOneof("request"):
        case "request_put":
            return field(b"\x12", put(mvcc, operation.request_put))
        case "request_delete_range":
            return field(b"\x1a", delete_range(mvcc, operation.request_delete_range))
        case "request_range":
            return field(b"\x0a", whole_range(mvcc.space, operation.request_range, mvcc.reading_revision))
    raise AssertionError("an operation without a request is refused before it is proposed")


def revoke(mvcc: Mvcc, leases: Leases, lease: int) -> None:
    """End a lease: its keys are deleted, all at one revision, in their order."""
    if lease not in leases:
        raise EtcdError(*errors.LEASE_NOT_FOUND)
    for key in mvcc.attached(lease):
        for _, pair in present(mvcc.space, key, b""):
            mvcc.delete(key, pair)
    leases.remove(lease, mvcc.sums)


def _holds(mvcc: Mvcc, compare: Compare) -> bool:
    """Whether a comparison holds for every pair in its range; for none, of a key of all zeros (but not of a value)."""
    pairs = [KeyValue.FromString(pair) for _, pair in present(mvcc.space, compare.key, compare.range_end)]
    if not pairs:
        return compare.target != Compare.VALUE and _relation(compare, _NO_KEY)
    return all(_relation(compare, pair) for pair in pairs)


def _relation(compare: Compare, pair: KeyValue) -> bool:
    match compare.target:
        case Compare.VALUE:
            return _related(compare, pair.value, compare.value)
        case Compare.CREATE:
            return _related(compare, pair.create_revision, compare.create_revision)
        case Compare.MOD:
            return _related(compare, pair.mod_revision, compare.mod_revision)
        case Compare.VERSION:
            return _related(compare, pair.version, compare.version)
        case Compare.LEASE:
            return _related(compare, pair.lease, compare.lease)
    return _related(compare, 0, 0)


def _related(compare: Compare, present: _Value, given: _Value) -> bool:
    match compare.result:
        case Compare.EQUAL:
            return present == given
        case Compare.NOT_EQUAL:
            return present != given
        case Compare.GREATER:
            return present > given
        case Compare.LESS:
            return present < given
    return True
