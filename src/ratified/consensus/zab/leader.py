"""Leading: the leader's steps of the paper's three phases.

Rules of this file:

1. A ``Leading`` lives for one epoch at most: nothing that it knows of its followers outlives it.
2. Discovery: the epoch is later than all that a quorum has accepted, and a quorum accepts it, this member by its own
   disk. If a history among them is better than the own one, this member gives up for it (ZooKeeper): the own
   history is never replaced, so a leader truncates nothing.
3. Synchronisation: every follower gets the own history, by NEWLEADER with DIFF or TRUNC. Where the two meet below what
   is left of the own one a snapshot comes first (SNAP), and then DIFF from there. Nothing is committed before a quorum
   has acknowledged NEWLEADER durably, however many hold an entry; then the whole initial history is. Under log leases
   it is when an earlier leader's has run out (``replication/log_leases``), and only then UPTODATE is said.
4. Broadcast: PROPOSE goes at once, beside the own write; an entry is committed when a quorum has it durably, this
   member counted by its own disk, a follower from its acknowledgement of NEWLEADER on: one that comes back, or has
   pulled the epoch, may hold much of it before.
5. A read is answered only when this member serves, and after a round of PONGs that began after it was asked for.
6. What is sent is decided in ``flush``, once a turn, from the progress of each follower; inputs only change progress.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from ratified.consensus.contract import Entry, Membership, Progress, Proposal, ProposalId, Size, Sizes, Taken
from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.proposals import commands, configuration, noop
from ratified.consensus.replication.reads import NO_ROUND, ReadRounds
from ratified.consensus.replication.reconfiguration import first_step
from ratified.consensus.zab import zxid
from ratified.consensus.zab.core import Core
from ratified.consensus.zab.link import Lane, Link
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    AskLease,
    Candidacy,
    CEpoch,
    Fitness,
    FromFollower,
    LeaseReleased,
    LinkBroken,
    Mode,
    NewEpoch,
    NewLeader,
    Pong,
    Resign,
    Standing,
    TimeoutNow,
    Vote,
)
from ratified.consensus.zab.progress import PeerProgress, Stage
from ratified.consensus.zab.sender import ForFollower, Sender


class LeaderPhase(Enum):
    """What a leader waits for."""

    DISCOVERY = "discovery"
    """A quorum of CEPOCH, then of ACKEPOCH."""
    SYNCHRONISATION = "synchronisation"
    """A quorum that acknowledges NEWLEADER."""
    BROADCAST = "broadcast"


class Leading:
    """This member while it leads, or tries to, in one epoch."""

    __slots__ = (
        "_core",
        "_followers",
        "_heartbeat_due",
        "_opening",
        "_own_ticket",
        "_peers",
        "_sender",
        "begins_again",
        "better",
        "ended",
        "epoch",
        "fitness",
        "liveness",
        "origin",
        "phase",
        "reads",
    )

    def __init__(self, core: Core, fitness: Fitness) -> None:
        self._core = core
        self.fitness = fitness
        """CAMPAIGNING: this member was asked to lead."""
        self.phase = LeaderPhase.DISCOVERY
        self.epoch: int | None = None
        """None until a quorum's CEPOCHs are here."""
        self.origin = 0
        """Where the initial history ends."""
        self.ended = False
        """Look again: a follower has a better history or a later epoch, or there is none left to begin."""
        self.better: Candidacy | None = None
        """A follower with a better history, for which this member gave up."""
        self.begins_again = False
        """It ended for want of a later epoch, before anything was led."""
        self._followers: dict[int, PeerProgress] = {}
        self._peers = core.configurations.peers
        """Those that were told of this leader, or dismissed."""
        self.liveness = Liveness(core.member)
        self.reads = ReadRounds(core.member)
        self._sender: Sender | None = None
        """There from synchronisation on."""
        self._own_ticket = 0
        """What must be durable for this member to count in the present phase."""
        self._opening = 0
        """With this index committed this member serves."""
        self._heartbeat_due = False
        self._restart_establishing()
        self._choose_epoch()

    @property
    def leader(self) -> int | None:
        """This member, in the broadcast phase."""
        return self._core.member.id if self.phase is LeaderPhase.BROADCAST else None

    @property
    def serving(self) -> bool:
        """Is what this epoch began with committed: the initial history, and the no-op where there is one?"""
        return self.phase is LeaderPhase.BROADCAST and self._core.log.commit >= self._opening

    # ------------------------------------------------------------------------------------------------------ inputs

    def propose(self, proposals: Sequence[Proposal]) -> Taken | None:
        return self._take(commands(proposals, self.next_index(), self._core.era))

    @property
    def is_settled(self) -> bool:
        return self._core.configurations.is_settled

    takes_commands = True

    def first_step(self, after: Membership) -> Membership:
        return first_step(self._core.configurations.latest, after)

    def configure(self, proposal: ProposalId | None, membership: Membership, context: bytes) -> Taken | None:
        """A configuration is a proposal like any other, in force as soon as it is in the history."""
        return self._take([configuration(self.next_index(), self._core.era, proposal, membership, context)])

    def add_noop(self, data: bytes = b"") -> Taken | None:
        return self._take([noop(self.next_index(), self._core.era, data)])

    def _take(self, entries: Sequence[Entry]) -> Taken | None:
        """None: there are not so many counters left in this epoch."""
        log = self._core.log
        if len(entries) > zxid.counters_left(log.last - self.origin):
            return None
        self._core.append(entries)
        return Taken(entries[0].index)

    def advance_commit(self) -> None:
        self._advance()

    def next_index(self) -> int:
        """Where the next proposal goes; its counter is this index less the origin, and is used once."""
        return self._core.log.last + 1

    def on_cepoch(self, sender: int, message: CEpoch) -> None:
        """A follower opens a link (step f.1.1)."""
        if sender not in self._core.configurations.peers:
            self._core.outbox.send(sender, refusal(message))
            return
        known = self._followers.get(sender)
        if known is not None and message.link <= known.link.number:
            self._break(sender, "FIFO: a link opened twice")
            return
        link = Link(message.link)
        if not link.follows(Lane.AFTER_WRITE, message.seq):
            self._core.outbox.ignore("FIFO: a gap or a repetition")
            return
        self._core.epoch_seen = max(self._core.epoch_seen, message.accepted_epoch)
        self._forget(sender)
        self._followers[sender] = PeerProgress(link, self._core.options.limits)
        self.liveness.heard(sender)
        if self.epoch is None:
            self._choose_epoch()
        elif message.accepted_epoch > self.epoch:
            self._begin_later_epoch()  # it can follow no other one
        elif self.may_offer_epoch(sender):
            self._offer_epoch(sender)

    def on_message(self, sender: int, message: FromFollower) -> None:
        """A message of a follower other than CEPOCH."""
        follower = self._followers.get(sender)
        if follower is None or message.link != follower.link.number:
            return
        lane = Lane.AT_ONCE if isinstance(message, Pong) else Lane.AFTER_WRITE
        if not follower.link.follows(lane, message.seq):
            self._break(sender, "FIFO: a gap or a repetition")
            return
        self.liveness.heard(sender)
        match message:
            case Ack():
                self._on_ack(sender, follower, message)
            case Pong():
                self._on_pong(sender, follower, message)
            case AckEpoch():
                self._on_ack_epoch(sender, follower, message)
            case AckHistory():
                self._on_ack_history(sender, follower, message)
            case AckNewLeader():
                self._on_ack_new_leader(sender, follower, message)

    def on_session_end(self, member: int) -> None:
        """The session with a peer ended, and its link with it."""
        self._forget(member)

    def on_persisted(self) -> None:
        self._advance()

    def on_fetched(self, purpose: ForFollower, entries: Sequence[Entry]) -> None:
        """Old entries for a follower came back from the log."""
        follower = self._followers.get(purpose.member)
        if follower is not None and self._sender is not None:
            self._sender.on_fetched(purpose, follower, entries)

    def on_compacted(self, base: int) -> None:
        """Whoever is in the middle of what is gone has to begin anew: nothing is ever left out of a link."""
        for member, follower in list(self._followers.items()):
            if follower.takes_entries and follower.next <= base:
                self._dismiss(member, follower)
                self._forget(member)

    def on_heartbeat_due(self) -> None:
        self._heartbeat_due = True

    def _restart_establishing(self) -> None:
        """The phase that begins now has to get its quorum in time."""
        self.liveness.establish_by = self._core.member.election_deadline(self._core.era)

    def _restart_synchronising(self) -> None:
        """One message of history may take longer than a timeout: where the quorum is asked, it only has to answer."""
        if self._core.options.extensions.check_quorum:
            self.liveness.establish_by = None
        else:
            self._restart_establishing()

    # ---------------------------------------------------------------------------------------------------- discovery

    def _choose_epoch(self) -> None:
        """Step l.1.1: with a quorum's CEPOCHs, an epoch later than all that it has accepted."""
        core = self._core
        if not core.configurations.is_quorum([*self._followers, core.member.id]):
            return
        epoch = 1 + max(core.accepted_epoch, core.epoch_seen)
        if epoch > zxid.EPOCH_MAX:
            core.outbox.ignore("an epoch that leaves none behind it")
            self.ended = True
            return
        core.accept_epoch(epoch)
        self.epoch = epoch
        self._own_ticket = core.next_ticket
        self._restart_establishing()
        for member in self._followers:
            if self.may_offer_epoch(member):
                self._offer_epoch(member)
        self._advance()

    def may_offer_epoch(self, member: int) -> bool:
        """Who does not vote is offered an epoch that a quorum has accepted: it could follow nobody else if none had."""
        return self.phase is not LeaderPhase.DISCOVERY or self._core.configurations.is_voter(member)

    def _begin_later_epoch(self) -> None:
        self.ended = True
        self.begins_again = self.phase is not LeaderPhase.BROADCAST

    def _offer_epoch(self, member: int) -> None:
        assert self.epoch is not None
        follower = self._followers[member]
        follower.stage = Stage.OFFERED
        number = follower.link.number
        self._core.outbox.send_after(member, NewEpoch(number, follower.link.next(Lane.AFTER_WRITE), self.epoch))

    def _on_ack_epoch(self, sender: int, follower: PeerProgress, message: AckEpoch) -> None:
        """Step f.1.2 is done."""
        core = self._core
        if follower.stage is not Stage.OFFERED or message.epoch != self.epoch:
            self._break(sender, "ACKEPOCH that was not asked for")
            return
        follower.stage = Stage.ACCEPTED
        follower.history = message
        if self.phase is not LeaderPhase.DISCOVERY:
            self._synchronise(sender, follower)
        elif message.accepted_now and message.ending.rank() > core.ending.rank():
            self.better = Candidacy(Fitness.READY, message.ending, sender)
            self.ended = True
        else:
            self._advance()
            if self.phase is LeaderPhase.DISCOVERY and self.is_spent():
                self._begin_later_epoch()

    def is_spent(self) -> bool:
        """Would a later epoch be accepted by the quorum that follows, and this one not, having been accepted before?"""
        members = [*self._followers, self._core.member.id]
        spent = [
            member
            for member, each in self._followers.items()
            if each.history is not None and not each.history.accepted_now
        ]
        is_quorum = self._core.configurations.is_quorum
        return is_quorum(members) and not is_quorum([member for member in members if member not in spent])

    def _epoch_is_accepted(self) -> bool:
        """Has a quorum accepted the epoch, each member for nobody else, and this member durably?"""
        accepted = [
            member for member, each in self._followers.items() if each.history is not None and each.history.accepted_now
        ]
        return self._with_own(accepted)

    def _with_own(self, members: list[int]) -> bool:
        """Are these a quorum, with this member if its disk is as far?"""
        core = self._core
        own = [core.member.id] if core.member.writes.done >= self._own_ticket else []
        return core.configurations.is_quorum(members + own)

    # ----------------------------------------------------------------------------------------------- synchronisation

    def _establish(self) -> None:
        """Step l.2.1: the epoch is this member's, and its history the initial one."""
        core = self._core
        assert self.epoch is not None
        self.phase = LeaderPhase.SYNCHRONISATION
        self.origin = core.log.last
        self._sender = Sender(core, self.epoch, self.origin)
        core.adopt_epoch(self.epoch, self.origin)
        self._own_ticket = core.next_ticket
        self._restart_synchronising()
        for member, follower in list(self._followers.items()):
            if follower.stage is Stage.ACCEPTED:
                self._synchronise(member, follower)
            elif follower.stage is Stage.CONNECTED:
                self._offer_epoch(member)

    def _synchronise(self, member: int, follower: PeerProgress) -> None:
        """NEWLEADER: by how the two histories differ."""
        core = self._core
        history = follower.history
        assert history is not None
        ending = history.ending
        # Below its last epoch the two are equal: every leader of a later epoch has that epoch's initial history.
        meet = core.log.meet((ending.last_epoch, 0), history.last_origin, ending.last_index)
        if self.needs_snapshot(meet):
            follower.stage = Stage.SNAPSHOT
            core.member.send_snapshot(member, core.log.base)
        else:
            self._send_new_leader(member, follower, self.sync_mode(ending.last_index, meet), meet)

    def needs_snapshot(self, meet: int) -> bool:
        """Do the histories meet below what is left of the own one?"""
        return meet < self._core.log.base

    def on_snapshot_sent(self, member: int, index: int, ok: bool) -> None:
        """The follower's history ends at ``index``; where it was not sent, or is gone by now as well, another one is
        asked for with the next PING."""
        follower = self._followers.get(member)
        if follower is not None and follower.stage is Stage.SNAPSHOT and ok and not self.needs_snapshot(index):
            self._send_new_leader(member, follower, Mode.DIFF, index)

    def _send_new_leader(self, member: int, follower: PeerProgress, mode: Mode, meet: int) -> None:
        """The histories meet there, and the rest of this one follows."""
        core = self._core
        assert self.epoch is not None
        meet_era = core.log.era_at(meet)
        assert meet_era is not None, f"the histories meet at {meet}, which is not in this one"
        follower.stage = Stage.SYNCHRONISING
        follower.match = meet
        follower.next = meet + 1
        link = follower.link
        seq = link.next(Lane.AT_ONCE)
        core.outbox.send(member, NewLeader(link.number, seq, self.epoch, mode, meet_era[0], meet, self.origin))

    def sync_mode(self, last: int, meet: int) -> Mode:
        """DIFF where the follower's history ends where the two meet, TRUNC where it goes on."""
        return Mode.DIFF if last == meet else Mode.TRUNC

    def _on_ack_history(self, sender: int, follower: PeerProgress, message: AckHistory) -> None:
        if follower.stage is not Stage.SYNCHRONISING or message.index >= follower.next:
            self._break(sender, "an acknowledgement of history that was not sent")
            return
        follower.acknowledged(message.index)
        if self.phase is LeaderPhase.SYNCHRONISATION:
            self._restart_synchronising()

    def _on_ack_new_leader(self, sender: int, follower: PeerProgress, message: AckNewLeader) -> None:
        complete = follower.next > self.origin
        if follower.stage is not Stage.SYNCHRONISING or message.epoch != self.epoch or not complete:
            self._break(sender, "an acknowledgement of NEWLEADER before its history")
            return
        follower.stage = Stage.SYNCHRONISED
        follower.acknowledged(self.origin)
        self._advance()

    def history_is_synchronised(self) -> bool:
        """Has a quorum acknowledged NEWLEADER, this member by its own disk?"""
        return self._with_own([member for member, each in self._followers.items() if each.has_acknowledged])

    def _begin_broadcast(self) -> None:
        """Step l.2.2, but for the commit of the initial history, which a lease may hold up."""
        core = self._core
        self.phase = LeaderPhase.BROADCAST
        self.liveness.establish_by = None
        self.reads.log_lease.elected_with(core.log)
        if core.options.extensions.noop_on_election:
            core.append([noop(self.next_index(), core.era)])
        self._opening = core.log.last

    # ---------------------------------------------------------------------------------------------------- broadcast

    def _on_ack(self, sender: int, follower: PeerProgress, message: Ack) -> None:
        """Step f.3.2 is done."""
        epoch, counter = zxid.unpack(message.zxid)
        index = self.origin + counter
        if epoch != self.epoch or index >= follower.next or follower.stage is Stage.SYNCHRONISING:
            self._break(sender, "an acknowledgement of what was not proposed")
            return
        follower.acknowledged(index)
        self._advance()

    def _advance(self) -> None:
        """Go on to the next phase, or commit, as far as the quorums reach."""
        if self.phase is LeaderPhase.DISCOVERY and self.epoch is not None and self._epoch_is_accepted():
            self._establish()
        if self.phase is LeaderPhase.SYNCHRONISATION and self.history_is_synchronised():
            self._begin_broadcast()
        self._advance_commit()

    def _advance_commit(self) -> None:
        """Steps l.2.2 and l.3.2: the initial history at once, what is proposed when a quorum has it; neither while an
        earlier leader may read by its log."""
        if self.reads.log_lease.waits or not self.may_commit():
            return
        index = max(self.acked_by_quorum(), self.origin)
        if index > self._core.log.commit:
            self._core.journal.commit_to(index)

    def acked_by_quorum(self) -> int:
        """Up to where a quorum has this history durably."""
        return self._core.configurations.quorum_value(self._durable_at)

    def may_commit(self) -> bool:
        """What earlier epochs left is committed by NEWLEADER, not by counting who holds it."""
        return self.phase is LeaderPhase.BROADCAST

    def _durable_at(self, member: int) -> int:
        if member == self._core.member.id:
            return self._core.log.durable
        follower = self._followers.get(member)
        return follower.match if follower is not None and follower.has_acknowledged else 0

    # ------------------------------------------------------------------------------------------------------- reads

    def _on_pong(self, sender: int, follower: PeerProgress, message: Pong) -> None:
        if message.epoch != self.epoch or message.round > self.reads.round:
            self._break(sender, "an answer to no PING of this leader")
            return
        if not self._all_answers_are_here(follower, message):
            self._break(sender, "FIFO: an answer is missing")
            return
        self.reads.on_answer(sender, message.round)

    def _all_answers_are_here(self, follower: PeerProgress, message: Pong) -> bool:
        return follower.link.has_received(Lane.AFTER_WRITE, message.answers)

    # ------------------------------------------------------------------------------------------------ who is told

    @property
    def candidacy(self) -> Candidacy:
        fitness = self.fitness if self.phase is LeaderPhase.DISCOVERY else Fitness.READY
        return Candidacy(fitness, self._core.ending, self._core.member.id)

    def tell(self, member: int) -> None:
        """This member leads, or is about to."""
        core = self._core
        core.outbox.send(member, Vote(core.round, Standing.LEADING, core.accepted_epoch, self.candidacy))

    def tell_all(self) -> None:
        """Tell those that do not follow this member yet."""
        for peer in self._core.configurations.peers:
            if peer in self._core.sessions and peer not in self._followers:
                self.tell(peer)

    def resign(self) -> None:
        """This leader stops leading, and its followers need not wait to find out."""
        if (round_ := self.reads.lease.release()) is not None:
            for member in self._followers:
                self._release(member, round_)
        for member, follower in self._followers.items():
            self._dismiss(member, follower)

    def _release(self, member: int, round_: int) -> None:
        assert self.epoch is not None
        self._core.outbox.send(member, LeaseReleased(self.epoch, round_))

    def _dismiss(self, member: int, follower: PeerProgress) -> None:
        seq = follower.link.next(Lane.PING)
        resignation = Resign(follower.link.number, seq, self.epoch or 0, self.reads.round)
        self._core.outbox.send(member, resignation)

    def _follow_configuration(self) -> None:
        """Who joins is told whom to follow, and who has left follows no longer (rule 6 of the contract)."""
        peers = self._core.configurations.peers
        if peers is self._peers:
            return
        self._peers = peers
        for member, follower in list(self._followers.items()):
            if member not in peers:
                self._dismiss(member, follower)
                self._forget(member)
        self.tell_all()

    # ------------------------------------------------------------------------------------------------------ sending

    def flush(self) -> None:
        self._follow_configuration()
        if self.reads.advance(serving=self.serving, commit=self._core.log.commit):
            self._heartbeat_due = True
        sender = self._sender
        if sender is None:
            return
        rests = self._heartbeat_due and self.liveness.tell_whether_it_rests()
        if self._heartbeat_due and self.phase is LeaderPhase.BROADCAST and not rests:
            self._ask_lease()
        for member, follower in self._followers.items():
            if follower.stage is Stage.SNAPSHOT and self._heartbeat_due:
                self._core.member.send_snapshot(member, self._core.log.base)
                sender.ping(member, follower, self.reads.round, rests=rests)
            if not follower.takes_entries:
                continue
            sender.send(member, follower)
            if self._heartbeat_due:
                sender.ping(member, follower, self.reads.round, rests=rests)
            if self.phase is LeaderPhase.BROADCAST:
                sender.tell_commit(member, follower)
        self._heartbeat_due = False

    def _ask_lease(self) -> None:
        core = self._core
        round_ = self.reads.lease.ask()
        if round_ is None:
            return
        assert self.epoch is not None
        for member, follower in self._followers.items():
            if follower.stage is Stage.UP_TO_DATE:
                core.outbox.send(member, AskLease(self.epoch, round_, core.options.lease_us))

    def has_everything(self, member: int) -> bool:
        follower, log = self._followers.get(member), self._core.log
        return follower is not None and follower.stage is Stage.UP_TO_DATE and follower.match == log.last == log.commit

    def tell_to_campaign(self, member: int) -> None:
        assert self.epoch is not None
        if (round_ := self.reads.lease.release()) is not None:
            self._release(member, round_)
        link = self._followers[member].link
        self._core.outbox.send(member, TimeoutNow(link.number, link.next(Lane.AT_ONCE), self.epoch))

    def progress(self) -> dict[int, Progress]:
        return {
            member: Progress(follower.match, follower.next, follower.stage.value, follower.match)
            for member, follower in self._followers.items()
        }

    def sizes(self) -> Sizes:
        followers = self._followers
        return {
            "barriers": Size(len(self.reads)),
            **self.reads.log_lease.sizes(),
            "followers": Size(len(followers), len(self._core.configurations.peers)),
            "messages in flight": Size(sum(len(follower.window) for follower in followers.values())),
        }

    def _break(self, member: int, reason: str) -> None:
        """The link ends; a follower that had to find that out by itself would be missing in the quorum meanwhile."""
        self._core.outbox.ignore(reason)
        follower = self._followers.get(member)
        if follower is not None:
            link = follower.link
            self._core.outbox.send(member, LinkBroken(link.number, link.next(Lane.PING)))
        self._forget(member)

    def _forget(self, member: int) -> None:
        """What came over the link counts no longer."""
        self._followers.pop(member, None)
        self.reads.forget(member)


def refusal(message: CEpoch) -> Resign:
    """The answer to whoever opens a link to a member that does not lead it."""
    return Resign(message.link, Link(message.link).next(Lane.PING), 0, NO_ROUND)
