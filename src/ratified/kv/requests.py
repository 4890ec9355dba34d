"""A client's request, decoded once where it comes in: what is wrong with it by itself, and whether it only reads.

The checks raise ``EtcdError`` for what could never be applied. What depends on the state is found where it is applied
(``writes``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ratified.kv.errors import EtcdError
from ratified.kv.intervals import Interval, IntervalMap, interval
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    AlarmRequest,
    AlarmType,
    DeleteRangeRequest,
    LeaseGrantRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)

TXN_OPS_MAX = 128
"""etcd's default for ``--max-txn-ops``."""
TXN_OPS_IN_ALL_MAX = 10_000
"""Comparisons and operations of a transaction and of all that are nested in it, on whatever branch: checking them takes
some milliseconds, and etcd has no limit."""
TXN_DEPTH_MAX = 32
"""How deep transactions may nest (protobuf itself stops at 100, Python's own stack later)."""
LEASE_TTL_MAX_S = 9_000_000_000

_SORT_ORDERS = RangeRequest.SortOrder.values()
_SORT_TARGETS = RangeRequest.SortTarget.values()

M = TypeVar("M", bound=Message)


def decode(message: type[M], data: bytes) -> M:
    """Raises ``EtcdError`` for bytes that are no such request."""
    try:
        return message.FromString(data)
    except DecodeError as error:
        text = f"{errors.NOT_DECODABLE.text}: {message.DESCRIPTOR.full_name}: {error}"
        raise EtcdError(errors.NOT_DECODABLE.code, text) from error


def check_range(request: RangeRequest) -> None:
    """Refuse an empty key, and an order that does not exist (proto3 lets any number through)."""
    _check_key(request.key)
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise EtcdError(*errors.INVALID_SORT_OPTION)


