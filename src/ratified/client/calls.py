"""Every call of the client, made once for both its faces: method, request bytes, how to read the answer.

A ``Call`` that is ``repeatable`` may be sent again although it may have happened: reads, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
from google.protobuf.message import Message

from ratified.client import results
from ratified.wire.etcd import rpc_pb2
from ratified.wire.report import REPORT_METHOD, NodeReport

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Text: TypeAlias = bytes | str

RANGE = "/etcdserverpb.KV/Range"
PUT = "/etcdserverpb.KV/Put"
DELETE_RANGE = "/etcdserverpb.KV/DeleteRange"
TXN = "/etcdserverpb.KV/Txn"
COMPACT = "/etcdserverpb.KV/Compact"
WATCH = "/etcdserverpb.Watch/Watch"
LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
LEASE_REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
LEASE_KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
LEASE_TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"
LEASE_LEASES = "/etcdserverpb.Lease/LeaseLeases"
MEMBER_LIST = "/etcdserverpb.Cluster/MemberList"
MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader"
MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd"
MEMBER_REMOVE = "/etcdserverpb.Cluster/MemberRemove"
MEMBER_PROMOTE = "/etcdserverpb.Cluster/MemberPromote"
MEMBER_UPDATE = "/etcdserverpb.Cluster/MemberUpdate"
SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
STATUS = "/etcdserverpb.Maintenance/Status"


class Call(NamedTuple, Generic[T]):
    """One request and its answer; ``streaming``: they are the first of a stream."""

    method: str
    request: bytes
    read: Callable[[bytes], T]
    repeatable: bool
    streaming: bool = False


def encoded(text: Text) -> bytes:
    """Bytes as they are, text as UTF-8."""
    return text.encode() if isinstance(text, str) else text


def range_end(key: bytes, *, prefix: bool, end: Text | None) -> bytes:
    """etcd's ``range_end`` of one key (empty), of a prefix, or of [key, end)."""
    if prefix and end is not None:
        raise ValueError("a range has a prefix or an end, not both")
    if end is not None:
        return encoded(end)
    if not prefix:
        return b""
    stem = key.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


def range_request(
    key: Text,
    *,
    prefix: bool = False,
    end: Text | None = None,
    limit: int = 0,
    revision: int = 0,
    serializable: bool = False,
    keys_only: bool = False,
) -> rpc_pb2.RangeRequest:
    """The request of a range; an empty key with ``prefix`` is everything."""
    first = encoded(key)
    last = range_end(first, prefix=prefix, end=end)
    return rpc_pb2.RangeRequest(
        key=first or (b"\0" if prefix else b""),
        range_end=last,
        limit=limit,
        revision=revision,
        serializable=serializable,
        keys_only=keys_only,
    )


def put_request(key: Text, value: Text, *, lease: int = 0, previous: bool = False) -> rpc_pb2.PutRequest:
    return rpc_pb2.PutRequest(key=encoded(key), value=encoded(value), lease=lease, prev_kv=previous)


def delete_request(
    key: Text, *, prefix: bool = False, end: Text | None = None, previous: bool = False
) -> rpc_pb2.DeleteRangeRequest:
    """The request of a delete; an empty key with ``prefix`` is everything."""
    first = encoded(key)
    return rpc_pb2.DeleteRangeRequest(
        key=first or (b"\0" if prefix else b""),
        range_end=range_end(first, prefix=prefix, end=end),
        prev_kv=previous,
    )


class Compare(msgspec.Struct, frozen=True):
    """A condition of a transaction; made by the ``compare_...`` functions."""

    message: rpc_pb2.Compare


_RELATIONS = {
    "==": rpc_pb2.Compare.EQUAL,
    "!=": rpc_pb2.Compare.NOT_EQUAL,
    "<": rpc_pb2.Compare.LESS,
    ">": rpc_pb2.Compare.GREATER,
}


