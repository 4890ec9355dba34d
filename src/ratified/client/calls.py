"""Every call of the client, made once for both its faces: method, request bytes, how to read the answer.

A ``Call`` that is ``repeatable`` may be sent again although it may have happened: reads, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

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
ALARM = "/etcdserverpb.Maintenance/Alarm"
DEFRAGMENT = "/etcdserverpb.Maintenance/Defragment"
HASH_KV = "/etcdserverpb.Maintenance/HashKV"
MEMBER_LIST = "/etcdserverpb.Cluster/MemberList"
MOVE_LEADER = "/etcdserverpb.Maintenance/MoveLeader"
MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd"
MEMBER_REMOVE = "/etcdserverpb.Cluster/MemberRemove"
MEMBER_PROMOTE = "/etcdserverpb.Cluster/MemberPromote"
MEMBER_UPDATE = "/etcdserverpb.Cluster/MemberUpdate"
SNAPSHOT = "/etcdserverpb.Maintenance/Snapshot"
STATUS = "/etcdserverpb.Maintenance/Status"


class Call(NamedTuple, Generic[T]):
    """One request and its answer; ``streaming``: they are the first of a stream. ``timeout_s`` bounds it where that is
    less than what the client gives a call."""

    method: str
    request: bytes
    read: Callable[[bytes], T]
    repeatable: bool
    streaming: bool = False
    timeout_s: float | None = None


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


SortBy: TypeAlias = Literal["key", "version", "create", "mod", "value"]
_SORTS = {
    "key": rpc_pb2.RangeRequest.KEY,
    "version": rpc_pb2.RangeRequest.VERSION,
    "create": rpc_pb2.RangeRequest.CREATE,
    "mod": rpc_pb2.RangeRequest.MOD,
    "value": rpc_pb2.RangeRequest.VALUE,
}


def range_request(
    key: Text,
    *,
    prefix: bool = False,
    end: Text | None = None,
    limit: int = 0,
    revision: int = 0,
    serializable: bool = False,
    keys_only: bool = False,
    count_only: bool = False,
    sort_by: SortBy | None = None,
    descending: bool = False,
    created_until: int = 0,
) -> rpc_pb2.RangeRequest:
    """The request of a range; an empty key with ``prefix`` is everything, ``end`` of one zero byte has no end.

    ``created_until`` leaves out what was created after that revision; 0: nothing.
    """
    first = encoded(key)
    last = range_end(first, prefix=prefix, end=end)
    if sort_by is not None and sort_by not in _SORTS:
        raise ValueError(f"{sort_by!r} is nothing to sort by; use one of {', '.join(_SORTS)}")
    sorted_at_all = sort_by is not None or descending
    order = rpc_pb2.RangeRequest.DESCEND if descending else rpc_pb2.RangeRequest.ASCEND
    return rpc_pb2.RangeRequest(
        key=first or (b"\0" if last else b""),
        range_end=last,
        limit=limit,
        revision=revision,
        serializable=serializable,
        keys_only=keys_only,
        count_only=count_only,
        sort_order=order if sorted_at_all else rpc_pb2.RangeRequest.NONE,
        sort_target=_SORTS[sort_by or "key"],
        max_create_revision=created_until,
    )


def put_request(key: Text, value: Text | None, *, lease: int | None = 0, previous: bool = False) -> rpc_pb2.PutRequest:
    """The request of a put. ``value`` None keeps the key's value, ``lease`` None its lease; the key must be there."""
    return rpc_pb2.PutRequest(
        key=encoded(key),
        value=b"" if value is None else encoded(value),
        lease=lease or 0,
        prev_kv=previous,
        ignore_value=value is None,
        ignore_lease=lease is None,
    )


def delete_request(
    key: Text, *, prefix: bool = False, end: Text | None = None, previous: bool = False
) -> rpc_pb2.DeleteRangeRequest:
    """The request of a delete; an empty key with ``prefix`` is everything."""
    first = encoded(key)
    last = range_end(first, prefix=prefix, end=end)
    return rpc_pb2.DeleteRangeRequest(key=first or (b"\0" if last else b""), range_end=last, prev_kv=previous)


