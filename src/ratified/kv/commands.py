"""What is proposed: building it from a client's request, and checking it before.

A command is a kind byte, a length-prefixed header (empty at first; user and auth revision later), and the bytes of the
etcd request as the client sent them, with what had to be chosen filled in. A builder raises ``EtcdError``, with
etcd's code and text, for what would never be applied; what depends on the state is found out where it is applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ratified.kv.errors import EtcdError
from ratified.kv.intervals import IntervalMap
from ratified.kv.ranges import Interval, check_sort
from ratified.machine import Era
from ratified.wire.etcd import errors, rpc_pb2

TXN_OPS_MAX = 128
"""etcd's default for ``--max-txn-ops``."""
LEASE_TTL_MAX_S = 9_000_000_000
TXN_DEPTH_MAX = 32
"""How deep transactions may nest (protobuf itself stops at 100, Python's own stack later)."""

M = TypeVar("M", bound=Message)


class Kind(IntEnum):
    """The first byte of a command."""

    PUT = 1
    DELETE_RANGE = 2
    TXN = 3
    COMPACT = 4
    LEASE_GRANT = 5
    LEASE_REVOKE = 6
    LEAD = 7
    LEASE_EXPIRE = 8


LEAD = Struct(">QQ")
"""An era."""
EXPIRE = Struct(">QQqQ")
"""The era in which it was proposed, the lease, and the index that granted it."""

_NO_HEADER = b"\x00"
_PREFIX = {kind: bytes([kind]) + _NO_HEADER for kind in Kind}


def parse(message: type[M], data: bytes) -> M:
    """Decode a request."""
    try:
        return message.FromString(data)
    except DecodeError as error:
        text = f"{errors.NOT_DECODABLE.text}: {message.DESCRIPTOR.full_name}: {error}"
        raise EtcdError(errors.NOT_DECODABLE.code, text) from error


def split(command: bytes) -> tuple[int, bytes]:
    """(kind, body) of a command; its header is skipped."""
    return command[0], command[2 + command[1] :]


def put(request: bytes) -> bytes:
    """From a PutRequest."""
    _check_put(parse(rpc_pb2.PutRequest, request))
    return _PREFIX[Kind.PUT] + request


def delete_range(request: bytes) -> bytes:
    """From a DeleteRangeRequest."""
    _check_key(parse(rpc_pb2.DeleteRangeRequest, request).key)
    return _PREFIX[Kind.DELETE_RANGE] + request


def txn(request: bytes, ops_max: int = TXN_OPS_MAX) -> bytes:
    """From a TxnRequest; one that ``txn_is_read_only`` can be asked instead."""
    check_txn(parse(rpc_pb2.TxnRequest, request), ops_max)
    return _PREFIX[Kind.TXN] + request


def compact(request: bytes) -> bytes:
    """From a CompactionRequest."""
    parse(rpc_pb2.CompactionRequest, request)
    return _PREFIX[Kind.COMPACT] + request


def lease_grant(request: bytes, fresh_id: int, ttl_min_s: int) -> bytes:
    """From a LeaseGrantRequest: ``fresh_id`` where it names none, and at least ``ttl_min_s`` to live."""
    grant = parse(rpc_pb2.LeaseGrantRequest, request)
    if grant.TTL > LEASE_TTL_MAX_S:
        raise EtcdError(*errors.LEASE_TTL_TOO_LARGE)
    grant.ID = grant.ID or fresh_id
    grant.TTL = max(grant.TTL, ttl_min_s)
    return _PREFIX[Kind.LEASE_GRANT] + grant.SerializeToString()


def lease_revoke(request: bytes) -> bytes:
    """From a LeaseRevokeRequest."""
    parse(rpc_pb2.LeaseRevokeRequest, request)
    return _PREFIX[Kind.LEASE_REVOKE] + request


def lead(era: Era) -> bytes:
    """A leader's first command: tells the store its era."""
    return _PREFIX[Kind.LEAD] + LEAD.pack(*era)


def lease_expire(era: Era, lease: int, granted: int) -> bytes:
    """A leader's command: this lease, as it was granted at that index, has run out."""
    return _PREFIX[Kind.LEASE_EXPIRE] + EXPIRE.pack(*era, lease, granted)


