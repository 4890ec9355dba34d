"""What Raft members say to one another: the RPCs of figure 2 as one-way messages, and production's own.

The sender's id travels with the session, so ``candidateId`` and ``leaderId`` are no fields. Every message carries its
sender's term; every message of a leader but ``CommitAdvanced`` carries the number of its latest read round, and every
answer in the same term gives that number back, so that any answer can confirm a read (Ongaro's dissertation, section
6.4); an answer in a later term says ``NO_ROUND``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from ratified.consensus.replication.incoming import Number
from ratified.consensus.replication.suspicion import Verdict


class InTerm(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """``term`` is the sender's."""

    term: Number


class RequestVote(InTerm, frozen=True, tag=1):
    """A candidate asks for a vote; its log ends with an entry of ``last_term`` at ``last_index`` (section 5.4.1)."""

    last_index: Number
    last_term: Number


class RequestVoteResponse(InTerm, frozen=True, tag=2):
    granted: bool


class AppendEntries(InTerm, frozen=True, tag=3):
    """Entries for the place behind (``prev_index``, ``prev_term``), in their one encoding; perhaps none."""

    prev_index: Number
    prev_term: Number
    commit: Number
    round: Number
    entries: Sequence[bytes]


class AppendEntriesResponse(InTerm, frozen=True, tag=4):
    """``success``: the logs are equal up to ``index``. Otherwise nothing fits behind ``index``, the refused
    ``prev_index``, and with conflict hints the logs can meet at (``hint_index``, ``hint_term``) at the latest."""

    success: bool
    index: Number
    round: Number
    hint_index: Number = 0
    hint_term: Number = 0


class Heartbeat(InTerm, frozen=True, tag=5):
    """The leader is alive; ``commit`` is never beyond what the receiver has acknowledged. ``rests``: it says nothing
    more until something happens, and whoever has everything need not answer."""

    commit: Number
    round: Number
    rests: bool = False


class HeartbeatResponse(InTerm, frozen=True, tag=6):
    """Claims a durable term and nothing else, so it need not wait for the disk."""

    round: Number


class CommitAdvanced(InTerm, frozen=True, tag=7):
    """``commit`` as in a heartbeat, sent when no entries are on their way that would carry it; wants no answer."""

    commit: Number


class Probe(InTerm, frozen=True, tag=8):
    """Do you hear a leader, and if not, is a log good enough that ends with ``last_term`` at ``last_index``?

    The pre-vote of the dissertation (9.6). It has nothing to do with a leader's ``Mode.PROBE``.
    Like all messages that follow, it names a term that is durable, and changes no term where it arrives.
    """

    round: Number
    last_index: Number
    last_term: Number


class ProbeAnswer(InTerm, frozen=True, tag=9):
    """The answer to the probe ``round``; the log of whoever answers ends with ``last_term`` at ``last_index``."""

    round: Number
    verdict: Verdict
    last_index: Number
    last_term: Number


class Resign(InTerm, frozen=True, tag=10):
    """The leader of ``term`` leads no longer; ``round`` is its last read round."""

    round: Number


class TimeoutNow(InTerm, frozen=True, tag=13):
    """The leader of ``term`` wants its receiver to lead, which has all that it has: campaign at once (dissertation,
    section 3.10)."""


class AskLease(InTerm, frozen=True, tag=14):
    """The leader of ``term`` asks its receiver to take part in no election for ``lease_us`` from now on (rule 9 of the
    contract); ``round`` is its time, in microseconds."""

    round: Number
    lease_us: Number


class LeaseGranted(InTerm, frozen=True, tag=15):
    round: Number


class LeaseReleased(InTerm, frozen=True, tag=16):
    """The leader of ``term``, who need not be the sender, counts on no grant of a round up to ``round``."""

    round: Number


class Pull(InTerm, frozen=True, tag=11):
    """What follows (``prev_index``, ``prev_term``) in your log? Asked after the answers to the probe ``round``."""

    round: Number
    prev_index: Number
    prev_term: Number


class PullAnswer(InTerm, frozen=True, tag=12):
    """``fits``: these entries follow, perhaps not all. Otherwise the logs can meet at the hint at the latest."""

    round: Number
    fits: bool
    prev_index: Number
    prev_term: Number
    hint_index: Number = 0
    hint_term: Number = 0
    entries: Sequence[bytes] = ()


Message: TypeAlias = (
    RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | Heartbeat
    | HeartbeatResponse
    | CommitAdvanced
    | Probe
    | ProbeAnswer
    | Resign
    | Pull
    | PullAnswer
    | TimeoutNow
    | AskLease
    | LeaseGranted
    | LeaseReleased
)
