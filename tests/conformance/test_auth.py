"""Users, roles and permissions, the same calls to etcd 3.5 and to this: answers and errors are compared field by field.

``COMPARED`` is every user against every call. Where this is stricter (``docs/etcd.md``), what this says is written
down in ``STRICTER``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.message import Message

from ratified.testing.processes import LocalCluster
from ratified.wire.etcd import errors
from ratified.wire.etcd import rpc_pb2 as rpc
from ratified.wire.etcd.auth_pb2 import Permission, UserAddOptions
from tests.conformance.reference import etcd_35

TIMEOUT_S = 20
PASSWORD = "secret"


class Said(NamedTuple):
    """An answer without what is a cluster's own; or a code and a text."""

    code: int
    text: str
    answer: Any = None


class Server:
    """One cluster, and the tokens of those who have said their passwords to it."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._channel = grpc.insecure_channel(endpoint)
        self._tokens: dict[str, str] = {}

    def call(self, user: str | None, method: str, request: Message) -> Said:
        service, _, name = method.partition("/")
        answer = getattr(rpc, _answer_of(service, name))
        call = self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        metadata = () if user is None else (("token", self.token(user)),)
        try:
            return Said(0, "", _without_own(call(request, timeout=TIMEOUT_S, metadata=metadata)))
        except grpc.RpcError as error:
            return Said(error.code().value[0], error.details())

    def token(self, user: str) -> str:
        if user == "forged":
            return "forged.7"
        if user not in self._tokens:
            request = rpc.AuthenticateRequest(name=user, password=PASSWORD)
            call = self._channel.unary_unary(
                "/etcdserverpb.Auth/Authenticate",
                request_serializer=rpc.AuthenticateRequest.SerializeToString,
                response_deserializer=rpc.AuthenticateResponse.FromString,
            )
            self._tokens[user] = call(request, timeout=TIMEOUT_S).token
        return self._tokens[user]

    def close(self) -> None:
        self._channel.close()


def _answer_of(service: str, name: str) -> str:
    described = rpc.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    return str(described.output_type.name)


def _without_own(answer: Any) -> Any:
    answer.header.cluster_id = answer.header.member_id = answer.header.raft_term = 0
    if isinstance(answer, rpc.AuthenticateResponse):
        answer.token = "a token" if answer.token else ""
    if isinstance(answer, rpc.MemberListResponse):
        del answer.members[:]
    return answer


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with etcd_35(tmp_path_factory.mktemp("etcd")) as endpoint:
        server = Server(endpoint)
        yield server
        server.close()


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with LocalCluster(tmp_path_factory.mktemp("ours"), 1) as running:
        server = Server(running.nodes[0].endpoint)
        yield server
        server.close()


def grant(role: str, kind: Permission.Type.ValueType, key: bytes, range_end: bytes = b"") -> tuple[str, Message]:
    permission = Permission(permType=kind, key=key, range_end=range_end)
    return "Auth/RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)


def user_add(name: str) -> tuple[str, Message]:
    return "Auth/UserAdd", rpc.AuthUserAddRequest(name=name, password=PASSWORD)


def role_add(name: str) -> tuple[str, Message]:
    return "Auth/RoleAdd", rpc.AuthRoleAddRequest(name=name)


def grant_role(user: str, role: str) -> tuple[str, Message]:
    return "Auth/UserGrantRole", rpc.AuthUserGrantRoleRequest(user=user, role=role)


READ, WRITE, BOTH = Permission.READ, Permission.WRITE, Permission.READWRITE
NO_PASSWORD = UserAddOptions(no_password=True)
MANAGING: list[tuple[str, Message]] = [
    ("Auth/AuthStatus", rpc.AuthStatusRequest()),
    ("Auth/AuthEnable", rpc.AuthEnableRequest()),
    ("Auth/AuthDisable", rpc.AuthDisableRequest()),
    ("Auth/Authenticate", rpc.AuthenticateRequest(name="root", password=PASSWORD)),
    ("Auth/UserAdd", rpc.AuthUserAddRequest()),
    user_add("root"),
    user_add("root"),
    ("Auth/AuthEnable", rpc.AuthEnableRequest()),
    ("Auth/UserAdd", rpc.AuthUserAddRequest(name="certified", options=NO_PASSWORD)),
    ("Auth/UserGet", rpc.AuthUserGetRequest(name="root")),
    ("Auth/UserGet", rpc.AuthUserGetRequest(name="nobody")),
    ("Auth/UserGet", rpc.AuthUserGetRequest()),
    ("Auth/UserChangePassword", rpc.AuthUserChangePasswordRequest(name="nobody", password="x")),
    ("Auth/UserChangePassword", rpc.AuthUserChangePasswordRequest(name="root", password=PASSWORD)),
    ("Auth/UserDelete", rpc.AuthUserDeleteRequest(name="nobody")),
    grant_role("root", "nothing"),
    grant_role("nobody", "root"),
    grant_role("root", "root"),
    grant_role("root", "root"),
    ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="root")),
    ("Auth/RoleAdd", rpc.AuthRoleAddRequest()),
    role_add("reads"),
    role_add("reads"),
    grant("reads", READ, b"a", b"b"),
    grant("reads", WRITE, b"a", b"b"),
    grant("reads", READ, b"a", b"b"),
    grant("nothing", READ, b"a", b"b"),
    ("Auth/RoleGrantPermission", rpc.AuthRoleGrantPermissionRequest(name="reads")),
    ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="reads")),
    ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="nothing")),
    ("Auth/RoleRevokePermission", rpc.AuthRoleRevokePermissionRequest(role="reads", key=b"a")),
    ("Auth/RoleRevokePermission", rpc.AuthRoleRevokePermissionRequest(role="nothing", key=b"a")),
    ("Auth/RoleDelete", rpc.AuthRoleDeleteRequest(role="nothing")),
    *(role_add(role) for role in ("writes", "both", "one", "from", "pieces", "passing")),
    grant("writes", WRITE, b"a", b"b"),
    grant("both", BOTH, b"a", b"b"),
    grant("one", READ, b"a1"),
    grant("from", BOTH, b"m", b"\0"),
    grant("pieces", BOTH, b"a", b"a5"),
    grant("pieces", READ, b"a5", b"b"),
    grant("pieces", WRITE, b"q"),
    grant("passing", BOTH, b"x"),
    ("Auth/RoleRevokePermission", rpc.AuthRoleRevokePermissionRequest(role="passing", key=b"x")),
    *(user_add(user) for user in ("reader", "writer", "both", "one", "from", "pieces", "no_role", "two_roles")),
    grant_role("reader", "reads"),
    grant_role("writer", "writes"),
    grant_role("both", "both"),
    grant_role("one", "one"),
    grant_role("from", "from"),
    grant_role("pieces", "pieces"),
    grant_role("two_roles", "writes"),
    grant_role("two_roles", "reads"),
    grant_role("no_role", "passing"),
    ("Auth/UserRevokeRole", rpc.AuthUserRevokeRoleRequest(name="no_role", role="reads")),
    ("Auth/UserRevokeRole", rpc.AuthUserRevokeRoleRequest(name="nobody", role="reads")),
    ("Auth/RoleDelete", rpc.AuthRoleDeleteRequest(role="passing")),
    ("Auth/UserGet", rpc.AuthUserGetRequest(name="no_role")),
    ("Auth/UserGet", rpc.AuthUserGetRequest(name="two_roles")),
    ("Auth/UserList", rpc.AuthUserListRequest()),
    ("Auth/RoleList", rpc.AuthRoleListRequest()),
    ("Auth/AuthStatus", rpc.AuthStatusRequest()),
    *(("KV/Put", rpc.PutRequest(key=key, value=b"v")) for key in (b"a1", b"a7", b"m1", b"q", b"z")),
    ("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=6000)),
    ("KV/Put", rpc.PutRequest(key=b"a2", lease=7)),
    ("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=8, TTL=6000)),
    ("KV/Put", rpc.PutRequest(key=b"z1", lease=8)),
    ("Auth/AuthEnable", rpc.AuthEnableRequest()),
]
"""While users do not count, in order."""

MANAGING_AS_ROOT: list[tuple[str, Message]] = [
    ("Auth/AuthEnable", rpc.AuthEnableRequest()),
    ("Auth/AuthStatus", rpc.AuthStatusRequest()),
    ("Auth/UserDelete", rpc.AuthUserDeleteRequest(name="root")),
    ("Auth/UserRevokeRole", rpc.AuthUserRevokeRoleRequest(name="root", role="root")),
    ("Auth/RoleDelete", rpc.AuthRoleDeleteRequest(role="root")),
    ("Auth/UserChangePassword", rpc.AuthUserChangePasswordRequest(name="one", password=PASSWORD)),
    ("Auth/Authenticate", rpc.AuthenticateRequest(name="one", password=PASSWORD)),
    ("Auth/Authenticate", rpc.AuthenticateRequest(name="one", password="wrong")),
    ("Auth/Authenticate", rpc.AuthenticateRequest(name="nobody", password="x")),
    ("Auth/Authenticate", rpc.AuthenticateRequest()),
]

OPEN = ("Auth/Authenticate", "Auth/AuthStatus")
"""What this answers to anybody (the second as etcd 3.7 does)."""
USERS = (None, "root", "reader", "writer", "both", "one", "from", "pieces", "no_role", "two_roles", "forged")


def ranges(first: bytes, end: bytes = b"", **options: Any) -> rpc.RangeRequest:
    return rpc.RangeRequest(key=first, range_end=end, **options)


def txn(*then: rpc.RequestOp, compare: rpc.Compare | None = None, other: rpc.RequestOp | None = None) -> Message:
    failure = [] if other is None else [other]
    return rpc.TxnRequest(compare=[] if compare is None else [compare], success=then, failure=failure)


def op_range(first: bytes, end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_range=ranges(first, end))


def op_put(key: bytes, **options: Any) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=b"t", **options))


def op_delete(first: bytes, **options: Any) -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=first, **options))


EXISTS = rpc.Compare.GREATER
CALLS: list[tuple[str, Message]] = [
    *(
        ("KV/Range", ranges(first, end, serializable=serializable))
        for serializable in (False, True)
        for first, end in (
            (b"a1", b""),
            (b"a2", b""),
            (b"a", b"b"),
            (b"a1", b"a3"),
            (b"a1", b"a7"),
            (b"a1", b"c"),
            (b"a1", b"\0"),
            (b"\0", b"\0"),
            (b"m", b"\0"),
            (b"q", b"\0"),
            (b"m1", b"m0"),
            (b"a1", b"a1"),
            (b"b", b""),
            (b"q", b""),
        )
    ),
    *(("KV/Put", rpc.PutRequest(key=key, value=b"w")) for key in (b"a1", b"a6", b"b", b"m2", b"q")),
    ("KV/Put", rpc.PutRequest(key=b"a1", value=b"w", prev_kv=True)),
    ("KV/Put", rpc.PutRequest(key=b"a6", value=b"w", prev_kv=True)),
    ("KV/Put", rpc.PutRequest(key=b"a3", lease=7)),
    ("KV/Put", rpc.PutRequest(key=b"a4", lease=8)),
    ("KV/Put", rpc.PutRequest(key=b"a4", lease=99)),
    ("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a8")),
    ("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a8", prev_kv=True)),
    ("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a8", range_end=b"b")),
    ("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a8", range_end=b"c")),
    ("KV/DeleteRange", rpc.DeleteRangeRequest(key=b"zz", range_end=b"\0")),
    ("KV/Txn", txn(op_range(b"a1"))),
    ("KV/Txn", txn(op_range(b"a1"), op_range(b"m1"))),
    ("KV/Txn", txn(op_put(b"a1"))),
    ("KV/Txn", txn(op_put(b"a1"), other=op_put(b"z"))),
    ("KV/Txn", txn(op_put(b"m1"), other=op_range(b"m1"))),
    ("KV/Txn", txn(op_delete(b"a8"))),
    ("KV/Txn", txn(op_delete(b"a8", prev_kv=True))),
    ("KV/Txn", txn(op_put(b"a1"), compare=rpc.Compare(key=b"a1", target=rpc.Compare.VERSION, result=EXISTS))),
    ("KV/Txn", txn(op_put(b"a1"), compare=rpc.Compare(key=b"m1", target=rpc.Compare.VERSION, result=EXISTS))),
    (
        "KV/Txn",
        txn(compare=rpc.Compare(key=b"a", range_end=b"b", target=rpc.Compare.VERSION, result=EXISTS)),
    ),
    (
        "KV/Txn",
        txn(op_put(b"a1"), compare=rpc.Compare(key=b"a", range_end=b"q", target=rpc.Compare.VERSION, result=EXISTS)),
    ),
    ("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=8)),
    ("Auth/UserGet", rpc.AuthUserGetRequest(name="reader")),
    ("Auth/UserGet", rpc.AuthUserGetRequest(name="root")),
    ("Auth/UserList", rpc.AuthUserListRequest()),
    ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="reads")),
    ("Auth/RoleGet", rpc.AuthRoleGetRequest(role="both")),
    ("Auth/RoleList", rpc.AuthRoleListRequest()),
    *((method, request) for method, request in MANAGING_AS_ROOT if method not in OPEN),
    user_add("reader"),
    role_add("reads"),
    grant("nothing", READ, b"a"),
    ("Cluster/MemberRemove", rpc.MemberRemoveRequest(ID=1)),
]
"""What every user tries; root takes none of them so that others find another state."""

NOT_AS_ROOT = ("Auth/UserChangePassword", "Lease/LeaseRevoke", "Cluster/MemberRemove")


def differences(etcd: Server, ours: Server, user: str | None, calls: Sequence[tuple[str, Message]]) -> list[Any]:
    """What the two say differently, this first."""
    said = [
        (method, request, ours.call(user, method, request), etcd.call(user, method, request))
        for method, request in calls
    ]
    return [each for each in said if each[2] != each[3]]


@pytest.fixture(scope="module")
def managed(etcd: Server, ours: Server) -> tuple[Server, Server]:
    """Both, with users that count; every step on the way is compared."""
    assert differences(etcd, ours, None, MANAGING) == []
    return etcd, ours


def test_root_manages_as_in_etcd(managed: tuple[Server, Server]) -> None:
    assert differences(*managed, "root", MANAGING_AS_ROOT) == []


@pytest.mark.parametrize("user", USERS)
def test_every_user_may_do_what_it_may_in_etcd(managed: tuple[Server, Server], user: str | None) -> None:
    calls = [each for each in CALLS if user != "root" or each[0] not in NOT_AS_ROOT]
    assert differences(*managed, user, calls) == []


NESTED = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[op_range(b"z")]))
STRICTER: list[tuple[str, Message]] = [
    ("Lease/LeaseGrant", rpc.LeaseGrantRequest(TTL=6000)),
    ("Lease/LeaseLeases", rpc.LeaseLeasesRequest()),
    ("Cluster/MemberList", rpc.MemberListRequest()),
    ("Maintenance/Alarm", rpc.AlarmRequest()),
    ("KV/Txn", rpc.TxnRequest()),
]
"""What etcd 3.5.1 answers to anybody."""


@pytest.mark.parametrize(("method", "request_"), STRICTER)
def test_only_who_is_known_learns_of_leases_members_and_alarms(
    managed: tuple[Server, Server], method: str, request_: Message
) -> None:
    _, ours = managed
    assert ours.call(None, method, request_) == Said(*errors.USER_EMPTY)
    assert ours.call("forged", method, request_) == Said(*errors.INVALID_AUTH_TOKEN)
    assert ours.call("no_role", method, request_).code == 0


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("KV/Compact", rpc.CompactionRequest(revision=1)),
        ("KV/Txn", rpc.TxnRequest(success=[NESTED, op_put(b"a1")])),
        ("KV/Txn", txn(op_put(b"a9", lease=8))),
        ("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=8, keys=True)),
        ("Maintenance/HashKV", rpc.HashKVRequest(revision=1)),
        ("Maintenance/Hash", rpc.HashRequest()),
        ("Maintenance/Defragment", rpc.DefragmentRequest()),
        ("Maintenance/Downgrade", rpc.DowngradeRequest(version="3.4.0")),
        ("Maintenance/MoveLeader", rpc.MoveLeaderRequest(targetID=1)),
        ("Cluster/MemberAdd", rpc.MemberAddRequest(peerURLs=["no URL"])),
        ("Cluster/MemberPromote", rpc.MemberPromoteRequest(ID=1)),
        ("Cluster/MemberUpdate", rpc.MemberUpdateRequest(ID=1, peerURLs=["http://127.0.0.1:1"])),
    ],
)
def test_nested_reads_leases_and_history_are_guarded_too(
    managed: tuple[Server, Server], method: str, request_: Message
) -> None:
    _, ours = managed
    assert ours.call("both", method, request_) == Said(*errors.PERMISSION_DENIED)
    assert ours.call("root", method, request_) != Said(*errors.PERMISSION_DENIED)
