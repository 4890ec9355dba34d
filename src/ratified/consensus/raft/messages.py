"""What Raft members say to one another: the RPCs of figure 2 as one-way messages, and three of production's own.

The sender's id travels with the session, so ``candidateId`` and ``leaderId`` are no fields. Every message carries its
sender's term; every message of a leader but ``CommitAdvanced`` carries the number of its latest read round, and every
answer in the same term gives that number back, so that any answer can confirm a read (Ongaro's dissertation, section
6.4); an answer in a later term says ``NO_ROUND``.

Numbers are bounded where frames are decoded, so that whatever arrives fits the fixed-width records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class RequestVote(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A candidate asks for a vote; its log ends with an entry of ``last_term`` at ``last_index`` (section 5.4.1)."""

    term: Number
    last_index: Number
    last_term: Number


class RequestVoteResponse(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    term: Number
    granted: bool


class AppendEntries(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Entries for the place behind (``prev_index``, ``prev_term``), in their one encoding; perhaps none."""

    term: Number
    prev_index: Number
    prev_term: Number
    commit: Number
    round: Number
    entries: Sequence[bytes]


class AppendEntriesResponse(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """``success``: the logs are equal up to ``index``. Otherwise nothing fits behind ``index``, the refused
    ``prev_index``, and with conflict hints the logs can meet at (``hint_index``, ``hint_term``) at the latest."""

    term: Number
    success: bool
    index: Number
    round: Number
    hint_index: Number = 0
    hint_term: Number = 0


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """The leader is alive; ``commit`` is never beyond what the receiver has acknowledged."""

    term: Number
    commit: Number
    round: Number


class HeartbeatResponse(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Claims a durable term and nothing else, so it need not wait for the disk."""

    term: Number
    round: Number


class CommitAdvanced(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """``commit`` as in a heartbeat, sent when no entries are on their way that would carry it; wants no answer."""

    term: Number
    commit: Number


Message: TypeAlias = (
    RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | Heartbeat
    | HeartbeatResponse
    | CommitAdvanced
)
