"""What a user must be permitted, by kind of command and query.

Rules
1. Reading a key, comparing it, and being told its pair before a change needs to read it; changing it needs to write it.
   In a transaction that goes for every branch, taken or not, nested ones too.
2. Who attaches a key to a lease, or revokes it, must be permitted to write all keys of that lease: they go with it.
3. A compaction takes away the history of all keys, and needs to write all of them.
4. Users, roles and members are changed, and hashes and snapshots taken, by who has the role root. A user may look at
   itself, and at its own roles.
5. Whatever else is asked of a lease, somebody known must ask.
"""

from __future__ import annotations

from collections.abc import Iterator

from ratified.kv.auth import Auth
from ratified.kv.commands import CommandKind
from ratified.kv.cost import LOOK, count_up_to
from ratified.kv.errors import EtcdError
from ratified.kv.identity import Identity
from ratified.kv.intervals import Interval, interval
from ratified.kv.mvcc import Mvcc
from ratified.kv.queries import AskKind, QueryKind
from ratified.kv.writes import Steps
from ratified.wire.etcd import rpc_pb2
from ratified.wire.etcd.auth_pb2 import User

_ALL_KEYS = interval(b"\x00", b"\x00")
"""As a permission for all keys says it; none is empty."""
_OWN = (
    CommandKind.LEAD,
    CommandKind.LEASE_EXPIRE,
    CommandKind.AUTHENTICATE,
    CommandKind.CHECK,
    CommandKind.CHECKED,
)
"""What members propose themselves."""
_OPEN = (
    QueryKind.STATUS,
    QueryKind.COUNTS,
    QueryKind.AUTH_STATUS,
    QueryKind.PROGRESS,
    QueryKind.PASSWORD,
    QueryKind.TOKEN,
    QueryKind.HASH_ROWS,
    QueryKind.CHECKS,
)
"""What anybody may ask; ``COUNTS`` and the last four are asked by members only."""
_MANAGING = (
    QueryKind.MAY_MANAGE,
    QueryKind.HASH_KV,
    QueryKind.STATE,
    QueryKind.TIDIED,
    QueryKind.USER_LIST,
    QueryKind.ROLE_LIST,
)


