"""Raft: the change of roles, and what each message does (figure 2, "rules for servers").

Rules of this file:

1. Exactly one role object is alive: ``Follower``, ``Candidate`` or ``Leader``. Roles change here and nowhere else.
2. Adopting a term, following a leader and restarting the election timer are three things. What a later term in a
   message does is said for each type of message in one place, ``_on_later_term``, before the message is looked at.
3. The election timer restarts when it runs out, when a vote is given, when the term's leader is heard, when this member
   stands or stops leading, and for nothing else: a stale candidate's later terms would otherwise keep the only member
   waiting that can win.
4. A member that does not lead is suspicious, or not (rule 14 of the contract, ``replication/suspicion``). That it
   stands, by a quorum of answers or because it is told to, is decided here.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import assert_never

from ratified.consensus.contract import Base, Durable, Entry, Era, RefusedReason, Size, Sizes, Write
from ratified.consensus.raft import pull
from ratified.consensus.raft.candidate import Candidate
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.extensions import PRODUCTION, TEXTBOOK, RaftExtensions
from ratified.consensus.raft.follower import Follower
from ratified.consensus.raft.leader import ForPeer, Leader
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    AskLease,
    CommitAdvanced,
    Heartbeat,
    HeartbeatResponse,
    LeaseGranted,
    LeaseReleased,
    Message,
    Probe,
    ProbeAnswer,
    Pull,
    PullAnswer,
    RequestVote,
    RequestVoteResponse,
    Resign,
    TimeoutNow,
)
from ratified.consensus.raft.pull import ForPull
from ratified.consensus.replication import engine
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.pull import Pulling, Step
from ratified.consensus.replication.reads import NO_ROUND
from ratified.consensus.replication.suspicion import Suspicion, Verdict


class Raft:
    """Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (extended version), figure 2."""

    __slots__ = ("_election_timer", "_pulling", "_suspicion", "core", "role")

    def __init__(self, member: Member[int], durable: Durable, extensions: RaftExtensions) -> None:
        self.core = Core(member, durable, extensions)
        self.role: Follower | Candidate | Leader = Follower(self.core, None)
        self._suspicion: Suspicion[ProbeAnswer] = Suspicion(member)
        self._pulling: Pulling | None = None
        self._election_timer: int | None
        self._restart_election_timer()

    @property
    def leading(self) -> Leader | None:
        return self.role if isinstance(self.role, Leader) else None

    # ------------------------------------------------------------------------------------------------------- timers

    @property
    def election_deadline(self) -> int | None:
        """The end of the election timeout, or the next probe, whichever comes first; None: there is no such time."""
        if self.rests:
            return None
        timer, probe = self._election_timer, self._suspicion.next_probe
        return timer if probe is None else probe if timer is None else min(timer, probe)

    @property
    def rests(self) -> bool:
        return self._suspicion.rests

    def _wake(self) -> None:
        """The leader is followed no longer, or has to be heard anew."""
        if self._suspicion.wake():
            self._restart_election_timer()

    def on_election_deadline(self) -> None:
        if self._suspicion.is_due:
            self._probe()
        elif self.core.options.extensions.suspicion:
            self._on_election_timeout()
        elif isinstance(self.role, Candidate) and self.role.waits_for_disk:
            # The requests have not left yet: another term would only queue behind them.
            self._restart_election_timer()
        else:
            self.campaign()

    def _on_election_timeout(self) -> None:
        """Ask at once, unless this member asks already; a candidate remains one, and late votes count."""
        self._restart_election_timer()
        if isinstance(self.role, Follower):
            self._become_follower(None)
        if self._suspicion.begin_now():
            self._probe()

    def _restart_election_timer(self) -> None:
        self._election_timer = self.core.member.campaign_deadline(self.core.era)

    # -------------------------------------------------------------------------------------------------------- roles

    def _adopt_term(self, term: int) -> None:
        """Whoever leads or stood in an earlier term is a follower in this one, of nobody yet (section 5.1)."""
        if isinstance(self.role, Leader) and self.role.liveness.others_rest:
            self.role.resign()
        self.core.adopt_term(term)
        if isinstance(self.role, Leader):
            self._give_up_lead()
        else:
            self._become_follower(None)

    def step_down(self) -> None:
        if isinstance(self.role, Leader) and self.core.options.extensions.suspicion:
            self.role.resign()
        self._give_up_lead()

    def _give_up_lead(self) -> None:
        """This member leads no longer, and waits as if it had just heard another leader."""
        self._become_follower(None)
        self._restart_election_timer()

    def _become_follower(self, leader: int | None) -> None:
        if isinstance(self.role, Leader):
            self.role.reads.fail()
        self._wake()
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
        self._stand(self.core.term + 1)

    def _stand(self, term: int) -> None:
        self._pulling = None
        self._wake()
        self.role = Candidate(self.core, term)
        self._suspicion.stood()
        self._restart_election_timer()

    def _count_votes(self, candidate: Candidate) -> None:
        if candidate.has_won:
            self._pulling = None
            self._suspicion.end()
            self.role = Leader(self.core)

    # ---------------------------------------------------------------------------------------------------- suspicion

    @property
    def _hears_leader(self) -> bool:
        return isinstance(self.role, Leader) or self._suspicion.hears(self.role.leader)

    def _probe(self) -> None:
        """Ask all peers, unless the own disk is in the way (it has the request for votes, or does not answer), or the
        store, which is being switched."""
        core = self.core
        if not core.member.may_stand or (isinstance(self.role, Candidate) and self.role.waits_for_disk):
            self._suspicion.postpone()
            return
        round_ = self._suspicion.next_round()
        core.member.send_to_peers(Probe(core.durable_term, round_, core.log.last, core.log.last_era[0]))
        self._weigh_answers()

    def _on_probe(self, sender: int, message: Probe) -> None:
        core = self.core
        if self._hears_leader or self._suspicion.yields or core.member.is_bound:
            verdict = Verdict.HEARS
        elif core.is_up_to_date(message.last_index, message.last_term):
            verdict = Verdict.GRANTED
        else:
            verdict = Verdict.BEHIND
        log = core.log
        core.outbox.send(sender, ProbeAnswer(core.durable_term, message.round, verdict, log.last, log.last_era[0]))

    def _weigh_answers(self) -> None:
        """Stand in a term that is later than those of all who would vote for this member."""
        if self._suspicion.has_quorum(Verdict.GRANTED):
            granted = self._suspicion.answers(Verdict.GRANTED).values()
            self._stand(max([self.core.term, *[answer.term for answer in granted]]) + 1)
        elif self._suspicion.has_quorum(Verdict.GRANTED, Verdict.BEHIND):
            self._ask_for_entries()

    def _ask_for_entries(self) -> None:
        """A quorum would elect this member but for its log: ask whose log ranks highest for what is missing."""
        core, suspicion, pulling = self.core, self._suspicion, self._pulling
        present = None if pulling is None else pulling.peer
        peer = suspicion.source(present, lambda answer: (answer.last_term, answer.last_index))
        if peer is None:
            return
        if pulling is None or peer != present:
            best = suspicion.answer_of(peer)
            last = best.last_index, (best.last_term, 0)
            self._pulling = pulling = Pulling(core.member, core.log, peer, last, suspicion.round)
        elif pulling.asked == suspicion.round:
            return
        core.outbox.send(peer, pull.question(core, pulling, suspicion.round))

    def _on_pull_answer(self, sender: int, message: PullAnswer) -> None:
        pulling = self._pulling
        if pulling is None or pulling.peer != sender or self._hears_leader:
            return
        match pull.on_answer(self.core, pulling, message):
            case Step.ASK:
                self.core.outbox.send(sender, pull.question(self.core, pulling, self._suspicion.round))
            case Step.TAKE:
                self._pulling = None
                new = pulling.new_entries()
                if pulling.keeps_committed(new[0].index):
                    self._take(new, pull.term_after(self.core, new))
            case Step.OVER:
                self._pulling = None

    def _take(self, new: Sequence[Entry], term: int) -> None:
        """The log becomes one that ranks above it, in one write with the term. Nobody is told."""
        core = self.core
        if term > core.term:
            self._adopt_term(term)
        else:
            self._become_follower(None)
        if new[0].index <= core.log.last:
            core.journal.truncate(new[0].index)
        core.append(new)
        self._suspicion.restart()
        self._probe()

    def _on_resign(self, sender: int, message: Resign) -> None:
        if message.term == self.core.term and isinstance(self.role, Follower) and self.role.leader == sender:
            self._become_follower(None)
            self._suspicion.begin_soon()

    def _on_timeout_now(self, sender: int, message: TimeoutNow) -> None:
        follows = message.term == self.core.term and isinstance(self.role, Follower) and self.role.leader == sender
        if follows and self.core.member.may_be_handed_the_lead:
            self._pass_release_on()
            self.campaign()

    # ------------------------------------------------------------------------------------------------------- leases

    def _on_ask_lease(self, sender: int, message: AskLease) -> None:
        core = self.core
        follows = message.term == core.term and isinstance(self.role, Follower) and self.role.leader == sender
        durable = core.durable_term >= core.term
        if follows and durable and core.member.grant(sender, core.era, message.round, message.lease_us):
            core.outbox.send(sender, LeaseGranted(core.term, message.round))

    def _on_lease_released(self, message: LeaseReleased) -> None:
        if self.core.member.release((message.term, 0), message.round):
            self._suspicion.released()

    def _pass_release_on(self) -> None:
        """Whom this member asks for a vote may not have heard it yet."""
        core = self.core
        if released := core.member.grants.released_by(core.era):
            core.member.send_to_peers(LeaseReleased(core.term, released))

    # ----------------------------------------------------------------------------------------------------- messages

    def on_message(self, sender: int, message: Message) -> None:
        core = self.core
        if message.term > core.term:
            self._on_later_term(sender, message)
        match message:
            case AppendEntries():
                self._on_append_entries(sender, message)
            case AppendEntriesResponse() | HeartbeatResponse():
                if leader := self.leader_of(message.term):
                    leader.on_response(sender, message)
            case CommitAdvanced():
                if message.term == core.term and (follower := self._hear_leader(sender)):
                    follower.learn_commit(message.commit)
            case Heartbeat():
                self._on_heartbeat(sender, message)
            case RequestVote():
                self._on_request_vote(sender, message)
            case RequestVoteResponse():
                if isinstance(self.role, Candidate) and message.term == core.term and message.granted:
                    self.role.on_granted(sender)
                    self._count_votes(self.role)
            case Probe():
                self._on_probe(sender, message)
            case Pull():
                pull.send_answer(core, sender, message, pull.following(core, sender, message))
            case ProbeAnswer():
                if self._suspicion.counts(sender, message):
                    self._weigh_answers()
            case PullAnswer():
                self._on_pull_answer(sender, message)
            case Resign():
                self._on_resign(sender, message)
            case AskLease():
                self._on_ask_lease(sender, message)
            case LeaseGranted():
                if leader := self.leader_of(message.term):
                    leader.reads.lease.on_granted(sender, message.round)
            case LeaseReleased():
                self._on_lease_released(message)
            case TimeoutNow():
                self._on_timeout_now(sender, message)
            case _:
                assert_never(message)

    def leader_of(self, term: int) -> Leader | None:
        """This member as the leader of ``term``: an answer to what it asked in an earlier term counts for nothing."""
        return self.role if isinstance(self.role, Leader) and term == self.core.term else None

    def _on_later_term(self, sender: int, message: Message) -> None:
        """What a later term does, by the type of message that carries it (figure 2, "all servers": it is adopted).

        A probe asks what would be, and changes no term anywhere; nor does a request for a vote that is barred.
        """
        match message:
            case RequestVote() if self.core.member.bars(sender):
                pass
            case AppendEntries() | Heartbeat() | CommitAdvanced():  # a leader's: the timer restarts as it is heard
                self._adopt_term(message.term)
            case RequestVote() | RequestVoteResponse() | AppendEntriesResponse() | HeartbeatResponse():
                self._adopt_term(message.term)
                if not self.core.options.extensions.keep_election_deadline:
                    self._restart_election_timer()
            case Probe() | ProbeAnswer() | Resign() | Pull() | PullAnswer() | TimeoutNow():
                pass
            case AskLease() | LeaseGranted() | LeaseReleased():
                pass
            case _:
                assert_never(message)

    def _on_request_vote(self, sender: int, message: RequestVote) -> None:
        """Figure 2, "RequestVote RPC, receiver implementation"."""
        core = self.core
        granted = (
            message.term == core.term
            and not core.member.bars(sender)
            and core.may_vote_for(sender)
            and core.is_up_to_date(message.last_index, message.last_term)
        )
        if granted:
            core.vote(sender)
            self._restart_election_timer()
            self._suspicion.voted()
        core.outbox.send_after(sender, RequestVoteResponse(core.term, granted))

    def _on_append_entries(self, sender: int, message: AppendEntries) -> None:
        core = self.core
        if message.term < core.term:
            core.outbox.send_after(sender, AppendEntriesResponse(core.term, False, message.prev_index, NO_ROUND))
        elif (
            (follower := self._hear_leader(sender))
            and self._is_installed
            and (answer := follower.on_append_entries(message))
        ):
            core.outbox.send_after(sender, answer)
            if self._election_timer is None:
                self._restart_election_timer()  # it may be a voter from now on

    def _on_heartbeat(self, sender: int, message: Heartbeat) -> None:
        core = self.core
        round_ = NO_ROUND
        if message.term == core.term:
            follower = self._hear_leader(sender)
            if follower is None:
                return
            follower.learn_commit(message.commit)
            if message.rests and follower.has_everything and core.member.may_rest:
                self._suspicion.rest()
                return
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
            self._pulling = None
            self._suspicion.heard()
            self._restart_election_timer()
        return follower

    def on_session(self, member: int, session: int | None) -> None:
        self._suspicion.forget(member)
        if self._pulling is not None and self._pulling.peer == member:
            self._pulling = None
        if isinstance(self.role, Leader):
            self.role.on_session_change(member)
        elif self.role.leader == member:
            self._wake()
            if session is None:
                self._suspicion.on_session_lost()

    # -------------------------------------------------------------------------------------------------- log and disk

    def on_persisted(self, ticket: int) -> None:
        self.core.journal.persisted(ticket)
        if isinstance(self.role, Candidate):
            self.role.on_persisted(ticket)
            self._count_votes(self.role)
        if isinstance(self.role, Leader):
            self.role.advance_commit()

    def on_compacted(self, base: Base) -> None:
        self.core.journal.compact(base)
        self._pulling = None  # the logs may be asked to meet below the base
        if isinstance(self.role, Leader):
            self.role.on_compacted(base.index)

    # ---------------------------------------------------------------------------------------------------- snapshots

    @property
    def _is_installed(self) -> bool:
        """Is the store where the log begins, so that the log counts?"""
        return self.core.member.snapshots.installing is None

    def on_snapshot_sent(self, peer: int, index: int, ok: bool) -> None:
        if isinstance(self.role, Leader):
            self.role.on_snapshot_sent(peer, index, ok)

    def takes_offers_of(self, sender: int) -> bool:
        """Figure 13, rule 1: not of a leader of an earlier term. Of any peer while none leads: it was asked (pull)."""
        return self.role.leader is None or self.role.leader == sender

    def refuses_snapshot(self, sender: int, base: Base) -> RefusedReason | None:
        core, log = self.core, self.core.log
        if isinstance(self.role, Leader):
            return RefusedReason.NOT_NEEDED
        if base.index > log.commit and log.era_at(base.index) == base.era:
            core.journal.commit_to(base.index)  # figure 13, rule 6: all of it is here, and the sender has applied it
        if base.index > log.commit:
            return None
        self._acknowledge(sender, log.commit)
        return RefusedReason.NOT_NEEDED

    def install(self, base: Base) -> None:
        """Figure 13, rule 7. What is removed was not committed, so nobody of a later term counts it."""
        self._pulling = None
        if base.era > self.core.era:
            self._adopt_term(base.era[0])
        elif isinstance(self.role, Candidate):
            self._become_follower(None)
        self.core.journal.install(base)
        self._suspicion.restart()

    def on_installed(self, sender: int, base: Base) -> None:
        self._acknowledge(sender, base.index)
        self._suspicion.restart()

    def _acknowledge(self, sender: int, index: int) -> None:
        """Tell the leader that all up to ``index``, which is committed, is here."""
        core = self.core
        if self.role.leader == sender:
            core.outbox.send_after(sender, AppendEntriesResponse(core.term, True, index, NO_ROUND))

    def on_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return entries

    def on_fetched(self, purpose: Hashable, entries: Sequence[Entry]) -> None:
        match purpose:
            case ForPeer():
                if leader := self.leading:
                    leader.on_fetched(purpose, entries)
            case ForPull(member, question):
                pull.send_answer(self.core, member, question, pull.fetched(self.core, question, entries))

    def take_write(self) -> Write | None:
        return self.core.take_write()

    def lost(self, era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        """Terms never decrease along a log: behind a delivered entry of a later term no entry of ``era`` can come."""
        return delivered[1] > era

    def words(self) -> dict[str, str]:
        return {"term": str(self.core.term)}

    def sizes(self) -> Sizes:
        return {"pulls": Size(0 if self._pulling is None else 1), **self._suspicion.sizes()}


Engine = partial(engine.Engine, partial(Raft, extensions=PRODUCTION))
"""One member's part in one Raft group: ``Engine(now, options, durable)``."""

Textbook = partial(engine.Engine, partial(Raft, extensions=TEXTBOOK))
"""The same without its own extensions; those of the options are the caller's to switch off."""
