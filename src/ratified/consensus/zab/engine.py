"""The ZAB engine: the contract's inputs, the change of roles, and what leaves in a turn.

Rules of this file:

1. Exactly one role object is alive: ``Probing`` (of the textbook: ``Looking``), ``Following`` or ``Leading``. Roles
   change here and nowhere else; a role that has ``ended`` makes way for another one.
2. A member that starts looks for a leader. It looks again when its session with the leader ends, when the leader says
   that it does not lead, when nothing is heard from it until the deadline, and when a link breaks.
3. Whoever leads tells those who look. Who hears the leader that it follows leaves it for a later epoch only, or for a
   member that was told to lead. Of two that stand the one of the greater id goes on, the other one follows it: both
   had a quorum of grants.
4. Whatever a message says is to be done is done at once: a leader that leads no longer says so, an epoch that its
   quorum cannot accept is followed by the next one. Deadlines are for silence.
5. ``ready`` decides nothing that an input did not decide; it collects, and it hands out the ticket of the write.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

from ratified.consensus.contract import Base, Durable, Entry, Era, RefusedReason, Size, Sizes, Write
from ratified.consensus.replication import engine
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.suspicion import Suspicion, Verdict
from ratified.consensus.zab import probing
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.election import Looking
from ratified.consensus.zab.follower import FollowerPhase, Following
from ratified.consensus.zab.leader import Leading, refusal
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    AskLease,
    Candidacy,
    CEpoch,
    Fitness,
    FromLeader,
    LeaseGranted,
    LeaseReleased,
    Message,
    Pong,
    Probe,
    ProbeAnswer,
    Pull,
    PullAnswer,
    Resign,
    Standing,
    Vote,
)
from ratified.consensus.zab.probing import ForPull, Probing
from ratified.consensus.zab.sender import ForFollower
from ratified.consensus.zab.state import EpochState


class Zab:
    """Junqueira, Reed and Serafini, "Zab: High-performance broadcast for primary-backup systems" (DSN 2011)."""

    __slots__ = ("_election_timer", "_has_resigned", "_suspicion", "core", "role")

    def __init__(self, member: Member[EpochState], durable: Durable) -> None:
        self.core = Core(member, durable)
        self._suspicion: Suspicion[ProbeAnswer] = Suspicion(member)
        self._has_resigned = False
        """Does this member look for a leader after having led itself? Then it lets others go first."""
        self.role: Looking | Probing | Following | Leading = Probing(self.core, self._suspicion)
        self._election_timer: int
        self._restart_election_timer()
        if not self._probes or not self.core.configurations.peers:
            self._look_now()

    @property
    def leading(self) -> Leading | None:
        return self.role if isinstance(self.role, Leading) else None

    @property
    def _probes(self) -> bool:
        """Does this member ask before it stands (rule 14 of the contract)? The textbook's votes at once."""
        return self.core.options.extensions.suspicion

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def election_deadline(self) -> int | None:
        """The end of the election timeout, or the next probe, whichever comes first; None: there is no such time."""
        if self.rests:
            return None
        probe = self._suspicion.next_probe if isinstance(self.role, Probing) else None
        return self._election_timer if probe is None else min(self._election_timer, probe)

    @property
    def rests(self) -> bool:
        return self._suspicion.rests

    def on_election_deadline(self) -> None:
        if isinstance(self.role, Probing) and self._suspicion.is_due:
            self._probe(self.role)
        elif isinstance(self.role, Following) and self.role.waits_for_disk:
            self._restart_election_timer()
        elif isinstance(self.role, Probing):
            self._restart_election_timer()
            self._suspect_now(self.role)
        else:
            self._look_now()

    def _restart_election_timer(self) -> None:
        self._election_timer = self.core.member.election_deadline(self.core.era)

    # -------------------------------------------------------------------------------------------------------- roles

    def campaign(self) -> None:
        if self._probes:
            self._stand(Fitness.CAMPAIGNING)
        else:
            self._vote(Fitness.CAMPAIGNING)

    def step_down(self) -> None:
        leading = self.leading
        if not self._probes:
            self._vote(Fitness.READY)
        elif leading is not None and leading.leader is None:
            self._become_probing()
            self._suspicion.postpone()
        else:
            self._suspicion.end()
            self._become_probing()
            self._has_resigned = True

    def _look_now(self) -> None:
        """Something happened of which this member alone learns."""
        if self._probes:
            self._suspect_now(self._become_probing())
        else:
            self._vote(Fitness.READY)

    def _look_soon(self) -> None:
        """Something happened of which the peers learn in the same moment."""
        if self._probes:
            role = self._become_probing()
            self._suspicion.begin_soon()
            if not self._suspicion.active:
                role.ask()  # it does not stand, and asks only whom to follow
        else:
            self._vote(Fitness.READY)

    def _suspect_now(self, role: Probing) -> None:
        self._suspicion.begin_now()
        self._suspicion.restart()
        self._probe(role)

    def _leave_lead(self) -> None:
        if isinstance(self.role, Leading):
            self.role.reads.fail()
            if self._probes:
                self.role.resign()

    def _become_probing(self) -> Probing:
        self._has_resigned = False
        self._suspicion.wake()
        self._leave_lead()
        self.role = role = Probing(self.core, self._suspicion)
        self._restart_election_timer()
        return role

    def _vote(self, fitness: Fitness) -> None:
        """Look for a leader by votes."""
        better = self.role.better if isinstance(self.role, Leading) else None
        self._suspicion.wake()
        self._leave_lead()
        self.role = Looking(self.core, fitness, better)
        self._restart_election_timer()
        self._decide()

    def _stand(self, fitness: Fitness) -> None:
        """A quorum would follow this member, or it is told to lead."""
        self._suspicion.stood()
        self._suspicion.wake()
        self._leave_lead()
        leading = self.role = Leading(self.core, fitness)
        leading.tell_all()
        self._look_if_ended()

    def _look_if_ended(self) -> None:
        role = self.role
        if isinstance(role, (Looking, Probing)) or not role.ended:
            return
        if isinstance(role, Leading) and role.begins_again and self._probes:
            self._stand(role.fitness)
        elif isinstance(role, Following) and role.resigned:
            self._look_soon()
        else:
            self._look_now()
            if isinstance(self.role, Probing):
                self._go_on_probing(role, self.role)

    def _go_on_probing(self, before: Following | Leading, probing: Probing) -> None:
        if isinstance(before, Leading) and before.better:
            probing.pull_from(before.better.member, before.better.ending)
        elif isinstance(before, Following) and before.link_is_broken:
            probing.left = before.leader_id

    def _decide(self) -> None:
        looking = self.role
        if not isinstance(looking, Looking) or not self.core.configurations.may_campaign:
            return
        winner = looking.winner
        if winner == self.core.member.id:
            self._lead(looking)
        elif winner is not None:
            self._follow(looking.candidacy, self.core.accepted_epoch, self.core.round)

    def _lead(self, looking: Looking) -> None:
        leading = self.role = Leading(self.core, Fitness.READY)
        for sender, message in looking.early.items():
            leading.on_cepoch(sender, message)
        self._look_if_ended()

    def _follow(self, candidacy: Candidacy, epoch: int, round_: int) -> None:
        """Follow this member, who said to lead ``epoch``, or who is about to lead a later one."""
        self._leave_lead()
        self._suspicion.heard()
        self.role = Following(self.core, candidacy, epoch, round_)
        self._restart_election_timer()

    # ------------------------------------------------------------------------------------------------------- probes

    def _probe(self, role: Probing) -> None:
        role.ask()
        self._stand_if_granted()

    def _stand_if_granted(self) -> None:
        if isinstance(self.role, Probing) and self.role.is_granted:
            self._stand(Fitness.READY)

    @property
    def _hears_leader(self) -> bool:
        """Does this member lead, or try to, or hear whom it follows, or followed until the link broke?"""
        role, hears = self.role, self._suspicion.hears
        match role:
            case Leading():
                return True
            case Following():
                return hears(role.leader_id)
            case Probing():
                return hears(role.left)
            case _:
                return False

    def _on_probe(self, sender: int, message: Probe) -> None:
        core = self.core
        if self._hears_leader or core.member.is_bound:
            verdict = Verdict.HEARS
        elif message.ending.rank() >= core.ending.rank():
            verdict = Verdict.GRANTED
        else:
            verdict = Verdict.BEHIND
        core.outbox.send(sender, ProbeAnswer(message.round, verdict, core.ending))
        if isinstance(self.role, Leading) and sender in core.configurations.peers:
            self.role.tell(sender)

    def _on_stands(self, sender: int, vote: Vote) -> None:
        """``sender`` leads, or stands by a quorum of grants, or is told to lead."""
        core = self.core
        core.epoch_seen = max(core.epoch_seen, vote.epoch)
        leads = vote.standing is Standing.LEADING and vote.candidacy.member == sender
        if leads and self._is_installed and not core.member.bars(sender) and self._joins(vote):
            self._follow(vote.candidacy, vote.epoch, vote.round)

    def _joins(self, vote: Vote) -> bool:
        role, candidacy = self.role, vote.candidacy
        later = vote.epoch > self.core.accepted_epoch
        campaigns = candidacy.fitness is Fitness.CAMPAIGNING
        match role:
            case Following() if role.leader_id == candidacy.member:
                return False
            case Following() if not self._hears_leader:
                return True
            case Following() if role.phase is FollowerPhase.DISCOVERY:
                later = later and vote.epoch > role.joined_epoch
                return later or candidacy.precedence() > role.candidacy.precedence()
            case Following():
                return campaigns or later
            case Leading() if role.epoch is None:
                return later or candidacy.precedence() > role.candidacy.precedence()
            case Leading():
                return later or (campaigns and role.candidacy.fitness is not Fitness.CAMPAIGNING)
            case _:
                return True

    # ------------------------------------------------------------------------------------------------------- leases

    def _on_ask_lease(self, sender: int, message: AskLease) -> None:
        core, role = self.core, self.role
        follows = isinstance(role, Following) and role.leader == sender and message.epoch == core.accepted_epoch
        if follows and core.member.grant(sender, core.era, message.round, message.lease_us):
            core.outbox.send(sender, LeaseGranted(message.epoch, message.round))

    def _on_lease_granted(self, sender: int, message: LeaseGranted) -> None:
        if isinstance(self.role, Leading) and message.epoch == self.role.epoch:
            self.role.reads.lease.on_granted(sender, message.round)

    def _pass_release_on(self) -> None:
        """Whom this member tells that it stands may not have heard it yet."""
        core = self.core
        if released := core.member.grants.released_by(core.era):
            for member in sorted(core.sessions):
                core.outbox.send(member, LeaseReleased(core.accepted_epoch, released))

    # ----------------------------------------------------------------------------------------------------- messages

    def on_message(self, sender: int, message: Message) -> None:
        core = self.core
        if sender not in core.sessions:
            core.outbox.ignore("a message from no session")
            return
        match message:
            case Vote():
                self._on_vote(sender, message)
            case CEpoch():
                self._on_cepoch(sender, message)
            case AckEpoch() | AckHistory() | AckNewLeader() | Ack() | Pong():
                if isinstance(self.role, Leading):
                    self.role.on_message(sender, message)
            case Probe():
                self._on_probe(sender, message)
            case ProbeAnswer():
                if isinstance(self.role, Probing):
                    self.role.on_answer(sender, message)
                    self._stand_if_granted()
            case Pull():
                if reply := probing.answer(core, sender, message):
                    core.outbox.send(sender, reply)
            case PullAnswer():
                if isinstance(self.role, Probing):
                    self.role.on_pull_answer(sender, message)
            case AskLease():
                self._on_ask_lease(sender, message)
            case LeaseGranted():
                self._on_lease_granted(sender, message)
            case LeaseReleased():
                if core.member.release((message.epoch, 0), message.round):
                    self._suspicion.released()
            case _:
                self._on_leaders_message(sender, message)
        self._look_if_ended()

    def _on_leaders_message(self, sender: int, message: FromLeader) -> None:
        role = self.role
        if isinstance(role, Probing) and isinstance(message, Resign):
            role.leads_no_longer(sender)
        elif isinstance(role, Following) and role.leader_id == sender and role.on_message(message):
            self._suspicion.heard()
            if role.rests:
                self._suspicion.rest()
            self._restart_election_timer()
            if role.is_handed_the_lead and self.core.member.may_be_handed_the_lead:
                role.is_handed_the_lead = False
                self._pass_release_on()
                self.campaign()

    def _on_vote(self, sender: int, vote: Vote) -> None:
        core, role = self.core, self.role
        core.epoch_seen = max(core.epoch_seen, vote.epoch)
        if self._probes:
            self._on_stands(sender, vote)
        elif isinstance(role, Looking):
            leader = role.on_vote(sender, vote)
            if leader is None:
                self._decide()
            else:
                self._follow(vote.candidacy, vote.epoch, vote.round)
        elif vote.standing is Standing.LOOKING:
            campaigns = vote.candidacy.fitness is Fitness.CAMPAIGNING and vote.round > core.round
            if campaigns or self._is_abandoned_by(sender, vote):
                self._vote(Fitness.READY)
                self._on_vote(sender, vote)
            else:
                self._tell(sender)
        elif vote.standing is Standing.LEADING:
            joined = role.joined_epoch if isinstance(role, Following) else 0
            if vote.epoch > max(core.accepted_epoch, joined) and not self._follows(sender):
                self._vote(Fitness.READY)
                self._on_vote(sender, vote)
        elif self._follows(sender):
            self._vote(Fitness.READY)

    def _follows(self, member: int) -> bool:
        return isinstance(self.role, Following) and self.role.leader_id == member

    def _is_abandoned_by(self, sender: int, vote: Vote) -> bool:
        """Does the leader look for another one, or in a later round than the one in which it was found?"""
        role = self.role
        return (
            isinstance(role, Following)
            and role.leader_id == sender
            and (vote.round > role.round or vote.candidacy.member != sender)
        )

    def _on_cepoch(self, sender: int, message: CEpoch) -> None:
        match self.role:
            case Leading() as leading:
                leading.on_cepoch(sender, message)
            case Looking() as looking:
                looking.on_early_cepoch(sender, message)
            case Following() if not self._probes:
                self._tell(sender)
            case _:
                self.core.outbox.send(sender, refusal(message))

    def _tell(self, member: int) -> None:
        """Whom this member follows, or that it leads; who is no member would be refused, and ask again at once."""
        core, role = self.core, self.role
        if member not in core.configurations.peers:
            return
        if isinstance(role, Leading):
            role.tell(member)
        elif isinstance(role, Following):
            candidacy = Candidacy(Fitness.READY, core.ending, role.leader_id)
            core.outbox.send(member, Vote(core.round, Standing.FOLLOWING, core.accepted_epoch, candidacy))

    def on_session(self, member: int, session: int | None) -> None:
        core = self.core
        if member in core.sessions:
            core.session_ended(member)
            self._on_session_end(member)
        if session is not None:
            core.sessions[member] = session
            self._greet(member)

    def _greet(self, member: int) -> None:
        if isinstance(self.role, Looking):
            self.role.on_session(member)
        elif isinstance(self.role, Probing):
            if not self._has_resigned:
                self._suspicion.begin_soon()
        elif member in self.core.configurations.peers and (isinstance(self.role, Leading) or not self._probes):
            self._tell(member)

    def _on_session_end(self, member: int) -> None:
        self._suspicion.forget(member)
        match self.role:
            case Leading() as leading:
                leading.on_session_end(member)
            case Following() as following:
                if following.leader_id == member:
                    self._look_soon()
            case Probing() as probing:
                probing.on_session_end(member)
            case Looking() as looking:
                looking.on_session(member)

    # ---------------------------------------------------------------------------------------------- history and disk

    def on_persisted(self, ticket: int) -> None:
        self.core.journal.persisted(ticket)
        if not isinstance(self.role, Looking):
            self.role.on_persisted()
        if isinstance(self.role, Probing) and self._suspicion.is_due:
            self._probe(self.role)

    def on_compacted(self, base: Base) -> None:
        self.core.journal.compact(base)
        if isinstance(self.role, Probing):
            self.role.on_history_cut()
        elif isinstance(self.role, Leading):
            self.role.on_compacted(base.index)

    # ---------------------------------------------------------------------------------------------------- snapshots

    @property
    def _is_installed(self) -> bool:
        """Is the store where the history begins, so that the history counts?"""
        return self.core.member.snapshots.installing is None

    def on_snapshot_sent(self, peer: int, index: int, ok: bool) -> None:
        if isinstance(self.role, Leading):
            self.role.on_snapshot_sent(peer, index, ok)

    def takes_offers_of(self, sender: int) -> bool:
        """Of the leader that is followed, or of any peer while none is: it was asked (pull)."""
        return self._follows(sender) or isinstance(self.role, Probing)

    def refuses_snapshot(self, sender: int, base: Base) -> RefusedReason | None:
        """Between NEWLEADER and the end of the link the history is the leader's, and so is what is missing in it."""
        role, log = self.role, self.core.log
        waits = isinstance(role, Following) and role.phase is FollowerPhase.ACCEPTED
        if not waits and not isinstance(role, Probing):
            return RefusedReason.NOT_NEEDED
        if base.index > log.commit and log.era_at(base.index) == base.era:
            self.core.journal.commit_to(base.index)  # all of it is here, and the sender has applied it
        return None if base.index > log.commit else RefusedReason.NOT_NEEDED

    def install(self, base: Base) -> None:
        """SNAP: the history becomes the one that ends at the base. The current epoch follows with NEWLEADER."""
        self.core.install(base)
        if isinstance(self.role, Probing):
            self.role.on_history_cut()
            self._suspicion.restart()

    def on_installed(self, sender: int, base: Base) -> None:
        self._suspicion.restart()

    def on_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None:
        if isinstance(self.role, Leading) and isinstance(purpose, ForFollower):
            self.role.on_fetched(purpose, entries)
        elif isinstance(purpose, ForPull) and (reply := probing.answer_fetched(self.core, purpose.question, entries)):
            self.core.outbox.send(purpose.member, reply)

    def take_write(self) -> Write | None:
        write = self.core.take_write()
        if isinstance(self.role, Following):
            self.role.turn_ends()
        return write

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Epochs never decrease along a history: behind a delivered entry of a later one none of ``era`` can come."""
        return delivered[1] > era

    def words(self) -> dict[str, str]:
        core = self.core
        last = core.zxid_at(core.log.last)
        return {
            "epoch": str(core.current_epoch),
            "accepted epoch": str(core.accepted_epoch),
            "zxid": "unknown" if last is None else f"{last:#x}",
        }

    def sizes(self) -> Sizes:
        core, role = self.core, self.role
        following = role.sizes() if isinstance(role, Following) else {}
        sessions = Size(len(core.sessions), len(core.configurations.peers))
        return {"sessions": sessions, **following, **self._suspicion.sizes()}


Engine = partial(engine.Engine, Zab)
"""One member's part in one ZAB group: ``Engine(now, options, durable)``."""
