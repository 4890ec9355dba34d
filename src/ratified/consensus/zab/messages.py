"""What ZAB members say to one another: election votes, and the messages of the paper's three phases.

Votes, probes, pulls and what concerns leases pass between any two members. Everything else passes between a follower
and its leader over a *link*, which the follower opens by a CEPOCH and numbers; ``seq`` counts the messages of one
direction and lane (``link.py``).

A history's end is told by epoch and index. Both order histories as zxids do, since index and counter differ by a
constant within an epoch, and the index is still known when the epoch's beginning was compacted away. Within the epoch
of a leader, messages carry zxids.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated, ClassVar, TypeAlias

import msgspec

from ratified.consensus.contract import U64
from ratified.consensus.replication.incoming import Number
from ratified.consensus.replication.suspicion import Verdict
from ratified.consensus.zab.zxid import EPOCH_MAX

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

    def precedence(self) -> tuple[Fitness, int]:
        """Of two that stand, each by a quorum of grants, the greater one goes on."""
        return self.fitness, self.member


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


class OnLink(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What passes over a link begins with its number and the message's own, in its direction and lane."""

    link: Number
    seq: Number


class InEpoch(OnLink, frozen=True):
    """Names the epoch that it is about."""

    epoch: Epoch


class UpTo(OnLink, frozen=True):
    """Names a proposal of the leader's epoch; what it says holds for all earlier ones too."""

    zxid: Zxid


class CEpoch(OnLink, frozen=True, tag=2):
    """Follower to leader: opens a link; the last epoch that the follower has accepted (phase 1, step f.1.1)."""

    accepted_epoch: Epoch


class NewEpoch(InEpoch, frozen=True, tag=3):
    """Leader to follower: an epoch later than all that a quorum has accepted (l.1.1)."""


class AckEpoch(InEpoch, frozen=True, tag=4):
    """``epoch`` is accepted (f.1.2); how the follower's history ends.

    ``accepted_now``: accepted by this answer; a follower that had accepted the very epoch before may have done so for
    another leader, and does not count. ``last_origin``: behind which index the last epoch begins, or the base where
    that is below it.
    """

    accepted_now: bool
    ending: Ending
    last_origin: Number


class Mode(IntEnum):
    """How a follower's history becomes its leader's."""

    DIFF = 0
    """It is a prefix: entries are added."""
    TRUNC = 1
    """It goes on differently behind where the two meet: that is removed first."""


class NewLeader(InEpoch, frozen=True, tag=5):
    """Leader to follower: the epoch is established; its initial history ends at ``origin`` (l.2.1).

    The histories meet at ``meet_index``; what the follower lacks up to ``origin`` comes in HISTORY messages.
    """

    IN_ORDER: ClassVar[bool] = True

    mode: Mode
    meet_epoch: Epoch
    meet_index: Number
    origin: Number


class History(OnLink, frozen=True, tag=6):
    """Entries of the initial history, in their one encoding."""

    entries: Sequence[bytes]


class AckHistory(OnLink, frozen=True, tag=7):
    """The history is durable up to ``index``; with it the leader knows how much is under way."""

    index: Number


class AckNewLeader(InEpoch, frozen=True, tag=8):
    """The whole initial history is durable, and with it the current epoch (f.2.1)."""


class UpToDate(UpTo, frozen=True, tag=9):
    """A quorum is synchronised: the initial history is committed, and what came since up to ``zxid`` (l.2.2)."""

    IN_ORDER: ClassVar[bool] = True


class Propose(OnLink, frozen=True, tag=10):
    """Entries of the leader's epoch, the first of which is ``zxid``, in their one encoding (l.3.1)."""

    zxid: Zxid
    entries: Sequence[bytes]


class Ack(UpTo, frozen=True, tag=11):
    """Everything proposed up to ``zxid`` is durable (f.3.2)."""


class Commit(UpTo, frozen=True, tag=12):
    """Everything proposed up to ``zxid`` is committed (l.3.2)."""

    IN_ORDER: ClassVar[bool] = True


class Ping(OnLink, frozen=True, tag=13):
    """The leader is alive; ``round`` numbers its latest read round.

    It may overtake what carries entries. ``before``: that many messages of the other lane have certainly left before,
    so that a lost one is missed even when no later one follows. ``rests``: it says nothing more until something
    happens, and whoever has everything need not answer.
    """

    round: Number
    before: Number = 0
    rests: bool = False


class Pong(InEpoch, frozen=True, tag=14):
    """The follower has accepted no epoch later than ``epoch``, durably accepted; waits for no disk.

    ``answers``: that many of its messages that waited for the disk have left before, so that a lost one is missed even
    when no later one follows.
    """

    round: Number
    answers: Number


class Resign(InEpoch, frozen=True, tag=15):
    """Leader to follower: this link is led no longer, nor will be; ``epoch`` is 0 before one was chosen.

    ``round``: the leader's last read round.
    """

    round: Number


class TimeoutNow(InEpoch, frozen=True, tag=21):
    """Leader to follower: it is to lead next, and has all that this leader has: stand at once. (Raft's name for it.)"""

    IN_ORDER: ClassVar[bool] = True


class LinkBroken(OnLink, frozen=True, tag=20):
    """Leader to follower: what came over this link was not what had to come. The leader leads on: open another one."""


class Probe(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """Do you lead, or hear a leader, and if not, is a history good enough that ends like this?

    ``ending`` is what the sender's disk has.
    """

    round: Number
    ending: Ending


class ProbeAnswer(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """The answer to the probe ``round``, and how the history of whoever answers ends."""

    round: Number
    verdict: Verdict
    ending: Ending


class Pull(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """What follows (``prev_index``, ``prev_epoch``) in your history? Asked after the answers to the probe ``round``."""

    round: Number
    prev_index: Number
    prev_epoch: Epoch


class PullAnswer(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """``fits``: these entries follow, perhaps not all. Otherwise the histories can meet at the hint at the latest.

    ``current_epoch`` is that of the whole history, and ``origin`` where that epoch's initial history ends.
    """

    round: Number
    fits: bool
    prev_index: Number
    prev_epoch: Epoch
    current_epoch: Epoch
    origin: Number
    hint_index: Number = 0
    hint_epoch: Epoch = 0
    entries: Sequence[bytes] = ()


class AskLease(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """The leader of ``epoch`` asks its receiver to accept nobody else's epoch for ``lease_us`` from now on (rule 9 of
    the contract); ``round`` is its time, in microseconds."""

    epoch: Epoch
    round: Number
    lease_us: Number


class LeaseGranted(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    epoch: Epoch
    round: Number


class LeaseReleased(msgspec.Struct, frozen=True, array_like=True, tag=24, gc=False):
    """The leader of ``epoch``, who need not be the sender, counts on no grant of a round up to ``round``."""

    epoch: Epoch
    round: Number


FromLeader: TypeAlias = (
    NewEpoch | NewLeader | History | UpToDate | Propose | Commit | Ping | Resign | LinkBroken | TimeoutNow
)
FromFollower: TypeAlias = CEpoch | AckEpoch | AckHistory | AckNewLeader | Ack | Pong
BetweenAny: TypeAlias = Vote | Probe | ProbeAnswer | Pull | PullAnswer | AskLease | LeaseGranted | LeaseReleased
Message: TypeAlias = BetweenAny | FromLeader | FromFollower