def lease_ttl_min_s(election_timeout_us: int) -> int:
    """The least time to live, in seconds: etcd's one and a half election time-outs, rounded up."""
    return -(-3 * election_timeout_us // 2_000_000)


def grows_store(command: bytes) -> bool:
    """Whether the quota refuses it: puts, transactions with a put on some branch, and grants of leases."""
    kind, body = split(command)
    if kind == Kind.TXN:
        return _has_put(parse(rpc_pb2.TxnRequest, body))
    return kind in (Kind.PUT, Kind.LEASE_GRANT)


def txn_is_read_only(request: rpc_pb2.TxnRequest) -> bool:
    """Whether it only reads, whatever branch it takes; such a one is asked, not proposed."""
    return all(
        operation.WhichOneof("request") == "request_range"
        for branch in (request.success, request.failure)
        for operation in branch
    )


def txn_is_serializable(request: rpc_pb2.TxnRequest) -> bool:
    """Whether all its reads may be old."""
    return all(
        operation.request_range.serializable for branch in (request.success, request.failure) for operation in branch
    )


def check_txn(request: rpc_pb2.TxnRequest, ops_max: int = TXN_OPS_MAX) -> None:
    """Refuse what etcd refuses: too many operations, empty keys, a key that is changed twice."""
    _check_operations(request, ops_max, TXN_DEPTH_MAX)
    _Changed.by(request.success)
    _Changed.by(request.failure)


def check_range(request: rpc_pb2.RangeRequest) -> None:
    """Refuse an empty key, and an order that does not exist."""
    _check_key(request.key)
    check_sort(request)


def _check_key(key: bytes) -> None:
    if not key:
        raise EtcdError(*errors.EMPTY_KEY)


def _check_put(request: rpc_pb2.PutRequest) -> None:
    if not request.key:
        raise EtcdError(*errors.EMPTY_KEY)
    if request.ignore_value and request.value:
        raise EtcdError(*errors.VALUE_PROVIDED)
    if request.ignore_lease and request.lease:
        raise EtcdError(*errors.LEASE_PROVIDED)


def _check_operations(request: rpc_pb2.TxnRequest, ops_max: int, depth: int) -> None:
    """A nested transaction may have as many operations as its parent leaves (etcd's way of counting)."""
    most = max(len(request.compare), len(request.success), len(request.failure))
    if most > ops_max or depth == 0:
        raise EtcdError(*errors.TOO_MANY_OPS)
    for compare in request.compare:
        _check_key(compare.key)
    for branch in (request.success, request.failure):
        for operation in branch:
            _check_operation(operation, ops_max - most, depth - 1)


def _check_operation(operation: rpc_pb2.RequestOp, ops_max: int, depth: int) -> None:
    match operation.WhichOneof("request"):
        case "request_range":
            check_range(operation.request_range)
        case "request_put":
            _check_put(operation.request_put)
        case "request_delete_range":
            _check_key(operation.request_delete_range.key)
        case "request_txn":
            _check_operations(operation.request_txn, ops_max, depth)
        case _:
            raise EtcdError(*errors.KEY_NOT_FOUND)


def _has_put(request: rpc_pb2.TxnRequest) -> bool:
    for branch in (request.success, request.failure):
        for operation in branch:
            match operation.WhichOneof("request"):
                case "request_put":
                    return True
                case "request_txn" if _has_put(operation.request_txn):
                    return True
    return False


class _Changed:
    """What a list of operations puts and deletes, on whatever branch; building it finds a key that is changed twice.

    As in etcd, deletes do not meet each other, and one without an upper bound meets no put at all.
    """

    def __init__(self) -> None:
        self.puts: dict[bytes, None] = {}
        self.deletes: list[Interval] = []
        self._deleted: IntervalMap[None] = IntervalMap()

    @classmethod
    def by(cls, operations: Iterable[rpc_pb2.RequestOp]) -> _Changed:
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

    def _add_nested(self, request: rpc_pb2.TxnRequest) -> None:
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