class Compare(msgspec.Struct, frozen=True):
    """A condition of a transaction; made by the ``compare_...`` functions."""

    message: rpc_pb2.Compare


_RELATIONS = {
    "==": rpc_pb2.Compare.EQUAL,
    "!=": rpc_pb2.Compare.NOT_EQUAL,
    "<": rpc_pb2.Compare.LESS,
    ">": rpc_pb2.Compare.GREATER,
}


def compare_value(key: Text, relation: str, value: Text, *, prefix: bool = False, end: Text | None = None) -> Compare:
    """The key's value stands in ``relation`` (==, !=, <, >) to ``value``; so does every key's of a prefix or range."""
    message = rpc_pb2.Compare(target=rpc_pb2.Compare.VALUE, value=encoded(value))
    return _compare(message, relation, key, prefix=prefix, end=end)


def compare_version(
    key: Text, relation: str, version: int, *, prefix: bool = False, end: Text | None = None
) -> Compare:
    """As ``compare_value``, of how often the key was written since it was created; 0: it is not there."""
    message = rpc_pb2.Compare(target=rpc_pb2.Compare.VERSION, version=version)
    return _compare(message, relation, key, prefix=prefix, end=end)


def compare_create(
    key: Text, relation: str, revision: int, *, prefix: bool = False, end: Text | None = None
) -> Compare:
    """As ``compare_value``, of the revision that created the key."""
    message = rpc_pb2.Compare(target=rpc_pb2.Compare.CREATE, create_revision=revision)
    return _compare(message, relation, key, prefix=prefix, end=end)


def compare_mod(key: Text, relation: str, revision: int, *, prefix: bool = False, end: Text | None = None) -> Compare:
    """As ``compare_value``, of the revision that last changed the key."""
    message = rpc_pb2.Compare(target=rpc_pb2.Compare.MOD, mod_revision=revision)
    return _compare(message, relation, key, prefix=prefix, end=end)


def compare_lease(key: Text, relation: str, lease: int, *, prefix: bool = False, end: Text | None = None) -> Compare:
    """As ``compare_value``, of the lease that the key ends with; 0: none."""
    message = rpc_pb2.Compare(target=rpc_pb2.Compare.LEASE, lease=lease)
    return _compare(message, relation, key, prefix=prefix, end=end)


def _compare(message: rpc_pb2.Compare, relation: str, key: Text, *, prefix: bool, end: Text | None) -> Compare:
    if relation not in _RELATIONS:
        raise ValueError(f"{relation!r} is no relation; use one of {', '.join(_RELATIONS)}")
    first = encoded(key)
    message.result = _RELATIONS[relation]
    message.range_end = range_end(first, prefix=prefix, end=end)
    message.key = first or (b"\0" if message.range_end else b"")
    return Compare(message)


class Do(msgspec.Struct, frozen=True):
    """An operation of a transaction; made by its class methods."""

    message: rpc_pb2.RequestOp

    @classmethod
    def put(cls, key: Text, value: Text | None, *, lease: int | None = 0, previous: bool = False) -> Do:
        """``value`` None keeps the key's value, ``lease`` None its lease; the key must be there."""
        request = put_request(key, value, lease=lease, previous=previous)
        return cls(rpc_pb2.RequestOp(request_put=request))

    @classmethod
    def get(
        cls,
        key: Text,
        *,
        prefix: bool = False,
        end: Text | None = None,
        limit: int = 0,
        revision: int = 0,
        keys_only: bool = False,
        count_only: bool = False,
    ) -> Do:
        request = range_request(
            key, prefix=prefix, end=end, limit=limit, revision=revision, keys_only=keys_only, count_only=count_only
        )
        return cls(rpc_pb2.RequestOp(request_range=request))

    @classmethod
    def delete(cls, key: Text, *, prefix: bool = False, end: Text | None = None, previous: bool = False) -> Do:
        request = delete_request(key, prefix=prefix, end=end, previous=previous)
        return cls(rpc_pb2.RequestOp(request_delete_range=request))

    @classmethod
    def nested(cls, transaction: When) -> Do:
        """A transaction inside another one: its result is a ``Txn``."""
        return cls(rpc_pb2.RequestOp(request_txn=transaction.request()))


