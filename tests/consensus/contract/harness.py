"""A small deterministic cluster that drives engines by the contract and by nothing else.

It knows no protocol. Time is virtual; a disk takes ``disk_us``, a message ``latency_us``; a turn takes a drawn number
of inputs. The driver asserts rules 1 to 5 of every Ready, in every test. Besides, by the number of the contract's rule:

- 5: what is delivered is what the disk has, and equal on all members.
- 7: what ``lost`` gave up is never delivered.
- 8: a barrier is answered once, with an index at or above everything delivered anywhere before it was fed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Change,
    Durable,
    Engine,
    Entry,
    Era,
    Extensions,
    Fetch,
    Kind,
    Lead,
    Limits,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Refused,
    Send,
    SnapshotTo,
    Taken,
)
from ratified.consensus.draws import mix
from ratified.consensus.driver import Driver, DurableLog, Input, Ports
from ratified.consensus.engines import EngineRow
from ratified.consensus.entry import decode_entry, encode_change
from tests.consensus.ticks import tick as tick_engine

ELECTION_US = 10_000
HEARTBEAT_US = 2_000
PROBING = ("raft", "paxos", "zab")
"""The engines that have rule 14."""
IN_SEQUENCE = ("raft", "zab")
"""Those whose acknowledgement of an entry says that all before it is there. A slot of Paxos is accepted by itself."""
REPEATING = ("raft", "paxos")
"""Those that send again over a session what it has lost. ZAB asks for sessions that lose nothing: a phase that ends in
silence begins anew after its deadline."""


class Member:
    """One member: its driver, and what was seen leaving it."""

    def __init__(self, cluster: Cluster, member: int) -> None:
        self.id = member
        self.cluster = cluster
        ports = Ports(
            send=lambda send, session: cluster.transmit(member, send, session),
            deliver=self._deliver,
            fetch=self._fetch,
            snapshot_to=self._snapshot_to,
            install=self._install,
        )
        membership = cluster.membership if member in cluster.membership.voters else Membership(())
        log = DurableLog(Base(0, NO_ERA, membership))
        self.driver = Driver(self._engine, cluster.options(member), log, ports)
        self.starts = 0
        self.armed: tuple[int, int] | None = None
        """Start and deadline of the latest tick to come."""
        self.disk_us: int | None = cluster.disk_us
        """None: writes stay in flight until ``release_disk``."""
        self.apply_us: int | None = 0
        """None: what is delivered stays unapplied."""
        self.delivered: list[Entry] = []
        self.applied = 0
        self.readies: list[Ready] = []
        self.lead: Lead | None = None
        self.reads: dict[int, int | None] = {}
        self.fetches: list[Fetch] = []
        self.snapshots_asked: list[SnapshotTo] = []
        """Those that it is to send."""
        self.switch_us: int | None = 0
        """How long switching its store takes; None: until ``switch``."""
        self._snapshots: dict[int, list[Entry]] = {}
        """By name, what it has durably received: all that was delivered up to there."""
        self._barriers: dict[int, int] = {}

    # ------------------------------------------------------------------------------------------------ life

    def start(self, tail_entries: int = 0) -> None:
        """Start from what the disk holds, as the cluster has it now, with ``tail_entries`` of the latest entries in
        memory."""
        self.driver.options = self.cluster.options(self.id)
        self.starts += 1
        self._barriers.clear()
        base = self.driver.log.base
        if base.index > self.applied:
            self._load(base)
        first = self.delivered[0].index if self.delivered else 1
        del self.delivered[max(0, self.applied + 1 - first) :]
        self.driver.start(self.cluster.now, applied=self.applied, tail_entries=tail_entries)
        self.feed(lambda engine, now: None)

    def _engine(self, now: int, options: Options, durable: Durable) -> Engine:
        return self.cluster.row.engine(now, options, durable)

    def crash(self) -> None:
        """Everything that was not durable is gone; the store keeps what was applied."""
        self.driver.crash()
        self.lead = None

    @property
    def up(self) -> bool:
        return self.driver.up

    @property
    def running(self) -> Engine:
        return self.driver.engine

    def serves(self) -> bool:
        """Does it lead, with a commit of its own era?"""
        return self.up and self.running.status().serving

    def leads(self) -> bool:
        """Would it take a proposal?"""
        return self.up and self.running.leading is not None

    # ---------------------------------------------------------------------------------------------- inputs

    def feed(self, action: Input) -> None:
        """An input for one of the next turns."""
        self.driver.feed(action)
        self._turn_soon()

    def connect(self, peer: int, session: int | None) -> None:
        """A session was opened, or lost."""
        self.driver.connect(peer, session)
        self._turn_soon()

    def propose(self, *datas: bytes, kind: Kind = Kind.COMMAND) -> Taken | Refused:
        """Propose in a turn of its own, and say how it was answered."""
        cluster = self.cluster
        proposals = [Proposal(cluster.next_id(self.id), data, kind) for data in datas]
        era = self.running.leading
        answer = self.running.propose(cluster.now, proposals)
        if isinstance(answer, Taken):
            assert era is not None, "taken without leading"
            for offset, proposal in enumerate(proposals):
                cluster.taken[proposal.id] = (era, answer.first + offset)
        self._turn(inputs_max=0)
        return answer

    def change(
        self,
        voters: Sequence[int],
        learners: Sequence[int] = (),
        *,
        outgoing: Sequence[int] = (),
        before: Membership | None = None,
        context: bytes = b"",
    ) -> Taken | Refused:
        """Propose that these vote, and those learn, from now on."""
        cluster = self.cluster
        status = self.running.status()
        change = Change(
            before or status.membership, Membership(tuple(voters), tuple(outgoing), tuple(learners)), context
        )
        proposal = Proposal(cluster.next_id(self.id), encode_change(change), Kind.MEMBERSHIP)
        era = self.running.leading
        answer = self.running.propose(cluster.now, [proposal])
        if isinstance(answer, Taken):
            assert era is not None, "taken without leading"
            cluster.taken[proposal.id] = (era, answer.first)
        self._turn(inputs_max=0)
        return answer

    def barrier(self, token: int) -> None:
        """Ask for a read index."""
        self._barriers[token] = self.cluster.highest_delivered
        self.feed(lambda engine, now: engine.read_barrier(now, token))

    # ----------------------------------------------------------------------------------------------- turns

    def _turn_soon(self) -> None:
        self.cluster.at(self.cluster.now, self._turn_of_inputs)

    def _turn_of_inputs(self) -> None:
        if self.driver.inputs:
            self._turn(1 + mix(self.cluster.seed, 1, self.id, len(self.readies)) % self.cluster.turn_inputs_max)

    def _turn(self, inputs_max: int) -> None:
        ready = self.driver.turn(self.cluster.now, inputs_max)
        if ready is not None:
            self._record(ready)
        if self.driver.inputs:
            self._turn_soon()
        self.cluster.arm(self)

    def _record(self, ready: Ready) -> None:
        self.readies.append(ready)
        self.fetches += ready.fetch
        if ready.leader is not None:
            self.lead = ready.leader
        for read in ready.reads:
            floor = self._barriers.pop(read.token)
            assert read.index is None or read.index >= floor, f"rule 8: read {read.token} at {read.index} < {floor}"
            self.reads[read.token] = read.index
        if ready.deliver or ready.leader is not None:
            self.cluster.ask_what_is_lost(self)
        if ready.write is not None and self.disk_us is not None:
            self._after(self.disk_us, partial(self._complete_up_to, ready.write.ticket))

    def _after(self, delay_us: int, action: Callable[[], None]) -> None:
        """Act after this time, unless the process was lost meanwhile."""
        start = self.starts

        def act() -> None:
            if self.up and start == self.starts:
                action()

        self.cluster.at(self.cluster.now + delay_us, act)

    # ------------------------------------------------------------------------------------------------ disk

    def hold_disk(self) -> None:
        """Writes handed out from now on stay in flight."""
        self.disk_us = None

    @property
    def writes_held(self) -> int:
        """Writes that are in flight."""
        return len(self.driver.writes)

    def release_disk(self, writes: int | None = None) -> None:
        """Let the next ``writes`` become durable; None: all, and later ones as usual."""
        if writes is None:
            self.disk_us = self.cluster.disk_us
        for _ in range(len(self.driver.writes) if writes is None else writes):
            self._complete(1)

    def _complete_up_to(self, ticket: int) -> None:
        self._complete(sum(write.ticket <= ticket for write in self.driver.writes))

    def _complete(self, writes: int) -> None:
        self.driver.complete(writes)
        if self.driver.inputs:
            self._turn_soon()

    def _fetch(self, fetch: Fetch) -> int:
        return 1 + mix(self.cluster.seed, 2, self.id, fetch.token) % (fetch.last - fetch.first + 1)

    # ----------------------------------------------------------------------------------------------- store

    def _deliver(self, entries: Sequence[Entry]) -> int:
        for entry in entries:
            held = self.driver.log.entries[entry.index]
            assert _content(held) == _content(_logged(entry)), f"rule 5: entry {entry.index} differs from the disk's"
            self.cluster.agree(entry)
        self.delivered += entries
        last = entries[-1].index
        self.cluster.highest_delivered = max(self.cluster.highest_delivered, last)
        if self.apply_us is not None:
            self._after(self.apply_us, partial(self.apply, last))
        return self.applied

    def apply(self, index: int) -> None:
        """The store has everything up to ``index``."""
        if index > self.applied:
            self.applied = index
            self.driver.applied(index)
            self._turn_soon()

    # ------------------------------------------------------------------------------------------- snapshots

    def compact(self, index: int) -> None:
        """Cut the log there."""
        era = next(entry.era for entry in self.delivered if entry.index == index)
        self.feed(lambda engine, now: engine.compacted(now, index, era))

    def snapshot(self) -> Base:
        """Of its state as it is; whoever receives it finds it at the cluster."""
        cluster = self.cluster
        entries = [entry for entry in self.delivered if entry.index <= self.applied]
        cluster.snapshots.append(entries)
        membership = self.running.membership_at(self.applied)
        return Base(self.applied, entries[-1].era, membership, len(cluster.snapshots))

    def offer(self, sender: Member, base: Base) -> Refused | None:
        """The head arrives, in a turn of its own."""
        answer = self.running.snapshot_offered(self.cluster.now, sender.id, base)
        self._turn(inputs_max=0)
        return answer

    def receive(self, sender: Member, base: Base) -> Refused | None:
        """All of it is durable here."""
        self._snapshots[base.snapshot] = self.cluster.snapshots[base.snapshot - 1]
        answer = self.running.snapshot_received(self.cluster.now, sender.id, base)
        self._turn(inputs_max=0)
        return answer

    def sent(self, peer: int, index: int, *, ok: bool) -> None:
        self.feed(lambda engine, now: engine.snapshot_sent(now, peer, index, ok))

    def _snapshot_to(self, asked: SnapshotTo) -> None:
        self.snapshots_asked.append(asked)
        if self.cluster.carries_snapshots:
            base, target = self.snapshot(), self.cluster.members[asked.member]
            self._after(self.cluster.latency_us, partial(self._send_snapshot, target, base))

    def _send_snapshot(self, target: Member, base: Base) -> None:
        """All at once, and the answer."""
        arrives = target.up and self.cluster.session(self.id, target.id) is not None
        ok = arrives and target.offer(self, base) is None and target.receive(self, base) is None
        self._after(self.cluster.latency_us * 4, lambda: self.sent(target.id, base.index, ok=ok))

    def _install(self, base: Base) -> None:
        """The base is durable."""
        if self.switch_us is not None:
            self._after(self.switch_us, partial(self.switch, base))

    def switch(self, base: Base) -> None:
        """The store is the snapshot's."""
        self._load(base)
        self.driver.installed(base)
        self._turn_soon()

    def _load(self, base: Base) -> None:
        entries = self._snapshots[base.snapshot]
        assert (entries[-1].index, entries[-1].era) == (base.index, base.era), (
            f"a snapshot of another state than {base}"
        )
        self.delivered, self.applied = list(entries), base.index

    def holds_what_was_agreed(self, last: int) -> bool:
        """Is what the disk has up to ``last`` what was delivered there anywhere?"""
        return all(
            self.cluster.agreed.get(index, _content(entry)) == _content(entry)
            for index, entry in self.driver.log.entries.items()
            if index <= last
        )

    @property
    def commands(self) -> list[bytes]:
        """The data of all commands delivered."""
        return [entry.data for entry in self.delivered if entry.kind is Kind.COMMAND]


