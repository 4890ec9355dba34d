"""The open proposals of one group's clients on this node, and how each of them ends (rule 7).

A proposal is *waiting* (it has never left this node under its present id), *addressed* to the leader of an era
(proposed on the own engine, or forwarded), or over. It ends

- done, when the entry with its id was applied here;
- refused, only while it waits, or when its leader said that it will never take it: nothing of it happens;
- unknown, at its deadline or when the replica stops, once it is addressed: it may be delivered yet.

When the engine says that an addressed one is *lost* (it can never be delivered any more), it waits again, under a new
id: so no two ids of one request are ever both deliverable, and the client notices nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

from ratified.consensus.contract import Era, Proposal, ProposalId
from ratified.node.admission import Requests
from ratified.node.ports import Outcome, Request, Why


class Names:
    """Gives out this start's proposal ids."""

    def __init__(self, member: int, incarnation: int) -> None:
        self.member = member
        self.incarnation = incarnation
        self._sequence = 0

    def next(self) -> ProposalId:
        """An id that was never given out before."""
        self._sequence += 1
        return ProposalId(self.member, self.incarnation, self._sequence)


class OpenProposal:
    """One client's command on its way."""

    __slots__ = ("_owner", "data", "deadline", "ended", "era", "id", "index", "size_bytes", "token")

    def __init__(self, owner: Proposals, request: Request, name: ProposalId) -> None:
        self._owner = owner
        self.token = request.token
        self.deadline: int | None = request.deadline
        self.data = request.data
        self.size_bytes = len(request.data)
        self.id = name
        self.era: Era | None = None
        """To which leader it is addressed; None: it waits."""
        self.index: int | None = None
        """Where it was taken, if known."""
        self.ended = False

    def expire(self, now: int) -> None:
        """The deadline has come."""
        self._owner.give_up(self, Why.TIMED_OUT)

    def cancel(self) -> None:
        """Nobody waits for the result; what was addressed may happen all the same."""
        self._owner.forget(self)


Lost = Callable[[Era, int | None, tuple[int, Era]], bool]


class Proposals:
    """All open proposals of one replica's clients."""

    def __init__(self, names: Names, requests: Requests) -> None:
        self._names = names
        self._requests = requests
        self._open: dict[int, OpenProposal] = {}
        self._waiting: dict[int, OpenProposal] = {}
        self._taken: list[tuple[int, int]] = []
        self._swept_era: Era | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def waiting(self) -> bool:
        """Is there something to propose or to forward?"""
        return bool(self._waiting)

    def submit(self, request: Request) -> None:
        """A new one waits."""
        proposal = OpenProposal(self, request, self._names.next())
        self._wait(proposal)
        self._requests.open(proposal)

    def waiting_up_to(self, count_max: int, bytes_max: int) -> list[OpenProposal]:
        """The oldest that wait: at most so many, and about so many bytes, but at least one."""
        batch: list[OpenProposal] = []
        size = 0
        for proposal in self._waiting.values():
            size += proposal.size_bytes
            if len(batch) >= count_max or (batch and size > bytes_max):
                break
            batch.append(proposal)
        return batch

    def proposed(self, batch: list[OpenProposal], era: Era, first: int) -> None:
        """The own engine took them, in order, from index ``first`` on."""
        if len(batch) == len(self._waiting):
            self._waiting = {}
        else:
            for proposal in batch:
                del self._waiting[proposal.id.sequence]
        for index, proposal in enumerate(batch, first):
            proposal.era = era
            proposal.index = index
            heapq.heappush(self._taken, (index, proposal.id.sequence))

    def forwarded(self, proposal: OpenProposal, era: Era) -> None:
        """It is on its way to the leader of ``era``: from now on it may happen."""
        del self._waiting[proposal.id.sequence]
        proposal.era = era

    def located(self, proposal: OpenProposal, index: int) -> None:
        """Its leader took it at ``index``."""
        proposal.index = index
        heapq.heappush(self._taken, (index, proposal.id.sequence))

    def never_taken(self, proposal: OpenProposal, why: Why) -> None:
        """Its leader will never take it: refused for a reason the client must know, or else it waits again."""
        if why is Why.NONE:
            self._wait_under_new_id(proposal)
        else:
            self._end(proposal, Outcome.REFUSED, why)

    def applied(self, sequence: int, result: bytes) -> None:
        """The entry with this sequence of ours was applied."""
        proposal = self._open.pop(sequence, None)
        if proposal is not None:
            proposal.ended = True
            self._requests.end(proposal.token, Outcome.DONE, result)

    def find_lost(self, lost: Lost, delivered: tuple[int, Era]) -> bool:
        """After a delivery, results matched: whatever can never be delivered any more waits again.

        Only a delivery of another era, or one that has reached an index at which something was taken, can make a
        difference, so the common case looks at nothing. True: something waits again.
        """
        index, era = delivered
        suspects: list[OpenProposal] = []
        if era != self._swept_era:
            self._swept_era = era
            suspects = [proposal for proposal in self._open.values() if proposal.era is not None]
        while self._taken and self._taken[0][0] <= index:
            proposal = self._open.get(heapq.heappop(self._taken)[1])
            if proposal is not None:
                suspects.append(proposal)
        found = False
        for proposal in suspects:
            found |= self.check_lost(proposal, lost, delivered)
        return found

    def check_lost(self, proposal: OpenProposal, lost: Lost, delivered: tuple[int, Era]) -> bool:
        """If this one can never be delivered any more, it waits again."""
        if proposal.era is None or not lost(proposal.era, proposal.index, delivered):
            return False
        self._wait_under_new_id(proposal)
        return True

    def give_up(self, proposal: OpenProposal, why: Why) -> None:
        """End it without a result: refused if it never left this node, else unknown."""
        if proposal.era is None:
            self._end(proposal, Outcome.REFUSED, Why.NO_LEADER if why is Why.TIMED_OUT else why)
        else:
            self._end(proposal, Outcome.UNKNOWN, why)

    def give_up_all(self, why: Why) -> None:
        """The replica stops."""
        for proposal in list(self._open.values()):
            self.give_up(proposal, why)

    def refuse_waiting(self, why: Why) -> None:
        """Nothing can be proposed now."""
        for proposal in list(self._waiting.values()):
            self._end(proposal, Outcome.REFUSED, why)

    def forget(self, proposal: OpenProposal) -> None:
        """It is no longer open."""
        proposal.ended = True
        del self._open[proposal.id.sequence]
        self._waiting.pop(proposal.id.sequence, None)

    def _end(self, proposal: OpenProposal, outcome: Outcome, why: Why) -> None:
        self.forget(proposal)
        self._requests.end(proposal.token, outcome, b"", why)

    def _wait(self, proposal: OpenProposal) -> None:
        sequence = proposal.id.sequence
        self._open[sequence] = proposal
        self._waiting[sequence] = proposal

    def _wait_under_new_id(self, proposal: OpenProposal) -> None:
        del self._open[proposal.id.sequence]
        proposal.id = self._names.next()
        proposal.era = None
        proposal.index = None
        self._wait(proposal)


def as_proposals(batch: list[OpenProposal]) -> list[Proposal]:
    """What the engine is given."""
    return [Proposal(proposal.id, proposal.data) for proposal in batch]