class When:
    """A transaction, put together: ``When(compare_version("a", "==", 0)).then(Do.put("a", "1"))``.

    Without a comparison it takes the branch ``then``.
    """

    def __init__(self, *compares: Compare, success: Sequence[Do] = (), failure: Sequence[Do] = ()) -> None:
        self._compares = compares
        self._success = tuple(success)
        self._failure = tuple(failure)

    def then(self, *operations: Do) -> When:
        """The same, that also does these where every comparison holds."""
        return When(*self._compares, success=(*self._success, *operations), failure=self._failure)

    def otherwise(self, *operations: Do) -> When:
        """The same, that also does these where one does not hold."""
        return When(*self._compares, success=self._success, failure=(*self._failure, *operations))

    def request(self) -> rpc_pb2.TxnRequest:
        return txn_request(self._compares, self._success, self._failure)


def txn_request(compares: Sequence[Compare], success: Sequence[Do], failure: Sequence[Do]) -> rpc_pb2.TxnRequest:
    return rpc_pb2.TxnRequest(
        compare=[each.message for each in compares],
        success=[each.message for each in success],
        failure=[each.message for each in failure],
    )


def ranged(request: rpc_pb2.RangeRequest) -> Call[results.Range]:
    return call(RANGE, request, rpc_pb2.RangeResponse, results.ranged, repeatable=True)


def put(request: rpc_pb2.PutRequest) -> Call[results.Put]:
    return call(PUT, request, rpc_pb2.PutResponse, results.put, repeatable=False)


def delete(request: rpc_pb2.DeleteRangeRequest) -> Call[results.Deleted]:
    return call(DELETE_RANGE, request, rpc_pb2.DeleteRangeResponse, results.deleted, repeatable=False)


def txn(compare: Sequence[Compare], success: Sequence[Do], failure: Sequence[Do]) -> Call[results.Txn]:
    return transaction(txn_request(compare, success, failure))


def transaction(request: rpc_pb2.TxnRequest) -> Call[results.Txn]:
    """One that can only read may be sent again, as a read may."""
    return call(TXN, request, rpc_pb2.TxnResponse, results.txn, repeatable=_only_reads(request))


def _only_reads(request: rpc_pb2.TxnRequest) -> bool:
    return all(
        operation.HasField("request_range")
        or (operation.HasField("request_txn") and _only_reads(operation.request_txn))
        for operation in (*request.success, *request.failure)
    )


def compact(revision: int, *, physical: bool) -> Call[int]:
    """Forget what is older than a revision."""
    request = rpc_pb2.CompactionRequest(revision=revision, physical=physical)
    return call(COMPACT, request, rpc_pb2.CompactionResponse, results.revision, repeatable=False)


def lease_grant(ttl: int, id: int) -> Call[results.Lease]:
    request = rpc_pb2.LeaseGrantRequest(TTL=ttl, ID=id)
    return call(LEASE_GRANT, request, rpc_pb2.LeaseGrantResponse, results.lease, repeatable=False)


def lease_revoke(id: int) -> Call[int]:
    """End a lease and its keys."""
    request = rpc_pb2.LeaseRevokeRequest(ID=id)
    return call(LEASE_REVOKE, request, rpc_pb2.LeaseRevokeResponse, results.revision, repeatable=False)


def lease_keep_alive(id: int) -> Call[int | None]:
    """Renew a lease: one request and one answer of a stream. Gives None where the lease is gone."""
    request = rpc_pb2.LeaseKeepAliveRequest(ID=id)
    renewal = call(LEASE_KEEP_ALIVE, request, rpc_pb2.LeaseKeepAliveResponse, results.kept_alive, repeatable=True)
    return renewal._replace(streaming=True)


def lease_time_to_live(id: int, *, keys: bool) -> Call[results.LeaseLeft | None]:
    """What is left of a lease; None: there is no such lease."""
    request = rpc_pb2.LeaseTimeToLiveRequest(ID=id, keys=keys)
    return call(LEASE_TIME_TO_LIVE, request, rpc_pb2.LeaseTimeToLiveResponse, results.lease_left, repeatable=True)


def leases() -> Call[tuple[int, ...]]:
    request = rpc_pb2.LeaseLeasesRequest()
    return call(LEASE_LEASES, request, rpc_pb2.LeaseLeasesResponse, results.leases, repeatable=True)