def compare_value(key: Text, relation: str, value: Text) -> Compare:
    """The key's value stands in ``relation`` (==, !=, <, >) to ``value``."""
    return _compare(rpc_pb2.Compare(target=rpc_pb2.Compare.VALUE, key=encoded(key), value=encoded(value)), relation)


def compare_version(key: Text, relation: str, version: int) -> Compare:
    """As ``compare_value``, of how often the key was written since it was created; 0: it is not there."""
    return _compare(rpc_pb2.Compare(target=rpc_pb2.Compare.VERSION, key=encoded(key), version=version), relation)


def compare_create(key: Text, relation: str, revision: int) -> Compare:
    """As ``compare_value``, of the revision that created the key."""
    return _compare(
        rpc_pb2.Compare(target=rpc_pb2.Compare.CREATE, key=encoded(key), create_revision=revision), relation
    )


def compare_mod(key: Text, relation: str, revision: int) -> Compare:
    """As ``compare_value``, of the revision that last changed the key."""
    return _compare(rpc_pb2.Compare(target=rpc_pb2.Compare.MOD, key=encoded(key), mod_revision=revision), relation)


def _compare(message: rpc_pb2.Compare, relation: str) -> Compare:
    if relation not in _RELATIONS:
        raise ValueError(f"{relation!r} is no relation; use one of {', '.join(_RELATIONS)}")
    message.result = _RELATIONS[relation]
    return Compare(message)


class Do(msgspec.Struct, frozen=True):
    """An operation of a transaction; made by its class methods."""

    message: rpc_pb2.RequestOp

    @classmethod
    def put(cls, key: Text, value: Text, *, lease: int = 0, previous: bool = False) -> Do:
        request = put_request(key, value, lease=lease, previous=previous)
        return cls(rpc_pb2.RequestOp(request_put=request))

    @classmethod
    def get(cls, key: Text, *, prefix: bool = False, end: Text | None = None, limit: int = 0) -> Do:
        request = range_request(key, prefix=prefix, end=end, limit=limit)
        return cls(rpc_pb2.RequestOp(request_range=request))

    @classmethod
    def delete(cls, key: Text, *, prefix: bool = False, end: Text | None = None) -> Do:
        request = delete_request(key, prefix=prefix, end=end)
        return cls(rpc_pb2.RequestOp(request_delete_range=request))


def ranged(request: rpc_pb2.RangeRequest) -> Call[results.Range]:
    return _call(RANGE, request, rpc_pb2.RangeResponse, results.ranged, repeatable=True)


def put(request: rpc_pb2.PutRequest) -> Call[results.Put]:
    return _call(PUT, request, rpc_pb2.PutResponse, results.put, repeatable=False)


def delete(request: rpc_pb2.DeleteRangeRequest) -> Call[results.Deleted]:
    return _call(DELETE_RANGE, request, rpc_pb2.DeleteRangeResponse, results.deleted, repeatable=False)


def txn(compare: Sequence[Compare], success: Sequence[Do], failure: Sequence[Do]) -> Call[results.Txn]:
    request = rpc_pb2.TxnRequest(
        compare=[one.message for one in compare],
        success=[one.message for one in success],
        failure=[one.message for one in failure],
    )
    return _call(TXN, request, rpc_pb2.TxnResponse, results.txn, repeatable=False)


def compact(revision: int, *, physical: bool) -> Call[int]:
    """Forget what is older than a revision."""
    request = rpc_pb2.CompactionRequest(revision=revision, physical=physical)
    return _call(COMPACT, request, rpc_pb2.CompactionResponse, results.revision, repeatable=False)


def lease_grant(ttl: int, id: int) -> Call[results.Lease]:
    request = rpc_pb2.LeaseGrantRequest(TTL=ttl, ID=id)
    return _call(LEASE_GRANT, request, rpc_pb2.LeaseGrantResponse, results.lease, repeatable=False)


