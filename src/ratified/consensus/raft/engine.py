"""Raft: the change of roles, and what each message does (figure 2, "rules for servers").

Rules of this file:

1. Exactly one role object is alive: ``Follower``, ``Candidate`` or ``Leader``. Roles change here and nowhere else.
2. Adopting a term, following a leader and restarting the election timer are three things. What a later term in a
   message does is said for each type of message in one place, ``_on_later_term``, before the message is looked at.
3. The election timer restarts when a vote is given, when the term's leader is heard, when this member stands or stops
   leading, and when a later term is adopted.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

from ratified.consensus.contract import Durable, Entry, Era, Write
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.election import Candidate
from ratified.consensus.raft.follower import Follower
from ratified.consensus.raft.leader import ForPeer, Leader
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CommitAdvanced,
    Heartbeat,
    HeartbeatResponse,
    Message,
    RequestVote,
    RequestVoteResponse,
)
from ratified.consensus.replication import engine
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.reads import NO_ROUND


class Raft:
    """Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version), figure 2."""

    __slots__ = ("core", "election_deadline", "role")

    def __init__(self, member: Member[int], durable: Durable) -> None:
        self.core = Core(member, durable)
        self.role: Follower | Candidate | Leader = Follower(self.core, None)
        self.election_deadline: int | None
        self._restart_election_timer()

    @property
    def leading(self) -> Leader | None:
        return self.role if isinstance(self.role, Leader) else None

    # ------------------------------------------------------------------------------------------------------- timers

    def on_election_deadline(self) -> None:
        if isinstance(self.role, Candidate) and self.role.waits_for_disk:
            self._restart_election_timer()  # the requests have not left yet: another term would only queue behind them
        else:
            self.campaign()

    def _restart_election_timer(self) -> None:
        core = self.core
        may_campaign = core.configurations.may_campaign
        self.election_deadline = core.member.election_deadline(core.era) if may_campaign else None

    # -------------------------------------------------------------------------------------------------------- roles

    def _adopt_term(self, term: int) -> None:
        """Whoever leads or stood in an earlier term is a follower in this one, of nobody yet (section 5.1)."""
        self.core.adopt_term(term)
        self._become_follower(None)

    def step_down(self) -> None:
        self._become_follower(None)
        self._restart_election_timer()

    def _become_follower(self, leader: int | None) -> None:
        if isinstance(self.role, Leader):
            self.role.reads.fail()
        self.role = Follower(self.core, leader)

    def _follow(self, sender: int) -> Follower | None:
        """``sender`` leads this term; this member as its follower, or None where another one leads it already."""
        if self.role.leader is None:
            self._become_follower(sender)
        if isinstance(self.role, Follower) and self.role.leader == sender:
            return self.role
        self.core.outbox.ignore("a second leader in one term")
        return None

    def campaign(self) -> None:
        self.role = Candidate(self.core)
        self._restart_election_timer()

    def _count_votes(self, candidate: Candidate) -> None:
        if candidate.has_won:
            self.role = Leader(self.core)

    # ----------------------------------------------------------------------------------------------------- messages

    def on_message(self, sender: int, message: Message) -> None:
        core = self.core
        if message.term > core.term:
            self._on_later_term(message)
        match message:
            case AppendEntriesResponse():
                if isinstance(self.role, Leader) and message.term == core.term:
                    self.role.on_append_entries_response(sender, message)
            case AppendEntries():
                self._on_append_entries(sender, message)
            case HeartbeatResponse():
                if isinstance(self.role, Leader) and message.term == core.term:
                    self.role.on_heartbeat_response(sender, message.round)
            case Heartbeat():
                self._on_heartbeat(sender, message)
            case CommitAdvanced():
                if message.term == core.term and (follower := self._hear_leader(sender)):
                    follower.learn_commit(message.commit)
            case RequestVote():
                self._on_request_vote(sender, message)
            case RequestVoteResponse():
                if isinstance(self.role, Candidate) and message.term == core.term and message.granted:
                    self.role.on_granted(sender)
                    self._count_votes(self.role)

    def _on_later_term(self, message: Message) -> None:
        """What a later term does, by the type of message that carries it (figure 2, "all servers": it is adopted)."""
        match message:
            case AppendEntries() | Heartbeat() | CommitAdvanced():  # a leader's: the timer restarts as it is heard
                self._adopt_term(message.term)
            case RequestVote() | RequestVoteResponse() | AppendEntriesResponse() | HeartbeatResponse():
                self._adopt_term(message.term)
                self._restart_election_timer()

    def _on_request_vote(self, sender: int, message: RequestVote) -> None:
        """Figure 2, "RequestVote RPC, receiver implementation"."""
        core = self.core
        granted = (
            message.term == core.term
            and core.may_vote_for(sender)
            and core.is_up_to_date(message.last_index, message.last_term)
        )
        if granted:
            core.vote(sender)
            self._restart_election_timer()
        core.outbox.send_after(sender, RequestVoteResponse(core.term, granted))

    def _on_append_entries(self, sender: int, message: AppendEntries) -> None:
        core = self.core
        if message.term < core.term:
            core.outbox.send_after(sender, AppendEntriesResponse(core.term, False, message.prev_index, NO_ROUND))
        elif (follower := self._hear_leader(sender)) and (answer := follower.on_append_entries(message)):
            core.outbox.send_after(sender, answer)

    def _on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        core = self.core
        round_ = NO_ROUND
        if message.term == core.term:
            follower = self._hear_leader(sender)
            if follower is None:
                return
            follower.learn_commit(message.commit)
            round_ = message.round
        answer = HeartbeatResponse(core.term, round_)
        if core.durable_term >= core.term:
            core.outbox.send(sender, answer)
        else:
            core.outbox.send_after(sender, answer)

    def _hear_leader(self, sender: int) -> Follower | None:
        """A message of this term's leader arrived; this member as its follower, None where ``sender`` cannot be it."""
        follower = self._follow(sender)
        if follower is not None:
            self._restart_election_timer()
        return follower

    def on_session(self, member: int, session: int | None) -> None:
        if isinstance(self.role, Leader):
            self.role.on_session_change(member)

    # -------------------------------------------------------------------------------------------------- log and disk

    def on_persisted(self, ticket: int) -> None:
        self.core.journal.persisted(ticket)
        if isinstance(self.role, Candidate):
            self.role.on_persisted(ticket)
            self._count_votes(self.role)
        if isinstance(self.role, Leader):
            self.role.advance_commit()

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None:
        if isinstance(self.role, Leader) and isinstance(purpose, ForPeer):
            self.role.on_fetched(purpose, entries)

    def take_write(self) -> Write | None:
        return self.core.take_write()

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Terms never decrease along a log: behind a delivered entry of a later term no entry of ``era`` can come."""
        return delivered[1] > era

    def words(self) -> dict[str, str]:
        return {"term": str(self.core.term)}


Engine = partial(engine.Engine, Raft)
"""One member's part in one Raft group: ``Engine(now, options, durable)``."""
