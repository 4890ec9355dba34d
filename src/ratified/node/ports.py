"""What goes into a node and what comes out of it.

A node is driven like this, by the simulator and by the server alike::

    node.offer(something)
    outputs = node.turn(now, inputs_max)
    # carry out outputs.jobs, write outputs.frames, hand over outputs.replies, close outputs.closes;
    # call turn again when something was offered, when node.deadline has come, or when outputs.more says so

All times are integer microseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, StrEnum
from typing import TypeAlias

import msgspec

from ratified.storage.files import Job, Op
from ratified.wire.peer import Frame, Hello

# ---------------------------------------------------------------------------------------------------------------
# Inputs


class Work(Enum):
    PROPOSE = "propose"
    """Replicate ``data`` as a command; the reply is the result of applying it."""
    READ = "read"
    """Linearizable read: ``Store.read`` after a barrier."""
    READ_LOCAL = "read local"
    """Serializable read: ``Store.read`` of what is applied here, perhaps old."""
    ASK = "ask"
    """``Store.ask`` on the leader, after a barrier."""
    MEMBERS = "members"
    """Change who the members are, as ``data`` says (``changes``), in group 0; the reply is as for ``CLUSTER``."""
    CLUSTER = "cluster"
    """Change the cluster table, of group 0, as ``data`` says; the reply says why it changed nothing, or is empty."""
    BARRIER = "barrier"
    """Of the node's own: that all that was acknowledged before is applied here."""


class Request(msgspec.Struct, frozen=True):
    """One request of a client of this node. ``token`` is the caller's, unique while the request is open.

    At ``deadline`` the request ends, refused or unknown, if it has not ended before; a read that answered with a
    continuation has then begun, and ends by itself or by ``Cancel``.
    """

    token: int
    group: int
    work: Work
    data: bytes
    deadline: int


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """The caller no longer waits for this request; no reply to it follows."""

    token: int


class Hold(msgspec.Struct, frozen=True, gc=False):
    """Whoever reads the answers of these requests has enough for now: no further chunk, until ``GoOn``.

    What has left is not called back, and a token that is no stream (any more) is passed over.
    """

    tokens: tuple[int, ...]


class GoOn(msgspec.Struct, frozen=True, gc=False):
    """After ``Hold``: the reader has room again."""

    tokens: tuple[int, ...]


class JobDone(msgspec.Struct, frozen=True):
    """The disk carried out a job: one result an operation, or ``error`` with what failed."""

    job: int
    results: Sequence[bytes | None]
    error: str | None = None


class CheckpointDone(msgspec.Struct, frozen=True, gc=False):
    """All of ``Outputs.checkpoint`` was carried out; or ``error``, what failed: then nothing is left of it."""

    error: str | None = None


class Connected(msgspec.Struct, frozen=True, gc=False):
    """A connection to a peer is there. ``member`` is whom we dialled; None: somebody dialled us."""

    connection: int
    member: int | None


class Received(msgspec.Struct, frozen=True, gc=False):
    """A frame arrived on a connection, decoded and valid in shape."""

    connection: int
    frame: Frame


class Challenged(msgspec.Struct, frozen=True, gc=False):
    """The answer to a challenge: the Hello of whoever listens at the member's own address; None: nobody answered."""

    member: int
    hello: Hello | None


class Heard(msgspec.Struct, frozen=True, gc=False):
    """Bytes arrived on a connection that complete no frame yet: whoever sends them is alive."""

    connection: int


class Disconnected(msgspec.Struct, frozen=True, gc=False):
    connection: int


class DiskSpace(msgspec.Struct, frozen=True, gc=False):
    """How much room the data directory's file system has left; offered now and then."""

    free_bytes: int


class TransferLead(msgspec.Struct, frozen=True, gc=False):
    """Hand the lead of this group to the member ``to``, if this member leads and nothing is in the way; None: to the
    voter that has acknowledged most, of those that are heard.

    There is no reply: it was done when another member leads, and has failed when none does within an election timeout.
    """

    group: int
    to: int | None


