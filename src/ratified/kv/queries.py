"""What is asked: reads, which any replica answers (``Store.read``), and what only the leader answers (``Store.ask``).

Either is a kind byte and the bytes of the etcd request, decoded and checked where they came in (``requests``). A watch
and a progress request have the number of the client's stream (u64) behind the kind. In front of either may stand who
asks: ``ASKED_BY`` and an ``identity``.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from ratified.kv import identity
from ratified.kv.identity import Identity

ASKED_BY = 0xFF
"""The first byte where it is said who asks."""


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
    """StatusRequest -> StatusResponse with sizes, and alarms among the errors."""
    STATE = 8
    """The whole state, in the chunks of ``backup``."""
    USER_GET = 9
    """AuthUserGetRequest -> AuthUserGetResponse."""
    USER_LIST = 10
    """AuthUserListRequest -> AuthUserListResponse."""
    ROLE_GET = 11
    """AuthRoleGetRequest -> AuthRoleGetResponse."""
    ROLE_LIST = 12
    """AuthRoleListRequest -> AuthRoleListResponse."""
    AUTH_STATUS = 13
    """AuthStatusRequest -> AuthStatusResponse."""
    MAY_ASK = 14
    """Nothing but a header -> a header; an error where whoever asks is nobody that is known."""
    MAY_MANAGE = 15
    """As ``MAY_ASK``, where whoever asks has not the role root."""
    PASSWORD = 16
    """A user's name -> ``tokens.Password``."""
    TOKEN = 17
    """The SHA-256 of a token -> ``tokens.Holder``; empty: nobody's."""
    COUNTS = 18
    """``Counts``, of this replica."""
    GETS = 19
    """Plain gets -> the RangeResponses of the first of them, at least one (``plain``)."""
    ALARMS = 20
    """AlarmRequest -> AlarmResponse with those of its kind."""
    TIDIED = 21
    """Nothing -> a header, once this replica has removed what was deleted and compacted until then."""
    HASH_ROWS = 22
    """A revision (u64) -> HashKVResponse, of the rows as they are read."""
    CHECKS = 23
    """Nothing -> lists of ``checks.Check``, whenever they change, until it is cancelled."""


class AskKind(IntEnum):
    """The first byte of what only the leader can answer."""

    KEEP_ALIVE = 1
    """LeaseKeepAliveRequest -> LeaseKeepAliveResponse."""
    TIME_TO_LIVE = 2
    """LeaseTimeToLiveRequest -> LeaseTimeToLiveResponse."""


STREAM = Struct(">Q")
REVISION = Struct(">Q")
_RANGE = bytes([QueryKind.RANGE])


def split(request: bytes) -> tuple[int, Identity | None, bytes]:
    """(kind, who asks, body) of a query."""
    if request[0] != ASKED_BY:
        return request[0], None, request[1:]
    who, asked = identity.split(request, 1)
    return asked[0], who, asked[1:]


def asked_by(who: Identity, request: bytes) -> bytes:
    return bytes([ASKED_BY]) + who.encode() + request


class Counts(NamedTuple):
    """What a store holds beside its keys."""

    compacted: int
    """The revision of the last compaction; 0: there was none."""
    leases: int
    watchers: int
    slow_watchers: int
    """Of these, those that have not been sent all that there is."""
    watch_streams: int

    def encode(self) -> bytes:
        return _COUNTS.pack(*self)

    @classmethod
    def decode(cls, data: bytes) -> Counts:
        return cls(*_COUNTS.unpack(data))


_COUNTS = Struct(">5q")


def range_(request: bytes) -> bytes:
    return _RANGE + request


def gets(plain: Iterable[bytes]) -> bytes:
    """From plain gets, as ``range_`` gave them."""
    return bytes([QueryKind.GETS]) + b"".join([query[1:] for query in plain])


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
    """The revision (in the header), the sizes and the alarms."""
    return bytes([QueryKind.STATUS])


def counts() -> bytes:
    return bytes([QueryKind.COUNTS])


def alarms(request: bytes) -> bytes:
    return bytes([QueryKind.ALARMS]) + request


def hash_rows(revision: int) -> bytes:
    return bytes([QueryKind.HASH_ROWS]) + REVISION.pack(revision)


def checks() -> bytes:
    return bytes([QueryKind.CHECKS])


def tidied() -> bytes:
    return bytes([QueryKind.TIDIED])


def state() -> bytes:
    return bytes([QueryKind.STATE])


def user_get(request: bytes) -> bytes:
    return bytes([QueryKind.USER_GET]) + request


def user_list() -> bytes:
    return bytes([QueryKind.USER_LIST])


def role_get(request: bytes) -> bytes:
    return bytes([QueryKind.ROLE_GET]) + request


def role_list() -> bytes:
    return bytes([QueryKind.ROLE_LIST])


def auth_status() -> bytes:
    return bytes([QueryKind.AUTH_STATUS])


def may_ask() -> bytes:
    return bytes([QueryKind.MAY_ASK])


def may_manage() -> bytes:
    return bytes([QueryKind.MAY_MANAGE])


def password(user: str) -> bytes:
    return bytes([QueryKind.PASSWORD]) + user.encode()


def token(token_hash: bytes) -> bytes:
    return bytes([QueryKind.TOKEN]) + token_hash


def keep_alive(request: bytes) -> bytes:
    return bytes([AskKind.KEEP_ALIVE]) + request


def time_to_live(request: bytes) -> bytes:
    return bytes([AskKind.TIME_TO_LIVE]) + request
