"""Users, and operators who change all the time who may do what.

A client finds out who it is as a member does for its clients (``api.sessions``): it says its password and gets a token,
asks whose that is, and acts as that one at the auth revision that it was told, until it is refused. It keeps this for
longer than it is true. Operators act as a member itself, and make any change, that cannot be made too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import Enum

import msgspec

from ratified.check import users as meant
from ratified.check.users import Change, Stage, Users, Verdict, Who
from ratified.kv import commands, queries
from ratified.kv.commands import AuthKind
from ratified.kv.encoding import response
from ratified.kv.errors import EtcdError
from ratified.kv.identity import SERVER, Identity
from ratified.kv.tokens import Holder, Password
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.requester import Requester
from ratified.sim.world import Draws
from ratified.wire.etcd import errors
from ratified.wire.etcd.auth_pb2 import Permission
from ratified.wire.etcd.rpc_pb2 import (
    AuthRoleAddRequest,
    AuthRoleDeleteRequest,
    AuthRoleGrantPermissionRequest,
    AuthRoleRevokePermissionRequest,
    AuthUserAddRequest,
    AuthUserChangePasswordRequest,
    AuthUserDeleteRequest,
    AuthUserGrantRoleRequest,
    AuthUserRevokeRoleRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

USERS = ("alice", "bob")
"""Beside root, who may do everything."""
ROLES = ("reader", "writer")
KEYS = tuple(b"u%d" % number for number in range(4))
_RANGES = (KEYS[0], KEYS[2]), (KEYS[1], KEYS[3]), (KEYS[0], b"v"), (KEYS[2], KEYS[2] + b"\x00"), (KEYS[3], KEYS[0])
"""Some overlap, one is a key's, and in the last there is none."""
REST_TIMEOUTS = 6
"""Election timeouts that an operator may leave everything as it is."""
_HASHED = "aGFzaA=="
_TAG = b"\x7a"
"""Begins a field that no request has: it tells requests apart that mean the same."""
_VERDICTS = {
    errors.USER_EMPTY.text: Verdict.NOBODY,
    errors.AUTH_OLD_REVISION.text: Verdict.OLD,
    errors.PERMISSION_DENIED.text: Verdict.DENIED,
}


def verdict_of(answer: bytes) -> Verdict:
    try:
        response(answer)
    except EtcdError as error:
        return _VERDICTS.get(error.text, Verdict.REFUSED)
    return Verdict.DONE


