"""What a member is in every role: its term, vote and log (figure 2, "state").

Rules of this file:

1. Term, vote and log change here and nowhere else, and each change asserts what it must keep.
2. A change of term, vote or log becomes part of the next write; the disk is believed only through ``Writes``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Durable, Entry, Era, StateRecord, TruncateRecord, Write
from ratified.consensus.raft.state import HardState, decode_state, encode_state
from ratified.consensus.replication.history import History
from ratified.consensus.replication.member import Member


class Core:
    """One member's state, whatever its role. A write of it claims a term."""

    __slots__ = (
        "_written",
        "configurations",
        "durable_term",
        "era",
        "log",
        "member",
        "options",
        "outbox",
        "term",
        "voted_for",
    )

    def __init__(self, member: Member[int], durable: Durable) -> None:
        state = decode_state(durable.state)
        self.member = member
        self.options = member.options
        self.outbox = member.outbox
        self.configurations = member.configurations
        self.term = self.durable_term = state.term
        self.era: Era = (state.term, 0)
        """The present term, as it stands in entries."""
        self.voted_for = state.voted_for
        self.log = History(durable, member.options.limits)
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
        """Vote, once a term."""
        self.voted_for = candidate

    def may_vote_for(self, candidate: int) -> bool:
        """Figure 2, RequestVote 2, first half: no other candidate has this term's vote."""
        return self.voted_for is None or self.voted_for == candidate

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Section 5.4.1: does a log that ends like this hold everything that may be committed?"""
        return ((last_term, 0), last_index) >= (self.log.last_era, self.log.last)

    # --------------------------------------------------------------------------------------------------------- log

    def append(self, entries: Sequence[Entry]) -> None:
        """Entries join the log, and the next write."""
        assert entries[-1].era[0] <= self.term, "an entry of a term that has not begun here"
        self.log.append(entries)
        self.outbox.records += entries

    def truncate(self, first: int) -> None:
        """The entries from ``first`` on conflict with the leader's (figure 2, AppendEntries 3)."""
        self.log.truncate(first)
        self.configurations.truncate(first)
        self.member.writes.clip(first - 1)
        self.outbox.records.append(TruncateRecord(first))

    def commit_to(self, index: int) -> None:
        """Everything up to ``index`` is committed, for ever."""
        self.log.commit_to(index)
        self.configurations.commit_to(index)

    # -------------------------------------------------------------------------------------------------------- disk

    @property
    def next_ticket(self) -> int:
        """The ticket of the write that holds what has changed since the last one."""
        return self.member.writes.issued + 1

    def take_write(self) -> Write | None:
        """Everything that has changed since the last write; None: nothing."""
        records = self.outbox.take_records()
        state = self._written
        if self.term != state.term or self.voted_for != state.voted_for:
            self._written = HardState(self.term, self.voted_for)
            records.insert(0, StateRecord(encode_state(self._written)))
        if not records:
            return None
        member = self.member
        return Write(member.writes.issue(self.log.last, self.term, member.now), records)

    def persisted(self, ticket: int) -> None:
        """The disk has got as far as ``ticket``."""
        for write in self.member.writes.persisted(ticket):
            self.log.persisted(write.last)
            self.durable_term = write.claim
        self.log.evict()
