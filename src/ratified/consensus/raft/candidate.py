"""Standing for election (figure 2, "Candidates"; section 5.2).

Rules of this file:

1. A RequestVote waits for its write: a candidate that lost term and vote in a crash could run again for the same
   term with a shorter log and collect the votes that were given to the longer one.
2. The own vote counts when it is durable, never before.
"""

from __future__ import annotations

from ratified.consensus.raft.core import Core
from ratified.consensus.raft.messages import RequestVote


class Candidate:
    __slots__ = ("_core", "_granted", "_own_vote")

    leader: int | None = None

    def __init__(self, core: Core, term: int) -> None:
        """Begin ``term``, vote for oneself, and ask for votes."""
        core.adopt_term(term)
        core.vote(core.member.id)
        self._core = core
        self._granted: dict[int, None] = {}
        self._own_vote = core.next_ticket
        request = RequestVote(core.term, core.log.last, core.log.last_era[0])
        for peer in core.configurations.peers:
            core.outbox.send_after(peer, request)

    @property
    def waits_for_disk(self) -> bool:
        """Is the own vote not durable yet, and with it no RequestVote sent?"""
        return self._core.member.id not in self._granted

    def on_persisted(self, ticket: int) -> None:
        if ticket >= self._own_vote:
            self._granted[self._core.member.id] = None

    def on_granted(self, voter: int) -> None:
        self._granted[voter] = None

    @property
    def has_won(self) -> bool:
        return self._core.configurations.is_quorum(self._granted)
