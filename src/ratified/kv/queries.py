"""What is asked: reads, which any replica answers (``Store.read``), and what only the leader answers (``Store.ask``).

Either is a kind byte and the bytes of the etcd request, decoded and checked where they came in (``requests``). A watch
and a progress request have the number of the client's stream (u64) behind the kind.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct


class QueryKind(IntEnum):
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
    STATE = 8
    """The whole state, in the chunks of ``backup``."""


class AskKind(IntEnum):
    """The first byte of what only the leader can answer."""

    KEEP_ALIVE = 1
    """LeaseKeepAliveRequest -> LeaseKeepAliveResponse."""
    TIME_TO_LIVE = 2
    """LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse."""


STREAM = Struct(">Q")


def range_(request: bytes) -> bytes:
    return bytes([QueryKind.RANGE]) + request


def txn(request: bytes) -> bytes:
    """From a TxnRequest that ``requests.is_read_only``."""
    return bytes([QueryKind.TXN]) + request


def watch(stream: int, request: bytes) -> bytes:
    """From a WatchCreateRequest; ``stream`` groups the watches whose progress is asked for together."""
    return bytes([QueryKind.WATCH]) + STREAM.pack(stream) + request


def progress(stream: int) -> bytes:
    """How far all watches of this stream have come."""
    return bytes([QueryKind.PROGRESS]) + STREAM.pack(stream)


def leases() -> bytes:
    return bytes([QueryKind.LEASES])


def hash_kv(request: bytes) -> bytes:
    return bytes([QueryKind.HASH_KV]) + request


def status() -> bytes:
    """The revision (in the header) and the sizes."""
    return bytes([QueryKind.STATUS])


def state() -> bytes:
    return bytes([QueryKind.STATE])


def keep_alive(request: bytes) -> bytes:
    return bytes([AskKind.KEEP_ALIVE]) + request


def time_to_live(request: bytes) -> bytes:
    return bytes([AskKind.TIME_TO_LIVE]) + request
