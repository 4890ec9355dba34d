"""The Multi-Paxos engine: the contract's inputs, the change of proposer roles, and what leaves in a turn.

Rules of this file:

1. Exactly one proposer role is alive: ``Follower``, ``Candidate`` or ``Leader``. Roles change here and nowhere else.
2. A proposer gives up when it hears of a higher ballot. Safety does not need it (the promises see to that); it
   keeps two proposers from outbidding each other.
3. The election timer restarts when it runs out, when a candidate is promised its ballot or told a further part, when a
   leader is heard, when this member begins a ballot or gets on with it, when it stops leading, and for nothing else:
   the ballots of a stale proposer would otherwise keep others waiting.
4. A member that does not lead is suspicious, or not (rule 14 of the contract, ``replication/suspicion``). That it
   begins a ballot, by a quorum of answers or because it is told to, is decided here. A candidate asks nobody whether it
   would win; it repeats its Prepare. When a whole election timeout has brought it nothing it asks whether it may begin
   another ballot, and until then counts what comes late.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

from ratified.consensus.contract import Base, Durable, Entry, Era, RefusedReason, Sizes, Write
from ratified.consensus.paxos.acceptor import Acceptor
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Claim, Core
from ratified.consensus.paxos.extensions import PRODUCTION, TEXTBOOK, PaxosExtensions
from ratified.consensus.paxos.leader import Leader
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import (
    Accept,
    Accepted,
    AskLease,
    Decided,
    Heartbeat,
    HeartbeatAnswer,
    Learn,
    Learned,
    LeaseGranted,
    LeaseReleased,
    Message,
    Nack,
    Prepare,
    Probe,
    ProbeAnswer,
    Promise,
    Resign,
    TimeoutNow,
)
from ratified.consensus.paxos.purposes import ForAcceptor, ForLearner, ForPromise
from ratified.consensus.replication import engine
from ratified.consensus.replication.incoming import UnfitEntries, decode_entries
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.reads import NO_ROUND
from ratified.consensus.replication.suspicion import Suspicion, Verdict


class Follower:
    """This member while it proposes nothing; ``leader`` is whom it has heard in the promised ballot."""

    __slots__ = ("leader",)

    def __init__(self, leader: int | None) -> None:
        self.leader = leader


class Paxos:
    """Lamport, "Paxos Made Simple" (2001), for a sequence of instances."""

    __slots__ = ("_acceptor", "_election_timer", "_learner", "_suspicion", "core", "role")

    def __init__(self, member: Member[Claim], durable: Durable, extensions: PaxosExtensions) -> None:
        self.core = Core(member, durable, extensions)
        self._acceptor = Acceptor(self.core)
        self._learner = Learner(self.core)
        self.role: Follower | Candidate | Leader = Follower(None)
        self._suspicion: Suspicion[ProbeAnswer] = Suspicion(member)
        self._election_timer: int | None
        self._restart_election_timer()

    @property
    def leading(self) -> Leader | None:
        return self.role if isinstance(self.role, Leader) else None

    def leader_of(self, ballot: Era) -> Leader | None:
        """This member as the leader of ``ballot``: an answer to an earlier leadership of it counts for nothing."""
        return self.role if isinstance(self.role, Leader) and ballot == self.role.ballot else None

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def election_deadline(self) -> int | None:
        """The end of the election timeout, or when something is to be asked, whichever comes first; None: there is no
        such time."""
        role = self.role
        if self.rests:
            return None
        question = role.deadline if isinstance(role, Candidate) else None
        probe = None if isinstance(role, Candidate) and not role.is_late else self._suspicion.next_probe
        return min((at for at in (self._election_timer, question, probe) if at is not None), default=None)

    @property
    def rests(self) -> bool:
        return self._suspicion.rests

    def _wake(self) -> None:
        """The leader is followed no longer, or has to be heard anew."""
        if self._suspicion.wake():
            self._restart_election_timer()

    def on_election_deadline(self) -> None:
        role, now = self.role, self.core.member.now
        if self._election_timer is not None and now >= self._election_timer:
            self._on_election_timeout()
        elif isinstance(role, Candidate) and role.deadline is not None and now >= role.deadline:
            self._ask_again(role)
        else:
            self._probe()

    def _on_election_timeout(self) -> None:
        self._restart_election_timer()
        if isinstance(self.role, Candidate) and self.role.waits_for_disk:
            return  # no Prepare has left yet: another ballot would only queue behind this one
        if not self.core.options.extensions.suspicion:
            self.campaign()
            return
        if isinstance(self.role, Candidate):
            self.role.is_late = True
        else:
            self._become_follower(None)
        if self._suspicion.begin_now():
            self._probe()

    def _restart_election_timer(self) -> None:
        self._election_timer = self.core.member.campaign_deadline(self.core.promised)

    # -------------------------------------------------------------------------------------------------------- roles

    def _become_follower(self, leader: int | None) -> None:
        """Whoever led waits as if it had just heard another leader."""
        if isinstance(self.role, Leader):
            self.role.reads.fail()
            if self.role.liveness.others_rest:
                self.role.resign()
            self._restart_election_timer()
        elif not self.core.options.extensions.keep_election_deadline:
            self._restart_election_timer()
        self._wake()
        self.role = Follower(leader)

    def step_down(self) -> None:
        if isinstance(self.role, Leader) and self.core.options.extensions.suspicion:
            self.role.resign()
        self._become_follower(None)

    def campaign(self) -> None:
        self._wake()
        self.role = Candidate(self.core)
        self._suspicion.stood()
        self._restart_election_timer()

    def _ask_again(self, candidate: Candidate) -> None:
        candidate.ask_again()
        self._learner.ask()
        if candidate.own_first is not None:
            self._report_to_oneself(candidate, candidate.own_first)
            self._advance_phase_1(candidate)

    @property
    def _phase_1(self) -> Candidate | None:
        """What asks for promises, if anything does."""
        role = self.role
        return role if isinstance(role, Candidate) else role.phase_1 if isinstance(role, Leader) else None

    def _advance_phase_1(self, candidate: Candidate) -> None:
        if isinstance(self.role, Leader):
            self.role.on_phase_1()
            return
        candidate.ask_those_who_joined()
        if candidate.has_won and self.core.is_installed:
            self._suspicion.end()
            self.role = Leader(self.core, self._learner, candidate)

    def _give_way(self, ballot: Era) -> None:
        """A higher ballot than this proposer's own is about; whoever began it has a heartbeat to show itself."""
        self.core.heard_of(ballot)
        role = self.role
        if not isinstance(role, Follower) and ballot > role.ballot:
            self._become_follower(None)
            self._suspicion.voted()

    def _follows(self, leader: int, ballot: Era) -> bool:
        return ballot == self.core.promised and isinstance(self.role, Follower) and self.role.leader == leader

    def _follow(self, leader: int, ballot: Era) -> None:
        """``leader`` has completed phase 1 of ``ballot``, which is not below the promise here."""
        if ballot > self.core.promised:
            self.core.promise(ballot)
        if not (isinstance(self.role, Follower) and self.role.leader == leader):
            self._become_follower(leader)
        self._suspicion.heard()
        self._restart_election_timer()

    # ---------------------------------------------------------------------------------------------------- suspicion

    @property
    def _hears_leader(self) -> bool:
        """Or somebody who is about to lead: to grant a probe now would depose whoever wins in this moment."""
        suspicion = self._suspicion
        return isinstance(self.role, Leader) or suspicion.hears(self.role.leader) or self._yields

    @property
    def _yields(self) -> bool:
        """Is a candidate about that may win? A report may take longer on its way than an election timeout."""
        return self._suspicion.yields or self._acceptor.is_reporting

    def _probe(self) -> None:
        """Ask all peers, unless the own disk does not answer or a snapshot is installed, or a candidate waits for what
        this member sends it."""
        core = self.core
        if not core.member.may_stand or self._acceptor.is_reporting:
            self._suspicion.postpone()
            return
        core.member.send_to_peers(Probe(core.durable_promise, self._suspicion.next_round()))
        self._weigh_answers()

    def _on_probe(self, sender: int, message: Probe) -> None:
        refuses = self._hears_leader or self.core.member.is_bound
        verdict = Verdict.HEARS if refuses else Verdict.GRANTED
        self.core.outbox.send(sender, ProbeAnswer(self.core.durable_promise, message.round, verdict))

    def _weigh_answers(self) -> None:
        """Begin a ballot that is above the promises of all who hear no leader either."""
        if self._suspicion.has_quorum(Verdict.GRANTED):
            for answer in self._suspicion.answers(Verdict.GRANTED).values():
                self.core.heard_of(answer.ballot)
            self.campaign()

    def _on_resign(self, sender: int, message: Resign) -> None:
        if self._follows(sender, message.ballot):
            self._become_follower(None)
            self._suspicion.begin_soon()

    # ------------------------------------------------------------------------------------------------------- leases

    def _on_ask_lease(self, sender: int, message: AskLease) -> None:
        core = self.core
        follows = self._follows(sender, message.ballot)
        durable = core.durable_promise >= core.promised
        if follows and durable and core.member.grant(sender, message.ballot, message.round, message.lease_us):
            core.outbox.send(sender, LeaseGranted(message.ballot, message.round))

    def _pass_release_on(self) -> None:
        """Whom this member asks for a promise may not have heard it yet."""
        core = self.core
        if released := core.member.grants.released_by(core.promised):
            core.member.send_to_peers(LeaseReleased(core.promised, released))

    # ----------------------------------------------------------------------------------------------------- messages

    def on_message(self, sender: int, message: Message) -> None:
        match message:
            case Accepted():
                if leader := self.leader_of(message.ballot):
                    leader.on_accepted(sender, message)
            case Accept():
                self._on_accept(sender, message)
            case Decided():
                self._on_decided(sender, message)
            case HeartbeatAnswer():
                self._on_heartbeat_answer(sender, message)
            case Heartbeat():
                self._on_heartbeat(sender, message)
            case Prepare():
                self._on_prepare(sender, message)
            case Promise():
                self._on_promise(sender, message)
            case Nack():
                self._give_way(message.ballot)
            case Learn():
                self._learner.on_learn(sender, message.first)
            case Learned():
                self._on_learned(sender, message)
            case Probe():
                self._on_probe(sender, message)
            case ProbeAnswer():
                if self._suspicion.counts(sender, message):
                    self._weigh_answers()
            case Resign():
                self._on_resign(sender, message)
            case TimeoutNow():
                if self._follows(sender, message.ballot) and self.core.member.may_be_handed_the_lead:
                    self._pass_release_on()
                    self.campaign()
            case AskLease():
                self._on_ask_lease(sender, message)
            case LeaseGranted():
                if leader := self.leader_of(message.ballot):
                    leader.reads.lease.on_granted(sender, message.round)
            case LeaseReleased():
                if self.core.member.release(message.ballot, message.round):
                    self._suspicion.released()

    def _is_proposers(self, sender: int, ballot: Era) -> bool:
        """Is ``ballot`` one of the sender's own, who alone may propose in it?"""
        if ballot[1] == sender:
            return True
        self.core.outbox.ignore("somebody else's ballot")
        return False

    def _on_prepare(self, sender: int, message: Prepare) -> None:
        """Phase 1b."""
        core = self.core
        ballot = message.ballot
        if not self._is_proposers(sender, ballot) or core.member.bars(sender):
            return
        if not self._acceptor.may_promise(ballot):
            core.outbox.send_after(sender, Nack(core.promised))
            return
        higher = ballot > core.promised
        if self._acceptor.promise(message):
            if higher:
                self._become_follower(None)
            self._suspicion.voted()
            self._restart_election_timer()
        if part := self._acceptor.report(message.first):
            core.outbox.send_after(sender, part)

    def _on_promise(self, sender: int, message: Promise) -> None:
        candidate = self._phase_1
        if candidate is None or message.ballot != candidate.ballot:
            return
        more_from = self._take_part(candidate, sender, message)
        if message.chosen > self.core.slots.chosen:
            self._learner.hear_of(sender, message.chosen)
            self._learner.ask()
        if more_from is not None:
            candidate.ask(sender, more_from)
        self._advance_phase_1(candidate)

    def _take_part(self, candidate: Candidate, acceptor: int, part: Promise) -> int | None:
        """A part of a promise; the slot from which on to ask for the next one."""
        entries = self._decode(part)
        if entries is None:
            return None
        more_from = candidate.on_promise(acceptor, part, entries)
        candidate.is_late = False
        if more_from is not None:
            self._suspicion.voted()
            self._restart_election_timer()
        return more_from

    def _report_to_oneself(self, candidate: Candidate, first: int) -> None:
        """The own acceptor's promise, all parts of it that are in memory."""
        more_from: int | None = first
        while more_from is not None and (part := self._acceptor.report(more_from)):
            more_from = self._take_part(candidate, self.core.member.id, part)

    def _decode(self, message: Promise | Learned) -> Sequence[Entry] | None:
        try:
            return decode_entries(message.entries)
        except UnfitEntries as unfit:
            self.core.outbox.ignore(f"{type(message).__name__}: {unfit}")
            return None

    def _on_accept(self, sender: int, message: Accept) -> None:
        """Phase 2b."""
        core = self.core
        if not self._is_proposers(sender, message.ballot):
            return
        if not self._acceptor.may_accept(message.ballot):
            core.outbox.send_after(sender, Nack(core.promised))
            return
        answer = self._acceptor.on_accept(message)
        if answer is None:
            self._hear_of(sender, message.chosen)
            return
        self._follow(sender, message.ballot)
        core.outbox.send_after(sender, answer)
        self._learner.on_decided(message.ballot, message.chosen)

    def _on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        core = self.core
        if not self._is_proposers(sender, message.ballot):
            return
        round_ = NO_ROUND
        if message.ballot >= core.promised:
            round_ = message.round
            self._follow(sender, message.ballot)
            self._learner.on_decided(message.ballot, message.chosen)
            self._learner.hear_of(sender, message.chosen)
            self._learner.ask()
            if message.rests and core.slots.chosen >= message.chosen and core.member.may_rest:
                self._suspicion.rest()
                return
        if core.options.extensions.separate_heartbeats:
            chosen = core.durable_chosen if core.is_installed else 0
            answer = HeartbeatAnswer(core.promised, round_, chosen)
            if core.durable_promise >= core.promised:
                core.outbox.send(sender, answer)
            else:
                core.outbox.send_after(sender, answer)

    def _on_heartbeat_answer(self, sender: int, message: HeartbeatAnswer) -> None:
        if leader := self.leader_of(message.ballot):
            leader.on_heartbeat_answer(sender, message)
        else:
            self._give_way(message.ballot)

    def _begin_anew_if_overtaken(self) -> None:
        """What is chosen is no longer proposed; behind it phase 1 begins, in the configuration that holds there."""
        if isinstance(self.role, Leader) and self.role.is_overtaken:
            self.step_down()

    def _on_decided(self, sender: int, message: Decided) -> None:
        self._learner.on_decided(message.ballot, message.chosen)
        self._begin_anew_if_overtaken()
        if self._follows(sender, message.ballot):
            self._follow(sender, message.ballot)

    def _on_learned(self, sender: int, message: Learned) -> None:
        core = self.core
        entries = self._decode(message)
        if entries is None:
            return
        if not entries:
            self._on_known(sender, message.chosen)
            return
        ballot = max(entry.era for entry in entries)
        if ballot > core.promised:
            # Whoever stores a value of a ballot has promised it, as if the Accept had arrived.
            core.promise(ballot)
            self._become_follower(None)
        if not self._learner.on_learned(sender, message, entries):
            return
        self._begin_anew_if_overtaken()
        self._learner.ask()
        if isinstance(self.role, Candidate):
            # There may be much to learn, and whoever has it could lead at once: that gains no time with the others.
            self._restart_election_timer()
            self._advance_phase_1(self.role)

    def _on_known(self, sender: int, chosen: int) -> None:
        """What was proposed to ``sender`` is chosen there already, and perhaps gone from its log."""
        if isinstance(self.role, Leader):
            self.role.on_known(sender, chosen)
        self._hear_of(sender, chosen)

    def _hear_of(self, teller: int, chosen: int) -> None:
        """``teller`` knows more than this member, and will not tell it unasked."""
        if chosen > self.core.slots.chosen:
            self._learner.hear_of(teller, chosen)
            self._learner.ask()

    def on_session(self, member: int, session: int | None) -> None:
        self._suspicion.forget(member)
        role = self.role
        if isinstance(role, Leader):
            role.on_session_change(member)
        elif isinstance(role, Candidate):
            if session is not None:
                role.on_session(member)
        elif role.leader == member:
            self._wake()
            if session is None:
                self._suspicion.on_session_lost()

    # ------------------------------------------------------------------------------------------------ slots and disk

    def on_persisted(self, ticket: int) -> None:
        core, role = self.core, self.role
        fresh = core.persisted(ticket)
        self._learner.on_persisted()
        if isinstance(role, Leader):
            role.on_persisted(fresh)
        phase_1 = self._phase_1
        if phase_1 is not None and phase_1.is_own_report_due(ticket):
            self._report_to_oneself(phase_1, phase_1.first)
            self._advance_phase_1(phase_1)

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None:
        match purpose:
            case ForLearner(member):
                self._learner.on_fetched(member, entries)
            case ForAcceptor():
                if isinstance(self.role, Leader):
                    self.role.on_fetched(purpose, entries)
            case ForPromise():
                if part := self._acceptor.report_fetched(purpose, entries):
                    self._send_fetched_part(purpose.ballot[1], part)

    def _send_fetched_part(self, proposer: int, part: Promise) -> None:
        if proposer != self.core.member.id:
            self.core.outbox.send_after(proposer, part)
        elif (phase_1 := self._phase_1) and part.ballot == phase_1.ballot:
            more_from = self._take_part(phase_1, proposer, part)
            if more_from is not None:
                self._report_to_oneself(phase_1, more_from)
            self._advance_phase_1(phase_1)

    def on_compacted(self, base: Base) -> None:
        self.core.compact(base)
        if isinstance(self.role, Leader):
            self.role.on_compacted(base.index)

    # ---------------------------------------------------------------------------------------------------- snapshots

    def on_snapshot_sent(self, peer: int, index: int, ok: bool) -> None:
        """The peer asks again for what it lacks, with the next heartbeat that tells it so."""

    def takes_offers_of(self, sender: int) -> bool:
        """What is chosen is chosen, whoever says so: candidates learn from any member."""
        return True

    def refuses_snapshot(self, sender: int, base: Base) -> RefusedReason | None:
        return None if base.index > self.core.slots.chosen else RefusedReason.NOT_NEEDED

    def install(self, base: Base) -> None:
        """A leader that lacks what is chosen cannot have it chosen again by those who know it: it leads no longer."""
        if isinstance(self.role, Leader):
            self._become_follower(None)
        self.core.install(base)

    def on_installed(self, sender: int, base: Base) -> None:
        self.core.fence.era = base.era
        self._learner.ask()
        if isinstance(self.role, Candidate):
            self._restart_election_timer()
            self._advance_phase_1(self.role)

    def on_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return self.core.fence.on_delivery(entries)

    def take_write(self) -> Write | None:
        return self.core.take_write()

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """A value that was born below the fence is void wherever it is chosen from now on; and one slot has one value.
        An entry's ballot proves nothing: an acceptor that nobody has heard since may have accepted the proposal in a
        higher slot, from where any later ballot may revive it.
        """
        return delivered[1] > era or (index is not None and delivered[0] >= index)

    def words(self) -> dict[str, str]:
        promised, own = self.core.promised, self.core.own
        return {"ballot": f"{promised[0]}.{promised[1]}", "own ballot": f"{own[0]}.{own[1]}"}

    def sizes(self) -> Sizes:
        return {**self._learner.sizes(), **self._suspicion.sizes()}


Engine = partial(engine.Engine, partial(Paxos, extensions=PRODUCTION))
"""One member's part in one Multi-Paxos group: ``Engine(now, options, durable)``."""

Textbook = partial(engine.Engine, partial(Paxos, extensions=TEXTBOOK))
"""The same without its own extensions; those of the options are the caller's to switch off."""