def members() -> Call[tuple[results.Member, ...]]:
    request = rpc_pb2.MemberListRequest(linearizable=True)
    return call(MEMBER_LIST, request, rpc_pb2.MemberListResponse, results.members, repeatable=True)


def cluster_id() -> Call[int]:
    """Which cluster it is, whichever member answers."""
    request = rpc_pb2.MemberListRequest(linearizable=True)
    return call(
        MEMBER_LIST, request, rpc_pb2.MemberListResponse, lambda answer: answer.header.cluster_id, repeatable=True
    )


def move_leader(to: int) -> Call[None]:
    """Hand the lead to a member; any other member than the leader refuses, and the next endpoint is asked."""
    request = rpc_pb2.MoveLeaderRequest(targetID=to)
    return call(MOVE_LEADER, request, rpc_pb2.MoveLeaderResponse, lambda _: None, repeatable=False)


def add_member(peer_urls: Sequence[str], *, learner: bool) -> Call[results.Member]:
    """Add a member that will be reached at these peer URLs."""
    request = rpc_pb2.MemberAddRequest(peerURLs=peer_urls, isLearner=learner)
    return call(MEMBER_ADD, request, rpc_pb2.MemberAddResponse, results.added_member, repeatable=False)


def remove_member(member: int) -> Call[tuple[results.Member, ...]]:
    """Remove a member for good; the members then."""
    request = rpc_pb2.MemberRemoveRequest(ID=member)
    return call(MEMBER_REMOVE, request, rpc_pb2.MemberRemoveResponse, results.members, repeatable=False)


def promote_member(member: int) -> Call[tuple[results.Member, ...]]:
    """Have a learner vote; the members then."""
    request = rpc_pb2.MemberPromoteRequest(ID=member)
    return call(MEMBER_PROMOTE, request, rpc_pb2.MemberPromoteResponse, results.members, repeatable=False)


def update_member(member: int, peer_urls: Sequence[str]) -> Call[tuple[results.Member, ...]]:
    """Have the others reach a member at these peer URLs; the members then."""
    request = rpc_pb2.MemberUpdateRequest(ID=member, peerURLs=peer_urls)
    return call(MEMBER_UPDATE, request, rpc_pb2.MemberUpdateResponse, results.members, repeatable=True)


def alarms() -> Call[tuple[results.Alarm, ...]]:
    request = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.GET)
    return call(ALARM, request, rpc_pb2.AlarmResponse, results.alarms, repeatable=True)


def disarm(alarm: results.Alarm) -> Call[tuple[results.Alarm, ...]]:
    """Take an alarm back; gives those that were taken back."""
    kind = rpc_pb2.AlarmType.Value(alarm.kind)
    request = rpc_pb2.AlarmRequest(action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=alarm.member, alarm=kind)
    return call(ALARM, request, rpc_pb2.AlarmResponse, results.alarms, repeatable=True)


def defragment() -> Call[None]:
    """Have the member that is asked give space that it no longer uses back to the file system."""
    return call(DEFRAGMENT, rpc_pb2.DefragmentRequest(), rpc_pb2.DefragmentResponse, lambda _: None, repeatable=False)


def hash_kv(revision: int) -> Call[results.KvHash]:
    """The hash of what the member that is asked holds up to a revision; 0: the newest."""
    request = rpc_pb2.HashKVRequest(revision=revision)
    return call(HASH_KV, request, rpc_pb2.HashKVResponse, results.kv_hash, repeatable=True)


def status() -> Call[results.MemberStatus]:
    return call(STATUS, rpc_pb2.StatusRequest(), rpc_pb2.StatusResponse, results.member_status, repeatable=True)


def report() -> Call[NodeReport]:
    """What a Ratified node tells beyond etcd's status; other servers do not know this call."""
    return Call(REPORT_METHOD, b"", lambda answer: msgspec.json.decode(answer, type=NodeReport), repeatable=True)


def call(method: str, request: Message, response: type[M], read: Callable[[M], T], *, repeatable: bool) -> Call[T]:
    """A call, from its request and how to read its answer."""
    return Call(method, request.SerializeToString(), lambda answer: read(response.FromString(answer)), repeatable)
