"""The Multi-Paxos engine: the contract's inputs, the change of proposer roles, and what leaves in a turn.

Rules of this file:

1. Exactly one proposer role is alive: ``Follower``, ``Candidate`` or ``Leader``. Roles change here and nowhere else.
2. A proposer gives up when it hears of a higher ballot. That is courtesy, not safety: the promises see to that.
3. The election timer restarts when something is promised, when a leader is heard, and when a ballot is begun. A member
   whose ballots were overtaken waits longer each time, by a keyed draw, until somebody leads (section 2.4).
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
from ratified.consensus.draws import mix
from ratified.consensus.paxos.acceptor import Acceptor, decode_entries
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.delivery import Delivery
from ratified.consensus.paxos.leader import Leader
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import (
    Accept,
    Accepted,
    Decided,
    Heartbeat,
    HeartbeatAnswer,
    Learn,
    Learned,
    Message,
    Prepare,
    Promise,
)
from ratified.consensus.paxos.messages import Refused as RefusedBallot
from ratified.consensus.paxos.purposes import ForAcceptor, ForDelivery, ForLearner, ForPromise
from ratified.consensus.reads import NO_ROUND

_BACK_OFF_STEPS_MAX = 8
_BACK_OFF = 0x6261636B6F6666
"""The concern of the back-off's draws."""


class Follower:
    """This member while it proposes nothing; ``leader`` is whom it has heard in the promised ballot."""

    __slots__ = ("leader",)

    def __init__(self, leader: int | None) -> None:
        self.leader = leader


