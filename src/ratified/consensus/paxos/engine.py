"""The Multi-Paxos engine: the contract's inputs, the change of proposer roles, and what leaves in a turn.

Rules of this file:

1. Exactly one proposer role is alive: ``Follower``, ``Candidate`` or ``Leader``. Roles change here and nowhere else.
2. A proposer gives up when it hears of a higher ballot. Safety does not need it (the promises see to that); it
   keeps two proposers from outbidding each other.
3. The election timer restarts when something is promised, when a leader is heard, and when a ballot is begun. A member
   whose ballots were overtaken waits longer each time, by a keyed draw, until somebody leads (section 2.4).
4. ``ready`` decides nothing that an input did not decide; it collects, and it hands out the ticket of the write.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

from ratified.consensus.contract import Durable, Entry, Era, Write
from ratified.consensus.draws import mix
from ratified.consensus.paxos.acceptor import Acceptor
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Claim, Core
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
from ratified.consensus.paxos.purposes import ForAcceptor, ForLearner, ForPromise
from ratified.consensus.replication import engine
from ratified.consensus.replication.incoming import UnfitEntries, decode_entries
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.reads import NO_ROUND

_BACK_OFF_STEPS_MAX = 8
_BACK_OFF = 0x6261636B6F6666
"""The concern of the back-off's draws."""


class Follower:
    """This member while it proposes nothing; ``leader`` is whom it has heard in the promised ballot."""

    __slots__ = ("leader",)

    def __init__(self, leader: int | None) -> None:
        self.leader = leader


