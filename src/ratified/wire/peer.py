"""The messages between nodes: the handshake, the heartbeat of a peer pair, and batches of group messages.

An engine's own messages are a tagged union of the protocol's package, with integer tags below
``REPLICA_TAG_FIRST``; the messages of replicas are the same on every engine and have the tags from there on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from ratified.consensus.contract import Era, ProposalId

REPLICA_TAG_FIRST = 64


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first frame of either side of a connection: who speaks, and what it can speak."""

    cluster: int
    member: int
    directory: bytes
    incarnation: int
    start: int
    """Drawn at this start: tells two processes with one identity apart."""
    engine: str
    version_min: int
    version_max: int
    name: str
    client_urls: tuple[str, ...]


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The last frame before a refusing side closes; says why, so that both sides can log it."""

    reason: str


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Nothing else was sent for a while; the connection is alive."""


class Batch(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """All messages of one turn for one peer, in order: pairs of group and message."""

    messages: Sequence[tuple[int, Any]]


Frame: TypeAlias = Hello | Goodbye | Ping | Batch


# ---------------------------------------------------------------------------------------------------------------
# Between replicas (rule 7)


class Forward(msgspec.Struct, frozen=True, array_like=True, tag=64):
    """One proposal for the leader of exactly ``era``, numbered from 1 by its origin. Past its deadline the origin
    sends the number again with ``data`` None: a void, which only fills the gap."""

    era: Era
    number: int
    id: ProposalId
    data: bytes | None


class ForwardAnswer(msgspec.Struct, frozen=True, array_like=True, tag=65, gc=False):
    """The proposal with this number was taken at ``index``, or (None) refused and will never be taken."""

    era: Era
    number: int
    index: int | None


class Barrier(msgspec.Struct, frozen=True, array_like=True, tag=66, gc=False):
    """A read barrier for the leader."""

    token: int


class BarrierAnswer(msgspec.Struct, frozen=True, array_like=True, tag=67, gc=False):
    """Serve when applied >= ``index``; None: not confirmed."""

    token: int
    index: int | None


class Question(msgspec.Struct, frozen=True, array_like=True, tag=68, gc=False):
    """``Store.ask`` for the leader's replica."""

    token: int
    request: bytes


class QuestionAnswer(msgspec.Struct, frozen=True, array_like=True, tag=69, gc=False):
    """The reply; None: not the leader, or not confirmed."""

    token: int
    reply: bytes | None


ReplicaMessage: TypeAlias = Forward | ForwardAnswer | Barrier | BarrierAnswer | Question | QuestionAnswer