def _logged(delivered: Entry) -> Entry:
    """The log's entry; it may be void, and was then delivered as a no-op (rule 13)."""
    return decode_entry(delivered.encoded)


def _content(entry: Entry) -> tuple[Kind, ProposalId | None, bytes]:
    return entry.kind, entry.proposal, entry.data


class Cluster:
    """Members, a network of sessions, and virtual time."""

    def __init__(
        self,
        row: EngineRow,
        members: int = 3,
        *,
        first_member: int = 1,
        seed: int = 1,
        limits: Limits | None = None,
        extensions: Extensions | None = None,
        turn_inputs_max: int = 1,
        disk_us: int = 100,
        latency_us: int = 200,
        joiners: int = 0,
    ) -> None:
        """``joiners``: how many more members run, with sessions to all, that no configuration names yet."""
        self.row = row
        self.seed = seed
        self.limits = limits or Limits()
        self.extensions = extensions or Extensions()
        self.turn_inputs_max = turn_inputs_max
        self.disk_us = disk_us
        self.latency_us = latency_us
        self.carries_snapshots = True
        """Without, a test does what the members ask for."""
        self.snapshots: list[list[Entry]] = []
        """By name, from 1 on, what was delivered in the state that was sent."""
        self.loss_percent = 0
        """Messages dropped inside a session (the datagram model)."""
        self.membership = Membership(tuple(range(first_member, first_member + members)))
        self.now = 0
        self.taken: dict[ProposalId, tuple[Era, int]] = {}
        self.sent: list[tuple[int, int, int, Any]] = []
        """(time, from, to, message) of everything that left."""
        self.highest_delivered = 0
        self.agreed: dict[int, tuple[Kind, ProposalId | None, bytes]] = {}
        """By index, what the logs hold that was delivered."""
        self._delivered_as: dict[int, tuple[Era, tuple[Kind, ProposalId | None, bytes]]] = {}
        self._agreed_ids: dict[ProposalId, int] = {}
        self._lost: set[ProposalId] = set()
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._event_count = 0
        self._id_count = 0
        self._sessions: dict[tuple[int, int], int | None] = {}
        self._silent: set[tuple[int, int]] = set()
        """Pairs whose session lasts and carries nothing."""
        self._session_count = 0
        ids = range(first_member, first_member + members + joiners)
        self.members = {member: Member(self, member) for member in ids}
        for member in self.members.values():
            member.start()
        for pair in self._pairs():
            self._open(pair)

    def options(self, member: int) -> Options:
        """The options of every start of this member."""

        def election_deadline(now: int, era: Era) -> int:
            return now + ELECTION_US + mix(self.seed, 3, member, era[0], era[1]) % ELECTION_US

        return Options(
            member=member,
            seed=self.seed,
            election_deadline=election_deadline,
            election_timeout_max_us=2 * ELECTION_US,
            election_timeout_min_us=ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            limits=self.limits,
            extensions=self.extensions,
        )

    def next_id(self, origin: int) -> ProposalId:
        self._id_count += 1
        return ProposalId(origin, self.members[origin].starts, self._id_count)

    # ------------------------------------------------------------------------------------------------ time

    def at(self, time: int, action: Callable[[], None]) -> None:
        self._event_count += 1
        heapq.heappush(self._events, (time, self._event_count, action))

    def arm(self, member: Member) -> None:
        """Tick the member when its engine asks for it, once for each deadline."""
        deadline = member.running.deadline
        if deadline is None or member.armed == (member.starts, deadline):
            return
        start = member.starts
        member.armed = (start, deadline)

        def tick() -> None:
            if start != member.starts or not member.up:
                return
            due = member.running.deadline
            if due is not None and due <= self.now:
                member.feed(tick_engine)

        self.at(max(deadline, self.now), tick)

    def run_for(self, duration_us: int) -> None:
        """Let this much time pass."""
        end = self.now + duration_us
        while self._events and self._events[0][0] <= end:
            self._step()
        self.now = end

    def run_until(self, reached: Callable[[], bool], limit_us: int = 2_000_000) -> None:
        """Let time pass until ``reached``; fails after ``limit_us``."""
        end = self.now + limit_us
        while not reached():
            in_time = bool(self._events) and self._events[0][0] <= end
            assert in_time, f"not reached within {limit_us} us: {self.describe()}"
            self._step()

    def _step(self) -> None:
        time, _, action = heapq.heappop(self._events)
        self.now = max(self.now, time)
        action()

    def describe(self) -> str:
        return "; ".join(str(member.running.status()) if member.up else "down" for member in self.members.values())

    # --------------------------------------------------------------------------------------------- network

    def session(self, a: int, b: int) -> int | None:
        """The current session of a pair; None: there is none, and what is sent is lost."""
        return self._sessions.get((min(a, b), max(a, b)))

    def transmit(self, sender: int, send: Send, session: int | None) -> None:
        if session is None or (min(sender, send.to), max(sender, send.to)) in self._silent:
            return
        self.sent.append((self.now, sender, send.to, send.message))
        if mix(self.seed, 4, sender, send.to, len(self.sent)) % 100 < self.loss_percent:
            return
        message = msgspec.msgpack.decode(msgspec.msgpack.encode(send.message), type=self.row.message)

        def arrive() -> None:
            if session == self.session(sender, send.to):
                self.members[send.to].feed(lambda engine, now: engine.step(now, sender, message))

        self.at(self.now + self.latency_us, arrive)

    def isolate(self, *members: int) -> None:
        """Break every session between these members and the others."""
        for pair in self._pairs():
            if (pair[0] in members) != (pair[1] in members):
                self._break(pair)

    def keep(self, pairs: Collection[tuple[int, int]], *, notice: bool) -> None:
        """Only these pairs see each other; ``notice``: the sessions of the others end, else they fall silent."""
        for pair in self._pairs():
            if pair in pairs:
                self._silent.discard(pair)
                if self._sessions.get(pair) is None:
                    self._open(pair)
            elif notice:
                self._break(pair)
            else:
                self._silent.add(pair)

    def heal(self) -> None:
        """Open every session that is not there."""
        self._silent.clear()
        for pair in self._pairs():
            if self._sessions.get(pair) is None and all(self.members[member].up for member in pair):
                self._open(pair)

    def crash(self, *members: int) -> None:
        for member in members:
            self.members[member].crash()
            for pair in self._pairs():
                if member in pair:
                    self._break(pair)

    def restart(self, *members: int, tail_entries: int = 0) -> None:
        for member in members:
            self.members[member].start(tail_entries)
        self.heal()

    def _pairs(self) -> Iterable[tuple[int, int]]:
        ids = tuple(self.members)
        return [(a, b) for a in ids for b in ids if a < b]

    def _open(self, pair: tuple[int, int]) -> None:
        self._session_count += 1
        self._tell(pair, self._session_count)

    def _break(self, pair: tuple[int, int]) -> None:
        if self._sessions.get(pair) is not None:
            self._tell(pair, None)

    def _tell(self, pair: tuple[int, int], session: int | None) -> None:
        self._sessions[pair] = session
        self.members[pair[0]].connect(pair[1], session)
        self.members[pair[1]].connect(pair[0], session)

    # ---------------------------------------------------------------------------------------------- claims

    def agree(self, entry: Entry) -> None:
        """All members deliver the same at one index, and one proposal at one index only."""
        content = _content(_logged(entry))
        assert self.agreed.setdefault(entry.index, content) == content, f"rule 5: two values at index {entry.index}"
        delivered = entry.era, _content(entry)
        assert self._delivered_as.setdefault(entry.index, delivered) == delivered, (
            f"rule 13: entry {entry.index} is delivered in two ways"
        )
        if entry.proposal is not None:
            assert entry.proposal not in self._lost, f"rule 7: {entry.proposal} was called lost and is delivered"
            first = self._agreed_ids.setdefault(entry.proposal, entry.index)
            assert first == entry.index, f"rule 7: {entry.proposal} delivered at {first} and at {entry.index}"

    def ask_what_is_lost(self, member: Member) -> None:
        """Of every proposal that was taken and not delivered here."""
        delivered = member.driver.delivered
        here = {entry.proposal for entry in member.delivered}
        for proposal, (era, index) in self.taken.items():
            if proposal not in here and proposal not in self._lost and member.running.lost(era, index, delivered):
                assert proposal not in self._agreed_ids, f"rule 7: {proposal} was delivered and is called lost"
                self._lost.add(proposal)

    def is_lost(self, proposal: ProposalId) -> bool:
        """Has some member said so?"""
        return proposal in self._lost

    # --------------------------------------------------------------------------------------------- leaders

    def elect(self, member: int | None = None) -> Member:
        """Run until a leader serves (``member``, after asking it to campaign, or any) that everybody follows."""
        if member is not None:
            self.members[member].feed(lambda engine, now: engine.campaign(now))
        self.run_until(lambda: self.leader(member) is not None)
        leader = self.leader(member)
        assert leader is not None
        return leader

    def leader(self, member: int | None = None) -> Member | None:
        """The serving leader of the latest era, if it is ``member``."""
        serving = [each for each in self.members.values() if each.serves()]
        best = max(serving, key=lambda each: each.running.status().era, default=None)
        return best if best is not None and member in (None, best.id) else None

    def propose(self, *datas: bytes) -> Taken | Refused:
        """Propose at the present leader."""
        leader = self.leader()
        assert leader is not None, "nobody serves"
        return leader.propose(*datas)

    def run_until_delivered(self, *datas: bytes, on: Sequence[int] | None = None) -> None:
        """Run until all these commands were delivered on the members ``on`` (all that are up)."""

        def done() -> bool:
            ups = [each for each in self.members.values() if each.up and (on is None or each.id in on)]
            return all(set(datas) <= set(each.commands) for each in ups)

        self.run_until(done)