class Paxos:
    """Lamport, "Paxos Made Simple" (2001), for a sequence of instances."""

    __slots__ = ("_acceptor", "_election_deadline", "_learner", "_overtaken", "core", "role")

    def __init__(self, member: Member[Claim], durable: Durable) -> None:
        self.core = Core(member, durable)
        self._acceptor = Acceptor(self.core)
        self._learner = Learner(self.core)
        self.role: Follower | Candidate | Leader = Follower(None)
        self._overtaken = 0
        """Own ballots overtaken in phase 1 since somebody led."""
        self._election_deadline: int | None = None
        self._restart_election_timer()

    @property
    def leading(self) -> Leader | None:
        return self.role if isinstance(self.role, Leader) else None

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def election_deadline(self) -> int | None:
        role, election = self.role, self._election_deadline
        if isinstance(role, Candidate) and role.deadline is not None and election is not None:
            return min(role.deadline, election)
        return election

    def on_election_deadline(self) -> None:
        role = self.role
        if self._election_deadline is not None and self.core.member.now >= self._election_deadline:
            self._on_election_timeout()
        elif isinstance(role, Candidate):
            role.ask_again()
            self._learner.ask()

    def _on_election_timeout(self) -> None:
        if isinstance(self.role, Candidate) and self.role.waits_for_disk:
            self._restart_election_timer()  # no Prepare has left yet: another ballot would only queue behind this one
        else:
            self.campaign()

    def _restart_election_timer(self) -> None:
        core = self.core
        if core.configurations.may_campaign:
            self._election_deadline = core.member.election_deadline(core.promised) + self._back_off()
        else:
            self._election_deadline = None

    def _back_off(self) -> int:
        """How much longer to wait because others overtook this member: drawn, and more each time."""
        core = self.core
        if not self._overtaken or not core.options.extensions.back_off:
            return 0
        steps = min(self._overtaken, _BACK_OFF_STEPS_MAX)
        draw = mix(core.options.seed, _BACK_OFF, core.member.id, core.promised[0], self._overtaken)
        return draw % (steps * core.options.election_timeout_us + 1)

    # -------------------------------------------------------------------------------------------------------- roles

    def _become_follower(self, leader: int | None) -> None:
        role = self.role
        if isinstance(role, Leader):
            role.reads.fail()
        elif isinstance(role, Candidate) and leader is None:
            self._overtaken += 1
        if leader is not None:
            self._overtaken = 0
        self.role = Follower(leader)
        self._restart_election_timer()

    def step_down(self) -> None:
        self._become_follower(None)

    def campaign(self) -> None:
        self.role = Candidate(self.core)
        self._restart_election_timer()

    def _advance_candidate(self, candidate: Candidate) -> None:
        if candidate.has_won:
            self._overtaken = 0
            self.role = Leader(self.core, candidate.first_open, candidate.to_propose)
        else:
            candidate.arm()

    def _give_way(self, ballot: Era) -> None:
        """A higher ballot than this proposer's own is about."""
        self.core.heard_of(ballot)
        role = self.role
        if not isinstance(role, Follower) and ballot > role.ballot:
            self._become_follower(None)

    def _follow(self, leader: int, ballot: Era) -> None:
        """``leader`` has completed phase 1 of ``ballot``, which is not below the promise here."""
        role = self.role
        if ballot > self.core.promised:
            self.core.promise(ballot)
        if isinstance(role, Follower) and role.leader == leader:
            self._restart_election_timer()
        else:
            self._become_follower(leader)

    # ----------------------------------------------------------------------------------------------------- messages

    def on_message(self, sender: int, message: Message) -> None:
        match message:
            case Accepted():
                if isinstance(self.role, Leader) and message.ballot == self.role.ballot:
                    self.role.on_accepted(sender, message)
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
        self.core.outbox.ignore("somebody else's ballot")
        return False

    def _on_prepare(self, sender: int, message: Prepare) -> None:
        """Phase 1b."""
        core = self.core
        ballot = message.ballot
        if not self._is_proposers(sender, ballot) or not core.configurations.is_voter(core.member.id):
            return
        if not self._acceptor.may_promise(ballot):
            core.outbox.send_after(sender, RefusedBallot(core.promised))
            return
        if ballot > core.promised:
            core.promise(ballot)
            self._become_follower(None)
        elif not (isinstance(self.role, Follower) and self.role.leader == sender):
            self._restart_election_timer()
        self._send_promise(sender, self._acceptor.report(message.first))

    def _send_promise(self, proposer: int, part: Promise | None) -> None:
        if part is None:
            return
        if proposer == self.core.member.id:
            self._on_promise(proposer, part)
        else:
            self.core.outbox.send_after(proposer, part)

    def _on_promise(self, sender: int, message: Promise) -> None:
        candidate = self.role
        if not isinstance(candidate, Candidate) or message.ballot != candidate.ballot:
            return
        entries = self._decode(message)
        if entries is None:
            return
        more_from = candidate.on_promise(sender, message, entries)
        if sender != self.core.member.id and message.chosen > self.core.slots.chosen:
            self._learner.hear_of(sender, message.chosen)
            self._learner.ask()
        if more_from is not None:
            self._restart_election_timer()
            if sender == self.core.member.id:
                self._send_promise(sender, self._acceptor.report(more_from))
            else:
                candidate.ask(sender, more_from)
        if self.role is candidate:
            self._advance_candidate(candidate)

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
            core.outbox.send_after(sender, RefusedBallot(core.promised))
            return
        answer = self._acceptor.on_accept(message)
        if answer is None:
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
        if core.options.extensions.separate_heartbeats:
            answer = HeartbeatAnswer(core.promised, round_)
            if core.durable_promise >= core.promised:
                core.outbox.send(sender, answer)
            else:
                core.outbox.send_after(sender, answer)

    def _on_heartbeat_answer(self, sender: int, message: HeartbeatAnswer) -> None:
        if isinstance(self.role, Leader) and message.ballot == self.role.ballot:
            self.role.on_heartbeat_answer(sender, message.round)
        else:
            self._give_way(message.ballot)

    def _on_learned(self, sender: int, message: Learned) -> None:
        core = self.core
        entries = self._decode(message)
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
        if isinstance(self.role, Candidate):
            self._restart_election_timer()
            self._advance_candidate(self.role)

    def on_session(self, member: int, session: int | None) -> None:
        if isinstance(self.role, Leader):
            self.role.on_session_change(member)

    # ------------------------------------------------------------------------------------------------ slots and disk

    def on_persisted(self, ticket: int) -> None:
        core, role = self.core, self.role
        fresh = core.persisted(ticket)
        self._learner.on_persisted()
        if isinstance(role, Leader):
            role.on_persisted(fresh)
        elif isinstance(role, Candidate) and role.is_own_report_due(ticket):
            self._send_promise(core.member.id, self._acceptor.report(role.first))

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None:
        match purpose:
            case ForLearner(member):
                self._learner.on_fetched(member, entries)
            case ForAcceptor():
                if isinstance(self.role, Leader):
                    self.role.on_fetched(purpose, entries)
            case ForPromise():
                self._send_promise(purpose.ballot[1], self._acceptor.report_fetched(purpose, entries))

    def take_write(self) -> Write | None:
        return self.core.take_write()

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """One slot has one value: what was proposed in a slot that has been delivered, and was not delivered there,
        never will be. Nothing else proves it. A delivered entry of a later ballot does not: an acceptor that nobody has
        heard since may have accepted the proposal in a higher slot, from where any later ballot may revive it.
        """
        return index is not None and delivered[0] >= index

    def words(self) -> dict[str, str]:
        promised, own = self.core.promised, self.core.own
        return {"ballot": f"{promised[0]}.{promised[1]}", "own ballot": f"{own[0]}.{own[1]}"}


Engine = partial(engine.Engine, Paxos)
"""One member's part in one Multi-Paxos group: ``Engine(now, options, durable)``."""
