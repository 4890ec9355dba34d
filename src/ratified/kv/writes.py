"""Put, DeleteRange and Txn, as etcd 3.5 applies them.

Rules
1. A command is checked as a whole before it writes: which branch each nested transaction takes is decided by the state
   before the command, and every put and every range of the branches taken is checked first, and what they cost
   (``cost``). A put that keeps the value or the lease of a key that an earlier operation deletes finds no key (etcd 3.5
   crashes there).
2. Inside a transaction every operation sees what those before it wrote.
3. Headers: a put says the revision that it makes; a range, the one that it sees; a delete, the one made so far; the
   transaction, the one that holds when it is done. A nested transaction's header is empty.
4. All that may be long goes in steps, so that it can be done in pieces.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TypeAlias, TypeVar

from ratified.kv import names
from ratified.kv.compares import holds
from ratified.kv.cost import (
    BYTES_A_LOOK,
    DELETED,
    LOOK,
    TXN_RESPONSE_BYTES_MAX,
    Cost,
    work_of,
    work_of_put,
)
from ratified.kv.encoding import field, header, varint
from ratified.kv.errors import EtcdError
from ratified.kv.intervals import IntervalMap, interval
from ratified.kv.leases import Leases
from ratified.kv.mvcc import Mvcc
from ratified.kv.ranges import RangeRead
from ratified.kv.tables import LIVE
from ratified.kv.walks import Pair, present
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

Answer = TypeVar("Answer")
Steps: TypeAlias = Generator[int, None, Answer]
"""Work in steps: yields what each has cost (``cost``), returns the answer."""

UNSEEN_ROWS_MAX = 50_000
"""Rows that cost nothing and that one transaction passes over before they must be gone."""
_ROWS_A_STEP = 64
_BYTES_A_STEP = 64 * 1024
_LOOKS_A_STEP = 16
_FOUND_BYTES = 1024 * 1024
_FOUND_TOGETHER = 512
"""Pairs that a delete has read and not yet deleted; those of a group of long keys are all read first."""


def at_once(steps: Steps[Answer]) -> Answer:
    """Take all steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            answer: Answer = end.value
            return answer


def check_put(mvcc: Mvcc, leases: Leases, request: PutRequest) -> None:
    """Raise etcd's error where a put by itself is impossible."""
    leases.check(request.lease)
    if _keeps(request) and mvcc.get(request.key) is None:
        raise EtcdError(*errors.KEY_NOT_FOUND)


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


def delete_range(mvcc: Mvcc, request: DeleteRangeRequest, at_once_max: int) -> Steps[bytes]:
    """Delete, so many in a step; gives the DeleteRangeResponse."""
    pairs = (yield from pairs_before(mvcc, request)) if request.prev_kv else []
    count = 0
    while found := (yield from _first_found(mvcc, request)):
        yield from _delete(mvcc, found, at_once_max)
        count += len(found)
    mvcc.end_delete(request.key, request.range_end, count)
    deleted = b"\x10" + varint(count) if count else b""
    return b"".join([header(mvcc.reading_revision), deleted, *pairs])


def pairs_before(mvcc: Mvcc, request: DeleteRangeRequest) -> Steps[list[bytes]]:
    """The pairs that are deleted, as fields of the answer; raises where they are too large for one."""
    pairs: list[bytes] = []
    room = TXN_RESPONSE_BYTES_MAX
    work = 0
    for look in present(mvcc.visible, request.key, request.range_end):
        work += work_of(look)
        if look:
            room -= len(look[1])
            if room < 0:
                raise EtcdError(*errors.REQUEST_TOO_LARGE)
            pairs.append(field(b"\x1a", look[1]))
        if work >= _LOOKS_A_STEP:
            yield work
            work = 0
    yield work
    return pairs


def _first_found(mvcc: Mvcc, request: DeleteRangeRequest) -> Steps[list[Pair]]:
    """The first pairs of the range; none: there is none left."""
    found: list[Pair] = []
    found_bytes = work = 0
    for look in present(mvcc.visible, request.key, request.range_end):
        work += work_of(look)
        if look:
            found.append(look)
            found_bytes += len(look[1])
            is_enough = len(found) >= _FOUND_TOGETHER or found_bytes >= _FOUND_BYTES
            # Those of a group come when all of it was read, so that it is never read twice.
            if is_enough and names.has_whole_name(look[0]):
                break
        if work >= _LOOKS_A_STEP:
            yield work
            work = 0
    return found


def _delete(mvcc: Mvcc, found: Sequence[Pair], at_once_max: int) -> Steps[None]:
    for at in range(0, len(found), at_once_max):
        step = found[at : at + at_once_max]
        mvcc.delete(step)
        yield DELETED * len(step)


class Branches:
    """Which way a transaction and those nested in it go, in the state before it."""

    __slots__ = ("nested", "operations", "succeeded")

    def __init__(self, succeeded: bool, operations: Sequence[RequestOp], nested: Sequence[Branches | None]) -> None:
        self.succeeded = succeeded
        self.operations = operations
        self.nested = nested

    def in_order(self) -> Iterator[RequestOp]:
        """The operations of the branches taken, in the order in which they will run."""
        for operation, nested in zip(self.operations, self.nested, strict=True):
            if nested is None:
                yield operation
            else:
                yield from nested.in_order()


