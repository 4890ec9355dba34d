"""What is asked: reads, which any replica answers, and questions, which need the leader.

A query is a kind byte and the bytes of the etcd request; a watch and a question about progress have the number of the
client's stream (u64) between the two. ``EtcdError`` as in ``commands``.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct

from ratified.kv.commands import TXN_OPS_MAX, check_range, check_txn, parse
from ratified.wire.etcd import rpc_pb2


class Query(IntEnum):
    """The first byte of a read."""

    RANGE = 1
    """RangeRequest -> RangeResponse, perhaps in pieces."""
    TXN = 2
    """TxnRequest of reads only -> TxnResponse."""
    WATCH = 3
    """stream, WatchCreateRequest -> WatchResponses without watch_id, until it is cancelled."""
    PROGRESS = 4
    """stream -> one WatchResponse (watch_id -1), when all watches of the stream stand at its revision."""
    LEASES = 5
    """LeaseLeasesRequest -> LeaseLeasesResponse."""
    HASH_KV = 6
    """HashKVRequest -> HashKVResponse."""
    STATUS = 7
    """StatusRequest -> StatusResponse with sizes only."""


class Question(IntEnum):
    """The first byte of what only the leader can answer."""

    KEEP_ALIVE = 1
    """LeaseKeepAliveRequest -> LeaseKeepAliveResponse."""
    TIME_TO_LIVE = 2
    """LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse."""


STREAM = Struct(">Q")


def range_(request: bytes) -> bytes:
    """From a RangeRequest."""
    check_range(parse(rpc_pb2.RangeRequest, request))
    return bytes([Query.RANGE]) + request


def txn(request: bytes, ops_max: int = TXN_OPS_MAX) -> bytes:
    """From a TxnRequest that ``commands.txn_is_read_only``."""
    check_txn(parse(rpc_pb2.TxnRequest, request), ops_max)
    return bytes([Query.TXN]) + request


def watch(stream: int, request: bytes) -> bytes:
    """From a WatchCreateRequest; ``stream`` groups the watches whose progress is asked for together."""
    parse(rpc_pb2.WatchCreateRequest, request)
    return bytes([Query.WATCH]) + STREAM.pack(stream) + request


def progress(stream: int) -> bytes:
    """How far all watches of this stream have come."""
    return bytes([Query.PROGRESS]) + STREAM.pack(stream)


def leases() -> bytes:
    """All leases."""
    return bytes([Query.LEASES])


def hash_kv(request: bytes) -> bytes:
    """From a HashKVRequest."""
    parse(rpc_pb2.HashKVRequest, request)
    return bytes([Query.HASH_KV]) + request


def status() -> bytes:
    """The revision (in the header) and the sizes."""
    return bytes([Query.STATUS])


def keep_alive(request: bytes) -> bytes:
    """From a LeaseKeepAliveRequest."""
    parse(rpc_pb2.LeaseKeepAliveRequest, request)
    return bytes([Question.KEEP_ALIVE]) + request


def time_to_live(request: bytes) -> bytes:
    """From a LeaseTimeToLiveRequest."""
    parse(rpc_pb2.LeaseTimeToLiveRequest, request)
    return bytes([Question.TIME_TO_LIVE]) + request
