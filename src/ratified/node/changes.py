"""Changes of the members, as operators ask for them, and what group 0 is asked to do for them.

Rules:

1. A change is built where it is asked for, behind a read barrier, from the table and the configuration of then. The
   leader refuses it where that is no longer the latest one.
2. Who is added to vote is a learner until it has caught up (``steward``): it can be let in only when its directory is
   bound, which takes a quorum, and so it must not be needed for one before.
3. Where other groups follow, who is removed and has voted learns in group 0 until none of them needs it: it may lead
   one, and has to hear what that is to follow (``steward``).
4. What the table decides is refused here, what progress and sessions decide by the leader (``why_not_now``); both with
   etcd's texts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeAlias

import msgspec

from ratified.consensus.contract import U64, Change, Kind, Membership, Status
from ratified.consensus.entry import EntryFormatError, encode_change
from ratified.consensus.entry import decode_change as decode_engine_change
from ratified.node.cluster_table import (
    CLUSTER_GROUP,
    NO_MEMBER,
    Add,
    ClusterFormatError,
    ClusterTable,
    Remove,
    Urls,
    decode_change,
    decode_context,
    encode_context,
    why_not_at,
)
from ratified.node.ports import Reason

LEARNERS_MAX = 5
"""How many members may learn at a time: the leader sends each of them all that there is."""
CAUGHT_UP_ENTRIES = 1000
"""A learner that is no further behind what is committed may vote: it has that within a moment."""

MEMBER_EXISTS = "etcdserver: member ID already exist"
TOO_MANY_LEARNERS = "etcdserver: too many learner members in cluster"
NOT_LEARNER = "etcdserver: can only promote a learner member"
NOT_ENOUGH_STARTED = "etcdserver: re-configuration failed due to not enough started members"


class AddMember(msgspec.Struct, frozen=True, array_like=True, tag=1):
    member: U64
    peer_urls: Urls
    learner: bool


class RemoveMember(msgspec.Struct, frozen=True, array_like=True, tag=2):
    member: U64


class PromoteMember(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Have a learner vote."""

    member: U64


Asked: TypeAlias = AddMember | RemoveMember | PromoteMember
_asked: msgspec.msgpack.Decoder[Asked] = msgspec.msgpack.Decoder(Asked)


def encode_asked(asked: Asked) -> bytes:
    return msgspec.msgpack.encode(asked)


def decode_asked(data: bytes) -> Asked:
    """Raises ``ClusterFormatError``."""
    try:
        return _asked.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterFormatError(f"a change of the members does not read: {error}") from error


def is_asked(data: bytes) -> bool:
    try:
        decode_asked(data)
    except ClusterFormatError:
        return False
    return True


def is_fit(group: int, kind: Kind, data: bytes) -> bool:
    """Does a proposal of this group say something that every node can read? In the log anything else would end them
    all."""
    if kind is Kind.COMMAND:
        return True
    try:
        if kind is Kind.NODE:
            decode_change(data)
            return group == CLUSTER_GROUP
        context = decode_engine_change(data).context
        if context:
            decode_context(context)
    except (ClusterFormatError, EntryFormatError):
        return False
    return kind is Kind.MEMBERSHIP and group == CLUSTER_GROUP  # other groups' leaders follow by themselves


def build(
    asked: Asked, table: ClusterTable, before: Membership, *, others_follow: bool = False
) -> Change | str | Reason:
    """The change of group 0's configuration; or etcd's text why there is none; or why there is none yet."""
    match asked:
        case AddMember(member, peer_urls, learner):
            if member in table.members or member in table.left:
                return MEMBER_EXISTS
            if not peer_urls:
                return NO_MEMBER
            if refusal := why_not_at(table, member, peer_urls):
                return Reason.CHANGING if _are_left(table, peer_urls) else refusal
            if sum(not _is_leaving(table, each) for each in before.learners) >= LEARNERS_MAX:
                return TOO_MANY_LEARNERS
            after = _with_roles(before, before.voters, {*before.learners, member})
            return Change(before, after, encode_context(Add(member, peer_urls, not learner)))
        case RemoveMember(member):
            row = table.members.get(member)
            if row is None or row.leaving:
                return NO_MEMBER
            voters = set(before.voters) - {member}
            if not voters:
                return NOT_ENOUGH_STARTED
            learners = set(before.learners) - {member}
            if others_follow and member in before.voters:
                learners.add(member)
            return Change(before, _with_roles(before, voters, learners), encode_context(Remove(member)))
        case PromoteMember(member):
            if member not in table.members or _is_leaving(table, member):
                return NO_MEMBER
            if member not in before.learners:
                return NOT_LEARNER
            return promotion(before, member)


def _is_leaving(table: ClusterTable, member: int) -> bool:
    row = table.members.get(member)
    return row is not None and row.leaving


def _are_left(table: ClusterTable, peer_urls: Collection[str]) -> bool:
    """Of those of the peer URLs that are taken, is each that of a member that is leaving?"""
    return not any(set(row.peer_urls).intersection(peer_urls) for row in table.members.values() if not row.leaving)


def without(before: Membership, member: int) -> Change:
    """The change that has a learner learn no more."""
    return Change(before, _with_roles(before, before.voters, set(before.learners) - {member}))


def promotion(before: Membership, member: int) -> Change:
    """The change that lets a learner vote."""
    return Change(before, _with_roles(before, {*before.voters, member}, set(before.learners) - {member}))


def encoded(change: Change) -> bytes:
    """The data of a MEMBERSHIP proposal."""
    return encode_change(change)


def why_not_now(change: Change, status: Status, connected: Collection[int]) -> Reason:
    """What the leader has against it: a learner is behind, or voters are not there; NONE: nothing."""
    for member in sorted(set(change.after.voters) - set(change.before.voters)):
        if not has_caught_up(status, member):
            return Reason.LEARNER_BEHIND
    there = {*connected, status.member}.intersection(change.after.voters)
    if 2 * len(there) <= len(change.after.voters):
        return Reason.UNHEALTHY
    return Reason.NONE


def has_caught_up(status: Status, member: int) -> bool:
    """As its leader sees it: has this member, durably, about all that is committed?"""
    progress = status.progress.get(member)
    return (
        progress is not None
        and progress.acknowledged > 0
        and (progress.acknowledged + CAUGHT_UP_ENTRIES >= status.commit)
    )


def _with_roles(before: Membership, voters: Collection[int], learners: Collection[int]) -> Membership:
    return Membership(tuple(sorted(voters)), (), tuple(sorted(learners)), before.apply_version)
