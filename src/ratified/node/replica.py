"""One group on one node: its engine, its store, and everything that waits on them.

Rules:

1. A turn feeds the replica some inputs and calls ``prepare`` once: what wants to be proposed or asked goes to the
   engine, then one ``ready()`` is drained.
2. Of a Ready, ``deliver`` is applied first, inside the node's transaction; ``act`` on the rest follows the commit.
3. What depends on a write (``send_after``) is held until its ticket is durable, and dropped with its session.
4. Before the node has begun (``directories``) the engine is fed nothing and asked for nothing.
5. Where applying fails the replica stops, as if it had crashed: the engine is fed no more, nothing more of it leaves,
   and its requests end refused or unknown. Other groups serve on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager
from itertools import takewhile
from typing import NamedTuple

from ratified.consensus.contract import (
    Base,
    Change,
    Engine,
    Entry,
    Era,
    Kind,
    Lead,
    Membership,
    Proposal,
    Ready,
    Refused,
    Send,
    Size,
    Sizes,
)
from ratified.consensus.entry import decode_change, encode_change
from ratified.machine import ApplyFailed, Command, Result, SnapshotDamaged, Store, TidyFirst
from ratified.node.barriers import Barriers
from ratified.node.changes import build, decode_asked, is_fit, why_not_now
from ratified.node.claims import Claims
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import CLUSTER_GROUP
from ratified.node.config import NodeConfig
from ratified.node.duties import Duties
from ratified.node.forwarding import Item, LeaderForwards, OriginForwards, proposals_of
from ratified.node.local_reads import LocalReads
from ratified.node.milestones import Milestones, Stage
from ratified.node.observer import ReplicaObserver
from ratified.node.peers import GroupLinks, PeerSessions, Session
from ratified.node.ports import Notice, Outcome, Reason, Work
from ratified.node.proposals import ProposalIds, Proposals
from ratified.node.questions import Questions
from ratified.node.reads import LinearizableReads
from ratified.node.requests import OpenRequest, Requests
from ratified.node.room import DiskRoom
from ratified.node.snapshot_receiving import FoundSnapshots, SnapshotReceiving
from ratified.node.snapshot_sending import SnapshotIds, SnapshotSending
from ratified.node.status import LeaderChange
from ratified.node.timers import Timer, Timers
from ratified.storage.checkpoint import Claim
from ratified.storage.log import LogPlanner
from ratified.wire.peer import (
    Acknowledged,
    Barrier,
    BarrierAnswer,
    Checkpointed,
    Forward,
    ForwardAnswer,
    LimboAnswer,
    Question,
    QuestionAnswer,
    ReplicaMessage,
    SnapshotOffer,
    SnapshotOver,
    SnapshotPiece,
    SnapshotWanted,
)

# A member of an enum costs more each time, on CPython 3.11, than what the fast path does with it.
_COMMAND = Kind.COMMAND
_PROPOSED, _COMMITTED, _APPLIED = Stage.PROPOSED, Stage.COMMITTED, Stage.APPLIED
_PROPOSE = Work.PROPOSE


_TIMERS = (Timer.ENGINE, Timer.FORWARDS, Timer.READS, Timer.QUESTIONS, Timer.DUTIES, Timer.SNAPSHOTS)
TIMERS_A_GROUP = len(_TIMERS)
_EXPIRED: tuple[int | None, ...] = (-1,) * len(_TIMERS)
"""No deadlines: each timer must be set anew."""


class LogLost(Exception):
    """This member has acknowledged to the present leader what its log does not hold."""


class StateWrong(Exception):
    """A snapshot's state is not the one whose digest it carries, and the log begins there already."""


class AwaitingWrite(NamedTuple):
    """Messages of one Ready that wait for a ticket; each belongs to the session that was current then."""

    ticket: int
    messages: list[tuple[Session, object]]


