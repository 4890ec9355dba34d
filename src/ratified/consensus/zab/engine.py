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
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.delivery import Delivery
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


class Engine:
    """One member's part in one ZAB group (Junqueira, Reed and Serafini, "Zab: High-performance broadcast for
    primary-backup systems", DSN 2011)."""

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        self._core = Core(now, options, durable)
        self._delivery = Delivery(durable.applied, options.limits.deliver_bytes_max)
        self._role: Looking | Following | Leading = Looking(self._core, Fitness.READY)
        self._reported_lead: Lead | None = None
        self._reported_membership: Membership | None = None
        self._election_deadline: int | None = None
        self._restart_election_timer()
        self._decide()

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def deadline(self) -> int | None:
        """When to ``tick`` next; None: there is no timer at all."""
        return self._role.deadline if isinstance(self._role, Leading) else self._election_deadline

    @property
    def leading(self) -> Era | None:
        """The epoch in which this engine broadcasts at this moment; None: it does not."""
        return self._era if self._role.leader == self._core.member else None

    def tick(self, now: int) -> None:
        """The last reported deadline has passed; an early tick does nothing."""
        self._core.at(now)
        deadline = self.deadline
        if deadline is None or now < deadline:
            return
        if isinstance(self._role, Leading):
            self._role.tick(now)
            self._look_if_ended()
        elif isinstance(self._role, Following) and self._role.waits_for_disk:
            self._restart_election_timer()
        else:
            self._look(Fitness.READY)

    def campaign(self, now: int) -> None:
        """Try to lead, now."""
        self._core.at(now)
        if self._core.is_voter and not isinstance(self._role, Leading):
            self._look(Fitness.CAMPAIGNING)

    def _restart_election_timer(self) -> None:
        core = self._core
        self._election_deadline = core.options.election_deadline(core.now, self._era)

    @property
    def _era(self) -> Era:
        return self._core.accepted_epoch, 0

    # -------------------------------------------------------------------------------------------------------- roles

    def _look(self, fitness: Fitness) -> None:
        """Begin a new election round."""
        better = None
        if isinstance(self._role, Leading):
            self._role.stop()
            better = self._role.better
        self._role = Looking(self._core, fitness, better)
        self._restart_election_timer()
        self._decide()

    def _look_if_ended(self) -> None:
        if not isinstance(self._role, Looking) and self._role.ended:
            self._look(Fitness.READY)

    def _decide(self) -> None:
        """Does this round have a winner?"""
        looking = self._role
        if not isinstance(looking, Looking) or not self._core.is_voter:
            return
        winner = looking.winner
        if winner == self._core.member:
            self._lead(looking)
        elif winner is not None:
            self._follow(winner)

    def _lead(self, looking: Looking) -> None:
        leading = self._role = Leading(self._core)
        for sender, message in looking.early.items():
            leading.on_cepoch(sender, message)
        self._look_if_ended()

    def _follow(self, leader: int) -> None:
        self._role = Following(self._core, leader)
        self._restart_election_timer()

    # ----------------------------------------------------------------------------------------------------- messages

    def step(self, now: int, sender: int, message: Message) -> None:
        """A message from ``sender``'s current session."""
        core = self._core
        core.at(now)
        if sender not in core.sessions or sender not in core.peers:
            core.ignore("a message from no session with a peer")
            return
        match message:
            case Vote():
                self._on_vote(sender, message)
            case CEpoch():
                self._on_cepoch(sender, message)
            case AckEpoch() | AckHistory() | AckNewLeader() | Ack() | Pong():
                if isinstance(self._role, Leading):
                    self._role.on_message(sender, message)
            case _:
                self._on_leaders_message(sender, message)
        self._look_if_ended()

    def _on_leaders_message(self, sender: int, message: FromLeader) -> None:
        role = self._role
        if isinstance(role, Following) and role.leader_id == sender and role.on_message(message):
            self._restart_election_timer()

    def _on_vote(self, sender: int, vote: Vote) -> None:
        core, role = self._core, self._role
        core.epoch_seen = max(core.epoch_seen, vote.epoch)
        if isinstance(role, Looking):
            leader = role.on_vote(sender, vote)
            if leader is None:
                self._decide()
            else:
                self._follow(leader)
        elif vote.standing is Standing.LOOKING:
            campaigns = vote.candidacy.fitness is Fitness.CAMPAIGNING and vote.round > core.round
            if campaigns or self._is_abandoned_by(sender, vote):
                self._look(Fitness.READY)
                self._on_vote(sender, vote)
            else:
                self._tell(sender)
        elif vote.standing is Standing.LEADING:
            if vote.epoch > core.accepted_epoch and not self._follows(sender):
                self._look(Fitness.READY)
                self._on_vote(sender, vote)
        elif self._follows(sender):
            self._look(Fitness.READY)

    def _follows(self, member: int) -> bool:
        return isinstance(self._role, Following) and self._role.leader_id == member

    def _is_abandoned_by(self, sender: int, vote: Vote) -> bool:
        """Does the leader look for another one, or in a later round than the one in which it was found?"""
        role = self._role
        return (
            isinstance(role, Following)
            and role.leader_id == sender
            and (vote.round > role.round or vote.candidacy.member != sender)
        )

    def _on_cepoch(self, sender: int, message: CEpoch) -> None:
        match self._role:
            case Leading() as leading:
                leading.on_cepoch(sender, message)
            case Looking() as looking:
                looking.on_early_cepoch(sender, message)
            case Following():
                self._tell(sender)

    def _tell(self, member: int) -> None:
        """Whom this member follows, or that it leads."""
        core, role = self._core, self._role
        assert not isinstance(role, Looking)
        leader, standing = (
            (core.member, Standing.LEADING) if isinstance(role, Leading) else (role.leader_id, Standing.FOLLOWING)
        )
        candidacy = Candidacy(Fitness.READY, core.ending, leader)
        core.send(member, Vote(core.round, standing, core.accepted_epoch, candidacy))

    def peer(self, now: int, member: int, session: int | None) -> None:
        """A session with ``member`` was opened (its number), or lost (None)."""
        core = self._core
        core.at(now)
        if member not in core.peers:
            return
        if member in core.sessions:
            core.session_ended(member)
            self._on_session_end(member)
        if session is not None:
            core.sessions[member] = session
            self._on_session(member)

    def _on_session(self, member: int) -> None:
        if isinstance(self._role, Looking):
            self._role.on_session(member)
        else:
            self._tell(member)

    def _on_session_end(self, member: int) -> None:
        match self._role:
            case Leading() as leading:
                leading.on_session_end(member)
            case Following() as following:
                if following.leader_id == member:
                    self._look(Fitness.READY)
            case Looking() as looking:
                looking.on_session(member)

    # ----------------------------------------------------------------------------------------------------- requests

    def propose(self, now: int, proposals: Sequence[Proposal]) -> Taken | Refused:
        """Take all of them, in order, or none; never forwards."""
        assert proposals, "nothing was proposed"
        self._core.at(now)
        if isinstance(self._role, Leading):
            answer = self._role.propose(proposals)
            self._look_if_ended()
            return answer
        return Refused(RefusedReason.NOT_LEADER, self._role.leader)

    def read_barrier(self, now: int, token: int) -> None:
        """Ask for an index to read at; the answer comes in ``Ready.reads`` under the same token."""
        self._core.at(now)
        if isinstance(self._role, Leading):
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
        if not isinstance(self._role, Looking):
            self._role.on_persisted()

    def applied(self, now: int, index: int) -> None:
        """The store has everything up to ``index``."""
        self._core.at(now)
        self._delivery.on_applied(index)

    def fetched(self, now: int, token: int, entries: Sequence[Entry]) -> None:
        """The answer to a ``Fetch``."""
        self._core.at(now)
        if token == self._delivery.fetching:
            self._delivery.on_fetched(entries)
        elif isinstance(self._role, Leading):
            self._role.on_fetched(token, entries)

    def deliverable(self) -> int:
        """Rule 5: what is committed *and* durable here; else the store could be ahead of its own log."""
        return min(self._core.commit, self._core.durability.index)

    # --------------------------------------------------------------------------------------------------------- ready

    def ready(self) -> Ready | None:
        """Drain what must leave, once per turn; None: nothing."""
        core = self._core
        if isinstance(self._role, Leading):
            self._role.flush()
        write = core.take_write()
        if isinstance(self._role, Following):
            self._role.turn_ends()
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
        lead = Lead(self._role.leader, self._era, self._serving)
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
        return isinstance(self._role, Leading) and self._role.serving

    def status(self) -> Status:
        """What this engine knows, for metrics and people."""
        core = self._core
        last = core.zxid_at(core.log.last)
        words = {
            "epoch": str(core.current_epoch),
            "accepted epoch": str(core.accepted_epoch),
            "zxid": "unknown" if last is None else f"{last:#x}",
        }
        return Status(
            member=core.member,
            role=type(self._role).__name__.lower(),
            era=self._era,
            raft_term=core.accepted_epoch,
            leader=self._role.leader,
            serving=self._serving,
            last=core.log.last,
            durable=core.durability.index,
            commit=core.commit,
            applied=self._delivery.applied,
            membership=core.membership,
            progress=self._role.progress() if isinstance(self._role, Leading) else {},
            words={**words, **{f"ignored: {why}": str(count) for why, count in core.ignored.items()}},
        )

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Can a proposal addressed to ``era`` (taken at ``index``, if known) never be delivered any more?

        Epochs never decrease along a history, so behind a delivered entry of a later epoch no entry of ``era`` can
        come.
        """
        return delivered[1] > era