class Engine:
    """One member's part in one Multi-Paxos group (Lamport, "Paxos Made Simple", 2001)."""

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        self._core = Core(now, options, durable)
        self._acceptor = Acceptor(self._core)
        self._learner = Learner(self._core)
        self._delivery = Delivery(self._core, durable.applied)
        self._role: Follower | Candidate | Leader = Follower(None)
        self._overtaken = 0
        """Own ballots overtaken in phase 1 since somebody led."""
        self._reported_lead: Lead | None = None
        self._reported_membership: Membership | None = None
        self._election_deadline: int | None = None
        self._restart_election_timer()

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def deadline(self) -> int | None:
        """When to ``tick`` next; None: there is no timer at all."""
        role, election = self._role, self._election_deadline
        if isinstance(role, Leader):
            return role.deadline
        if isinstance(role, Candidate) and role.deadline is not None and election is not None:
            return min(role.deadline, election)
        return election

    @property
    def leading(self) -> Era | None:
        """The ballot in which this engine leads at this moment; None: it does not lead."""
        return self._role.ballot if isinstance(self._role, Leader) else None

    def tick(self, now: int) -> None:
        """The last reported deadline has passed; an early tick does nothing."""
        self._core.now = now
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        role = self._role
        if isinstance(role, Leader):
            if role.disk_is_slow(now) or role.quorum_is_silent(now):
                self._become_follower(None)
            else:
                role.tick(now)
        elif self._election_deadline is not None and now >= self._election_deadline:
            self._on_election_timeout()
        elif isinstance(role, Candidate):
            role.ask_again()
            self._learner.ask()

    def campaign(self, now: int) -> None:
        """Try to lead, now."""
        self._core.now = now
        if self._core.is_voter and not isinstance(self._role, Leader):
            self._become_candidate()

    def _on_election_timeout(self) -> None:
        if isinstance(self._role, Candidate) and self._role.waits_for_disk:
            self._restart_election_timer()  # no Prepare has left yet: another ballot would only queue behind this one
        else:
            self._become_candidate()

    def _restart_election_timer(self) -> None:
        core = self._core
        if core.is_voter:
            self._election_deadline = core.options.election_deadline(core.now, core.promised) + self._back_off()
        else:
            self._election_deadline = None

    def _back_off(self) -> int:
        """How much longer to wait because others overtook this member: drawn, and more each time."""
        core = self._core
        if not self._overtaken or not core.options.extensions.back_off:
            return 0
        steps = min(self._overtaken, _BACK_OFF_STEPS_MAX)
        draw = mix(core.options.seed, _BACK_OFF, core.member, core.promised[0], self._overtaken)
        return draw % (steps * core.options.election_timeout_us + 1)

    # -------------------------------------------------------------------------------------------------------- roles

    def _become_follower(self, leader: int | None) -> None:
        role = self._role
        if isinstance(role, Leader):
            role.stop()
        elif isinstance(role, Candidate) and leader is None:
            self._overtaken += 1
        if leader is not None:
            self._overtaken = 0
        self._role = Follower(leader)
        self._restart_election_timer()

    def _become_candidate(self) -> None:
        self._role = Candidate(self._core)
        self._restart_election_timer()

    def _advance_candidate(self, candidate: Candidate) -> None:
        """Phase 1 came a step further."""
        if candidate.has_won:
            self._overtaken = 0
            self._role = Leader(self._core, candidate.first_open, candidate.to_propose)
        else:
            candidate.arm()

    def _give_way(self, ballot: Era) -> None:
        """A higher ballot than this proposer's own is about."""
        self._core.heard_of(ballot)
        role = self._role
        if not isinstance(role, Follower) and ballot > role.ballot:
            self._become_follower(None)

    def _follow(self, leader: int, ballot: Era) -> None:
        """``leader`` has completed phase 1 of ``ballot``, which is not below the promise here."""
        role = self._role
        if ballot > self._core.promised:
            self._core.promise(ballot)
        if isinstance(role, Follower) and role.leader == leader:
            self._restart_election_timer()
        else:
            self._become_follower(leader)

    # ----------------------------------------------------------------------------------------------------- messages

    def step(self, now: int, sender: int, message: Message) -> None:
        """A message from ``sender``'s current session."""
        self._core.now = now
        match message:
            case Accepted():
                if isinstance(self._role, Leader) and message.ballot == self._role.ballot:
                    self._role.on_accepted(sender, message)
            case Accept():
                self._on_accept(sender, message)
            case Decided():
                self._learner.on_decided(message.ballot, message.chosen)
            case HeartbeatAnswer():
                self._on_heartbeat_answer(sender, message)
            case Heartbeat():
                self._on_heartbeat(sender, message)
            case Prepare():
                self._on_prepare(sender, message)
            case Promise():
                self._on_promise(sender, message)
            case RefusedBallot():
                self._give_way(message.ballot)
            case Learn():
                self._learner.on_learn(sender, message.first)
            case Learned():
                self._on_learned(sender, message)

    def _is_proposers(self, sender: int, ballot: Era) -> bool:
        """Is ``ballot`` one of the sender's own, who alone may propose in it?"""
        if ballot[1] == sender:
            return True
        self._core.ignore("somebody else's ballot")
        return False

    def _on_prepare(self, sender: int, message: Prepare) -> None:
        """Phase 1b."""
        core = self._core
        ballot = message.ballot
        if not self._is_proposers(sender, ballot) or not core.is_voter:
            return
        if not self._acceptor.may_promise(ballot):
            core.send_after(sender, RefusedBallot(core.promised))
            return
        if ballot > core.promised:
            core.promise(ballot)
            self._become_follower(None)
        elif not (isinstance(self._role, Follower) and self._role.leader == sender):
            self._restart_election_timer()
        self._send_promise(sender, self._acceptor.report(message.first))

    def _send_promise(self, proposer: int, part: Promise | None) -> None:
        if part is None:
            return
        if proposer == self._core.member:
            self._on_promise(proposer, part)
        else:
            self._core.send_after(proposer, part)

    def _on_promise(self, sender: int, message: Promise) -> None:
        """Phase 1 answers."""
        candidate = self._role
        if not isinstance(candidate, Candidate) or message.ballot != candidate.ballot:
            return
        entries = decode_entries(self._core, message.entries)
        if entries is None:
            return
        more_from = candidate.on_promise(sender, message, entries)
        if sender != self._core.member and message.chosen > self._core.chosen:
            self._learner.hear_of(sender, message.chosen)
            self._learner.ask()
        if more_from is not None:
            self._restart_election_timer()
            if sender == self._core.member:
                self._send_promise(sender, self._acceptor.report(more_from))
            else:
                candidate.ask(sender, more_from)
        if self._role is candidate:
            self._advance_candidate(candidate)

    def _on_accept(self, sender: int, message: Accept) -> None:
        """Phase 2b."""
        core = self._core
        if not self._is_proposers(sender, message.ballot):
            return
        if not self._acceptor.may_accept(message.ballot):
            core.send_after(sender, RefusedBallot(core.promised))
            return
        answer = self._acceptor.on_accept(message)
        if answer is None:
            return
        self._follow(sender, message.ballot)
        core.send_after(sender, answer)
        self._learner.on_decided(message.ballot, message.chosen)

    def _on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        core = self._core
        if not self._is_proposers(sender, message.ballot):
            return
        round_ = NO_ROUND
        if message.ballot >= core.promised:
            round_ = message.round
            self._follow(sender, message.ballot)
            self._learner.on_decided(message.ballot, message.chosen)
            self._learner.hear_of(sender, message.chosen)
            self._learner.ask()
        if core.options.extensions.separate_heartbeats:
            answer = HeartbeatAnswer(core.promised, round_)
            if core.durability.promised >= core.promised:
                core.send(sender, answer)
            else:
                core.send_after(sender, answer)

    def _on_heartbeat_answer(self, sender: int, message: HeartbeatAnswer) -> None:
        if isinstance(self._role, Leader) and message.ballot == self._role.ballot:
            self._role.on_heartbeat_answer(sender, message.round)
        else:
            self._give_way(message.ballot)

    def _on_learned(self, sender: int, message: Learned) -> None:
        core = self._core
        entries = decode_entries(core, message.entries)
        if not entries:
            return
        ballot = max(entry.era for entry in entries)
        if ballot > core.promised:
            # Whoever stores a value of a ballot has promised it, as if the Accept had arrived.
            core.promise(ballot)
            self._become_follower(None)
        if not self._learner.on_learned(sender, message, entries):
            return
        self._learner.ask()
        if isinstance(self._role, Candidate):
            self._restart_election_timer()
            self._advance_candidate(self._role)

    def peer(self, now: int, member: int, session: int | None) -> None:
        """A session with ``member`` was opened (its number), or lost (None)."""
        self._core.now = now
        if isinstance(self._role, Leader):
            self._role.on_session_change(member)

    # ----------------------------------------------------------------------------------------------------- requests

    def propose(self, now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Take all of them, in order, or none; never forwards."""
        assert proposals, "nothing was proposed"
        self._core.now = now
        if isinstance(self._role, Leader):
            return self._role.propose(proposals)
        return Refused(RefusedReason.NOT_LEADER, self._role.leader)

    def read_barrier(self, now: int, token: int) -> None:
        """Ask for an index to read at; the answer comes in ``Ready.reads`` under the same token."""
        self._core.now = now
        if isinstance(self._role, Leader):
            self._role.read_barrier(token)
        else:
            self._core.reads.append(ReadIndex(token, None))

    def propose_membership(self, now: int, change: Membership) -> Taken | Refused:
        """Change the configuration to ``change``; taken, or refused with a reason."""
        self._core.now = now
        return Refused(RefusedReason.NOT_YET, self._role.leader)

    def transfer_leadership(self, now: int, to: int) -> Refused | None:
        """Hand the lead to ``to``; None: it is under way."""
        self._core.now = now
        return Refused(RefusedReason.NOT_YET, self._role.leader)

    # ------------------------------------------------------------------------------------------------ log and store

    def persisted(self, now: int, ticket: int) -> None:
        """This write and all earlier ones of the group are durable."""
        core = self._core
        core.now = now
        fresh = core.persisted(ticket)
        self._learner.on_persisted()
        role = self._role
        if isinstance(role, Leader):
            role.on_persisted(fresh)
        elif isinstance(role, Candidate) and role.is_own_report_due(ticket):
            self._send_promise(core.member, self._acceptor.report(role.first))

    def applied(self, now: int, index: int) -> None:
        """The store has everything up to ``index``."""
        self._core.now = now
        self._delivery.on_applied(index)

    def fetched(self, now: int, token: int, entries: Sequence[Entry]) -> None:
        """The answer to a ``Fetch``."""
        self._core.now = now
        match purpose := self._core.take_purpose(token):
            case ForDelivery():
                self._delivery.on_fetched(entries)
            case ForLearner(member):
                self._learner.on_fetched(member, entries)
            case ForAcceptor():
                if isinstance(self._role, Leader):
                    self._role.on_fetched(purpose, entries)
            case ForPromise():
                self._send_promise(purpose.ballot[1], self._acceptor.report_fetched(purpose, entries))

    # --------------------------------------------------------------------------------------------------------- ready

    def ready(self) -> Ready | None:
        """Drain what must leave, once per turn; None: nothing."""
        core = self._core
        if isinstance(self._role, Leader):
            self._role.flush()
        write = core.take_write()
        deliver = self._delivery.take()
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

    def _take_lead(self) -> Lead | None:
        lead = Lead(self._role.leader, self._core.promised, self._serving)
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
        round_, proposer = core.promised
        return Status(
            member=core.member,
            role=type(self._role).__name__.lower(),
            era=core.promised,
            raft_term=round_,
            leader=self._role.leader,
            serving=self._serving,
            last=core.slots.last,
            durable=core.slots.durable,
            commit=core.chosen,
            applied=self._delivery.applied,
            membership=core.membership,
            progress=self._role.progress() if isinstance(self._role, Leader) else {},
            words={
                "ballot": f"{round_}.{proposer}",
                "own ballot": f"{core.own[0]}.{core.own[1]}",
                **{f"ignored: {why}": str(count) for why, count in core.ignored.items()},
            },
        )

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Can a proposal addressed to ``era`` (taken at ``index``, if known) never be delivered any more?

        One slot has one value: what was proposed in a slot that has been delivered, and was not delivered there, never
        will be. Nothing else proves it. A delivered entry of a later ballot does not: an acceptor that nobody has
        heard since may have accepted the proposal in a higher slot, from where any later ballot may revive it.
        """
        return index is not None and delivered[0] >= index
