"""The cluster table: of every member its name, peer URLs, client URLs, and the data directory that counts.

Rules:

1. The table is a function of its first contents, which the configuration gives, and of the NODE and MEMBERSHIP entries
   that group 0 delivers. So all nodes have the same table at the same index. ``changed`` is that function: it looks at
   nothing else.
2. A change that does not fit the table it meets changes nothing, and its proposer is told why, with etcd's text.
3. No two members have a peer URL in common.
4. Of two members one dials, and both know which: the one whose first peer URLs are lower. Those are kept for ever, so
   that two nodes agree on it whose tables differ. (Ids would not do: they follow from the token, so that two members
   with different tokens might each wait for the other, and nobody would ever say what is wrong.)
5. A member is added, by a MEMBERSHIP entry, with no directory. The first binding of one counts; a later one changes
   nothing. Of the cluster's first members the first start has settled it (``directories``).
6. A member that is removed, by a MEMBERSHIP entry, is *leaving*: it may be needed to the end of the change. It has left
   with a NODE entry of its own, and its id never comes back.
7. Other groups follow group 0: what they are to have is its latest configuration that was delivered and is not joint,
   without those who are leaving. When that becomes another one all groups are *behind*, each until its leader has said
   that it has it, settled. What is said of an earlier one changes nothing.
   This is kept from a MEMBERSHIP entry on that asks for it and changes nothing else (``Keep``), proposed once all
   members know such entries: tables of earlier programs lack it. Where there are no other groups it never is.
8. A table is durable before the store applies the entry that made it (``cluster_log``): the last record of the log is
   never behind the store, and what is delivered again is passed over by its index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec.structs import replace

from ratified.consensus.contract import U64, Membership
from ratified.wire.peer import DIRECTORY_BYTES, DirectoryId

NOBODY = Membership(())
"""What other groups are to have between the two halves of one entry: its context, and its configuration."""
CLUSTER_GROUP = 0
"""The group whose entries make the table."""
URLS_MAX = 64
URL_BYTES_MAX = 1024
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=URL_BYTES_MAX)]
Urls: TypeAlias = Annotated[tuple[Text, ...], msgspec.Meta(max_length=URLS_MAX)]

NO_MEMBER = "etcdserver: member not found"
NOT_LEAVING = "the member is not leaving"
URL_EXISTS = "etcdserver: Peer URLs already exists"


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A row of the table."""

    name: str
    """Empty: it was added, and has not said yet."""
    peer_urls: tuple[str, ...]
    first_peer_urls: tuple[str, ...]
    """Those with which it came into the table, in order (rule 4)."""
    client_urls: tuple[str, ...] = ()
    directory: bytes | None = None
    """The data directory that counts; empty: it has been added, and none is bound yet; None: rule 5."""
    votes_soon: bool = False
    """It has been added to vote, and is a learner until it has caught up."""
    leaving: bool = False


class ClusterTable(msgspec.Struct, frozen=True, array_like=True):
    """The table as of ``index`` of group 0."""

    index: U64
    members: dict[U64, Member]
    """Ascending by id."""
    left: tuple[U64, ...] = ()
    """Who was a member, in the order of leaving."""
    configuration: Membership | None = None
    """Of the other groups; None: it is not kept yet."""
    since: U64 = 0
    """The index at which it became another one."""
    behind: tuple[U64, ...] = ()
    """The groups that are not known to have it, ascending."""


