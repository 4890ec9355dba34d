"""What commands that may or may not be applied next could change (log leases): the keys that they write.

A read is judged by the keys that it names, and by nothing that is stored. What a lease is attached to, and what a
compaction takes away, cannot be told from the command alone: then everything is touched. So it is for a read of another
revision than the newest, and for what reads no keys. The revision in a response's header is not judged: it may be lower
than one that was answered before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from google.protobuf.message import DecodeError

from ratified.kv import commands as encoded
from ratified.kv.commands import CommandKind
from ratified.kv.intervals import Interval, interval
from ratified.kv.queries import QueryKind
from ratified.machine import Touches
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

EVERYTHING = Interval(b"", None)
_CHANGE_NO_KEY = (CommandKind.LEASE_GRANT, CommandKind.LEAD)


def touched_by(commands: Sequence[bytes]) -> Touches:
    """Which reads could one of these commands change?"""
    written = [each for command in commands for each in _written(command)]
    points = sorted(each.first for each in written if _is_point(each))
    ranges = [each for each in written if not _is_point(each)]

    def touches(request: bytes) -> bool:
        return any(_meets(asked, points, ranges) for asked in _asked(request))

    return touches


def _meets(asked: Interval, points: Sequence[bytes], ranges: Sequence[Interval]) -> bool:
    at = bisect_left(points, asked.first)
    if at < len(points) and asked.holds(points[at]):
        return True
    return any(_overlap(asked, each) for each in ranges)


def _overlap(one: Interval, other: Interval) -> bool:
    ends_behind = one.end is None or other.first < one.end
    return ends_behind and (other.end is None or one.first < other.end)


def _is_point(each: Interval) -> bool:
    return each.end == each.first + b"\x00"


def _written(command: bytes) -> Iterator[Interval]:
    """The keys that a command may write or delete."""
    try:
        kind, body = encoded.split(command)
        if kind == CommandKind.PUT:
            yield interval(PutRequest.FromString(body).key, b"")
        elif kind == CommandKind.DELETE_RANGE:
            request = DeleteRangeRequest.FromString(body)
            yield interval(request.key, request.range_end)
        elif kind == CommandKind.TXN:
            yield from _written_by_txn(TxnRequest.FromString(body))
        elif kind not in _CHANGE_NO_KEY:
            yield EVERYTHING
    except (DecodeError, ValueError):
        yield EVERYTHING  # applying it will say what is wrong


def _written_by_txn(request: TxnRequest) -> Iterator[Interval]:
    for operation in (*request.success, *request.failure):
        match operation.WhichOneof("request"):
            case "request_put":
                yield interval(operation.request_put.key, b"")
            case "request_delete_range":
                deleted = operation.request_delete_range
                yield interval(deleted.key, deleted.range_end)
            case "request_txn":
                yield from _written_by_txn(operation.request_txn)


def _asked(request: bytes) -> Iterator[Interval]:
    """The keys that a read looks at."""
    kind, body = request[0], request[1:]
    if kind == QueryKind.RANGE:
        yield _asked_by_range(RangeRequest.FromString(body))
    elif kind == QueryKind.TXN:
        yield from _asked_by_txn(TxnRequest.FromString(body))
    else:
        yield EVERYTHING


def _asked_by_range(request: RangeRequest) -> Interval:
    return EVERYTHING if request.revision > 0 else interval(request.key, request.range_end)


def _asked_by_txn(request: TxnRequest) -> Iterator[Interval]:
    for compare in request.compare:
        yield interval(compare.key, compare.range_end)
    for operation in (*request.success, *request.failure):
        yield from _asked_by(operation)


def _asked_by(operation: RequestOp) -> Iterator[Interval]:
    match operation.WhichOneof("request"):
        case "request_range":
            yield _asked_by_range(operation.request_range)
        case "request_txn":
            yield from _asked_by_txn(operation.request_txn)
        case _:
            yield EVERYTHING