class Guard:
    """Raises etcd's error where something is not permitted; to be asked while ``auth.enabled``."""

    def __init__(self, auth: Auth, mvcc: Mvcc) -> None:
        self._auth = auth
        self._mvcc = mvcc

    # -- commands -------------------------------------------------------------------------------------------------

    def looks(self, kind: int, who: Identity | None, body: bytes, most: int) -> int:
        """At how many rows of leases ``check_command`` will look; at most ``most``."""
        try:
            if self._auth.admit(who) is None:
                return 0
        except EtcdError:
            return 0
        looks = 0
        for lease in _leases(kind, body):
            looks += count_up_to(self._mvcc.attached(lease), most - looks)
        return looks

    def check_command(self, kind: int, who: Identity | None, body: bytes) -> Steps[None]:
        if kind in _OWN:
            return
        user = self._auth.admit(who)
        if user is None:
            return
        if kind == CommandKind.PUT:
            self._check_put(user, rpc_pb2.PutRequest.FromString(body))
        elif kind == CommandKind.DELETE_RANGE:
            self._check_delete(user, rpc_pb2.DeleteRangeRequest.FromString(body))
        elif kind == CommandKind.TXN:
            yield from self._check_txn(user, rpc_pb2.TxnRequest.FromString(body))
        elif kind == CommandKind.COMPACT:
            self._auth.check_writes(user, _ALL_KEYS)
        elif kind not in (CommandKind.LEASE_GRANT, CommandKind.LEASE_REVOKE):
            self._auth.check_manages(who)
        for lease in _leases(kind, body):
            yield from self._check_lease(user, lease)

    def _check_put(self, user: User, request: rpc_pb2.PutRequest) -> None:
        keys = interval(request.key, b"")
        self._auth.check_writes(user, keys)
        if request.prev_kv:
            self._auth.check_reads(user, keys)

    def _check_delete(self, user: User, request: rpc_pb2.DeleteRangeRequest) -> None:
        keys = interval(request.key, request.range_end)
        self._auth.check_writes(user, keys)
        if request.prev_kv:
            self._auth.check_reads(user, keys)

    def _check_lease(self, user: User, lease: int) -> Steps[None]:
        for key in self._mvcc.attached(lease):
            if key is not None:
                self._auth.check_writes(user, interval(key, b""))
            yield LOOK

    def _check_txn(self, user: User, request: rpc_pb2.TxnRequest) -> Steps[None]:
        for compare in request.compare:
            self._auth.check_reads(user, interval(compare.key, compare.range_end))
        for operation in (*request.success, *request.failure):
            yield LOOK
            match operation.WhichOneof("request"):
                case "request_range":
                    asked = operation.request_range
                    self._auth.check_reads(user, interval(asked.key, asked.range_end))
                case "request_put":
                    self._check_put(user, operation.request_put)
                case "request_delete_range":
                    self._check_delete(user, operation.request_delete_range)
                case "request_txn":
                    yield from self._check_txn(user, operation.request_txn)

    # -- queries --------------------------------------------------------------------------------------------------

    def check_query(self, kind: int, who: Identity | None, body: bytes) -> None:
        if kind in _OPEN:
            return
        if kind in _MANAGING:
            self._auth.check_manages(who)
            return
        user = self._auth.admit(who)
        if user is None:
            return
        if kind == QueryKind.USER_GET:
            if rpc_pb2.AuthUserGetRequest.FromString(body).name.encode() != user.name:
                self._auth.check_manages(who)
        elif kind == QueryKind.ROLE_GET:
            if rpc_pb2.AuthRoleGetRequest.FromString(body).role not in user.roles:
                self._auth.check_manages(who)
        else:
            for keys in _read(kind, body):
                self._auth.check_reads(user, keys)

    def check_ask(self, kind: int, who: Identity | None, body: bytes) -> None:
        user = self._auth.admit(who)
        if user is None or kind != AskKind.TIME_TO_LIVE:
            return
        request = rpc_pb2.LeaseTimeToLiveRequest.FromString(body)
        if request.keys:
            for key in self._mvcc.attached(request.ID):
                if key is not None:
                    self._auth.check_reads(user, interval(key, b""))


def _leases(kind: int, body: bytes) -> list[int]:
    """Those whose keys a command is held against, each once."""
    found: dict[int, None] = {}
    if kind == CommandKind.PUT:
        found[rpc_pb2.PutRequest.FromString(body).lease] = None
    elif kind == CommandKind.LEASE_REVOKE:
        found[rpc_pb2.LeaseRevokeRequest.FromString(body).ID] = None
    elif kind == CommandKind.TXN:
        found = dict.fromkeys(_put_leases(rpc_pb2.TxnRequest.FromString(body)))
    return [lease for lease in found if lease]


def _put_leases(request: rpc_pb2.TxnRequest) -> Iterator[int]:
    for operation in (*request.success, *request.failure):
        match operation.WhichOneof("request"):
            case "request_put":
                yield operation.request_put.lease
            case "request_txn":
                yield from _put_leases(operation.request_txn)


def _read(kind: int, body: bytes) -> Iterator[Interval]:
    """The keys that a query reads; a watch holds itself against the user's permissions (``watch``)."""
    if kind == QueryKind.RANGE:
        asked = rpc_pb2.RangeRequest.FromString(body)
        yield interval(asked.key, asked.range_end)
    elif kind == QueryKind.TXN:
        request = rpc_pb2.TxnRequest.FromString(body)
        for compare in request.compare:
            yield interval(compare.key, compare.range_end)
        for operation in (*request.success, *request.failure):
            yield interval(operation.request_range.key, operation.request_range.range_end)
