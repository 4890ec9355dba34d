"""The Raft engine: the contract's inputs, the change of roles, and what leaves in a turn.

Rules of this file:

1. Exactly one role object is alive: ``Follower``, ``Candidate`` or ``Leader``. Roles change here and nowhere else.
2. A later term in any message makes a follower of that term first (section 5.1); only then is the message looked at.
3. The election timer restarts when a vote is given, when the term's leader is heard, and when a later term begins.
4. ``ready`` decides nothing that an input did not decide; it collects, and it hands out the ticket of the write.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import (
    Durable,
    Entry,
    Era,
    Lead,
    Membership,
    Options,
    Proposal,
    ReadIndex,
    Ready,
    Refused,
    RefusedReason,
    Status,
    Taken,
)
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.delivery import Delivery
from ratified.consensus.raft.election import Candidate
from ratified.consensus.raft.follower import Follower
from ratified.consensus.raft.leader import Leader
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
from ratified.consensus.reads import NO_ROUND


class Engine:
    """One member's part in one Raft group (Ongaro and Ousterhout, "In Search of an Understandable Consensus
    Algorithm", extended version, figure 2)."""

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        self._core = Core(now, options, durable)
        self._delivery = Delivery(durable.applied, options.limits.deliver_bytes_max)
        self._role: Follower | Candidate | Leader = Follower(self._core, None)
        self._reported_lead: Lead | None = None
        self._reported_membership: Membership | None = None
        self._election_deadline: int | None = None
        self._restart_election_timer()

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def deadline(self) -> int | None:
        """When to ``tick`` next; None: there is no timer at all."""
        return self._role.deadline if isinstance(self._role, Leader) else self._election_deadline

    @property
    def leading(self) -> Era | None:
        """The era in which this engine leads at this moment; None: it does not lead."""
        return (self._core.term, 0) if isinstance(self._role, Leader) else None

    def tick(self, now: int) -> None:
        """The last reported deadline has passed; an early tick does nothing."""
        self._core.at(now)
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if not isinstance(self._role, Leader):
            self._on_election_timeout()
        elif self._role.disk_is_slow(now) or self._role.quorum_is_silent(now):
            self._become_follower(self._core.term, None)
        else:
            self._role.tick(now)

    def campaign(self, now: int) -> None:
        """Try to lead, now."""
        self._core.at(now)
        if self._core.is_voter and not isinstance(self._role, Leader):
            self._become_candidate()

    def _on_election_timeout(self) -> None:
        if isinstance(self._role, Candidate) and self._role.waits_for_disk:
            self._restart_election_timer()  # the requests have not left yet: another term would only queue behind them
        else:
            self._become_candidate()

    def _restart_election_timer(self) -> None:
        core = self._core
        self._election_deadline = core.options.election_deadline(core.now, (core.term, 0)) if core.is_voter else None

    # -------------------------------------------------------------------------------------------------------- roles

    def _become_follower(self, term: int, leader: int | None) -> None:
        if isinstance(self._role, Leader):
            self._role.stop()
        if term > self._core.term:
            self._core.adopt_term(term)
        self._role = Follower(self._core, leader)
        self._restart_election_timer()

    def _become_candidate(self) -> None:
        self._role = Candidate(self._core)
        self._restart_election_timer()

    def _become_leader(self) -> None:
        self._role = Leader(self._core)

    def _count_votes(self, candidate: Candidate) -> None:
        if candidate.has_won:
            self._become_leader()

    # ----------------------------------------------------------------------------------------------------- messages

    def step(self, now: int, sender: int, message: Message) -> None:
        """A message from ``sender``'s current session."""
        self._core.at(now)
        if message.term > self._core.term:
            self._become_follower(message.term, None)
        match message:
            case AppendEntriesResponse():
                if isinstance(self._role, Leader) and message.term == self._core.term:
                    self._role.on_append_entries_response(sender, message)
            case AppendEntries():
                self._on_append_entries(sender, message)
            case HeartbeatResponse():
                if isinstance(self._role, Leader) and message.term == self._core.term:
                    self._role.on_heartbeat_response(sender, message.round)
            case Heartbeat():
                self._on_heartbeat(sender, message)
            case CommitAdvanced():
                if message.term == self._core.term and (follower := self._follow(sender)):
                    follower.learn_commit(message.commit)
            case RequestVote():
                self._on_request_vote(sender, message)
            case RequestVoteResponse():
                if isinstance(self._role, Candidate) and message.term == self._core.term and message.granted:
                    self._role.on_granted(sender)
                    self._count_votes(self._role)

    def _on_request_vote(self, sender: int, message: RequestVote) -> None:
        """Figure 2, "RequestVote RPC, receiver implementation"."""
        core = self._core
        granted = (
            message.term == core.term
            and core.may_vote_for(sender)
            and core.is_up_to_date(message.last_index, message.last_term)
        )
        if granted:
            core.vote(sender)
            self._restart_election_timer()
        core.send_after(sender, RequestVoteResponse(core.term, granted))

    def _on_append_entries(self, sender: int, message: AppendEntries) -> None:
        core = self._core
        if message.term < core.term:
            core.send_after(sender, AppendEntriesResponse(core.term, False, message.prev_index, NO_ROUND))
        elif (follower := self._follow(sender)) and (answer := follower.on_append_entries(message)):
            core.send_after(sender, answer)

    def _on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        core = self._core
        round_ = NO_ROUND
        if message.term == core.term:
            follower = self._follow(sender)
            if follower is None:
                return
            follower.learn_commit(message.commit)
            round_ = message.round
        answer = HeartbeatResponse(core.term, round_)
        if core.durability.term >= core.term:
            core.send(sender, answer)
        else:
            core.send_after(sender, answer)

    def _follow(self, sender: int) -> Follower | None:
        """``sender`` leads this term; this member as its follower, or None where another one leads it already."""
        role = self._role
        if isinstance(role, Follower) and role.leader == sender:
            self._restart_election_timer()
            return role
        if role.leader is not None:
            self._core.ignore("a second leader in one term")
            return None
        self._become_follower(self._core.term, sender)
        assert isinstance(self._role, Follower)
        return self._role

    def peer(self, now: int, member: int, session: int | None) -> None:
        """A session with ``member`` was opened (its number), or lost (None)."""
        self._core.at(now)
        if isinstance(self._role, Leader):
            self._role.on_session_change(member)

    # ----------------------------------------------------------------------------------------------------- requests

    def propose(self, now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Take all of them, in order, or none; never forwards."""
        assert proposals, "nothing was proposed"
        self._core.at(now)
        if isinstance(self._role, Leader):
            return self._role.propose(proposals)
        return Refused(RefusedReason.NOT_LEADER, self._role.leader)

    def read_barrier(self, now: int, token: int) -> None:
        """Ask for an index to read at; the answer comes in ``Ready.reads`` under the same token."""
        self._core.at(now)
        if isinstance(self._role, Leader):
            self._role.read_barrier(token)
        else:
            self._core.reads.append(ReadIndex(token, None))

    def propose_membership(self, now: int, change: Membership) -> Taken | Refused:
        """Change the configuration to ``change``; taken, or refused with a reason."""
        self._core.at(now)
        return Refused(RefusedReason.NOT_YET, self._role.leader)

    def transfer_leadership(self, now: int, to: int) -> Refused | None:
        """Hand the lead to ``to``; None: it is under way."""
        self._core.at(now)
        return Refused(RefusedReason.NOT_YET, self._role.leader)

    # ------------------------------------------------------------------------------------------------ log and store

    def persisted(self, now: int, ticket: int) -> None:
        """This write and all earlier ones of the group are durable."""
        core = self._core
        core.at(now)
        core.durability.persisted(ticket)
        core.log.evict(core.durability.index, core.options.limits.tail_bytes_max)
        if isinstance(self._role, Candidate):
            self._role.on_persisted(ticket)
            self._count_votes(self._role)
        if isinstance(self._role, Leader):
            self._role.advance_commit()

    def applied(self, now: int, index: int) -> None:
        """The store has everything up to ``index``."""
        self._core.at(now)
        self._delivery.on_applied(index)

    def fetched(self, now: int, token: int, entries: Sequence[Entry]) -> None:
        """The answer to a ``Fetch``."""
        self._core.at(now)
        if token == self._delivery.fetching:
            self._delivery.on_fetched(entries)
        elif isinstance(self._role, Leader):
            self._role.on_fetched(token, entries)

    def deliverable(self) -> int:
        """Rule 5: what is committed *and* durable here; else the store could be ahead of its own log."""
        return min(self._core.commit, self._core.durability.index)

    # --------------------------------------------------------------------------------------------------------- ready

    def ready(self) -> Ready | None:
        """Drain what must leave, once per turn; None: nothing."""
        core = self._core
        if isinstance(self._role, Leader):
            self._role.flush()
        write = core.take_write()
        deliver = self._take_deliveries()
        lead = self._take_lead()
        membership = self._take_membership()
        send, send_after, reads, fetch = core.outgoing, core.outgoing_after, core.reads, core.fetches
        if not (write or send or send_after or deliver or reads or fetch or lead or membership):
            return None
        core.outgoing, core.outgoing_after, core.reads, core.fetches = [], [], [], []
        return Ready(
            write=write,
            send=send,
            send_after=send_after,
            after=core.durability.issued,
            deliver=deliver,
            reads=reads,
            membership=membership,
            leader=lead,
            fetch=fetch,
        )

    def _take_deliveries(self) -> Sequence[Entry]:
        limit = self.deliverable()
        missing = self._delivery.missing(self._core.log, limit)
        if missing is not None:
            self._delivery.fetching = self._core.fetch(*missing)
        return self._delivery.take(self._core.log, limit)

    def _take_lead(self) -> Lead | None:
        lead = Lead(self._role.leader, (self._core.term, 0), self._serving)
        if lead == self._reported_lead:
            return None
        self._reported_lead = lead
        return lead

    def _take_membership(self) -> Membership | None:
        if self._core.membership is self._reported_membership:
            return None
        self._reported_membership = self._core.membership
        return self._reported_membership

    # --------------------------------------------------------------------------------------------------- for people

    @property
    def _serving(self) -> bool:
        return isinstance(self._role, Leader) and self._role.serving

    def status(self) -> Status:
        """What this engine knows, for metrics and people."""
        core = self._core
        return Status(
            member=core.member,
            role=type(self._role).__name__.lower(),
            era=(core.term, 0),
            raft_term=core.term,
            leader=self._role.leader,
            serving=self._serving,
            last=core.log.last,
            durable=core.durability.index,
            commit=core.commit,
            applied=self._delivery.applied,
            membership=core.membership,
            progress=self._role.progress() if isinstance(self._role, Leader) else {},
            words={"term": str(core.term), **{f"ignored: {why}": str(count) for why, count in core.ignored.items()}},
        )

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Can a proposal addressed to ``era`` (taken at ``index``, if known) never be delivered any more?

        Terms never decrease along a log, so behind a delivered entry of a later term no entry of ``era`` can come.
        """
        return delivered[1] > era
