"""What a member is in every role: its term, vote and log (figure 2, "state").

Rules of this file:

1. Term and vote change here and nowhere else, the log in its ``Journal``; each change asserts what it must keep.
2. A change of term, vote or log becomes part of the next write.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Durable, Entry, Era, StateRecord, Write
from ratified.consensus.raft.extensions import RaftExtensions
from ratified.consensus.raft.state import HardState, decode_state, encode_state
from ratified.consensus.replication.journal import Journal
from ratified.consensus.replication.member import Member


class Core:
    """One member's state, whatever its role. A write of it claims a term."""

    __slots__ = (
        "_written",
        "configurations",
        "era",
        "extensions",
        "journal",
        "log",
        "member",
        "options",
        "outbox",
        "term",
        "voted_for",
    )

    def __init__(self, member: Member[int], durable: Durable, extensions: RaftExtensions) -> None:
        state = decode_state(durable.state)
        self.member = member
        self.options = member.options
        self.extensions = extensions
        self.outbox = member.outbox
        self.configurations = member.configurations
        self.term = state.term
        self.era: Era = (state.term, 0)
        """The present term, as it stands in entries."""
        self.voted_for = state.voted_for
        self.journal = Journal(member, durable, state.term)
        self.log = self.journal.history
        assert self.log.last_era <= self.era, "the log holds an entry of a later term than the state"
        self._written = state

    # ----------------------------------------------------------------------------------------------- term and vote

    def adopt_term(self, term: int) -> None:
        """A later term was seen, or is begun (section 5.1); no vote was given in it."""
        assert term > self.term, f"term {term} is not later than {self.term}"
        self.term = term
        self.era = (term, 0)
        self.voted_for = None

    def vote(self, candidate: int) -> None:
        assert self.may_vote_for(candidate), f"a second vote in term {self.term}: {self.voted_for}, {candidate}"
        self.voted_for = candidate

    def may_vote_for(self, candidate: int) -> bool:
        """Figure 2, RequestVote 2, first half: no other candidate has this term's vote."""
        return self.voted_for is None or self.voted_for == candidate

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Section 5.4.1: does a log that ends like this hold everything that may be committed?"""
        return ((last_term, 0), last_index) >= (self.log.last_era, self.log.last)

    # ------------------------------------------------------------------------------------------------- log and disk

    def append(self, entries: Sequence[Entry]) -> None:
        assert entries[-1].era[0] <= self.term, "an entry of a term that has not begun here"
        self.journal.append(entries)

    @property
    def durable_term(self) -> int:
        return self.journal.claimed

    @property
    def next_ticket(self) -> int:
        """The ticket of the write that holds what has changed since the last one."""
        return self.member.writes.issued + 1

    def take_write(self) -> Write | None:
        records = self.outbox.take_records()
        state = self._written
        if self.term != state.term or self.voted_for != state.voted_for:
            self._written = HardState(self.term, self.voted_for)
            records.insert(0, StateRecord(encode_state(self._written)))
        return self.journal.write(records, self.term)
