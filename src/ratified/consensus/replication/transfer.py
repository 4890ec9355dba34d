"""A leader hands the lead to a member that it names (Ongaro's dissertation, section 3.10), on every engine.

Rules of this file:

1. While a transfer is under way the leader takes no proposals, so that the target catches up. All else goes on: it is
   the leader, and serves reads, until it hears of a later era.
2. When the target has all that this leader has, durably, it is told to campaign, once. It asks nobody whether it would
   be elected, for all others hear their leader.
3. A transfer ends with the leadership, with the session with the target, with its vote, and after the longest election
   timeout; then proposals are taken again. The target may be elected later all the same: an election may begin at any
   time.
"""

from __future__ import annotations

from ratified.consensus.contract import Era, RefusedReason
from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.member import Member


class Transfer:
    """The lead of ``era`` goes to the member ``to``."""

    __slots__ = ("deadline", "era", "is_told", "to")

    def __init__(self, era: Era, to: int, deadline: int) -> None:
        self.era = era
        self.to = to
        self.deadline = deadline
        self.is_told = False


def why_not(member: Member[object], liveness: Liveness, to: int) -> RefusedReason | None:
    """What is in the way of a transfer to ``to``; None: nothing."""
    configurations = member.configurations
    if to == member.id:
        return RefusedReason.LEADS_ALREADY
    if to in configurations.latest.learners:
        return RefusedReason.LEARNER
    if not configurations.is_voter(to):
        return RefusedReason.UNKNOWN_MEMBER
    if not liveness.hears(to):
        return RefusedReason.UNREACHABLE
    return None