def transact(mvcc: Mvcc, leases: Leases, request: TxnRequest, at_once_max: int) -> Steps[bytes]:
    """Run a transaction, so many deletes in a step; gives the TxnResponse."""
    unseen_max = UNSEEN_ROWS_MAX if mvcc.in_pieces else None  # what is not in pieces was seen to be short
    cost = Cost(mvcc.visible, mvcc.revision, mvcc.compact_revision, unseen_max)
    branches = yield from _decide(mvcc, request, cost)
    yield from _check(mvcc, leases, branches, cost)
    body = yield from _run(mvcc, branches, at_once_max)
    return header(mvcc.reading_revision) + body


def _decide(mvcc: Mvcc, request: TxnRequest, cost: Cost) -> Steps[Branches]:
    succeeded = True
    for compare in request.compare:
        succeeded = yield from _holds(mvcc, compare, cost)
        if not succeeded:
            break
    operations: Sequence[RequestOp] = request.success if succeeded else request.failure
    nested: list[Branches | None] = []
    for operation in operations:
        yield LOOK
        if operation.WhichOneof("request") == "request_txn":
            nested.append((yield from _decide(mvcc, operation.request_txn, cost)))
        else:
            nested.append(None)
    return Branches(succeeded, operations, nested)


def _holds(mvcc: Mvcc, compare: Compare, cost: Cost) -> Steps[bool]:
    yield cost.look()
    comparison = holds(mvcc.visible, compare, charged=True)
    while True:
        try:
            looked = next(comparison)
        except StopIteration as end:
            return bool(end.value)
        cost.look(looked.spared.looks)
        yield (
            cost.look(looked.rows) + cost.pass_over(looked.covered) + looked.bytes // BYTES_A_LOOK + looked.spared.work
        )


def _check(mvcc: Mvcc, leases: Leases, branches: Branches, cost: Cost) -> Steps[None]:
    """Raise where an operation of the branches taken is impossible, or all together cost too much."""
    operations = [(operation.WhichOneof("request"), operation) for operation in branches.in_order()]
    yield len(operations) * LOOK
    deleted: IntervalMap[None] = IntervalMap()
    for kind, operation in operations:
        if kind == "request_delete_range":
            request = operation.request_delete_range
            deleted.add(interval(request.key, request.range_end), None)
        elif kind == "request_put":
            wanted = operation.request_put
            if _keeps(wanted) and (deleted.holding(wanted.key) or mvcc.get(wanted.key) is None):
                raise EtcdError(*errors.KEY_NOT_FOUND)  # before a lease that is not there, other than a put by itself
            leases.check(wanted.lease)
            yield cost.keep(wanted)
        yield LOOK
    for kind, operation in operations:
        if kind == "request_range" and operation.request_range.revision:
            mvcc.check_revision(operation.request_range.revision, mvcc.revision)
    for kind, operation in operations:
        match kind:
            case "request_put":
                yield cost.put(operation.request_put)
            case "request_delete_range":
                yield from cost.delete_range(operation.request_delete_range)
            case "request_range":
                yield from cost.range(operation.request_range)


def _run(mvcc: Mvcc, branches: Branches, at_once_max: int) -> Steps[bytes]:
    """Gives the TxnResponse without its header."""
    out = [b"\x10\x01"] if branches.succeeded else []
    for operation, nested in zip(branches.operations, branches.nested, strict=True):
        if nested is not None:
            response = field(b"\x22", b"\x0a\x00" + (yield from _run(mvcc, nested, at_once_max)))
        else:
            response = yield from _run_one(mvcc, operation, at_once_max)
        out.append(field(b"\x1a", response))
    return b"".join(out)


def _run_one(mvcc: Mvcc, operation: RequestOp, at_once_max: int) -> Steps[bytes]:
    """Gives the ResponseOp."""
    match operation.WhichOneof("request"):
        case "request_put":
            work = work_of_put(mvcc.visible, operation.request_put)
            response = put(mvcc, operation.request_put)
            yield work
            return field(b"\x12", response)
        case "request_delete_range":
            return field(b"\x1a", (yield from delete_range(mvcc, operation.request_delete_range, at_once_max)))
        case "request_range":
            return field(b"\x0a", (yield from _whole_range(mvcc, operation.request_range)))
    raise AssertionError("an operation without a request is refused before it is proposed")


def _whole_range(mvcc: Mvcc, request: RangeRequest) -> Steps[bytes]:
    read = RangeRead(mvcc.visible, request, mvcc.reading_revision)
    out = []
    while not read.finished:
        out.append(read.advance(_ROWS_A_STEP, _BYTES_A_STEP))
        yield _ROWS_A_STEP * LOOK
    return b"".join(out)


def revoke(mvcc: Mvcc, leases: Leases, lease: int, at_once_max: int) -> Steps[None]:
    """End a lease: its keys are deleted, all at one revision, in their order, so many in a step."""
    if lease not in leases:
        raise EtcdError(*errors.LEASE_NOT_FOUND)
    keys: list[bytes] = []
    for key in mvcc.attached(lease):
        if key is not None:
            keys.append(key)
        yield LOOK
    keys.sort()
    for at in range(0, len(keys), at_once_max):
        yield from _delete(mvcc, [(key, _present(mvcc, key)) for key in keys[at : at + at_once_max]], at_once_max)
    end_lease(mvcc, leases, lease)


def end_lease(mvcc: Mvcc, leases: Leases, lease: int) -> None:
    """The lease itself goes, its keys having been deleted."""
    mvcc.end_revoke(lease)
    leases.remove(lease, mvcc.sums)


def _present(mvcc: Mvcc, key: bytes) -> bytes:
    pair = mvcc.space.get(LIVE, names.name(key))
    assert pair is not None, "a key that is attached to a lease is there"
    return pair
