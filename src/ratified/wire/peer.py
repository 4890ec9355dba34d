"""The messages between nodes: the handshake, the heartbeat of a peer pair, and batches of group messages.

An engine's own messages are a tagged union of the protocol's package, with integer tags below
``REPLICA_TAG_FIRST``; the messages of replicas are the same on every engine and have the tags from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import msgspec

from ratified.consensus.contract import U64, Era, Kind, Limbo

REPLICA_TAG_FIRST = 64
PROTOCOL_VERSION = 9
"""What this program speaks at most, in the handshake; frames have a version of their own. 2: ranges of forwarded
proposals, ``Standing``, ``Acknowledged``; 3: the births of entries; 4: the kinds of forwarded proposals, entries of the
node, ``Checkpointed``; 5: snapshots; 6: ``OwnTable``, ``Keep``; 7: commands of the store
about users, and commands that name their user; 8: puts together; 9: commands of the store about alarms and checks."""
PROTOCOL_VERSION_MIN = 4
"""What it speaks at least: members of that version and of this one make one cluster."""
SNAPSHOTS_SINCE = 5
"""The version that knows ``SnapshotOffer``, ``SnapshotPiece``, ``SnapshotWanted`` and ``SnapshotOver``."""
TABLES_SINCE = 6
"""The version that knows ``OwnTable``, and what a cluster table can say of other groups."""
AUTH_SINCE = 7
"""The version whose stores know commands about users, and commands that name their user."""
PUTS_SINCE = 8
"""The version whose stores know commands of many puts."""
ALARMS_SINCE = 9
"""The version whose stores know commands about alarms and checks."""
DIRECTORY_BYTES = 16
STARTS_BEFORE_MAX = 64
"""Earlier starts that a Hello names. Who has met none of so many takes the later incarnation's word."""

ShortText: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]


DirectoryId: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=DIRECTORY_BYTES, max_length=DIRECTORY_BYTES)]


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first frame of either side of a connection: who speaks, and what it can speak."""

    cluster: U64
    member: U64
    directory: DirectoryId
    incarnation: U64
    start: U64
    """Drawn at this start: tells two processes with one identity apart."""
    starts_before: Annotated[tuple[U64, ...], msgspec.Meta(max_length=STARTS_BEFORE_MAX)]
    """What was drawn at the starts before this one, the latest first: an older copy of a directory has others."""
    engine: ShortText
    version_min: U64
    version_max: U64
    name: ShortText
    client_urls: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=64)]
    begun: bool
    """Does this member vote, or has it never begun? As of when it was sent; ``Standing`` says so again."""
    priority: U64 = 0
    """How much operators would have this member lead (``node/priority``); earlier programs say nothing of it."""


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The last frame before a refusing side closes; says why, so that both sides can log it."""

    reason: ShortText
    removed: bool = False
    """The receiver was a member of this cluster, and has left it for good."""


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Nothing else was sent for a while; the connection is alive."""


class Standing(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """After the other's Hello, and again when it changes: what this side holds, durably, and has room for."""

    holds: DirectoryId
    """The directory that it holds for the receiver."""
    begun: bool
    has_room: bool = True
    """On its disk, for what is proposed; earlier programs say nothing of it."""


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """All messages of one turn for one peer, in order: pairs of group and message."""

    messages: Sequence[tuple[int, Any]]


