"""What Paxos members say to one another: the four messages of *Paxos Made Simple*, section 2.2, over ranges of slots
(section 3), and what multi-decree practice adds.

The sender's id travels with the session. Entries travel in their one encoding; an entry's era is the ballot in which
its sender accepted it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from ratified.consensus.contract import U64
from ratified.consensus.replication.incoming import Number
from ratified.consensus.replication.suspicion import Verdict

Ballot: TypeAlias = tuple[Number, U64]
"""(round, proposer), ordered; (0, 0) is below every ballot that was ever begun. Outside this package it is an era."""


class InBallot(msgspec.Struct, frozen=True, array_like=True, gc=False):
    ballot: Ballot


class Prepare(InBallot, frozen=True, tag=1):
    """Phase 1a for all slots from ``first`` on: promise ``ballot``, and say what you have accepted there."""

    first: Number


class Promise(InBallot, frozen=True, tag=2):
    """Phase 1b: nothing below ``ballot`` will be accepted, and ``entries`` are all that is accepted in the slots
    ``first`` to ``last`` behind ``chosen``; ``complete``: nor is there anything behind ``last``.

    Slots up to ``chosen`` are chosen and can be learned from the sender.
    """

    first: Number
    last: Number
    complete: bool
    chosen: Number
    entries: Sequence[bytes]


class Accept(InBallot, frozen=True, tag=3):
    """Phase 2a for one value a slot, in ascending slots without a gap; ``chosen`` as in ``Decided``."""

    chosen: Number
    entries: Sequence[bytes]


class Accepted(InBallot, frozen=True, tag=4):
    """Phase 2b: the proposals of ``ballot`` in the slots ``first`` to ``last`` are accepted, durably."""

    first: Number
    last: Number


class Nack(InBallot, frozen=True, tag=5):
    """A Prepare or an Accept came too late: ``ballot`` is promised (*Paxos Made Simple*, end of section 2.2)."""


class Decided(InBallot, frozen=True, tag=6):
    """All slots up to ``chosen`` are chosen, says the proposer of ``ballot``; wants no answer."""

    chosen: Number


class Heartbeat(InBallot, frozen=True, tag=7):
    """The proposer of ``ballot`` is alive and leads; ``chosen`` as in ``Decided``. ``rests``: it says nothing more
    until something happens, and whoever knows all that is chosen need not answer."""

    chosen: Number
    round: Number
    rests: bool = False


class HeartbeatAnswer(InBallot, frozen=True, tag=8):
    """``ballot`` is promised and nothing above it was when ``round`` arrived. Claims a durable ballot and nothing else,
    so it need not wait for the disk. Under a higher promise than the heartbeat's ``round`` is ``NO_ROUND``.

    ``chosen``: the sender's disk has all up to there, and knows it to be chosen."""

    round: Number
    chosen: Number = 0


class Learn(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """A learner missed decisions: which values were chosen from slot ``first`` on?"""

    first: Number


class Learned(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Chosen values, in ascending slots without a gap, perhaps none; the sender knows all up to ``chosen``."""

    chosen: Number
    entries: Sequence[bytes]


class Probe(InBallot, frozen=True, tag=11):
    """Do you hear a leader? ``ballot`` is the sender's durable promise; no probe changes a promise anywhere."""

    round: Number


class ProbeAnswer(InBallot, frozen=True, tag=12):
    """The answer to the probe ``round``; ``ballot`` is the durable promise of whoever answers. Values are learned, so
    nobody's log is behind."""

    round: Number
    verdict: Verdict


class Resign(InBallot, frozen=True, tag=13):
    """The proposer of ``ballot`` leads no longer; ``round`` is its last read round."""

    round: Number


class TimeoutNow(InBallot, frozen=True, tag=14):
    """The proposer of ``ballot`` wants its receiver, which has all that was chosen, to propose instead: begin a higher
    ballot at once. (Raft's name for it.)"""


class AskLease(InBallot, frozen=True, tag=15):
    """The proposer of ``ballot`` asks its receiver to take part in no other one's election for ``lease_us`` from now on
    (rule 9 of the contract); ``round`` is its time, in microseconds."""

    round: Number
    lease_us: Number


class LeaseGranted(InBallot, frozen=True, tag=16):
    round: Number


class LeaseReleased(InBallot, frozen=True, tag=17):
    """The proposer of ``ballot``, who need not be the sender, counts on no grant of a round up to ``round``."""

    round: Number


Message: TypeAlias = (
    Prepare
    | Promise
    | Accept
    | Accepted
    | Nack
    | Decided
    | Heartbeat
    | HeartbeatAnswer
    | Learn
    | Learned
    | Probe
    | ProbeAnswer
    | Resign
    | TimeoutNow
    | AskLease
    | LeaseGranted
    | LeaseReleased
)