def lease_revoke(id: int) -> Call[int]:
    """End a lease and its keys."""
    request = rpc_pb2.LeaseRevokeRequest(ID=id)
    return _call(LEASE_REVOKE, request, rpc_pb2.LeaseRevokeResponse, results.revision, repeatable=False)


def lease_keep_alive(id: int) -> Call[int | None]:
    """Renew a lease: one request and one answer of a stream. Gives None where the lease is gone."""
    request = rpc_pb2.LeaseKeepAliveRequest(ID=id)
    call = _call(LEASE_KEEP_ALIVE, request, rpc_pb2.LeaseKeepAliveResponse, results.kept_alive, repeatable=True)
    return call._replace(streaming=True)


def lease_time_to_live(id: int, *, keys: bool) -> Call[results.LeaseLeft | None]:
    """What is left of a lease; None: there is no such lease."""
    request = rpc_pb2.LeaseTimeToLiveRequest(ID=id, keys=keys)
    return _call(LEASE_TIME_TO_LIVE, request, rpc_pb2.LeaseTimeToLiveResponse, results.lease_left, repeatable=True)


def leases() -> Call[tuple[int, ...]]:
    request = rpc_pb2.LeaseLeasesRequest()
    return _call(LEASE_LEASES, request, rpc_pb2.LeaseLeasesResponse, results.leases, repeatable=True)


def members() -> Call[tuple[results.Member, ...]]:
    request = rpc_pb2.MemberListRequest(linearizable=True)
    return _call(MEMBER_LIST, request, rpc_pb2.MemberListResponse, results.members, repeatable=True)


def move_leader(to: int) -> Call[None]:
    """Hand the lead to a member; any other member than the leader refuses, and the next endpoint is asked."""
    request = rpc_pb2.MoveLeaderRequest(targetID=to)
    return _call(MOVE_LEADER, request, rpc_pb2.MoveLeaderResponse, lambda _: None, repeatable=False)


def add_member(peer_urls: Sequence[str], *, learner: bool) -> Call[results.Member]:
    """Add a member that will be reached at these peer URLs."""
    request = rpc_pb2.MemberAddRequest(peerURLs=peer_urls, isLearner=learner)
    return _call(MEMBER_ADD, request, rpc_pb2.MemberAddResponse, results.added_member, repeatable=False)


def remove_member(member: int) -> Call[tuple[results.Member, ...]]:
    """Remove a member for good; the members then."""
    request = rpc_pb2.MemberRemoveRequest(ID=member)
    return _call(MEMBER_REMOVE, request, rpc_pb2.MemberRemoveResponse, results.members, repeatable=False)


def promote_member(member: int) -> Call[tuple[results.Member, ...]]:
    """Have a learner vote; the members then."""
    request = rpc_pb2.MemberPromoteRequest(ID=member)
    return _call(MEMBER_PROMOTE, request, rpc_pb2.MemberPromoteResponse, results.members, repeatable=False)


def update_member(member: int, peer_urls: Sequence[str]) -> Call[tuple[results.Member, ...]]:
    """Have the others reach a member at these peer URLs; the members then."""
    request = rpc_pb2.MemberUpdateRequest(ID=member, peerURLs=peer_urls)
    return _call(MEMBER_UPDATE, request, rpc_pb2.MemberUpdateResponse, results.members, repeatable=True)


def status() -> Call[results.MemberStatus]:
    return _call(STATUS, rpc_pb2.StatusRequest(), rpc_pb2.StatusResponse, results.member_status, repeatable=True)


def report() -> Call[NodeReport]:
    """What a Ratified node tells beyond etcd's status; other servers do not know this call."""
    return Call(REPORT_METHOD, b"", lambda answer: msgspec.json.decode(answer, type=NodeReport), repeatable=True)


def _call(method: str, request: Message, response: type[M], read: Callable[[M], T], *, repeatable: bool) -> Call[T]:
    return Call(method, request.SerializeToString(), lambda answer: read(response.FromString(answer)), repeatable)