def check_put(request: PutRequest) -> None:
    """Refuse an empty key, and a value or a lease beside the word to keep the old one."""
    _check_key(request.key)
    if request.ignore_value and request.value:
        raise EtcdError(*errors.VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise EtcdError(*errors.LEASE_PROVIDED)


def check_delete_range(request: DeleteRangeRequest) -> None:
    """Refuse an empty key."""
    _check_key(request.key)


def watches_nothing(request: WatchCreateRequest) -> bool:
    """Whether its range is empty."""
    return interval(request.key or b"\x00", request.range_end).empty


def check_lease_grant(request: LeaseGrantRequest) -> None:
    """Refuse more than ``LEASE_TTL_MAX_S``."""
    if request.TTL > LEASE_TTL_MAX_S:
        raise EtcdError(*errors.LEASE_TTL_TOO_LARGE)


def check_txn(request: TxnRequest, ops_max: int = TXN_OPS_MAX) -> None:
    """Refuse what etcd refuses: more than ``ops_max`` operations, empty keys, a key that is changed twice."""
    _check_operations(request, ops_max, TXN_DEPTH_MAX, TXN_OPS_IN_ALL_MAX)
    for branch in (request.success, request.failure):
        if len(branch) > 1 or (branch and branch[0].HasField("request_txn")):  # one alone changes nothing twice
            _Changed.by(branch)


def is_read_only(request: TxnRequest) -> bool:
    """Whether a transaction only reads, whatever branch it takes: such a one does not enter the log."""
    return all(
        operation.WhichOneof("request") == "request_range"
        for branch in (request.success, request.failure)
        for operation in branch
    )


def is_serializable(request: TxnRequest) -> bool:
    """Whether all reads of a transaction that only reads may be old."""
    return all(
        operation.request_range.serializable for branch in (request.success, request.failure) for operation in branch
    )


def check_alarm(request: AlarmRequest) -> None:
    """Of one that is to be raised or taken back, or of those that are to be listed."""
    if request.action not in AlarmRequest.AlarmAction.values() or request.alarm not in AlarmType.values():
        raise EtcdError(*errors.UNKNOWN_ALARM)


def has_put(request: TxnRequest) -> bool:
    """Whether a transaction puts on some branch, those of nested ones included."""
    for branch in (request.success, request.failure):
        for operation in branch:
            match operation.WhichOneof("request"):
                case "request_put":
                    return True
                case "request_txn" if has_put(operation.request_txn):
                    return True
    return False


def answers_much(request: TxnRequest) -> bool:
    """Whether the answer to a transaction may have pairs in it, on whatever branch."""
    for branch in (request.success, request.failure):
        for operation in branch:
            match operation.WhichOneof("request"):
                case "request_range":
                    return True
                case "request_put" if operation.request_put.prev_kv:
                    return True
                case "request_delete_range" if operation.request_delete_range.prev_kv:
                    return True
                case "request_txn" if answers_much(operation.request_txn):
                    return True
    return False


def _check_key(key: bytes) -> None:
    if not key:
        raise EtcdError(*errors.EMPTY_KEY)


def _check_operations(request: TxnRequest, ops_max: int, depth: int, in_all_max: int) -> int:
    """Gives how many there are in all.

    A nested transaction may have as many operations as its parent leaves (etcd's way of counting).
    """
    counts = len(request.compare), len(request.success), len(request.failure)
    most, in_all = max(counts), sum(counts)
    if most > ops_max or depth == 0 or in_all > in_all_max:
        raise EtcdError(*errors.TOO_MANY_OPS)
    for compare in request.compare:
        _check_key(compare.key)
    for branch in (request.success, request.failure):
        for operation in branch:
            in_all += _check_operation(operation, ops_max - most, depth - 1, in_all_max - in_all)
    return in_all


def _check_operation(operation: RequestOp, ops_max: int, depth: int, in_all_max: int) -> int:
    """Gives how many are nested in it."""
    match operation.WhichOneof("request"):
        case "request_range":
            check_range(operation.request_range)
        case "request_put":
            check_put(operation.request_put)
        case "request_delete_range":
            check_delete_range(operation.request_delete_range)
        case "request_txn":
            return _check_operations(operation.request_txn, ops_max, depth, in_all_max)
        case _:
            raise EtcdError(*errors.KEY_NOT_FOUND)
    return 0


class _Changed:
    """What a list of operations puts and deletes, on whatever branch; building it finds a key that is changed twice.

    As in etcd, deletes do not meet each other, and one without an upper bound meets no put at all.
    """

    def __init__(self) -> None:
        self.puts: dict[bytes, None] = {}
        self.deletes: list[Interval] = []
        self._deleted: IntervalMap[None] = IntervalMap()

    @classmethod
    def by(cls, operations: Iterable[RequestOp]) -> _Changed:
        """Of one branch and all that is nested in it."""
        changed = cls()
        operations = list(operations)
        for operation in operations:
            if operation.WhichOneof("request") == "request_delete_range":
                request = operation.request_delete_range
                changed._add_delete(Interval(request.key, request.range_end or request.key + b"\x00"))
        for operation in operations:
            if operation.WhichOneof("request") == "request_txn":
                changed._add_nested(operation.request_txn)
        for operation in operations:
            if operation.WhichOneof("request") == "request_put":
                changed._add_put(operation.request_put.key)
        return changed

    def _add_nested(self, request: TxnRequest) -> None:
        """One of the two branches will run, so both may put the same key."""
        then, other = _Changed.by(request.success), _Changed.by(request.failure)
        for key in then.puts:
            self._add_put(key)
        for key in other.puts:
            if key not in then.puts:
                self._add_put(key)
        for deleted in (*then.deletes, *other.deletes):
            self._add_delete(deleted)

    def _add_put(self, key: bytes) -> None:
        if key in self.puts or self._deleted.holding(key):
            raise EtcdError(*errors.DUPLICATE_KEY)
        self.puts[key] = None

    def _add_delete(self, deleted: Interval) -> None:
        self.deletes.append(deleted)
        self._deleted.add(deleted, None)
