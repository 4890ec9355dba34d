"""The table of methods: all that a transport needs to know.

A method that is not here is UNIMPLEMENTED: membership changes, Auth, Defragment, Snapshot, MoveLeader, Downgrade.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any, NamedTuple

from ratified.api import cluster, kv, lease, maintenance, watch
from ratified.api.service import Service
from ratified.api.stream import Stream
from ratified.wire.etcd import rpc_pb2
from ratified.wire.report import REPORT_METHOD


class Kind(Enum):
    """How messages go."""

    UNARY = "unary"
    """``handler(service, request) -> answer``"""
    STREAM = "stream"
    """``handler(service, stream)``: both ways, until it returns."""


class Method(NamedTuple):
    """One method: the message of its requests (None: it takes nothing), and who serves it."""

    request: type[Any] | None
    kind: Kind
    handler: Callable[[Service, Any], Awaitable[Any]]


Unary = Callable[[Service, bytes], Awaitable[bytes]]
Streaming = Callable[[Service, Stream], Awaitable[None]]


def _unary(request: type[Any] | None, handler: Unary) -> Method:
    return Method(request, Kind.UNARY, handler)


def _stream(request: type[Any], handler: Streaming) -> Method:
    return Method(request, Kind.STREAM, handler)


METHODS: dict[str, Method] = {
    "/etcdserverpb.KV/Range": _unary(rpc_pb2.RangeRequest, kv.range_),
    "/etcdserverpb.KV/Put": _unary(rpc_pb2.PutRequest, kv.put),
    "/etcdserverpb.KV/DeleteRange": _unary(rpc_pb2.DeleteRangeRequest, kv.delete_range),
    "/etcdserverpb.KV/Txn": _unary(rpc_pb2.TxnRequest, kv.txn),
    "/etcdserverpb.KV/Compact": _unary(rpc_pb2.CompactionRequest, kv.compact),
    "/etcdserverpb.Watch/Watch": _stream(rpc_pb2.WatchRequest, watch.watch),
    "/etcdserverpb.Lease/LeaseGrant": _unary(rpc_pb2.LeaseGrantRequest, lease.grant),
    "/etcdserverpb.Lease/LeaseRevoke": _unary(rpc_pb2.LeaseRevokeRequest, lease.revoke),
    "/etcdserverpb.Lease/LeaseKeepAlive": _stream(rpc_pb2.LeaseKeepAliveRequest, lease.keep_alive),
    "/etcdserverpb.Lease/LeaseTimeToLive": _unary(rpc_pb2.LeaseTimeToLiveRequest, lease.time_to_live),
    "/etcdserverpb.Lease/LeaseLeases": _unary(rpc_pb2.LeaseLeasesRequest, lease.leases),
    "/etcdserverpb.Cluster/MemberList": _unary(rpc_pb2.MemberListRequest, cluster.member_list),
    "/etcdserverpb.Maintenance/Status": _unary(rpc_pb2.StatusRequest, maintenance.status),
    "/etcdserverpb.Maintenance/Alarm": _unary(rpc_pb2.AlarmRequest, maintenance.alarm),
    "/etcdserverpb.Maintenance/HashKV": _unary(rpc_pb2.HashKVRequest, maintenance.hash_kv),
    REPORT_METHOD: _unary(None, maintenance.report),
}
