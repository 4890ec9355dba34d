"""The ZAB engine: the contract's inputs, the change of roles, and what leaves in a turn.

Rules of this file:

1. Exactly one role object is alive: ``Looking``, ``Following`` or ``Leading``. Roles change here and nowhere else; a
   role that has ``ended`` makes way for a new election.
2. A member that starts looks for a leader. It looks again when its session with the leader ends, when the leader says
   that it does not lead, when nothing is heard from it until the deadline, and when a link breaks.
3. Whoever follows or leads tells those who look whom; it joins a new election only for a member that campaigns.
4. ``ready`` decides nothing that an input did not decide; it collects, and it hands out the ticket of the write.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

from ratified.consensus.contract import Durable, Entry, Era, Write
from ratified.consensus.replication import engine
from ratified.consensus.replication.member import Member
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.election import Looking
from ratified.consensus.zab.follower import Following
from ratified.consensus.zab.leader import Leading
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    Candidacy,
    CEpoch,
    Fitness,
    FromLeader,
    Message,
    Pong,
    Standing,
    Vote,
)
from ratified.consensus.zab.sender import ForFollower
from ratified.consensus.zab.state import EpochState


class Zab:
    """Junqueira, Reed and Serafini, "Zab: High-performance broadcast for primary-backup systems" (DSN 2011)."""

    __slots__ = ("core", "election_deadline", "role")

    def __init__(self, member: Member[EpochState], durable: Durable) -> None:
        self.core = Core(member, durable)
        self.role: Looking | Following | Leading = Looking(self.core, Fitness.READY)
        self.election_deadline: int
        self._restart_election_timer()
        self._decide()

    @property
    def leading(self) -> Leading | None:
        return self.role if isinstance(self.role, Leading) else None

    # ------------------------------------------------------------------------------------------------------- timers

    def on_election_deadline(self) -> None:
        if isinstance(self.role, Following) and self.role.waits_for_disk:
            self._restart_election_timer()
        else:
            self._look(Fitness.READY)

    def _restart_election_timer(self) -> None:
        self.election_deadline = self.core.member.election_deadline(self.core.era)

    # -------------------------------------------------------------------------------------------------------- roles

    def campaign(self) -> None:
        self._look(Fitness.CAMPAIGNING)

    def step_down(self) -> None:
        self._look(Fitness.READY)

    def _look(self, fitness: Fitness) -> None:
        better = None
        if isinstance(self.role, Leading):
            self.role.reads.fail()
            better = self.role.better
        self.role = Looking(self.core, fitness, better)
        self._restart_election_timer()
        self._decide()

    def _look_if_ended(self) -> None:
        if not isinstance(self.role, Looking) and self.role.ended:
            self._look(Fitness.READY)

    def _decide(self) -> None:
        looking = self.role
        if not isinstance(looking, Looking) or not self.core.configurations.may_campaign:
            return
        winner = looking.winner
        if winner == self.core.member.id:
            self._lead(looking)
        elif winner is not None:
            self._follow(winner, self.core.accepted_epoch)

    def _lead(self, looking: Looking) -> None:
        leading = self.role = Leading(self.core)
        for sender, message in looking.early.items():
            leading.on_cepoch(sender, message)
        self._look_if_ended()

    def _follow(self, leader: int, epoch: int) -> None:
        """Follow ``leader``, who said to lead ``epoch``, or who is about to lead a later one."""
        self.role = Following(self.core, leader, epoch)
        self._restart_election_timer()

    # ----------------------------------------------------------------------------------------------------- messages

    def on_message(self, sender: int, message: Message) -> None:
        core = self.core
        if sender not in core.sessions or sender not in core.configurations.peers:
            core.outbox.ignore("a message from no session with a peer")
            return
        match message:
            case Vote():
                self._on_vote(sender, message)
            case CEpoch():
                self._on_cepoch(sender, message)
            case AckEpoch() | AckHistory() | AckNewLeader() | Ack() | Pong():
                if isinstance(self.role, Leading):
                    self.role.on_message(sender, message)
            case _:
                self._on_leaders_message(sender, message)
        self._look_if_ended()

    def _on_leaders_message(self, sender: int, message: FromLeader) -> None:
        role = self.role
        if isinstance(role, Following) and role.leader_id == sender and role.on_message(message):
            self._restart_election_timer()

    def _on_vote(self, sender: int, vote: Vote) -> None:
        core, role = self.core, self.role
        core.epoch_seen = max(core.epoch_seen, vote.epoch)
        if isinstance(role, Looking):
            leader = role.on_vote(sender, vote)
            if leader is None:
                self._decide()
            else:
                self._follow(leader, vote.epoch)
        elif vote.standing is Standing.LOOKING:
            campaigns = vote.candidacy.fitness is Fitness.CAMPAIGNING and vote.round > core.round
            if campaigns or self._is_abandoned_by(sender, vote):
                self._look(Fitness.READY)
                self._on_vote(sender, vote)
            else:
                self._tell(sender)
        elif vote.standing is Standing.LEADING:
            joined = role.joined_epoch if isinstance(role, Following) else 0
            if vote.epoch > max(core.accepted_epoch, joined) and not self._follows(sender):
                self._look(Fitness.READY)
                self._on_vote(sender, vote)
        elif self._follows(sender):
            self._look(Fitness.READY)

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
            case Following():
                self._tell(sender)

    def _tell(self, member: int) -> None:
        """Whom this member follows, or that it leads."""
        core, role = self.core, self.role
        assert not isinstance(role, Looking)
        leader, standing = (
            (core.member.id, Standing.LEADING) if isinstance(role, Leading) else (role.leader_id, Standing.FOLLOWING)
        )
        candidacy = Candidacy(Fitness.READY, core.ending, leader)
        core.outbox.send(member, Vote(core.round, standing, core.accepted_epoch, candidacy))

    def on_session(self, member: int, session: int | None) -> None:
        core = self.core
        if member not in core.configurations.peers:
            return
        if member in core.sessions:
            core.session_ended(member)
            self._on_session_end(member)
        if session is not None:
            core.sessions[member] = session
            self._greet(member)

    def _greet(self, member: int) -> None:
        if isinstance(self.role, Looking):
            self.role.on_session(member)
        else:
            self._tell(member)

    def _on_session_end(self, member: int) -> None:
        match self.role:
            case Leading() as leading:
                leading.on_session_end(member)
            case Following() as following:
                if following.leader_id == member:
                    self._look(Fitness.READY)
            case Looking() as looking:
                looking.on_session(member)

    # ---------------------------------------------------------------------------------------------- history and disk

    def on_persisted(self, ticket: int) -> None:
        self.core.journal.persisted(ticket)
        if not isinstance(self.role, Looking):
            self.role.on_persisted()

    def on_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None:
        if isinstance(self.role, Leading) and isinstance(purpose, ForFollower):
            self.role.on_fetched(purpose, entries)

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


Engine = partial(engine.Engine, Zab)
"""One member's part in one ZAB group: ``Engine(now, options, durable)``."""
