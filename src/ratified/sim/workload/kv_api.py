"""How clients speak to the key-value store: register calls as etcd requests, and their answers back.

Every write is told apart from all others by its bytes: a put and a swap by their value, a delete by a transaction whose
condition, always true, names a key of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.check.register import Call, Delete, Get, Held, Put, Result, Swap
from ratified.check.violation import Violation
from ratified.kv import commands, queries
from ratified.kv.encoding import failure
from ratified.kv.errors import EtcdError
from ratified.kv.identity import Identity
from ratified.wire.etcd import errors
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)

OK = 0
NO_SPACE = failure(EtcdError(*errors.NO_SPACE))
"""The answer to what an alarm refuses: it was applied, and has changed nothing."""


def body_of(reply: bytes) -> bytes:
    """The etcd response of a reply that is no error; raises ``Violation`` where it is one."""
    if reply[0] != OK:
        raise Violation("answers", f"a request that must succeed was answered with error {reply[1]}: {reply[2:]!r}")
    return reply[1:]


class KvApi:
    """Registers, as keys of the store."""

    def __init__(self, who: Identity | None = None) -> None:
        """``who``: as whom everything is asked."""
        self._who = who

    def command(self, key: bytes, call: Call, tag: bytes) -> bytes:
        command = _command(key, call, tag)
        return command if self._who is None else commands.asked_by(self._who, command)

    def query(self, key: bytes) -> bytes:
        query = queries.range_(RangeRequest(key=key).SerializeToString())
        return query if self._who is None else queries.asked_by(self._who, query)

    def answer(self, call: Call, reply: bytes) -> tuple[Result, int, bool]:
        body = body_of(reply)
        match call:
            case Get():
                got = RangeResponse.FromString(body)
                return _first(got.kvs), got.header.revision, False
            case Put():
                done = PutResponse.FromString(body)
                before = _held(done.prev_kv) if done.HasField("prev_kv") else None
                return before, done.header.revision, True
            case Swap():
                swapped = TxnResponse.FromString(body)
                if swapped.succeeded:
                    return True, swapped.header.revision, True
                return _first(swapped.responses[0].response_range.kvs), swapped.header.revision, False
            case Delete():
                deleted = TxnResponse.FromString(body)
                found = deleted.responses[0].response_delete_range
                return _first(found.prev_kvs), deleted.header.revision, found.deleted > 0


def _command(key: bytes, call: Call, tag: bytes) -> bytes:
    match call:
        case Put(value):
            return commands.put(PutRequest(key=key, value=value, prev_kv=True).SerializeToString())
        case Swap(version, value):
            return commands.txn(_swap(key, version, value).SerializeToString())
        case Delete():
            return commands.txn(_delete(key, tag).SerializeToString())
        case Get():
            raise AssertionError("a read is no command")


def _held(pair: KeyValue) -> Held:
    return pair.value, pair.version


def _first(pairs: Sequence[KeyValue]) -> Held:
    return _held(pairs[0]) if pairs else None


def _swap(key: bytes, version: int, value: bytes) -> TxnRequest:
    return TxnRequest(
        compare=[Compare(result=Compare.EQUAL, target=Compare.VERSION, key=key, version=version)],
        success=[RequestOp(request_put=PutRequest(key=key, value=value))],
        failure=[RequestOp(request_range=RangeRequest(key=key))],
    )


def _delete(key: bytes, tag: bytes) -> TxnRequest:
    always = Compare(result=Compare.EQUAL, target=Compare.VERSION, key=b"never-" + tag, version=0)
    return TxnRequest(
        compare=[always],
        success=[RequestOp(request_delete_range=DeleteRangeRequest(key=key, prev_kv=True))],
    )
