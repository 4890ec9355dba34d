"""The turn: some inputs in, everything that must leave out.

A turn, in this order:

1. disk completions and peers, then timers, then clients: at most ``inputs_max`` inputs in all;
2. each replica that was touched hands over what waits, and its engine is drained once;
3. deliveries are applied (``applying``), a replica that fails is undone alone and stops;
4. after the commit: results, writes, messages, reads, slices of streams; then each engine is told what was applied,
   the first input of its next turn;
5. the log plans its jobs, each session gets one batch.

Whatever depends on a write waits for the disk's completion, which is an input of a further turn like any other;
whatever depends on applying, for the commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ratified.consensus.contract import Entry, Lead, Membership, Ready, Size, Sizes, Status
from ratified.machine import ApplyFailed
from ratified.node.applying import Applying
from ratified.node.changes import is_asked, is_fit
from ratified.node.checkpoints import Checkpoints, Saving
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import CLUSTER_GROUP, ClusterFormatError, ClusterTable, dials
from ratified.node.directories import Directories
from ratified.node.milestones import Milestones
from ratified.node.peers import Session
from ratified.node.ports import (
    Cancel,
    Challenged,
    CheckpointDone,
    Close,
    Connected,
    Disconnected,
    DiskSpace,
    GoOn,
    Heard,
    Hold,
    Input,
    JobDone,
    Notice,
    Outcome,
    Outputs,
    PeerAddress,
    Reason,
    Received,
    Request,
    TransferLead,
    Work,
)
from ratified.node.priority import Priority
from ratified.node.publishing import Publishing
from ratified.node.replica import TIMERS_A_GROUP, LogLost, Replica, Shared, StateWrong
from ratified.node.requests import OpenRequest
from ratified.node.status import GroupStatus, NodeStatus, PeerStatus
from ratified.node.steward import Steward
from ratified.node.timers import LOOKS_MIN, Timer
from ratified.storage.files import Op
from ratified.storage.format import ClusterRecord, LogDamaged
from ratified.storage.space import Environment
from ratified.wire.peer import TABLES_SINCE, Batch, Fragment

_LOG_MARK = Timer.LOG_MARK


class Node:
    """One process of the cluster. Build it with ``boot``."""

    def __init__(
        self,
        shared: Shared,
        incarnation: int,
        replicas: Mapping[int, Replica],
        environment: Environment,
        directories: Directories,
        checkpoints: Checkpoints,
        *,
        notices: Sequence[Notice],
    ) -> None:
        self.config = shared.config
        self.incarnation = incarnation
        self.deadline: int | None = None
        """When ``turn`` must be called again, at the latest."""
        self._replicas = replicas
        self._planner = shared.planner
        self._environment = environment
        self._applying = Applying(environment, shared.config.limits.apply_rows_max)
        self._directories = directories
        self._checkpoints = checkpoints
        self._saving = Saving()
        self._peers = shared.peers
        self._cluster: ClusterLog = shared.cluster
        self._publishing = Publishing(shared.config, shared.cluster, shared.requests, shared.timers)
        self._steward = Steward(shared.config, shared.cluster, directories, shared.requests, shared.timers)
        self._priority = Priority(shared.config, shared.peers, shared.timers)
        self._late_turns = 0
        self.applied_entries = 0
        """Of all groups, since the start."""
        self._removed = self.config.member in shared.cluster.table.left
        self._requests = shared.requests
        self._timers = shared.timers
        self._urgent: deque[Input] = deque()
        self._clients: deque[OpenRequest | Cancel] = deque()
        self._applied: list[tuple[Replica, int]] = []
        """In this turn: up to which index."""
        self._queued: dict[int, int] = {}
        """Frames that wait, by connection."""
        self._overflowed: dict[int, None] = {}
        self._touched: dict[int, Replica] = {}
        self._again: list[int] = []
        """Groups that a further turn could do something for at once, without another input."""
        self._tidy_at = 0
        """When the next piece of the stores' unseen work may be done."""
        self._notices: list[Notice] = list(notices)
        self._failed: str | None = None
        self._told_addresses: tuple[ClusterTable, tuple[int, ...]] | None = None
        """The table and whom this node missed when it last said whom to dial."""
        self._members = shared.cluster.table.members.keys()
        """Those that the replicas were told of last: the table may have been told before its entry was applied."""
        self._closing = False
        self._room = shared.room

    # ---- in

    def begin(self, now: int) -> None:
        """This node has begun, durably: its engines run from now on."""
        for replica in self._replicas.values():
            replica.begin(now)
            if replica.again:
                self._again.append(replica.group)
        self._publish(now)

    def offer(self, entered: Input) -> None:
        """Queue an input for a further turn. A request that does not fit is refused in that turn."""
        match entered:
            case Received():
                waiting = self._queued.get(entered.connection, 0)
                if waiting >= self.config.limits.peer_frames_max:
                    self._overflowed[entered.connection] = None
                else:
                    self._queued[entered.connection] = waiting + 1
                    self._urgent.append(entered)
            case Request():
                if self._closing:
                    self._requests.turn_away(entered, Reason.STOPPING)
                elif (request := self._requests.admit(entered)) is not None:
                    self._clients.append(request)
            case Cancel():
                self._clients.append(entered)
            case _:
                self._urgent.append(entered)

    # ---- out

    def turn(self, now: int, inputs_max: int) -> Outputs:
        """Take at most ``inputs_max`` inputs at time ``now`` and give what must leave."""
        self._take_inputs(now, inputs_max)
        if self._failed is not None:
            return Outputs(notices=[*self._drain_notices(), Notice(self._failed, fatal=True)])
        self._run_replicas(now)
        return self._leave(now)

    # ---- 1: inputs

    def _take_inputs(self, now: int, inputs_max: int) -> None:
        room = inputs_max
        while room and self._urgent:
            self._take_urgent(now, self._urgent.popleft())
            self._tell_sessions(now)
            room -= 1
        self._run_timers(now)
        while room and self._clients:
            client = self._clients.popleft()
            if isinstance(client, Cancel):
                self._take_cancel(client)
            else:
                self._take_request(now, client)
            room -= 1

    def _take_urgent(self, now: int, entered: Input) -> None:
        match entered:
            case Received(connection, frame):
                self._dequeued(connection)
                if isinstance(frame, Fragment):
                    self._on_fragment(now, connection, frame)
                elif not isinstance(frame, Batch):
                    self._peers.received(now, connection, frame)
                elif (session := self._peers.session_on(now, connection)) is not None:
                    self._on_messages(now, session, frame.messages)
            case JobDone():
                self._on_job_done(now, entered)
            case CheckpointDone(error):
                self._on_checkpoint_done(now, error)
            case Heard(connection):
                self._peers.heard(now, connection)
            case Connected(connection, member):
                self._peers.connected(now, connection, member)
            case Challenged(member, hello):
                self._peers.challenged(now, member, hello)
            case Disconnected(connection):
                self._peers.disconnected(now, connection)
            case DiskSpace(free_bytes):
                self._on_space(now, free_bytes)
            case TransferLead(group, to):
                replica = self._replicas.get(group)
                if replica is not None and self._touch(replica):
                    replica.transfer_lead(now, to)
            case Hold(tokens):
                for stream in self._requests.streams(tokens):
                    self._replicas[stream.group].local.hold(stream)
            case GoOn(tokens):
                for stream in self._requests.streams(tokens):
                    replica = self._replicas[stream.group]
                    self._touch(replica)
                    replica.local.go_on(stream)
            case Close():
                self._begin_close(now)
            case Request() | Cancel():
                raise AssertionError("clients have a queue of their own")

    def _take_request(self, now: int, request: OpenRequest) -> None:
        replica = self._replicas.get(request.group)
        if replica is None:
            self._requests.refuse(request, Reason.NO_GROUP)
        elif self._closing:
            self._requests.refuse(request, Reason.STOPPING)
        elif request.deadline <= now:
            self._requests.refuse(request, Reason.TIMED_OUT)
        elif not self._is_fit(request):
            self._requests.refuse(request, Reason.UNFIT)  # in the log it would end every node
        else:
            self._touch(replica)
            replica.on_request(now, request)

    def _is_fit(self, request: OpenRequest) -> bool:
        """Does it say something that every node can read, to the group where it belongs?"""
        if request.work is Work.MEMBERS:
            return request.group == CLUSTER_GROUP and is_asked(request.data)
        return is_fit(request.group, request.kind, request.data)

    def _take_cancel(self, cancel: Cancel) -> None:
        request = self._requests.cancel(cancel.token)
        if request is not None:
            replica = self._replicas[request.group]
            self._touch(replica)  # another stream may have waited for this one
            replica.on_cancel(request)

    def _touch(self, replica: Replica) -> bool:
        """This replica gets an input in this turn; False: it runs no longer."""
        if replica.stopped is not None or self._closing:
            return False
        self._touched[replica.group] = replica
        return True

    def _on_messages(self, now: int, session: Session, messages: Sequence[tuple[int, object]]) -> None:
        received = session.counts.received
        for group, message in messages:
            received[type(message)] += 1
            replica = self._replicas.get(group)
            if replica is not None and self._touch(replica):
                try:
                    replica.on_message(now, session, message)
                except LogLost as lost:
                    self._failed = str(lost)
                    return

    def _on_fragment(self, now: int, connection: int, fragment: Fragment) -> None:
        completed = self._peers.fragment(now, connection, fragment)
        session = self._peers.session_on(now, connection) if completed is not None else None
        if completed is not None and session is not None:
            self._on_messages(now, session, (completed,))

    def _on_job_done(self, now: int, done: JobDone) -> None:
        if done.error is not None:
            self._failed = f"the data directory failed, so this process must end: {done.error}"
            return
        try:
            completed = self._planner.done(now, done.job, done.results)
        except LogDamaged as error:
            self._failed = str(error)
            return
        if not self._closing:
            begun = self._directories.begun
            for record in completed.own:
                if isinstance(record, ClusterRecord):
                    self._on_table(now, record)
                else:
                    self._peers.recorded(now, record)
            if self._directories.begun and not begun:
                self.begin(now)
        for group, ticket in completed.persisted:
            replica = self._replicas[group]
            if self._touch(replica):
                replica.on_persisted(now, ticket)
        if completed.aside is not None:
            replica = self._replicas[completed.aside.group]
            if self._touch(replica):
                replica.receiving.on_job(now, completed.aside.job, completed.aside.results)
        for fetched in completed.fetched:
            replica = self._replicas[fetched.group]
            if self._touch(replica):
                replica.engine.fetched(now, fetched.token, fetched.entries)

    def _on_checkpoint_done(self, now: int, error: str | None) -> None:
        if error is not None:
            self._notices.append(Notice(f"no checkpoint was taken, and the log grows: {error}"))
        for group, claim in self._checkpoints.done(now, error).items():
            replica = self._replicas[group]
            if self._touch(replica):
                replica.checkpointed(now, claim, holds_much=self._checkpoints.holds_much)

    def _on_space(self, now: int, free_bytes: int) -> None:
        self._checkpoints.has_room(free_bytes)
        no_space = free_bytes < self.config.limits.free_bytes_min
        if no_space == self._room.is_full:
            return
        self._room.full_since = now if no_space else None
        limit = f"{self.config.limits.free_bytes_min >> 20} MiB"
        self._notices.append(
            Notice(
                f"the data directory's disk has less than {limit} left: this member gives the lead away, and where too "
                "few members have room writes are refused; free some room on it"
                if no_space
                else f"the data directory's disk has {limit} left again: this member has room for writes"
            )
        )
        for replica in self._replicas.values():
            if self._touch(replica):
                replica.on_space(now)
        self._peers.room_changed(now)

    def _tell_sessions(self, now: int) -> None:
        for member, session in self._peers.drain_changes():
            self._priority.on_session(now, member, session)
            for replica in self._replicas.values():
                if self._touch(replica):
                    replica.on_session(now, member, session)

    def _dequeued(self, connection: int) -> None:
        left = self._queued[connection] - 1
        if left:
            self._queued[connection] = left
        else:
            del self._queued[connection]

    def _run_timers(self, now: int) -> None:
        for connection in self._overflowed:
            self._peers.hang_up(now, connection, "more frames wait than peer_frames_max admits")
        self._overflowed.clear()
        for connection in self._queued:
            self._peers.frames_wait(now, connection)
        expired = self._timers.expired(now)
        if expired or self._again:
            self._run_expired(now, expired)
        self._tell_sessions(now)

    def _run_expired(self, now: int, expired: Sequence[tuple[Timer, int]]) -> None:
        """Connections first, then groups in ascending order, then requests."""
        if self.deadline is not None and now > self.deadline + self.config.heartbeat_us:
            self._late_turns += any(replica.leads_since is not None for replica in self._replicas.values())
        groups, self._again = dict.fromkeys(self._again, False), []
        requests: list[OpenRequest] = []
        for timer, key in expired:
            match timer:
                case Timer.SILENCE:
                    self._peers.on_silence(now, key)
                case Timer.NOT_BEGUN:
                    self._peers.on_not_begun(now)
                case Timer.MISSED:
                    self._peers.on_missed(key)
                case Timer.PUBLISH:
                    self._publish(now)
                case Timer.STEWARD:
                    pass  # each turn looks
                case Timer.PRIORITY:
                    self._prefer(now)
                case Timer.PING | Timer.LOG_MARK:
                    pass  # each turn ends with both
                case Timer.CHECKPOINT:
                    self._checkpoints.on_time()
                case Timer.ENGINE | Timer.FORWARDS | Timer.READS | Timer.QUESTIONS | Timer.DUTIES | Timer.SNAPSHOTS:
                    groups[key] = True
                case Timer.CONTINUATION:
                    stream = self._requests[key]
                    self._replicas[stream.group].local.on_deadline(now, stream)
                    groups[stream.group] = True
                case Timer.TIDY:
                    groups.setdefault(key, False)
                case Timer.REQUEST:
                    requests.append(self._requests[key])
        self._tell_sessions(now)
        for group in sorted(groups):
            replica = self._replicas[group]
            if self._touch(replica) and groups[group]:
                replica.on_time(now)
        for request in requests:
            self._replicas[request.group].on_request_deadline(request)

    def _prefer(self, now: int) -> None:
        """Hand groups over to whoever is to lead them."""
        led = ((group, since) for group, each in self._replicas.items() if (since := each.leads_since) is not None)
        handovers = self._priority.on_time(
            now, led, lambda group: self._replicas[group].engine.status(), self._room.others_full
        )
        for group, to in handovers:
            replica = self._replicas[group]
            if self._touch(replica):
                replica.engine.transfer_leadership(now, to)

    # ---- 2, 3, 4: replicas

    def _run_replicas(self, now: int) -> None:
        for group in self._peers.take_refused():
            self._touch(self._replicas[group])
        touched, self._touched = self._touched, {}
        if self._closing:
            return
        drained = self._drain_replicas(now, touched.values())
        for replica, ready in drained:
            if ready is not None and ready.deliver:
                self._deliver(replica, ready.deliver)
        if self._applying.busy:
            self._apply(now)
            self._tidy_at = now + self.config.limits.tidy_pause_us  # each store has done a piece with what it applied
        elif now >= self._tidy_at:
            self._tidy(now, [replica for replica, _ in drained if replica.store.untidy])
        self._load(now, [replica for replica, _ in drained if replica.stopped is None])
        for replica, ready in drained:
            if replica.stopped is None:
                if ready is not None:
                    replica.act(now, ready)
                replica.serve(now)
                if replica.store.untidy:
                    self._timers.set(Timer.TIDY, replica.group, self._tidy_at)
            if replica.again:
                self._again.append(replica.group)
        if self._applied:
            self._tell_applied(now, {replica.group for replica, _ in drained})
        self._serve_members(now)

    def _tell_applied(self, now: int, served: Collection[int]) -> None:
        """A further turn for those groups only that have more to deliver, or were not served in this one: what waited
        for the entries may go on."""
        for replica, index in self._applied:
            if replica.stopped is None and (replica.engine.applied(now, index) or replica.group not in served):
                self._touch(replica)
        self._applied.clear()

    def _serve_members(self, now: int) -> None:
        """Propose what members that come and go need, where this node leads."""
        if not self._steward.looks(now):
            return
        self._peers.challenge_unbound(now)
        cluster = self._replicas[CLUSTER_GROUP]
        if cluster.stopped is not None or not self._directories.begun:
            return
        chores = self._steward.due(now, self._status_if_led, all_know=self._peers.all_speak(TABLES_SINCE))
        for request in chores.requests:
            self._touch(self._replicas[request.group])
            self._replicas[request.group].on_request(now, request)
        for group, change in chores.following.items():
            self._touch(self._replicas[group])
            self._replicas[group].follow(now, change)

    def _status_if_led(self, group: int) -> Status | None:
        """Of a group that this node leads, and that runs here."""
        replica = self._replicas.get(group)
        if replica is None or replica.stopped is not None or replica.lead.member != self.config.member:
            return None
        status = replica.engine.status()
        return status if status.leader == self.config.member and status.serving else None

    def _deliver(self, replica: Replica, entries: Sequence[Entry]) -> None:
        """Have them applied; those of group 0 not before the cluster table that they make is durable."""
        if replica.group == CLUSTER_GROUP:
            try:
                entries = self._cluster.deliver(entries)
            except ClusterFormatError as error:
                self._failed = f"{error}. A later version has written it: start that one again"
                return
        if entries:
            self._applying.add(replica, entries)

    def _on_table(self, now: int, record: ClusterRecord) -> None:
        """A cluster table is durable: the entry that made it may be applied."""
        replica = self._replicas[CLUSTER_GROUP]
        entries = self._cluster.recorded(record)
        if entries and replica.stopped is None:
            self._applying.add(replica, entries)
        if not self._closing:
            self._peers.table_changed(now)
            members = self._cluster.latest.members.keys()
            if members != self._members:
                self._members = members
                for each in self._replicas.values():
                    if self._touch(each):
                        each.table_changed(now, members)
        if self.config.member in self._cluster.table.left:
            self._removed = True
        self._publish(now)

    def _publish(self, now: int) -> None:
        """Have the cluster table say what this member is called, and where clients reach it."""
        replica = self._replicas[CLUSTER_GROUP]
        if not self._directories.begun or self._closing or replica.stopped is not None:
            return
        due = self._publishing.due(now, replica.group)
        if due is not None:
            self._touch(replica)
            replica.on_request(now, due)

    def _drain_replicas(self, now: int, touched: Iterable[Replica]) -> list[tuple[Replica, Ready | None]]:
        """Drain the engines, until there is as much to apply as one turn may; the others come first in the next."""
        limits = self.config.limits
        entries_left, bytes_left = limits.apply_entries_max, limits.apply_bytes_max
        drained: list[tuple[Replica, Ready | None]] = []
        for replica in touched:
            if entries_left <= 0 or bytes_left <= 0:
                self._touched[replica.group] = replica
                continue
            ready = replica.prepare(now)
            drained.append((replica, ready))
            if ready is not None and ready.deliver:
                entries_left -= len(ready.deliver)
                bytes_left -= sum(len(entry.encoded) for entry in ready.deliver)
        return drained

    def _apply(self, now: int) -> None:
        """Apply what is delivered, as much as a turn may; after the commit come the results."""
        done, failed = self._applying.run()
        for replica, error in failed:
            self._stop(now, replica, error)
        for replica, entries, results in done:
            replica.applied(now, entries, results)
            self.applied_entries += len(entries)
            self._applied.append((replica, entries[-1].index))
            self._checkpoints.applied(replica.group, entries[-1].index)

    def _stop(self, now: int, replica: Replica, error: ApplyFailed) -> None:
        """Others may rest with it, and would wait for ever for one that says nothing: their sessions end."""
        self._notices.append(replica.stop(error))
        self._peers.part_from_all(now, f"group {replica.group} has stopped on this node")
        self._again.append(replica.group)

    def _load(self, now: int, replicas: Sequence[Replica]) -> None:
        """Load a piece of each snapshot that has one to be loaded, or switch its store."""
        for replica in replicas:
            if replica.wants_transaction:
                if self._applying.in_transaction:
                    self._touched[replica.group] = replica
                    continue
                try:
                    base = replica.load(now, self._environment.transaction)
                except StateWrong as error:
                    self._failed = str(error)
                    return
                except ApplyFailed as error:
                    self._stop(now, replica, error)
                    continue
                if base is not None:
                    self._checkpoints.installed()
            self._notices += replica.receiving.drain_notices()

    def _tidy(self, now: int, untidy: Sequence[Replica]) -> None:
        if not untidy:
            return
        self._tidy_at = now + self.config.limits.tidy_pause_us
        failed: list[tuple[Replica, ApplyFailed]] = []
        with self._environment.transaction():
            for replica in untidy:
                try:
                    with self._environment.savepoint():
                        replica.store.tidy()
                except ApplyFailed as error:
                    failed.append((replica, error))
        for replica, failure in failed:
            self._stop(now, replica, failure)

    # ---- 5: out

    def _leave(self, now: int) -> Outputs:
        jobs = self._planner.plan(now)
        checkpoint = self._begin_checkpoint(now) if self._checkpoints.is_due() and not self._closing else None
        frames, closes = self._peers.drain(now)
        admitted, challenges = self._peers.drain_port()
        for reply in self._requests.drain_own():
            self._publishing.ended(now, reply.token)
            self._steward.ended(reply.token, done=reply.outcome is Outcome.DONE)
        self._timers.set(_LOG_MARK, 0, self._planner.deadline)
        self.deadline = self._timers.deadline
        return Outputs(
            jobs=jobs,
            checkpoint=checkpoint,
            frames=frames,
            replies=self._requests.drain_replies(),
            closes=closes,
            admitted=admitted,
            peers=self._addresses(),
            challenges=challenges,
            notices=self._drain_notices(),
            deadline=self.deadline,
            more=bool(
                self._failed or self._urgent or self._clients or self._again or self._touched or self._applying.busy
            ),
            removed=self._removed or self._peers.removed,
            stopped=self._closing and self._planner.idle,
        )

    def _begin_checkpoint(self, now: int) -> Iterator[Op] | None:
        stores = {group: replica.store for group, replica in self._replicas.items() if replica.stopped is None}
        begun, failed = self._saving.ask(stores)
        for group in begun:
            self._touch(self._replicas[group])
        for group, error in failed.items():
            self._checkpoints.put_off(now)
            self._notices.append(
                Notice(
                    f"the state machine of group {group} is not saved, and the group's log is not cut: {error}", group
                )
            )
        return self._copy_stores(now) if self._saving.is_over(stores) else None

    def _copy_stores(self, now: int) -> Iterator[Op] | None:
        claims = {group: replica.checkpoint for group, replica in self._replicas.items()}
        begun = self._checkpoints.begin(now, {group: claim for group, claim in claims.items() if claim is not None})
        if not isinstance(begun, str):
            return begun
        self._notices.append(Notice(begun))
        return None

    def _addresses(self) -> Sequence[PeerAddress] | None:
        """Of all other members, if the table, or who is to dial, is news."""
        table, missed, own = self._cluster.latest, tuple(self._peers.missed), self.config.member
        told = self._told_addresses
        if told is not None and told[0] is table and told[1] == missed:
            return None
        self._told_addresses = table, missed
        return [
            PeerAddress(member, row.peer_urls, own in table.members and (member in missed or dials(table, own, member)))
            for member, row in table.members.items()
            if member != own
        ]

    def _drain_notices(self) -> list[Notice]:
        notices = [*self._notices, *self._peers.notices]
        self._notices = []
        self._peers.notices = []
        return notices

    def _begin_close(self, now: int) -> None:
        """End all requests, part from all peers; what is written already becomes durable."""
        if self._closing:
            return
        for replica in self._replicas.values():
            if replica.stopped is None:
                replica.close(Reason.STOPPING)
        self._again.clear()
        self._closing = True
        self._applying.abandon()
        self._cluster.abandon()
        self._touched.clear()
        self._peers.part_from_all(now, "the node is stopping")
        self._planner.close(now)

    # ---- for ports and people

    def digest(self, group: int) -> bytes:
        return self._replicas[group].store.digest()

    @property
    def is_crowded(self) -> bool:
        """Are nine tenths of the requests open that this node takes?"""
        return self._requests.is_crowded

    def lead(self, group: int) -> Lead:
        """Who leads a group, as its engine last reported it."""
        return self._replicas[group].lead

    def milestones(self, group: int) -> Milestones:
        """When the group's log came how far here."""
        return self._replicas[group].milestones

    def membership(self) -> Membership:
        """Who votes and who learns, in group 0, as this node knows it."""
        return self._replicas[CLUSTER_GROUP].engine.status().membership

    def table(self) -> ClusterTable:
        """The members' names and addresses."""
        return self._cluster.table

    def all_speak(self, version: int) -> bool:
        """Does every member that has ever started speak this version of the protocol, as far as this process, which
        must have met each of them, knows?"""
        return self.config.protocol_version >= version and self._peers.all_speak(version)

    def peers(self) -> dict[int, PeerStatus]:
        """What the other members have said of themselves."""
        return {
            member: PeerStatus(
                name=hello.name,
                client_urls=hello.client_urls,
                incarnation=hello.incarnation,
                connected=(session := self._peers.session(member)) is not None,
                waiting_bytes=0 if session is None else session.queue.waiting_bytes,
                window_bytes=0 if session is None else session.queue.window,
            )
            for member, hello in self._peers.known().items()
        }

    def sizes(self) -> Sizes:
        """Of all tables of this node, those of a group under its number."""
        inputs = len(self._urgent) + len(self._clients)
        peers = self._peers.sizes()
        timers_max = TIMERS_A_GROUP * len(self._replicas) + 2 * peers["connections"].holds + 1
        sizes = {
            "inputs that wait": Size(inputs + len(self._queued) + len(self._overflowed)),
            "groups to look at": Size(len(self._touched) + len(self._again)),
            "timers": Size(len(self._timers), timers_max),
            "looks at timers": Size(self._timers.looks, LOOKS_MIN + 2 * timers_max),
            **peers,
            **self._requests.sizes(),
            **self._applying.sizes(),
            **self._cluster.sizes(),
            **self._planner.sizes(),
        }
        for group, replica in self._replicas.items():
            sizes.update({f"{name}, group {group}": size for name, size in replica.sizes().items()})
        return sizes

    def status(self) -> NodeStatus:
        """What this node knows; nothing decides by it."""
        return NodeStatus(
            member=self.config.member,
            name=self.config.name,
            incarnation=self.incarnation,
            log_bytes=self._planner.size_bytes,
            checkpoint_bytes=self._checkpoints.copied_bytes,
            checkpoint_us=self._checkpoints.took_us,
            checkpoint_at=self._checkpoints.durable_at,
            open_requests=len(self._requests),
            waits_for=tuple(self._peers.waits_for()),
            overflows=self._peers.overflows,
            late_turns=self._late_turns,
            applied_entries=self.applied_entries,
            groups={
                group: GroupStatus(
                    engine=replica.engine.status(),
                    applied=replica.store.applied,
                    open_proposals=replica.open_proposals,
                    leader_changes=replica.leader_changes,
                    leader_changes_by_cause=replica.leader_changes_by_cause,
                    snapshots_sent=replica.snapshots_sent,
                    snapshots_installed=replica.snapshots_installed,
                    stopped=replica.stopped,
                )
                for group, replica in self._replicas.items()
            },
            peers=self.peers(),
            peer_counts=self._peers.counts,
        )
