"""What calls give back: plain frozen structs, read from etcd's messages."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ratified.wire.etcd import kv_pb2, rpc_pb2


class KeyValue(msgspec.Struct, frozen=True):
    """A key at one revision: the revisions that created and last changed it, and how often it was written since."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0
    """The lease that it ends with; 0: none."""


class Put(msgspec.Struct, frozen=True):
    """A put's revision, and the pair before it where ``previous`` was asked for."""

    revision: int
    previous: KeyValue | None = None


class Range(msgspec.Struct, frozen=True):
    """The pairs of a range at ``revision``; ``count`` is that of all keys in the range, whatever the limit."""

    revision: int
    pairs: tuple[KeyValue, ...]
    count: int
    more: bool = False


class Deleted(msgspec.Struct, frozen=True):
    """How many keys a delete removed, and which pairs where ``previous`` was asked for."""

    revision: int
    deleted: int
    previous: tuple[KeyValue, ...] = ()


Result: TypeAlias = "Put | Range | Deleted | Txn"


class Txn(msgspec.Struct, frozen=True):
    """Which branch a transaction took, and the results of its operations in order."""

    revision: int
    succeeded: bool
    results: tuple[Result, ...]


class Swap(msgspec.Struct, frozen=True):
    """Did a conditional write happen? ``current`` is the pair that stood against it; None: there is none, or it did."""

    swapped: bool
    revision: int
    current: KeyValue | None = None

    def __bool__(self) -> bool:
        return self.swapped


class Event(msgspec.Struct, frozen=True):
    """One change of one key. A delete's pair has only key and revision."""

    kind: Literal["put", "delete"]
    pair: KeyValue
    previous: KeyValue | None = None

    @property
    def revision(self) -> int:
        """The revision that made the change."""
        return self.pair.mod_revision


class Lease(msgspec.Struct, frozen=True):
    """A lease and its time to live in seconds."""

    id: int
    ttl: int


class LeaseLeft(msgspec.Struct, frozen=True):
    """What is left of a lease, in whole seconds, of how much, and which keys end with it."""

    id: int
    ttl: int
    granted: int
    keys: tuple[bytes, ...] = ()


class Member(msgspec.Struct, frozen=True):
    """A member of the cluster and its URLs."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    is_learner: bool = False
    """It has all data, or is about to, and does not vote."""


class MemberStatus(msgspec.Struct, frozen=True):
    """One member's own view. ``leader`` is a member id, 0: it knows of none."""

    member: int
    cluster: int
    version: str
    leader: int
    raft_term: int
    raft_index: int
    raft_applied_index: int
    db_size_bytes: int
    revision: int


class Alarm(msgspec.Struct, frozen=True):
    """What a member has raised: ``NOSPACE`` or ``CORRUPT``."""

    member: int
    kind: Literal["NOSPACE", "CORRUPT"]


class AuthStatus(msgspec.Struct, frozen=True):
    """Do users and roles count? ``revision`` grows with every change of them."""

    enabled: bool
    revision: int


PermissionKind: TypeAlias = Literal["read", "write", "readwrite"]


class Permission(msgspec.Struct, frozen=True):
    """To what keys a role admits: to ``key`` (``range_end`` empty), [key, range_end), or from ``key`` on (one zero
    byte)."""

    kind: PermissionKind
    key: bytes
    range_end: bytes = b""


class KvHash(msgspec.Struct, frozen=True):
    """A hash over the revisions from ``compact_revision`` on, as one member holds them."""

    member: int
    hash: int
    revision: int
    """The member's newest."""
    compact_revision: int


class BackupPart(msgspec.Struct, frozen=True):
    """The next bytes of a backup, and about how many are left."""

    data: bytes
    left_bytes_about: int


def key_value(pair: kv_pb2.KeyValue) -> KeyValue:
    return KeyValue(pair.key, pair.value, pair.create_revision, pair.mod_revision, pair.version, pair.lease)


