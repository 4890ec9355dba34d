"""What ZAB members say to one another: election votes, and the messages of the paper's three phases.

Votes pass between any two members. Everything else passes between a follower and its leader over a *link*, which the
follower opens by a CEPOCH and numbers; ``seq`` counts the messages of one direction and lane (``link.py``).

A history's end is told by epoch and index. Both order histories as zxids do, since index and counter differ by a
constant within an epoch, and the index is still known when the epoch's beginning was compacted away. Within the epoch
of a leader, messages carry zxids.

Numbers are bounded where frames are decoded, so that whatever arrives fits the fixed-width records.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, TypeAlias

import msgspec

from ratified.consensus.contract import U64
from ratified.consensus.zab.zxid import EPOCH_MAX

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Epoch: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=EPOCH_MAX)]
Zxid: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]  # msgpack itself ends at 2^64 - 1


class Ending(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a history ends, and in which epoch it was last synchronised."""

    current_epoch: Epoch
    last_epoch: Epoch
    last_index: Number

    def rank(self) -> tuple[int, int, int]:
        """Orders histories: of any quorum's, the greatest holds all that may be committed (paper, section IV)."""
        return self.current_epoch, self.last_epoch, self.last_index


class Fitness(IntEnum):
    """How much a member wants to lead."""

    SLOW = 0
    """Its disk has not answered for a whole election timeout: only if nobody else can."""
    READY = 1
    CAMPAIGNING = 2
    """It was asked to lead: the first among equals."""


class Candidacy(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whom a vote is for, and why."""

    fitness: Fitness
    ending: Ending
    member: U64

    def rank(self) -> tuple[object, ...]:
        """(current epoch, last zxid, id), after what a slow disk rules out; a campaign decides between equals."""
        return self.fitness is not Fitness.SLOW, self.ending.rank(), self.fitness, self.member


class Standing(IntEnum):
    """What a voter is doing."""

    LOOKING = 0
    FOLLOWING = 1
    LEADING = 2


class Vote(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """A member's vote in an election round, or who leads it already; ``epoch`` is the latest that it accepted."""

    round: Number
    standing: Standing
    epoch: Epoch
    candidacy: Candidacy


class CEpoch(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Follower to leader: opens a link; the last epoch that the follower has accepted (phase 1, step f.1.1)."""

    link: Number
    seq: Number
    accepted_epoch: Epoch


class NewEpoch(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Leader to follower: an epoch later than all that a quorum has accepted (l.1.1)."""

    link: Number
    seq: Number
    epoch: Epoch


class AckEpoch(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """``epoch`` is accepted (f.1.2); how the follower's history ends.

    ``accepted_now``: accepted by this answer; a follower that had accepted the very epoch before may have done so for
    another leader, and does not count. ``last_origin``: behind which index the last epoch begins, or the base where
    that is below it.
    """

    link: Number
    seq: Number
    epoch: Epoch
    accepted_now: bool
    ending: Ending
    last_origin: Number


class Mode(IntEnum):
    """How a follower's history becomes its leader's."""

    DIFF = 0
    """It is a prefix: entries are added."""
    TRUNC = 1
    """It goes on differently behind where the two meet: that is removed first."""


class NewLeader(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Leader to follower: the epoch is established; its initial history ends at ``origin`` (l.2.1).

    The histories meet at ``meet_index``; what the follower lacks up to ``origin`` comes in HISTORY messages.
    """

    link: Number
    seq: Number
    epoch: Epoch
    mode: Mode
    meet_epoch: Epoch
    meet_index: Number
    origin: Number


class History(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Entries of the initial history, in their one encoding."""

    link: Number
    seq: Number
    entries: Sequence[bytes]


class AckHistory(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The history is durable up to ``index``; with it the leader knows how much is under way."""

    link: Number
    seq: Number
    index: Number


class AckNewLeader(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """The whole initial history is durable, and with it the current epoch (f.2.1)."""

    link: Number
    seq: Number
    epoch: Epoch


class UpToDate(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """A quorum is synchronised: the initial history is committed, and what came since up to ``zxid`` (l.2.2)."""

    link: Number
    seq: Number
    zxid: Zxid


class Propose(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Entries of the leader's epoch, the first of which is ``zxid``, in their one encoding (l.3.1)."""

    link: Number
    seq: Number
    zxid: Zxid
    entries: Sequence[bytes]


class Ack(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """Everything proposed up to ``zxid`` is durable (f.3.2)."""

    link: Number
    seq: Number
    zxid: Zxid


class Commit(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """Everything proposed up to ``zxid`` is committed (l.3.2)."""

    link: Number
    seq: Number
    zxid: Zxid


class Ping(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """The leader is alive; ``round`` numbers its latest read round."""

    link: Number
    seq: Number
    round: Number


class Pong(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """The follower has accepted no epoch later than ``epoch``, durably accepted; waits for no disk.

    ``answers``: that many of its messages that waited for the disk have left before, so that a lost one is missed even
    when no later one follows.
    """

    link: Number
    seq: Number
    epoch: Epoch
    round: Number
    answers: Number


FromLeader: TypeAlias = NewEpoch | NewLeader | History | UpToDate | Propose | Commit | Ping
FromFollower: TypeAlias = CEpoch | AckEpoch | AckHistory | AckNewLeader | Ack | Pong
Message: TypeAlias = (
    Vote
    | CEpoch
    | NewEpoch
    | AckEpoch
    | NewLeader
    | History
    | AckHistory
    | AckNewLeader
    | UpToDate
    | Propose
    | Ack
    | Commit
    | Ping
    | Pong
)