class BatchSize:
    """How many proposals the engine is offered at once: one where it has just refused, else twice what it took.

    So what it refuses turn after turn costs the same however much waits (rule 15 of the contract).
    """

    __slots__ = ("_count_max", "count")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self.count = count_max

    def were_taken(self) -> None:
        self.count = min(2 * self.count, self._count_max)

    def were_refused(self) -> None:
        self.count = 1


class Shared(NamedTuple):
    """What the replicas of one node have in common."""

    config: NodeConfig
    planner: LogPlanner
    peers: PeerSessions
    timers: Timers
    requests: Requests
    ids: ProposalIds
    room: DiskRoom
    cluster: ClusterLog
    snapshots: SnapshotIds


class Replica:
    def __init__(
        self,
        now: int,
        group: int,
        engine: Engine,
        store: Store,
        shared: Shared,
        *,
        delivered: tuple[int, Era],
        claim: Claim | None,
        found: FoundSnapshots,
        observer: ReplicaObserver | None,
    ) -> None:
        config, planner, peers, timers, requests, ids, room, cluster, snapshots = shared
        limits = config.limits
        self.group = group
        self.engine = engine
        self.store = store
        self.stopped: str | None = None
        """Why this replica has stopped; None: it runs."""
        self.lead = Lead(None, engine.status().era, serving=False)
        """As the engine reported it last."""
        self._led_by: int | None = None
        """The last member of which it was reported that it leads."""
        self.leader_changes = 0
        """How often another member than before was reported to lead."""
        self.leader_changes_by_cause = dict.fromkeys(LeaderChange, 0)
        self.milestones = Milestones()
        self.snapshots_sent = 0
        """To members that have it."""
        self.snapshots_installed = 0
        self.leads_since: int | None = None
        """When this member began to lead the group; None: it does not."""
        self._planner = planner
        self._peers = peers
        self._requests = requests
        self._timers = timers
        self._config = config
        self._ids = ids
        self._observer = observer
        self._delivering = 0
        """Entries that were delivered and are not applied yet."""
        self._delivered = delivered
        """Index and era of the last entry that was delivered here."""
        self._claims = Claims(config.member, claim, limits)
        self._acknowledged: dict[int, Acknowledged] = {}
        """What each member that this leader lost had acknowledged."""
        self._durable_ticket = 0
        self._awaiting_write: deque[AwaitingWrite] = deque()
        self._room = room
        self._hand_over_at = 0
        """When a leader without room tries again to be none."""
        self._cluster = cluster
        self.again = False
        """A further turn could do something at once, without another input."""
        # Encoded and with its data an entry takes twice what was proposed, and more: a batch has to fit all the same.
        engine_limits = config.engine_limits
        self._bytes_max = min(engine_limits.undurable_bytes_max, engine_limits.uncommitted_bytes_max) // 4
        self._batch_size = BatchSize(config.limits.open_requests_max)
        retry_us = config.election_timeout_us
        self._proposals = Proposals(ids, requests)
        links = GroupLinks(peers, group)
        self._outbound = OriginForwards(self._proposals, ids, limits, links, resend_us=retry_us, send=self._send)
        self._inbound = LeaderForwards(limits, self._send)
        self._duties = Duties(store, ids)
        self.local = LocalReads(store, requests, timers, limits)
        self._barriers = barriers = Barriers(engine, self._answer, room, observer)
        self._reads = LinearizableReads(
            engine, store, requests, barriers, limits, self._read, send=self._send, retry_us=retry_us
        )
        self._questions = Questions(
            engine, store, requests, barriers, self._duties, send=self._send, answer=self._answer, retry_us=retry_us
        )
        has_table = group == CLUSTER_GROUP
        self._sending = SnapshotSending(
            store,
            snapshots,
            limits,
            links,
            membership_at=engine.membership_at,
            table=lambda: cluster.record if has_table else None,
            resend_us=retry_us,
        )
        self.receiving = SnapshotReceiving(
            now,
            group,
            engine,
            store,
            links,
            limits,
            carry_out=lambda ops: planner.carry_out(group, ops),
            write_table=cluster.install if has_table else None,
            found=found,
            resend_us=retry_us,
        )
        self._begun = False
        self._made_at = now
        self._first_deadline = engine.deadline
        self._waited_us = 0
        self._deadlines = _EXPIRED
        """To which the group's timers are set."""
        self._set_timers()

    # ---- inputs

    def begin(self, now: int) -> None:
        """The node takes part from now on; what the first deadline was drawn for counts from here."""
        self._begun = True
        self._waited_us = now - self._made_at
        if _is_alone(self.engine.status().membership, self._ids.member):
            self.engine.campaign(now)  # there is nobody whose heartbeat an election timeout would wait for
            self.again = True
        self._set_timers()

    def on_request(self, now: int, request: OpenRequest) -> None:
        """A client's request has left the queue."""
        if self.stopped is not None:
            self._requests.refuse(request, Reason.GROUP_STOPPED)
        elif request.work is _PROPOSE:
            self._requests.watch_deadline(request)
            self._proposals.submit(request)
        elif request.work is Work.READ_LOCAL:
            self.local.read(now, request)
        else:
            self._requests.watch_deadline(request)
            (self._questions if request.work is Work.ASK else self._reads).submit(request)

    def _read(self, now: int, request: OpenRequest) -> None:
        """All that was acknowledged when this was asked for is applied: answer it, or begin with it."""
        if request.work is Work.BARRIER:
            self._requests.end(request, Outcome.DONE)
            return
        if request.work is not Work.MEMBERS:
            self.local.read(now, request)
            return
        change = build(
            decode_asked(request.data),
            self._cluster.table,
            self.engine.status().membership,
            others_follow=bool(self._cluster.others),
        )
        if isinstance(change, Reason):
            self._requests.refuse(request, change)
        elif isinstance(change, str):
            self._requests.end(request, Outcome.DONE, change.encode())
        else:
            self._requests.become_proposal(request, Kind.MEMBERSHIP, encode_change(change))
            self._proposals.submit(request)
            self.again = True

    def follow(self, now: int, change: Change) -> None:
        """Propose another configuration as the leader that this replica is, once; nothing where it is none."""
        if self.engine.leading is not None and not self._refuses_for_space(now):
            self._propose_change(now, self._ids.named(self._ids.next(), encode_change(change), Kind.MEMBERSHIP))

    def on_request_deadline(self, request: OpenRequest) -> None:
        if request.work is _PROPOSE:
            self._proposals.give_up(request, Reason.TIMED_OUT)
        else:
            self._requests.refuse(request, Reason.TIMED_OUT)

    def on_cancel(self, request: OpenRequest) -> None:
        """It has ended: nobody waits for it."""
        if request.work is _PROPOSE:
            self._proposals.forget(request)
        elif request.continuation is not None:
            self.local.cancel(request)

    def on_message(self, now: int, session: Session, message: object) -> None:
        """A message of a peer: for this replica, or for its engine."""
        if not isinstance(message, ReplicaMessage):
            self.engine.step(now, session.member, message)
            return
        match message:
            case Forward():
                self._inbound.on_forward(session, message, self.engine.leading)
            case ForwardAnswer():
                taken = self._outbound.on_answer(now, session.member, message)
                self._proposals.check_lost(taken, self.engine.lost, self._delivered)
            case Barrier():
                self._barriers.on_barrier(now, session, message)
            case BarrierAnswer() | LimboAnswer():
                self._reads.on_barrier_answer(now, message)
            case Question():
                self._questions.on_question(session, message)
            case QuestionAnswer():
                self._questions.on_question_answer(now, message)
            case Acknowledged():
                self._check_acknowledged(session, message)
            case Checkpointed():
                self._claims.take(session.member, Claim(message.index, message.era))
                self._cut(now)
            case SnapshotOffer():
                self.receiving.on_offer(now, session, message, has_room=not self._room.is_full)
            case SnapshotPiece():
                self.receiving.on_piece(now, session, message)
            case SnapshotWanted():
                self._sending.on_wanted(now, session, message)
            case SnapshotOver():
                self._sending.on_over(session, message)

    def on_session(self, now: int, member: int, session: Session | None) -> None:
        self._remind(member, session)
        self._claims.forget(member)
        self.engine.peer(now, member, session.number if session is not None else None)
        if session is not None:
            self._claims.takes_snapshots(member, takes=session.takes_snapshots)
            self._inbound.on_session(session)
            if self._claims.own is not None:
                session.queue.put(self.group, Checkpointed(self._claims.own.index, self._claims.own.era))
            self._sending.on_session(now, session)
            if self.lead.member == member:
                self._outbound.send_again(now)
                self._reads.leader_changed(now, member)
                self._questions.leader_changed(now, member)

    def on_persisted(self, now: int, ticket: int) -> None:
        """The log holds everything up to ``ticket``: what waited for it may leave."""
        self._durable_ticket = ticket
        self.milestones.persisted(ticket, now)
        self.engine.persisted(now, ticket)
        if self.receiving.on_persisted(ticket):
            self._proposals.end_addressed(Reason.INSTALLED)
        awaiting = self._awaiting_write
        while awaiting and self._may_leave(awaiting[0].ticket):
            durable, messages = awaiting.popleft()
            for session, message in messages:
                self._leave(session, message, durable)

    def on_time(self, now: int) -> None:
        """A timer of this group has expired; reads and questions ask again in ``prepare``."""
        self._deadlines = _EXPIRED
        if self._begun:
            self.engine.tick(now)
        self._outbound.on_time(now)
        self._duties.on_time(now)
        self._sending.on_time(now)
        self.receiving.on_time(now)

    def on_space(self, now: int) -> None:
        """This member's disk is full, or has room again."""
        self.engine.disk_full(now, self._room.is_full)

    def _refuses_for_space(self, now: int) -> bool:
        """Rules 2 and 3 of ``room``, where this member leads and somebody has no room."""
        if not self._room.is_short:
            return False
        since = self._room.full_since
        if since is None:
            reached = {self._ids.member, *self._peers.members_in_session()}
            return self._room.is_needed_of(self.engine.status().membership, reached)
        alone = len(self._cluster.table.members) == 1
        return alone or now >= since + self._config.election_timeout_us

    # ---- checkpoints

    @property
    def checkpoint(self) -> Claim | None:
        """What a copy of the store's last commit holds of this group; None: nothing to begin from."""
        index, era = self.store.durable
        return Claim(index, era) if index else None

    def checkpointed(self, now: int, claim: Claim, *, holds_much: bool) -> None:
        """The node has a checkpoint with this claim, durably."""
        self._claims.holds_much = holds_much
        self._claims.take(self._ids.member, claim)
        self.receiving.checkpointed(claim.index)
        for member in self._cluster.latest.members:
            self._send(member, Checkpointed(claim.index, claim.era))
        self._cut(now)

    def table_changed(self, now: int, members: Collection[int]) -> None:
        """These are all members from now on; who is none any more does not hold the cut."""
        self._sending.table_changed(members)
        self._inbound.table_changed(members)
        self._cut(now)

    def _cut(self, now: int) -> None:
        """What enough members have in checkpoints goes from the log."""
        if self._begun:
            status = self.engine.status()
            most = self._claims.held(now, status, self._sending.lowest)
            claim = self._claims.cut(status.membership, most)
            if claim is not None:
                self.engine.compacted(now, claim.index, claim.era)

    # ---- a snapshot that is loaded

    @property
    def wants_transaction(self) -> bool:
        """Is there a piece of a snapshot to be loaded, or the store to be switched?"""
        return self.receiving.has_piece or self._may_switch

    @property
    def _may_switch(self) -> bool:
        """Is all applied that was delivered to the space which another one replaces?"""
        return self.receiving.is_durable and self._delivering == 0

    def load(self, now: int, transaction: Callable[[], AbstractContextManager[None]]) -> Base | None:
        """Load a piece, or switch the store: then its new base. Raises ``StateWrong`` and ``ApplyFailed``."""
        if not self._may_switch:
            try:
                with transaction():
                    self.receiving.load()
            except SnapshotDamaged as error:
                self.receiving.damaged(error)
            except TidyFirst:
                with transaction():
                    self.store.tidy()
                self.again = True
            else:
                self.receiving.loaded()
            return None
        try:
            with transaction():
                base = self.receiving.switch()
        except SnapshotDamaged as error:
            raise StateWrong(
                f"a snapshot of group {self.group} has another state than its digest says, and this member's log "
                f"begins there already: remove this member, and add another in its place. {error}"
            ) from error
        self.receiving.switched()
        self.snapshots_installed += 1
        self.engine.installed(now, base)
        self._delivered = (base.index, base.era)
        if self._observer is not None:
            self._observer.installed(base)
        self.again = True
        return base

    @property
    def open_proposals(self) -> int:
        return len(self._proposals)

    # ---- once a turn

    def prepare(self, now: int) -> Ready | None:
        """Hand over what waits, and drain the engine."""
        self.again = False
        self._feed_snapshots(now)
        leading = self.engine.leading
        self._inbound.era_is(leading)
        if leading is not None:
            self._propose(now, leading)
        elif self._outbound.wanted and self._may_forward():
            self._outbound.flush(now)
        self._reads.flush(now)
        self._questions.flush(now)
        ready = self.engine.ready() if self._begun else None
        if ready is not None:
            if ready.deliver:
                self.milestones.reached(_COMMITTED, ready.deliver[-1].index, now)
            self._delivering += len(ready.deliver)
            if self._observer is not None:
                self._observer.ready(ready)
        return ready

    def _feed_snapshots(self, now: int) -> None:
        """What has become of snapshots since the last turn, as inputs."""
        for member, index, ok in self._sending.drain_over():
            self.engine.snapshot_sent(now, member, index, ok)
            if ok:
                self.snapshots_sent += 1
                self._claims.snapshot_sent(now, member, index)
        if self._begun:
            self.receiving.judge(now)

    def apply(self, entries: Sequence[Entry]) -> Sequence[Result]:
        """Apply a Ready's deliveries, inside the transaction of the turn. Raises ``ApplyFailed``."""
        commands = [Command(entry.index, entry.data) for entry in entries if entry.kind is _COMMAND]
        results = self.store.apply(commands, entries[-1].index, entries[-1].era)
        assert len(results) == len(commands), "a store returns one result a command"
        return results

    def apply_in_pieces(self, entry: Entry, rows_max: int) -> Generator[None, None, Result]:
        """As ``apply`` of one command that is long, inside a transaction of its own."""
        return self.store.apply_in_pieces(Command(entry.index, entry.data), entry.era, rows_max)

    def applied(self, now: int, entries: Sequence[Entry], results: Sequence[Result]) -> None:
        """The deliveries are committed: their proposers get the results, and what is lost is found."""
        ours = self._settle(entries, results)
        last = entries[-1]
        self._delivering -= len(entries)
        self._delivered = (last.index, last.era)
        self.milestones.reached(_APPLIED, last.index, now)
        if self._proposals.find_lost(self.engine.lost, self._delivered):
            self.again = True
        self._duties.on_applied(now, ours)
        if self._duties.waiting:
            self.again = True

    def act(self, now: int, ready: Ready) -> None:
        """Everything of a Ready but its deliveries."""
        if ready.write is not None:
            self._planner.append(self.group, ready.write.ticket, ready.write.records)
            self.milestones.writes(ready.write.ticket, ready.write.records)
            if ready.install is not None:
                self.receiving.writes_base(ready.write.ticket)
        for asked in ready.snapshot_to:
            self._sending.asked(now, asked)
        for send in ready.send:
            session = self._peers.session(send.to)
            if session is not None:
                self._leave(session, send.message, None)
            else:
                self._peers.counts_of(send.to).dropped += 1
        if ready.send_after:
            self._send_when_durable(ready.after, ready.send_after)
        for fetch in ready.fetch:
            self._planner.fetch(
                fetch.token, self.group, fetch.first, fetch.last, self._config.engine_limits.bytes_per_message_max
            )
        self._barriers.on_read_indexes(now, ready.reads)
        if ready.leader is not None:  # after the reads: what a deposed leader did not confirm asks the next one at once
            self._leader_changed(now, ready.leader)

    def serve(self, now: int) -> None:
        """Answer what is confirmed and applied, and run slices of streams."""
        self._reads.serve(now)
        self._questions.serve(now)
        self.local.run(now)
        if self.local.runnable or self._sending.is_due or self.receiving.is_loaded:
            self.again = True
        self._set_timers()

    def _set_timers(self) -> None:
        """After a turn's inputs: only they move a deadline."""
        deadlines = (
            self._engine_deadline(),
            self._outbound.deadline,
            self._reads.deadline,
            self._questions.deadline,
            self._duties.deadline,
            min(
                (at for at in (self._sending.deadline, self.receiving.deadline) if at is not None),
                default=None,
            ),
        )
        if deadlines != self._deadlines:
            for timer, before, at in zip(_TIMERS, self._deadlines, deadlines, strict=True):
                if at != before:
                    self._timers.set(timer, self.group, at)
            self._deadlines = deadlines

    def _engine_deadline(self) -> int | None:
        if not self._begun:
            return None
        deadline = self.engine.deadline
        return deadline + self._waited_us if deadline is not None and deadline == self._first_deadline else deadline

    def sizes(self) -> Sizes:
        """Those of the engine and of all that waits on it."""
        return {
            **self.engine.sizes(),
            **self._proposals.sizes(),
            **self._outbound.sizes(),
            **self._inbound.sizes(),
            **self._barriers.sizes(),
            **self._reads.sizes(),
            **self._questions.sizes(),
            **self._duties.sizes(),
            **self.local.sizes(),
            **self._sending.sizes(),
            **self.receiving.sizes(),
            "messages that wait for the disk": Size(len(self._awaiting_write)),
            "members that had acknowledged": Size(len(self._acknowledged), len(self._cluster.table.members) - 1),
        }

    # ---- the end

    def stop(self, error: ApplyFailed) -> Notice:
        """Applying failed: stop as if crashed."""
        cause = error.__cause__ or error
        self.stopped = (
            f"group {self.group} has stopped on this node: applying the entry with index {error.index} raised "
            f"{type(cause).__name__}: {cause}"
        )
        self._awaiting_write.clear()
        self.leads_since = None
        self.close(Reason.GROUP_STOPPED)
        return Notice(self.stopped, self.group)

    def close(self, reason: Reason) -> None:
        """End everything that is open; nothing is due any more."""
        self.again = False
        for timer in _TIMERS:
            self._timers.stop(timer, self.group)
        self._proposals.give_up_all(reason)
        self._reads.refuse_all(reason)
        self._questions.refuse_all(reason)
        self.local.refuse_all(reason)
        self._sending.close()
        self.receiving.close()

    def transfer_lead(self, now: int, to: int | None) -> None:
        """``to`` None: to who has acknowledged most, of those that have room."""
        for member in self._successors() if to is None else (to,):
            if self.engine.transfer_leadership(now, member) is None:
                return

    def _successors(self) -> list[int]:
        status = self.engine.status()
        full = self._room.others_full
        others = [member for member in status.membership.voters if member in status.progress and member not in full]
        return sorted(others, key=lambda member: status.progress[member].acknowledged, reverse=True)

    # ---- what members have acknowledged

    def _remind(self, member: int, session: Session | None) -> None:
        """Whom this leader lost is told, when it is back, how much it has acknowledged: it must still have that."""
        leading = self.engine.leading
        if session is None:
            progress = self.engine.status().progress.get(member)
            if leading is not None and progress is not None:
                self._acknowledged[member] = Acknowledged(leading, progress.acknowledged)
            return
        acknowledged = self._acknowledged.pop(member, None)
        if acknowledged is not None and acknowledged.era == leading:
            session.queue.put(self.group, acknowledged)

    def _check_acknowledged(self, session: Session, acknowledged: Acknowledged) -> None:
        """In a later era what was acknowledged may have been replaced; else it is here, or the log was lost."""
        status = self.engine.status()
        if status.era <= acknowledged.era and status.last < acknowledged.index:
            raise LogLost(
                f"the log of group {self.group} ends at {status.last}, but this member has acknowledged entry "
                f"{acknowledged.index} to its leader {session.hello.name}: the log was lost, or an older copy of the "
                "data directory was put in its place. It must not run: put the latest data directory back"
            )

    # ---- proposals

    def _propose(self, now: int, leading: Era) -> None:
        """Duties, what others forwarded, and our own clients' proposals, as far as the engine takes them."""
        if self._refuses_for_space(now):
            while items := self._inbound.takeable(self._batch_size.count, self._bytes_max):
                self._inbound.settle(items, None, Reason.NO_SPACE)
            self._proposals.refuse_waiting(Reason.NO_SPACE)
            if self._room.is_full and now >= self._hand_over_at:
                self._hand_over_at = now + self._config.election_timeout_us
                self.transfer_lead(now, None)
            return
        if self._room.is_full:
            return
        while duties := self._duties.pending_in(leading, self._batch_size.count):
            if self._propose_all(now, duties) is not None:
                self._duties.proposed(len(duties))
            elif len(duties) == 1:
                break
        while items := self._inbound.takeable(self._batch_size.count, self._bytes_max):
            fit = list(takewhile(self._is_fit, items))
            if not fit:
                self._inbound.settle(items[:1], None, Reason.UNFIT)
                continue
            items = fit
            proposals = proposals_of(items)
            if proposals and proposals[0].kind is Kind.MEMBERSHIP:
                answer = self._propose_change(now, proposals[0])
                if isinstance(answer, Reason):
                    self._inbound.settle(items, None, answer)
                else:
                    self._inbound.settle(items, answer)
                continue
            taken = self._propose_all(now, proposals) if proposals else None
            if taken is not None or not proposals:
                self._inbound.settle(items, taken)
            elif len(items) == 1:
                break
        while self._proposals.waiting:
            batch = self._proposals.waiting_up_to(self._batch_size.count, self._bytes_max)
            proposed = [self._ids.named(each.sequence, each.data, each.kind) for each in batch]
            if proposed[0].kind is Kind.MEMBERSHIP:
                answer = self._propose_change(now, proposed[0])
                if isinstance(answer, Reason):
                    self._proposals.never_taken(batch[0], answer)
                    continue
                first: int | None = answer
            else:
                first = self._propose_all(now, proposed)
            if first is not None:
                self._proposals.addressed(batch, leading)
                self._proposals.taken(batch, first)
            elif len(batch) == 1:
                break

    def _is_fit(self, item: Item) -> bool:
        """What others forward is looked at here; what is asked of this node, where it is asked."""
        return item.kind is _COMMAND or item.data is None or is_fit(self.group, item.kind, item.data)

    def _propose_all(self, now: int, batch: Sequence[Proposal]) -> int | None:
        """Propose all of them: the index of the first, or None: it is refused, perhaps as too much at once."""
        answer = self.engine.propose(now, batch)
        if isinstance(answer, Refused):
            self._batch_size.were_refused()
            return None
        self._batch_size.were_taken()
        self.milestones.reached(_PROPOSED, answer.first + len(batch) - 1, now)
        if self._observer is not None:
            self._observer.taken(batch)
        return answer.first

    def _propose_change(self, now: int, proposal: Proposal) -> int | Reason:
        """Propose a change of the members: its index, or why it is refused at once. It waits for nothing here, or what
        is behind it would too."""
        change = decode_change(proposal.data)
        why = why_not_now(change, self.engine.status(), self._peers.members_in_session())
        if why is not Reason.NONE:
            return why
        answer = self.engine.propose(now, [proposal])
        if isinstance(answer, Refused):
            return Reason.CHANGING
        if self._observer is not None:
            self._observer.taken([proposal])
        return answer.first

    def _may_forward(self) -> bool:
        """Can the leader be reached, and is its era still one in which something can be taken?"""
        lead = self.lead
        return (
            lead.member is not None
            and lead.member != self._ids.member
            and self._peers.session(lead.member) is not None
            and not self.engine.lost(lead.era, None, self._delivered)
        )

    # ---- what a Ready asks for

    def _settle(self, entries: Sequence[Entry], results: Sequence[Result]) -> list[int]:
        """Match results to proposals; returns the sequences of this start's own."""
        ours: list[int] = []
        member, incarnation = self._ids.member, self._ids.incarnation
        proposals = [entry.proposal for entry in entries if entry.kind is _COMMAND]
        for id, result in zip(proposals, results, strict=True):
            if id is not None and id.origin == member and id.incarnation == incarnation:
                ours.append(id.sequence)
                self._proposals.applied(id.sequence, result)
        if len(proposals) < len(entries):
            for entry in entries:
                id = entry.proposal
                if entry.kind not in (Kind.NODE, Kind.MEMBERSHIP):
                    continue
                result = self._cluster.result_of(entry) if self.group == CLUSTER_GROUP else b""
                if id is not None and id.origin == member and id.incarnation == incarnation:
                    ours.append(id.sequence)
                    self._proposals.applied(id.sequence, result)
        return ours

    def _send_when_durable(self, ticket: int, sends: Sequence[Send]) -> None:
        """Keep messages, with the sessions they belong to, until the ticket is durable."""
        messages: list[tuple[Session, object]] = []
        for send in sends:
            session = self._peers.session(send.to)
            if session is not None:
                messages.append((session, send.message))
            else:
                self._peers.counts_of(send.to).dropped += 1
        if self._may_leave(ticket):
            for session, message in messages:
                self._leave(session, message, ticket)
        elif messages:
            self._awaiting_write.append(AwaitingWrite(ticket, messages))

    def _may_leave(self, ticket: int) -> bool:
        """Is the write durable that this waits for?"""
        return ticket <= self._durable_ticket

    def _leader_changed(self, now: int, lead: Lead) -> None:
        if lead.member is not None and lead.member != self.lead.member:
            self.leader_changes += 1
            self.leader_changes_by_cause[self._why_led_by(lead.member)] += 1
            self._led_by = lead.member
        if lead.member != self._ids.member:
            self.leads_since = None
        elif self.leads_since is None or lead.era != self.lead.era:
            self.leads_since = now
        self.lead = lead
        other = lead.member if lead.member != self._ids.member else None
        self._outbound.leader_changed(other, lead.era)
        self._reads.leader_changed(now, other)
        self._questions.leader_changed(now, other)
        self._duties.leader_changed(now, lead)
        self.again = True

    def _why_led_by(self, member: int) -> LeaderChange:
        """What this member knows of why another one than before leads."""
        if self._led_by is None:
            return LeaderChange.FIRST
        if self._led_by == member:
            return LeaderChange.AGAIN
        is_reached = self._led_by == self._ids.member or self._peers.session(self._led_by) is not None
        return LeaderChange.REPLACED if is_reached else LeaderChange.UNREACHABLE

    # ---- messages

    def _leave(self, session: Session, message: object, ticket: int | None) -> None:
        """An engine's message leaves, if its session is still open; ``ticket`` is what it waited for."""
        if session.open:
            if self._observer is not None:
                self._observer.sent(session.member, message, ticket)
            session.queue.put(self.group, message)

    def _send(self, member: int, message: object) -> bool:
        """Put it on the member's session; False: there is none."""
        session = self._peers.session(member)
        if session is None:
            return False
        session.queue.put(self.group, message)
        return True

    def _answer(self, session: Session, message: object) -> None:
        """Put it on this very session, if it is still open."""
        if session.open:
            session.queue.put(self.group, message)


def _is_alone(membership: Membership, member: int) -> bool:
    return membership.voters == (member,) and not membership.outgoing
