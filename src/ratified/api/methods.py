"""The table of methods: all that a transport needs to know.

A method that is not here is UNIMPLEMENTED, such as ``KV/RangeStream`` of etcd 3.7, whose clients know what to do then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message

from ratified.api import auth, cluster, election, health, kv, lease, lock, maintenance, snapshot, watch
from ratified.api.access import Access
from ratified.api.service import Service
from ratified.api.stream import BidiStream
from ratified.api.submission import Submission
from ratified.kv.commands import AuthKind
from ratified.kv.requests import decode
from ratified.wire.etcd import election_pb2, health_pb2, lock_pb2, rpc_pb2
from ratified.wire.report import REPORT_METHOD

M = TypeVar("M", bound=Message)


class MethodKind(Enum):
    """How messages go."""

    SUBMISSION = "submission"
    """``handler(service, data) -> Submission``: one request to the host answers it."""
    UNARY = "unary"
    """``await handler(access, data) -> answer``: it takes more than that."""
    STREAM = "stream"
    """``handler(access, stream)``: both ways, until it returns; or one request, and then answers only."""


class Method(NamedTuple):
    """One method: the message of its requests (None: it takes nothing), and who serves it."""

    request: type[Message] | None
    kind: MethodKind
    handler: Callable[[Any, Any], Any]
    is_for_anybody: bool = False
    """Nobody is asked who it is, so a token that is no good does not matter."""


Submitting = Callable[[M, bytes], Submission]
"""It gets a request decoded, and in the bytes in which it came: those go into a command or a query."""
Undecoded = Callable[[bytes], Submission | None]
"""It knows requests by their bytes; None: this one has to be decoded."""
Handler = Callable[[Access, M, bytes], Awaitable[bytes]]
Streaming = Callable[[Access, BidiStream], Awaitable[None]]


def _is_decoded(data: bytes) -> Submission | None:
    """Of most methods every request is."""
    return None


def _query(request: type[M], handler: Submitting[M], undecoded: Undecoded = _is_decoded) -> Method:
    """A method that never writes."""

    def serve(service: Service, data: bytes) -> Submission:
        return undecoded(data) or handler(decode(request, data), data)

    return Method(request, MethodKind.SUBMISSION, serve)


def _command(request: type[M], handler: Submitting[M], undecoded: Undecoded = _is_decoded) -> Method:
    """A method whose requests may enter the log: etcd limits their size."""

    def serve(service: Service, data: bytes) -> Submission:
        service.check_size(data)
        return undecoded(data) or handler(decode(request, data), data)

    return Method(request, MethodKind.SUBMISSION, serve)


def _txn(service: Service, data: bytes) -> Submission:
    service.check_size(data)
    return kv.txn(decode(rpc_pb2.TxnRequest, data), data, service.txn_ops_max)


def _read(request: type[M], handler: Handler[M]) -> Method:
    """A method that never writes, and does more than ask the store."""

    def serve(access: Access, data: bytes) -> Awaitable[bytes]:
        return handler(access, decode(request, data), data)

    return Method(request, MethodKind.UNARY, serve)


def _write(request: type[M], handler: Handler[M]) -> Method:
    """As ``_read``, of requests that may enter the log."""

    def serve(access: Access, data: bytes) -> Awaitable[bytes]:
        access.service.check_size(data)
        return handler(access, decode(request, data), data)

    return Method(request, MethodKind.UNARY, serve)


def _stream(request: type[Message], handler: Streaming) -> Method:
    return Method(request, MethodKind.STREAM, handler)


def _for_anybody(method: Method) -> Method:
    return method._replace(is_for_anybody=True)


def _types() -> dict[str, str]:
    files = (rpc_pb2, lock_pb2, election_pb2, health_pb2)
    return {
        f"/{service.full_name}/{method.name}": "bidi_stream" if method.client_streaming else "server_stream"
        for file in files
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.server_streaming
    }


STREAM_TYPES = _types()
"""Of methods with more than one answer, by path: how the metrics of gRPC call them."""

METHODS: dict[str, Method] = {
    "/etcdserverpb.KV/Range": _query(rpc_pb2.RangeRequest, kv.range_, kv.range_undecoded),
    "/etcdserverpb.KV/Put": _command(rpc_pb2.PutRequest, kv.put, kv.put_undecoded),
    "/etcdserverpb.KV/DeleteRange": _command(rpc_pb2.DeleteRangeRequest, kv.delete_range),
    "/etcdserverpb.KV/Txn": Method(rpc_pb2.TxnRequest, MethodKind.SUBMISSION, _txn),
    "/etcdserverpb.KV/Compact": _command(rpc_pb2.CompactionRequest, kv.compact),
    "/etcdserverpb.Watch/Watch": _stream(rpc_pb2.WatchRequest, watch.watch),
    "/etcdserverpb.Lease/LeaseGrant": _write(rpc_pb2.LeaseGrantRequest, lease.grant),
    "/etcdserverpb.Lease/LeaseRevoke": _command(rpc_pb2.LeaseRevokeRequest, lease.revoke),
    "/etcdserverpb.Lease/LeaseKeepAlive": _stream(rpc_pb2.LeaseKeepAliveRequest, lease.keep_alive),
    "/etcdserverpb.Lease/LeaseTimeToLive": _query(rpc_pb2.LeaseTimeToLiveRequest, lease.time_to_live),
    "/etcdserverpb.Lease/LeaseLeases": _query(rpc_pb2.LeaseLeasesRequest, lease.leases),
    "/etcdserverpb.Cluster/MemberList": _read(rpc_pb2.MemberListRequest, cluster.member_list),
    "/etcdserverpb.Cluster/MemberAdd": _write(rpc_pb2.MemberAddRequest, cluster.member_add),
    "/etcdserverpb.Cluster/MemberRemove": _write(rpc_pb2.MemberRemoveRequest, cluster.member_remove),
    "/etcdserverpb.Cluster/MemberPromote": _write(rpc_pb2.MemberPromoteRequest, cluster.member_promote),
    "/etcdserverpb.Cluster/MemberUpdate": _write(rpc_pb2.MemberUpdateRequest, cluster.member_update),
    "/etcdserverpb.Maintenance/Status": _read(rpc_pb2.StatusRequest, maintenance.status),
    "/etcdserverpb.Maintenance/Alarm": _read(rpc_pb2.AlarmRequest, maintenance.alarm),
    "/etcdserverpb.Maintenance/Defragment": _read(rpc_pb2.DefragmentRequest, maintenance.defragment),
    "/etcdserverpb.Maintenance/Downgrade": _read(rpc_pb2.DowngradeRequest, maintenance.downgrade),
    "/etcdserverpb.Maintenance/Hash": _read(rpc_pb2.HashRequest, maintenance.hash_),
    "/etcdserverpb.Maintenance/MoveLeader": _read(rpc_pb2.MoveLeaderRequest, maintenance.move_leader),
    "/etcdserverpb.Maintenance/HashKV": _query(rpc_pb2.HashKVRequest, maintenance.hash_kv),
    "/etcdserverpb.Maintenance/Snapshot": _stream(rpc_pb2.SnapshotRequest, snapshot.snapshot),
    "/etcdserverpb.Auth/AuthEnable": _write(rpc_pb2.AuthEnableRequest, auth.changes(AuthKind.ENABLE)),
    "/etcdserverpb.Auth/AuthDisable": _write(rpc_pb2.AuthDisableRequest, auth.changes(AuthKind.DISABLE)),
    "/etcdserverpb.Auth/AuthStatus": _query(rpc_pb2.AuthStatusRequest, auth.status),
    "/etcdserverpb.Auth/Authenticate": _for_anybody(_write(rpc_pb2.AuthenticateRequest, auth.authenticate)),
    "/etcdserverpb.Auth/UserAdd": _write(rpc_pb2.AuthUserAddRequest, auth.user_add),
    "/etcdserverpb.Auth/UserGet": _query(rpc_pb2.AuthUserGetRequest, auth.user_get),
    "/etcdserverpb.Auth/UserList": _query(rpc_pb2.AuthUserListRequest, auth.user_list),
    "/etcdserverpb.Auth/UserDelete": _write(rpc_pb2.AuthUserDeleteRequest, auth.changes(AuthKind.USER_DELETE)),
    "/etcdserverpb.Auth/UserChangePassword": _write(rpc_pb2.AuthUserChangePasswordRequest, auth.user_change_password),
    "/etcdserverpb.Auth/UserGrantRole": _write(
        rpc_pb2.AuthUserGrantRoleRequest, auth.changes(AuthKind.USER_GRANT_ROLE)
    ),
    "/etcdserverpb.Auth/UserRevokeRole": _write(
        rpc_pb2.AuthUserRevokeRoleRequest, auth.changes(AuthKind.USER_REVOKE_ROLE)
    ),
    "/etcdserverpb.Auth/RoleAdd": _write(rpc_pb2.AuthRoleAddRequest, auth.role_add),
    "/etcdserverpb.Auth/RoleGet": _query(rpc_pb2.AuthRoleGetRequest, auth.role_get),
    "/etcdserverpb.Auth/RoleList": _query(rpc_pb2.AuthRoleListRequest, auth.role_list),
    "/etcdserverpb.Auth/RoleDelete": _write(rpc_pb2.AuthRoleDeleteRequest, auth.changes(AuthKind.ROLE_DELETE)),
    "/etcdserverpb.Auth/RoleGrantPermission": _write(
        rpc_pb2.AuthRoleGrantPermissionRequest, auth.role_grant_permission
    ),
    "/etcdserverpb.Auth/RoleRevokePermission": _write(
        rpc_pb2.AuthRoleRevokePermissionRequest, auth.changes(AuthKind.ROLE_REVOKE_PERMISSION)
    ),
    "/v3lockpb.Lock/Lock": _write(lock_pb2.LockRequest, lock.lock),
    "/v3lockpb.Lock/Unlock": _write(lock_pb2.UnlockRequest, lock.unlock),
    "/v3electionpb.Election/Campaign": _write(election_pb2.CampaignRequest, election.campaign),
    "/v3electionpb.Election/Proclaim": _write(election_pb2.ProclaimRequest, election.proclaim),
    "/v3electionpb.Election/Leader": _read(election_pb2.LeaderRequest, election.leader),
    "/v3electionpb.Election/Observe": _stream(election_pb2.LeaderRequest, election.observe),
    "/v3electionpb.Election/Resign": _write(election_pb2.ResignRequest, election.resign),
    "/grpc.health.v1.Health/Check": _for_anybody(_read(health_pb2.HealthCheckRequest, health.check)),
    "/grpc.health.v1.Health/Watch": _for_anybody(_stream(health_pb2.HealthCheckRequest, health.watch)),
    REPORT_METHOD: Method(None, MethodKind.UNARY, maintenance.report),
}
