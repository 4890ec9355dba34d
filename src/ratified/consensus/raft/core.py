"""What a member is in every role: its term, vote and log, and what waits to leave it (figure 2, "state").

Rules of this file:

1. Term, vote, log and commit index change here and nowhere else, and each change asserts what it must keep.
2. What claims something about this member's own durable state leaves by ``send_after``; everything else by ``send``.
3. A change of term, vote or log becomes part of the next write; the disk is believed only through ``Durability``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import (
    Durable,
    Entry,
    Fetch,
    Options,
    ReadIndex,
    Record,
    Send,
    StateRecord,
    TruncateRecord,
    Write,
)
from ratified.consensus.raft.durability import Durability
from ratified.consensus.raft.log import Log
from ratified.consensus.raft.messages import Message
from ratified.consensus.raft.state import HardState, decode_state, encode_state


class Core:
    """One member's state, whatever its role, and its outbox."""

    __slots__ = (
        "_fetches_issued",
        "_records",
        "_written",
        "commit",
        "durability",
        "fetches",
        "ignored",
        "log",
        "member",
        "membership",
        "now",
        "options",
        "outgoing",
        "outgoing_after",
        "reads",
        "term",
        "voted_for",
    )

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        assert not durable.memberships, "the log holds a membership entry, which this version cannot follow"
        assert durable.applied >= durable.base.index, "the store is older than the log's base"
        state = decode_state(durable.state)
        self.now = now
        self.options = options
        self.member = options.member
        self.membership = durable.base.membership
        self.term = state.term
        self.voted_for = state.voted_for
        self.log = Log(durable)
        assert self.log.last_term <= state.term, "the log holds an entry of a later term than the state"
        assert durable.applied <= self.log.last, "the store is ahead of its log"
        self.commit = durable.applied
        self.durability = Durability(self.log.last, state.term)
        self.outgoing: list[Send] = []
        self.outgoing_after: list[Send] = []
        self.reads: list[ReadIndex] = []
        self.fetches: list[Fetch] = []
        self.ignored: dict[str, int] = {}
        """Messages that were dropped because no correct peer sends them, counted by reason."""
        self._records: list[Record] = []
        self._written = state
        self._fetches_issued = 0

    def at(self, now: int) -> None:
        """An input arrives at ``now`` (rule 1: time never decreases)."""
        assert now >= self.now, f"time went from {self.now} back to {now}"
        self.now = now

    # ----------------------------------------------------------------------------------------------- term and vote

    def adopt_term(self, term: int) -> None:
        """A later term was seen, or is begun (section 5.1); no vote was given in it."""
        assert term > self.term, f"term {term} is not later than {self.term}"
        self.term = term
        self.voted_for = None

    def vote(self, candidate: int) -> None:
        """Vote, once a term."""
        self.voted_for = candidate

    def may_vote_for(self, candidate: int) -> bool:
        """Figure 2, RequestVote 2, first half: no other candidate has this term's vote."""
        return self.voted_for is None or self.voted_for == candidate

    def is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """Section 5.4.1: does a log that ends like this hold everything that may be committed?"""
        return (last_term, last_index) >= (self.log.last_term, self.log.last)

    @property
    def is_voter(self) -> bool:
        """May this member vote and campaign?"""
        return self.member in self.membership.voters or self.member in self.membership.outgoing

    @property
    def peers(self) -> tuple[int, ...]:
        """All other members, ascending."""
        membership = self.membership
        others = {*membership.voters, *membership.outgoing, *membership.learners} - {self.member}
        return tuple(sorted(others))

    # --------------------------------------------------------------------------------------------------------- log

    def append(self, entries: Sequence[Entry]) -> None:
        """Entries join the log, and the next write."""
        assert entries[-1].era[0] <= self.term, "an entry of a term that has not begun here"
        self.log.append(entries)
        self._records.extend(entries)

    def truncate(self, first: int) -> None:
        """The entries from ``first`` on conflict with the leader's (figure 2, AppendEntries 3)."""
        assert first > self.commit, f"entry {first} is committed and must never be removed"
        self.log.truncate(first)
        self.durability.truncated(first)
        self._records.append(TruncateRecord(first))

    def commit_to(self, index: int) -> None:
        """Everything up to ``index`` is committed, for ever."""
        assert self.commit < index <= self.log.last, f"commit {self.commit} -> {index}, log ends at {self.log.last}"
        self.commit = index

    @property
    def undurable_bytes(self) -> int:
        """Encoded bytes of entries that the disk does not have yet."""
        return self.log.bytes_between(self.durability.index + 1, self.log.last)

    # ------------------------------------------------------------------------------------------------------ outbox

    def send(self, to: int, message: Message) -> None:
        """Leaves at once."""
        self.outgoing.append(Send(to, message))

    def send_after(self, to: int, message: Message) -> None:
        """Leaves when everything that was changed so far is durable (rule 3)."""
        self.outgoing_after.append(Send(to, message))

    def fetch(self, first: int, last: int) -> int:
        """Ask for entries that are no longer in memory; they come back under the token returned."""
        self._fetches_issued += 1
        self.fetches.append(Fetch(self._fetches_issued, first, last))
        return self._fetches_issued

    def ignore(self, reason: str) -> None:
        """A message that no correct peer sends is dropped and counted."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1

    @property
    def next_ticket(self) -> int:
        """The ticket of the write that holds what has changed since the last one."""
        return self.durability.issued + 1

    def take_write(self) -> Write | None:
        """Everything that has changed since the last write; None: nothing."""
        state = self._written
        if self.term != state.term or self.voted_for != state.voted_for:
            self._written = HardState(self.term, self.voted_for)
            self._records.insert(0, StateRecord(encode_state(self._written)))
        if not self._records:
            return None
        records, self._records = self._records, []
        return Write(self.durability.issue(self.log.last, self.term, self.now), records)
