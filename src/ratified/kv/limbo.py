"""What commands that may or may not be applied next could change (log leases): the keys that they write.

A read is judged by the keys that it names, and by nothing that is stored. What a lease is attached to, and what a
compaction takes away, cannot be told from the command alone: then everything is touched. A read of another revision
than the newest, and one of no keys, is touched by any command. The revision in a response's header is not judged: it
may be lower than one that was answered before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from google.protobuf.message import DecodeError

from ratified.kv import commands as encoded
from ratified.kv import queries
from ratified.kv.commands import CommandKind
from ratified.kv.intervals import Interval, interval, merged
from ratified.kv.plain import plain_gets, plain_puts
from ratified.kv.queries import QueryKind
from ratified.machine import Touches
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest

_EVERYTHING = Interval(b"", None)
_CHANGE_NO_KEY = (
    CommandKind.LEASE_GRANT,
    CommandKind.LEAD,
    CommandKind.AUTHENTICATE,
    CommandKind.ALARM,
    CommandKind.CHECK,
    CommandKind.CHECKED,
)


def touched_by(commands: Sequence[bytes]) -> Touches:
    """Which reads could one of these commands change?"""
    written = merged([each for command in commands for each in _written(command)])

    def touches(request: bytes) -> bool:
        asked = list(_asked(request))
        return any(_meets(each, written) for each in asked) if asked else bool(commands)

    return touches


def _meets(asked: Interval, written: Sequence[Interval]) -> bool:
    """Does one of those that do not overlap have a key of it?"""
    behind = len(written) if asked.end is None else bisect_left(written, asked.end, key=lambda each: each.first)
    return behind > 0 and not asked.empty and _ends_behind(written[behind - 1], asked.first)


def _ends_behind(written: Interval, key: bytes) -> bool:
    return written.end is None or written.end > key


def _written(command: bytes) -> Iterator[Interval]:
    """The keys that a command may write or delete."""
    try:
        kind, _, body = encoded.split(command)
        if kind == CommandKind.PUT:
            yield interval(PutRequest.FromString(body).key, b"")
        elif kind == CommandKind.PUTS:
            yield from (interval(key, b"") for key, _ in plain_puts(command) or ())
        elif kind == CommandKind.DELETE_RANGE:
            request = DeleteRangeRequest.FromString(body)
            yield interval(request.key, request.range_end)
        elif kind == CommandKind.TXN:
            yield from _written_by_txn(TxnRequest.FromString(body))
        elif kind not in _CHANGE_NO_KEY:
            yield _EVERYTHING
    except (DecodeError, ValueError):
        yield _EVERYTHING  # applying it will say what is wrong


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
    """The keys that a read looks at; none: it is no read of keys, or of another revision than the newest."""
    kind, _, body = queries.split(request)
    if kind == QueryKind.RANGE:
        asked = RangeRequest.FromString(body)
        if asked.revision <= 0:
            yield interval(asked.key, asked.range_end)
    elif kind == QueryKind.GETS:
        yield from (interval(key, b"") for key in plain_gets(body))
    elif kind == QueryKind.TXN:
        yield from _asked_by_txn(TxnRequest.FromString(body))


def _asked_by_range(request: RangeRequest) -> Interval:
    return _EVERYTHING if request.revision > 0 else interval(request.key, request.range_end)


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
            yield _EVERYTHING
