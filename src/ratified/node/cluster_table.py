"""The cluster table: of every member its name, peer URLs, client URLs, and the data directory that counts.

Rules:

1. The table is a function of its first contents, which the configuration gives, and of the NODE entries that group 0
   delivers. So all nodes have the same table at the same index. ``changed`` is that function: it looks at nothing else.
2. A change that does not fit the table it meets changes nothing, and its proposer is told why, with etcd's text.
3. No two members have a peer URL in common.
4. Of two members one dials, and both know which: the one whose first peer URLs are lower. Those are kept for ever, so
   that two nodes agree on it whose tables differ. (Ids would not do: they follow from the token, so that two members
   with different tokens might each wait for the other, and nobody would ever say what is wrong.)
5. A table is durable before the store applies the entry that made it (``cluster_log``): the last record of the log is
   never behind the store, and what is delivered again is passed over by its index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec
from msgspec.structs import replace

from ratified.consensus.contract import U64

URLS_MAX = 64
URL_BYTES_MAX = 1024
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=URL_BYTES_MAX)]
Urls: TypeAlias = Annotated[tuple[Text, ...], msgspec.Meta(max_length=URLS_MAX)]

NO_MEMBER = "etcdserver: member not found"
URL_EXISTS = "etcdserver: Peer URLs already exists"


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A row of the table."""

    name: str
    """Empty: it was added, and has not said yet."""
    peer_urls: tuple[str, ...]
    first_peer_urls: tuple[str, ...]
    """Those with which it came into the table, in order (rule 4)."""
    client_urls: tuple[str, ...] = ()


class ClusterTable(msgspec.Struct, frozen=True, array_like=True):
    """The table as of ``index`` of group 0."""

    index: U64
    members: dict[U64, Member]
    """Ascending by id."""


class Publish(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A member says what it is called, and where clients reach it."""

    member: U64
    name: Text
    client_urls: Urls


class Readdress(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """An operator says where the others reach a member."""

    member: U64
    peer_urls: Annotated[Urls, msgspec.Meta(min_length=1)]


Change: TypeAlias = Publish | Readdress
"""The data of a NODE entry."""

_changes: msgspec.msgpack.Decoder[Change] = msgspec.msgpack.Decoder(Change)
_tables = msgspec.msgpack.Decoder(ClusterTable)
_encoder = msgspec.msgpack.Encoder()


class ClusterFormatError(ValueError):
    """Bytes that are no table, or no change of one, as far as this version knows."""


def encode_table(table: ClusterTable) -> bytes:
    return _encoder.encode(table)


def decode_table(data: bytes) -> ClusterTable:
    """Raises ``ClusterFormatError``."""
    try:
        return _tables.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterFormatError(f"the cluster table does not read: {error}") from error


def encode_change(change: Change) -> bytes:
    return _encoder.encode(change)


def decode_change(data: bytes) -> Change:
    """Raises ``ClusterFormatError``."""
    try:
        return _changes.decode(data)
    except msgspec.MsgspecError as error:
        raise ClusterFormatError(f"a change of the cluster table does not read: {error}") from error


def is_change(data: bytes) -> bool:
    try:
        decode_change(data)
    except ClusterFormatError:
        return False
    return True


def first_table(names: Mapping[int, str], peer_urls: Mapping[int, tuple[str, ...]]) -> ClusterTable:
    """What the configuration says, before any entry."""
    return ClusterTable(0, {member: new_member(names[member], peer_urls.get(member, ())) for member in sorted(names)})


def new_member(name: str, peer_urls: tuple[str, ...]) -> Member:
    return Member(name, peer_urls, tuple(sorted(peer_urls)))


def dials(table: ClusterTable, one: int, other: int) -> bool:
    """Is it ``one`` that dials the other?"""
    members = table.members
    return (members[one].first_peer_urls, one) < (members[other].first_peer_urls, other)


def changed(table: ClusterTable, index: int, change: Change) -> tuple[ClusterTable, str]:
    """The table after this change at ``index``, and why it changed nothing ("": it did, or is what was asked for)."""
    members = table.members
    row = members.get(change.member)
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


def why_not_at(table: ClusterTable, member: int, peer_urls: tuple[str, ...]) -> str:
    """What stands against these being the member's peer URLs; "": nothing."""
    taken = {url for other, row in table.members.items() if other != member for url in row.peer_urls}
    return URL_EXISTS if taken.intersection(peer_urls) else ""


def _with(table: ClusterTable, index: int, rows: Mapping[int, Member] | None = None) -> ClusterTable:
    members = {**table.members, **(rows or {})}
    return ClusterTable(index, {member: members[member] for member in sorted(members)})