class Publish(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A member says what it is called, and where clients reach it."""

    member: U64
    name: Text
    client_urls: Urls


class Readdress(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """An operator says where the others reach a member."""

    member: U64
    peer_urls: Annotated[Urls, msgspec.Meta(min_length=1)]


class Bind(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """From now on this data directory counts for a member that was added."""

    member: U64
    directory: DirectoryId


class Leave(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Nobody needs this leaving member any more."""

    member: U64


class Add(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """The context of a configuration that has a member more."""

    member: U64
    peer_urls: Annotated[Urls, msgspec.Meta(min_length=1)]
    votes_soon: bool


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The context of a configuration that has a member less."""

    member: U64


class Follow(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """These groups have the configuration since ``since``, settled."""

    groups: tuple[U64, ...]
    since: U64


class Keep(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """From this configuration on the table has what other groups are to have, and all of them are behind."""


Change: TypeAlias = Publish | Readdress | Bind | Leave | Follow
"""The data of a NODE entry."""
Context: TypeAlias = Add | Remove | Keep
"""Of a MEMBERSHIP entry, where it concerns the table."""

_changes: msgspec.msgpack.Decoder[Change] = msgspec.msgpack.Decoder(Change)
_contexts: msgspec.msgpack.Decoder[Context] = msgspec.msgpack.Decoder(Context)
_tables = msgspec.msgpack.Decoder(ClusterTable)
_encoder = msgspec.msgpack.Encoder()


class ClusterFormatError(ValueError):
    """Bytes that are no table, or no change of one, as far as this version knows."""


def encode_table(table: ClusterTable) -> bytes:
    return _encoder.encode(table)


def decode_table(data: bytes) -> ClusterTable:
    """Raises ``ClusterFormatError``."""
    try:
        table = _tables.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterFormatError(f"the cluster table does not read: {error}") from error
    for member, row in table.members.items():
        if row.directory and len(row.directory) != DIRECTORY_BYTES:
            raise ClusterFormatError(
                f"the cluster table does not read: the directory of member {member:x} has {len(row.directory)} bytes"
            )
    return table


def encode_change(change: Change) -> bytes:
    return _encoder.encode(change)


def encode_context(context: Context) -> bytes:
    return _encoder.encode(context)


def decode_change(data: bytes) -> Change:
    """Raises ``ClusterFormatError``."""
    try:
        return _changes.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterFormatError(f"a change of the cluster table does not read: {error}") from error


def decode_context(data: bytes) -> Context:
    """Raises ``ClusterFormatError``."""
    try:
        return _contexts.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterFormatError(f"the context of a configuration does not read: {error}") from error


def first_table(names: Mapping[int, str], peer_urls: Mapping[int, tuple[str, ...]]) -> ClusterTable:
    """What the configuration says, before any entry."""
    return ClusterTable(0, {member: new_member(names[member], peer_urls.get(member, ())) for member in sorted(names)})


def is_as_first(table: ClusterTable) -> bool:
    """Are the members still those of the cluster's beginning, at the same peer URLs?"""
    rows = table.members.values()
    return not table.left and all(
        row.directory is None and tuple(sorted(row.peer_urls)) == row.first_peer_urls for row in rows
    )


def new_member(name: str, peer_urls: tuple[str, ...]) -> Member:
    return Member(name, peer_urls, tuple(sorted(peer_urls)))


def dials(table: ClusterTable, one: int, other: int) -> bool:
    """Is it ``one`` that dials the other?"""
    members = table.members
    return (members[one].first_peer_urls, one) < (members[other].first_peer_urls, other)


def changed(table: ClusterTable, index: int, change: Change | Context) -> tuple[ClusterTable, str]:
    """The table after this change at ``index``, and why it changed nothing ("": it did, or is what was asked for)."""
    if isinstance(change, Follow):
        followed = frozenset(change.groups) if change.since == table.since else ()
        behind = tuple(group for group in table.behind if group not in followed)
        return replace(table, index=index, behind=behind), ""
    if isinstance(change, Keep):
        return replace(table, index=index, configuration=NOBODY), ""
    members = table.members
    row = members.get(change.member)
    if isinstance(change, Add):
        added = replace(new_member("", change.peer_urls), directory=b"", votes_soon=change.votes_soon)
        return _with(table, index, {change.member: added}), ""
    if row is None:
        return _with(table, index), NO_MEMBER
    match change:
        case Publish(_, name, client_urls):
            return _with(table, index, {change.member: replace(row, name=name, client_urls=client_urls)}), ""
        case Readdress(_, peer_urls):
            refusal = why_not_at(table, change.member, peer_urls)
            if refusal:
                return _with(table, index), refusal
            return _with(table, index, {change.member: replace(row, peer_urls=peer_urls)}), ""
        case Bind(_, directory):
            bound = replace(row, directory=directory) if row.directory == b"" else row
            return _with(table, index, {change.member: bound}), ""
        case Remove():
            return _with(table, index, {change.member: replace(row, leaving=True)}), ""
        case Leave():
            if not row.leaving:
                return _with(table, index), NOT_LEAVING
            staying = {member: each for member, each in members.items() if member != change.member}
            return replace(table, index=index, members=staying, left=(*table.left, change.member)), ""


def configured(table: ClusterTable, index: int, membership: Membership, others: tuple[int, ...]) -> ClusterTable:
    """The table after this configuration of group 0, where these are the other groups."""
    if not others or table.configuration is None:
        return table
    wanted = wanted_of(table, membership)
    if membership.outgoing or wanted == table.configuration:
        return replace(table, index=index)
    return replace(table, index=index, configuration=wanted, since=index, behind=others)


def wanted_of(table: ClusterTable, membership: Membership) -> Membership:
    """What other groups are to have where group 0 has this one, which is not joint, and may be later than the table."""
    leaving = [member for member, row in table.members.items() if row.leaving]
    return replace(membership, learners=tuple(member for member in membership.learners if member not in leaving))


def why_not_at(table: ClusterTable, member: int, peer_urls: tuple[str, ...]) -> str:
    """What stands against these being the member's peer URLs; "": nothing."""
    taken = {url for other, row in table.members.items() if other != member for url in row.peer_urls}
    return URL_EXISTS if taken.intersection(peer_urls) else ""


def _with(table: ClusterTable, index: int, rows: Mapping[int, Member] | None = None) -> ClusterTable:
    members = {**table.members, **(rows or {})}
    return replace(table, index=index, members={member: members[member] for member in sorted(members)})
