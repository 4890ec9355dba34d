"""What Raft's messages claim of their sender's disk, and that it is so when they leave (rule 3 of the contract).

Figure 2 of the paper: "persistent state: updated on stable storage before responding to RPCs". A candidate's request is
such a claim too: one that crashed and ran again in the same term could collect votes for a log that it no longer has.
"""

from __future__ import annotations

from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.image import LogImage
from ratified.check.oracle import Oracle
from ratified.check.violation import Violation
from ratified.consensus.raft import decode_state
from ratified.consensus.raft.messages import (
    AppendEntriesResponse,
    RequestVote,
    RequestVoteResponse,
)


class RaftChecks(Oracle):
    def __init__(self, group: GroupChecks[LogImage]) -> None:
        self._group = group
        self._votes: dict[tuple[int, int], int] = {}

    def leaves(self, sender: int, target: int, message: Any) -> None:
        disk = self._group.members[sender].disk
        durable = decode_state(disk.state)
        if message.term > durable.term:
            raise self._early(sender, message, f"its disk has term {durable.term}")
        match message:
            case RequestVote(term, last_index, last_term):
                self._one_vote(term, sender, sender)
                if durable.term == term and durable.voted_for != sender:
                    raise self._early(sender, message, f"its disk has a vote for {durable.voted_for}")
                if last_index > disk.base and (last_index, (last_term, 0)) not in disk.held:
                    raise self._early(sender, message, "its disk never held the log that it asks for")
            case RequestVoteResponse(term, granted=True):
                self._one_vote(term, sender, target)
                if durable.term == term and durable.voted_for != target:
                    raise self._early(sender, message, f"its disk has a vote for {durable.voted_for}")
            case RequestVoteResponse(granted=False):
                self._group.counters["votes refused"] += 1
            case AppendEntriesResponse(term, success=True, index=index):
                if durable.term == term and disk.last < index:
                    raise self._early(sender, message, f"its disk has entries up to {disk.last}")

    def _one_vote(self, term: int, voter: int, candidate: int) -> None:
        """Figure 2: a member votes for at most one candidate in a term, restarts or not."""
        known = self._votes.setdefault((term, voter), candidate)
        if known != candidate:
            raise Violation("one vote per term", f"member {voter} votes for {known} and for {candidate} in term {term}")

    def _early(self, sender: int, message: Any, why: str) -> Violation:
        return Violation("nothing early", f"member {sender} sends {message}, and {why}")