class Fragment(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """A piece of one long message of ``group``, in MessagePack; ``left`` bytes of it follow, in further fragments."""

    group: U64
    left: U64
    data: bytes


class Mark(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Give this number back: then everything before it has arrived."""

    number: U64


class Marked(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """The mark with this number arrived, and all that was sent before it."""

    number: U64


class Join(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """In place of a Hello, from a node that was added to the cluster, and does not know yet which member it is."""

    name: ShortText
    peer_urls: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=64)]


class Joined(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The answer: this is the cluster, and that is who you are; the next connection begins with a Hello."""

    cluster: U64
    member: U64
    engine: ShortText
    groups: U64
    index: U64
    """As of which the table is."""
    table: bytes
    directories: dict[U64, DirectoryId]
    """Of each member that the answering one has met, itself included, the one that counts."""


class OwnTable(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """In a session: the cluster table of the sender, where it may be news."""

    table: bytes
    """As in the log's ``cluster`` record."""


Frame: TypeAlias = Hello | Standing | Goodbye | Ping | Batch | Fragment | Mark | Marked | Join | Joined | OwnTable


# ---------------------------------------------------------------------------------------------------------------
# Between replicas (rule 7 of the contract)


Forwarded: TypeAlias = tuple[U64, bytes | None, Kind]
"""The sequence of a proposal's id, its data, its kind. Data None: a void, which only fills the gap that the proposal
leaves."""


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """Proposals for the leader of exactly ``era``, with consecutive numbers from ``first`` on. An origin numbers them
    from 1, in each era and incarnation; past its deadline a number is sent again as a void."""

    era: Era
    origin: U64
    incarnation: U64
    first: U64
    proposals: Sequence[Forwarded]


class ForwardAnswer(msgspec.Struct, frozen=True, array_like=True, tag=65, gc=False):
    """The proposals with ``count`` numbers from ``first`` on were taken, at consecutive indexes from ``index`` on, or
    (None) refused and will never be taken: then ``reason`` is for the client; empty: proposing again may help."""

    era: Era
    first: U64
    count: U64
    index: U64 | None
    reason: ShortText = ""


class Barrier(msgspec.Struct, frozen=True, array_like=True, tag=66, gc=False):
    """A read barrier for the leader."""

    token: U64


class BarrierAnswer(msgspec.Struct, frozen=True, array_like=True, tag=67, gc=False):
    """Serve when applied >= ``index``; None: not confirmed."""

    token: U64
    index: U64 | None


class LimboAnswer(msgspec.Struct, frozen=True, array_like=True, tag=78, gc=False):
    """The same from a leader that does not know yet what is committed: serve when applied >= ``index`` what nothing in
    ``limbo`` touches (log leases)."""

    token: U64
    index: U64
    limbo: Limbo


class Question(msgspec.Struct, frozen=True, array_like=True, tag=68, gc=False):
    """``Store.ask`` for the leader's replica."""

    token: U64
    request: bytes


class QuestionAnswer(msgspec.Struct, frozen=True, array_like=True, tag=69, gc=False):
    """The reply; None: not the leader, or not confirmed. ``failed``: the reply says why there is no answer."""

    token: U64
    reply: bytes | None
    failed: bool = False


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag=70, gc=False):
    """First in a session, from a leader that had one with this member before: what it has acknowledged in ``era``."""

    era: Era
    index: U64


class Checkpointed(msgspec.Struct, frozen=True, array_like=True, tag=71, gc=False):
    """The sender has a durable checkpoint up to ``index``, whose entry was delivered with ``era``."""

    index: U64
    era: Era


class SnapshotOffer(msgspec.Struct, frozen=True, array_like=True, tag=72, gc=False):
    """The sender has a snapshot for the receiver; again after a while without an answer, and in each new session."""

    base: bytes
    """What it is of, as in the log's ``base`` record; it names the snapshot."""
    first: U64
    """The first piece that the sender can still send."""
    table: bytes
    """Of group 0 the cluster table, as in the log's ``cluster`` record; else nothing."""


class SnapshotPiece(msgspec.Struct, frozen=True, array_like=True, tag=73, gc=False):
    """A piece of a snapshot, numbered from 1 on; an empty one is behind the last."""

    snapshot: U64
    number: U64
    crc: U64
    """As in the file (``storage.snapshot_file``)."""
    data: bytes


class SnapshotWanted(msgspec.Struct, frozen=True, array_like=True, tag=74, gc=False):
    """All pieces before ``next`` are durable at the receiver."""

    snapshot: U64
    next: U64


class SnapshotOver(msgspec.Struct, frozen=True, array_like=True, tag=75, gc=False):
    """The receiver has installed the snapshot, or does not need it (``ok``), or has given it up."""

    snapshot: U64
    ok: bool


ReplicaMessage: TypeAlias = (
    Forward
    | ForwardAnswer
    | Barrier
    | BarrierAnswer
    | LimboAnswer
    | Question
    | QuestionAnswer
    | Acknowledged
    | Checkpointed
    | SnapshotOffer
    | SnapshotPiece
    | SnapshotWanted
    | SnapshotOver
)