def event(message: kv_pb2.Event) -> Event:
    return Event(
        "delete" if message.type == kv_pb2.Event.DELETE else "put",
        key_value(message.kv),
        key_value(message.prev_kv) if message.HasField("prev_kv") else None,
    )


def put(answer: rpc_pb2.PutResponse) -> Put:
    return Put(answer.header.revision, key_value(answer.prev_kv) if answer.HasField("prev_kv") else None)


def ranged(answer: rpc_pb2.RangeResponse) -> Range:
    return Range(answer.header.revision, tuple(map(key_value, answer.kvs)), answer.count, answer.more)


def deleted(answer: rpc_pb2.DeleteRangeResponse) -> Deleted:
    return Deleted(answer.header.revision, answer.deleted, tuple(map(key_value, answer.prev_kvs)))


def txn(answer: rpc_pb2.TxnResponse) -> Txn:
    return Txn(answer.header.revision, answer.succeeded, tuple(map(_operation, answer.responses)))


def revision(answer: rpc_pb2.CompactionResponse | rpc_pb2.LeaseRevokeResponse) -> int:
    return answer.header.revision


def lease(answer: rpc_pb2.LeaseGrantResponse) -> Lease:
    return Lease(answer.ID, answer.TTL)


def kept_alive(answer: rpc_pb2.LeaseKeepAliveResponse) -> int | None:
    """The seconds that a lease lives from now on; None: there is no such lease."""
    return answer.TTL or None


def lease_left(answer: rpc_pb2.LeaseTimeToLiveResponse) -> LeaseLeft | None:
    """None: there is no such lease."""
    if answer.TTL < 0:
        return None
    return LeaseLeft(answer.ID, answer.TTL, answer.grantedTTL, tuple(answer.keys))


def leases(answer: rpc_pb2.LeaseLeasesResponse) -> tuple[int, ...]:
    return tuple(lease.ID for lease in answer.leases)


def _operation(response: rpc_pb2.ResponseOp) -> Result:
    if response.HasField("response_range"):
        return ranged(response.response_range)
    if response.HasField("response_put"):
        return put(response.response_put)
    if response.HasField("response_txn"):
        return txn(response.response_txn)
    return deleted(response.response_delete_range)


_Members: TypeAlias = (
    rpc_pb2.MemberListResponse
    | rpc_pb2.MemberRemoveResponse
    | rpc_pb2.MemberPromoteResponse
    | rpc_pb2.MemberUpdateResponse
)


def members(answer: _Members) -> tuple[Member, ...]:
    return tuple(_member(member) for member in answer.members)


def added_member(answer: rpc_pb2.MemberAddResponse) -> Member:
    return _member(answer.member)


def _member(member: rpc_pb2.Member) -> Member:
    return Member(member.ID, member.name, tuple(member.peerURLs), tuple(member.clientURLs), member.isLearner)


def alarms(answer: rpc_pb2.AlarmResponse) -> tuple[Alarm, ...]:
    kinds: dict[int, Literal["NOSPACE", "CORRUPT"]] = {rpc_pb2.NOSPACE: "NOSPACE", rpc_pb2.CORRUPT: "CORRUPT"}
    return tuple(Alarm(each.memberID, kinds[each.alarm]) for each in answer.alarms)


def kv_hash(answer: rpc_pb2.HashKVResponse) -> KvHash:
    return KvHash(answer.header.member_id, answer.hash, answer.header.revision, answer.compact_revision)


def member_status(answer: rpc_pb2.StatusResponse) -> MemberStatus:
    return MemberStatus(
        member=answer.header.member_id,
        cluster=answer.header.cluster_id,
        version=answer.version,
        leader=answer.leader,
        raft_term=answer.raftTerm,
        raft_index=answer.raftIndex,
        raft_applied_index=answer.raftAppliedIndex,
        db_size_bytes=answer.dbSize,
        revision=answer.header.revision,
    )