class UserOperator:
    """Makes one change after the other."""

    def __init__(self, number: int, group: int, cluster: Cluster, users: Users) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._requests = cluster.checkers.requests[group]
        self._timeout_us = cluster.options.election_timeout_us
        self._users = users
        self._change: Change = meant.Enable()
        self._command = b""
        self._floor = 0

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        self._change = _drawn(requester.draws, self._users.stage)
        self._command = commands.asked_by(SERVER, _command(self._change, requester.token + 1))
        self._requests.requested(self._command)
        self._floor = self._users.asked(self._command, self._change)
        requester.ask(Work.PROPOSE, self._command, self._timeout_us)
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.REFUSED:
            self._requests.refused(self._command)
        elif outcome is Outcome.DONE:
            self._users.answered(self._floor, self._command, verdict_of(b"".join(parts)))
        self._later()

    def _later(self) -> None:
        """Often it leaves everything as it is for a while when users begin to count."""
        rests = isinstance(self._change, meant.Enable) and self.requester.draws.chance(500_000)
        self.requester.later(self._timeout_us * REST_TIMEOUTS if rests else self._timeout_us // 2, self.act)


class _Step(Enum):
    SAY_PASSWORD = "say its password"
    GET_TOKEN = "get a token"
    SHOW_TOKEN = "show its token"
    PUT = "put"
    READ = "read"


class UserClient:
    """One user of the keys ``KEYS``, which it shares with all others."""

    def __init__(self, number: int, group: int, cluster: Cluster, users: Users) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._requests = cluster.checkers.requests[group]
        self._timeout_us = cluster.options.election_timeout_us
        self._users = users
        names = (*USERS, *USERS, meant.ROOT)
        self._user = names[number % len(names)]
        self._step = _Step.SAY_PASSWORD
        self._who: Identity | None = None
        self._token = b""
        """Its hash; empty: it has none."""
        self._revision = 0
        """The auth revision at which its password was right."""
        self._key = KEYS[0]
        self._work = Work.READ
        self._data = b""
        self._floor = 0

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        self._floor = self._users.highest
        self._key = KEYS[requester.draws.below(len(KEYS))]
        self._work, self._data = self._request()
        if self._work is Work.PROPOSE:
            self._requests.requested(self._data)
            self._users.asked(self._data, self._meaning())
        requester.ask(self._work, self._data, self._timeout_us)
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    def _request(self) -> tuple[Work, bytes]:
        draws, number = self.requester.draws, b"%d" % (self.requester.token + 1)
        match self._step:
            case _Step.SAY_PASSWORD:
                return Work.READ, queries.password(self._user)
            case _Step.GET_TOKEN:
                self._token = hashlib.sha256(number).digest()
                return Work.PROPOSE, commands.authenticate(self._user, self._token, self._revision)
            case _Step.SHOW_TOKEN:
                return Work.READ_LOCAL if draws.chance(500_000) else Work.READ, queries.token(self._token)
            case _Step.PUT:
                put, is_other = _plain_put(self._key, number), draws.chance(300_000)
                if self._who is None:
                    return Work.PROPOSE, commands.puts((put, put)) if is_other else put
                return Work.PROPOSE, commands.asked_by(self._who, _nested_put(self._key, number) if is_other else put)
            case _Step.READ:
                asked = queries.range_(RangeRequest(key=self._key).SerializeToString())
                return Work.READ, asked if self._who is None else queries.asked_by(self._who, asked)

    def _meaning(self) -> meant.Meaning:
        if self._step is _Step.GET_TOKEN:
            return meant.LetIn(self._user, self._revision, self._token)
        return meant.Put(self._meant_who(), self._key, b"%d" % (self.requester.token + 1))

    def _meant_who(self) -> Who | None:
        return None if self._who is None else Who(*self._who)

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.REFUSED and self._work is Work.PROPOSE:
            self._requests.refused(self._data)
        if outcome is Outcome.DONE:
            self._done(b"".join(parts))
        elif self._step is _Step.GET_TOKEN:
            self._step = _Step.SAY_PASSWORD
        self._later()

    def _done(self, answer: bytes) -> None:
        verdict = verdict_of(answer)
        if self._work is Work.PROPOSE:
            self._users.answered(self._floor, self._data, verdict)
        match self._step:
            case _Step.SAY_PASSWORD:
                self._is_told(msgspec.msgpack.decode(response(answer), type=Password))
            case _Step.GET_TOKEN:
                self._step = _Step.SHOW_TOKEN if verdict is Verdict.DONE else _Step.SAY_PASSWORD
            case _Step.SHOW_TOKEN:
                self._is_known_as(msgspec.msgpack.decode(response(answer), type=Holder))
            case _Step.READ:
                self._users.read(self._floor, self._meant_who(), self._key, verdict)
                self._goes_on(verdict)
            case _Step.PUT:
                self._goes_on(verdict)

    def _is_told(self, password: Password) -> None:
        self._users.told(self._floor, enabled=password.enabled, revision=password.revision)
        self._revision = password.revision
        self._who, self._token = None, b""
        self._step = _Step.GET_TOKEN if password.enabled and password.hashed else _Step.PUT

    def _is_known_as(self, holder: Holder) -> None:
        if self._work is Work.READ:
            self._users.told(self._floor, enabled=holder.enabled, revision=holder.revision)
        if holder.user:
            self._users.held(self._token, holder.user, holder.revision)
        self._who = Identity(holder.user, holder.revision) if holder.enabled and holder.user else None
        is_known = self._who is not None or not holder.enabled
        self._step = _Step.PUT if is_known else _Step.SAY_PASSWORD

    def _goes_on(self, verdict: Verdict) -> None:
        """Who is refused finds out again who it is, mostly; the others do now and then."""
        finds_out = self.requester.draws.chance(100_000 if verdict is Verdict.DONE else 800_000)
        if finds_out:
            self._step = _Step.SHOW_TOKEN if self._token else _Step.SAY_PASSWORD
        else:
            self._step = _Step.READ if self.requester.draws.chance(300_000) else _Step.PUT

    def _later(self) -> None:
        self.requester.later(self._timeout_us // 8, self.act)


def _plain_put(key: bytes, value: bytes) -> bytes:
    return commands.put(PutRequest(key=key, value=value).SerializeToString())


def _nested_put(key: bytes, value: bytes) -> bytes:
    """In the branch of a transaction that is not taken."""
    inner = TxnRequest(failure=[RequestOp(request_put=PutRequest(key=key, value=value))])
    return commands.txn(TxnRequest(success=[RequestOp(request_txn=inner)]).SerializeToString())


def _command(change: Change, number: int) -> bytes:
    kind, request = _encoded(change)
    tag = b"%d" % number
    return commands.auth(kind, request + _TAG + bytes([len(tag)]) + tag)


def _encoded(change: Change) -> tuple[AuthKind, bytes]:
    match change:
        case meant.Enable():
            return AuthKind.ENABLE, b""
        case meant.Disable():
            return AuthKind.DISABLE, b""
        case meant.AddUser(user):
            return AuthKind.USER_ADD, AuthUserAddRequest(name=user, hashedPassword=_HASHED).SerializeToString()
        case meant.DeleteUser(user):
            return AuthKind.USER_DELETE, AuthUserDeleteRequest(name=user).SerializeToString()
        case meant.ChangePassword(user):
            changed = AuthUserChangePasswordRequest(name=user, hashedPassword=_HASHED)
            return AuthKind.USER_CHANGE_PASSWORD, changed.SerializeToString()
        case meant.GrantRole(user, role):
            return AuthKind.USER_GRANT_ROLE, AuthUserGrantRoleRequest(user=user, role=role).SerializeToString()
        case meant.RevokeRole(user, role):
            return AuthKind.USER_REVOKE_ROLE, AuthUserRevokeRoleRequest(name=user, role=role).SerializeToString()
        case meant.AddRole(role):
            return AuthKind.ROLE_ADD, AuthRoleAddRequest(name=role).SerializeToString()
        case meant.DeleteRole(role):
            return AuthKind.ROLE_DELETE, AuthRoleDeleteRequest(role=role).SerializeToString()
        case meant.Permit(role, (first, end), writes):
            permission = Permission(
                permType=Permission.READWRITE if writes else Permission.READ, key=first, range_end=end
            )
            permitted = AuthRoleGrantPermissionRequest(name=role, perm=permission)
            return AuthKind.ROLE_GRANT_PERMISSION, permitted.SerializeToString()
        case meant.Forbid(role, (first, end)):
            forbidden = AuthRoleRevokePermissionRequest(role=role, key=first, range_end=end)
            return AuthKind.ROLE_REVOKE_PERMISSION, forbidden.SerializeToString()


def _other_way(stage: Stage) -> Change:
    """Let users count no more; or let them, which needs one who manages."""
    if stage.enabled:
        return meant.Disable()
    if meant.ROOT not in stage.users:
        return meant.AddUser(meant.ROOT)
    return meant.Enable() if meant.ROOT in stage.users[meant.ROOT] else meant.GrantRole(meant.ROOT, meant.ROOT)


def _drawn(draws: Draws, stage: Stage) -> Change:
    """Users count most of the time, and most changes are of what they may do."""
    if draws.chance(60_000 if stage.enabled else 250_000):
        return _other_way(stage)
    user, role = USERS[draws.below(len(USERS))], ROLES[draws.below(len(ROLES))]
    keys, writes = _RANGES[draws.below(len(_RANGES))], draws.chance(700_000)
    makers: tuple[Callable[[], Change], ...] = (
        lambda: meant.AddUser(user),
        lambda: meant.AddUser(user),
        lambda: meant.DeleteUser(user),
        lambda: meant.ChangePassword(user),
        lambda: meant.AddRole(role),
        lambda: meant.AddRole(role),
        lambda: meant.DeleteRole(role),
        lambda: meant.GrantRole(user, role),
        lambda: meant.GrantRole(user, role),
        lambda: meant.GrantRole(user, role),
        lambda: meant.RevokeRole(user, role),
        lambda: meant.Permit(role, keys, writes),
        lambda: meant.Permit(role, keys, writes),
        lambda: meant.Permit(role, keys, writes),
        lambda: meant.Forbid(role, keys),
    )
    return makers[draws.below(len(makers))]()