class Close(msgspec.Struct, frozen=True, gc=False):
    """Stop: refuse what is open, write the log's mark; ``Outputs.stopped`` says when it is done."""


Input: TypeAlias = (
    Request
    | Cancel
    | Hold
    | GoOn
    | JobDone
    | CheckpointDone
    | Connected
    | Received
    | Heard
    | Challenged
    | Disconnected
    | DiskSpace
    | TransferLead
    | Close
)

# ---------------------------------------------------------------------------------------------------------------
# Outputs


class Outcome(Enum):
    DONE = "done"
    CHUNK = "chunk"
    """Part of a continuation's answer; more follows."""
    REFUSED = "refused"
    """Nothing of it has happened or will happen."""
    UNKNOWN = "unknown"
    """It may have happened, or may happen yet."""


class Reason(StrEnum):
    NONE = ""
    NO_LEADER = "no leader"
    TIMED_OUT = "timed out"
    OVERLOADED = "too many requests"
    TOO_LARGE = "request is too large"
    LEADER_LEFT = "the leader leads no longer"
    """Between members only: nothing was taken, and whoever forwarded it waits for the next leader."""
    NO_GROUP = "no such group"
    GROUP_STOPPED = "the group has stopped here"
    STOPPING = "the node is stopping"
    NO_SPACE = "no space left on the device"
    CHANGING = "the members are changing, or have just changed"
    """Asking again helps."""
    LEARNER_BEHIND = "the learner has not caught up"
    INSTALLED = "a snapshot took the place of the log"
    """What was proposed may be in it."""
    UNHEALTHY = "too few of the members that would vote can be reached"
    UNFIT = "this is no change of the cluster table"
    FAILED = "the state machine could not answer"
    """``Reply.data`` says why, in UTF-8. With ``DONE``: a command was applied and has no result."""


class Reply(msgspec.Struct, frozen=True, gc=False):
    token: int
    outcome: Outcome
    data: bytes = b""
    reason: Reason = Reason.NONE


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    connection: int
    frame: Frame


class PeerAddress(msgspec.Struct, frozen=True, gc=False):
    """Where another member is reached. ``dials``: this node dials it, and keeps a connection up; else it dials us."""

    member: int
    urls: tuple[str, ...]
    dials: bool


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """A member was admitted on this connection."""

    connection: int
    member: int


class Hangup(msgspec.Struct, frozen=True, gc=False):
    """Close a connection, after what was sent on it before; ``reason`` is for the log."""

    connection: int
    reason: str


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something an operator should read. ``fatal``: the process must end now."""

    text: str
    group: int | None = None
    fatal: bool = False


class Outputs(msgspec.Struct, frozen=True, kw_only=True):
    jobs: Sequence[Job] = ()
    checkpoint: Iterator[Op] | None = None
    """What to carry out one after another, beside ``jobs`` and without keeping them waiting; its end is one
    ``CheckpointDone``. Whoever stops before calls ``storage.checkpoint.discard``."""
    frames: Sequence[Outgoing] = ()
    replies: Sequence[Reply] = ()
    closes: Sequence[Hangup] = ()
    admitted: Sequence[Admitted] = ()
    """Every other connection belongs to a stranger, as far as is known."""
    peers: Sequence[PeerAddress] | None = None
    """All other members, and where they are; None: as before. The first turn says it."""
    challenges: Sequence[int] = ()
    """Members at whose own address the port dials once, reads the Hello, sends nothing, and offers ``Challenged``."""
    notices: Sequence[Notice] = ()
    deadline: int | None = None
    """Call ``turn`` again at this time, at the latest."""
    more: bool = False
    """There is work left (inputs, or slices of long reads): call ``turn`` again soon."""
    removed: bool = False
    """This member has left the cluster: end the process, its data directory is of no use any more."""
    stopped: bool = False
    """Everything is durable and closed, after ``Close``."""
