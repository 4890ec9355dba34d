"""A hostile world for a few engines of any protocol, with the protocol's own checks on everything that leaves.

Disks complete writes late, or not at all for a while; a machine that is lost keeps what was durable and a drawn prefix
of the writes behind it, and its store may lose something of what it had applied. Members cut their logs, in some worlds
beyond what others have, and send snapshots then (``snapshots``). Time passes in drawn steps, turns take a drawn number
of inputs, limits are drawn small. What happens to messages is the network's (``networks``). Every draw
is keyed by the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec

from ratified.check.at_most_once import AtMostOnce
from ratified.check.barriers import BarrierIndexes
from ratified.check.group import GroupChecks
from ratified.check.oracle import Listeners
from ratified.check.protocols import PROTOCOLS
from ratified.check.violation import Violation
from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Change,
    Durable,
    Engine,
    Entry,
    Era,
    Fetch,
    Kind,
    Limits,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Record,
    Send,
    StateRecord,
    Status,
    Taken,
    TruncateRecord,
)
from ratified.consensus.draws import mix
from ratified.consensus.driver import Driver, DurableLog, Ports
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import encode_change
from tests.consensus.snapshots import Snapshots
from tests.consensus.ticks import tick as tick_engine

ELECTION_US = 10_000
HEARTBEAT_US = 1_000
STEP_US = 200
DRAWN: dict[str, tuple[int, ...]] = {
    "entries_per_message_max": (1, 2, 4096),
    "bytes_per_message_max": (1, 200, 1 << 20),
    "inflight_messages_max": (1, 3, 64),
    "inflight_bytes_max": (1, 200, 8 << 20),
    "deliver_bytes_max": (1, 200, 4 << 20),
    "tail_bytes_max": (1, 300, 16 << 20),
    "undurable_bytes_max": (1, 500, 64 << 20),
    "barriers_max": (1, 100, 100),
    "gap_entries_max": (1, 5, 1 << 16),
}


class Network(Protocol):
    """What carries messages, and the trouble that it has."""

    def carries(self, sender: int, target: int) -> bool:
        """Is there a way now? Without one nothing leaves."""

    def send(self, sender: int, target: int, message: Any) -> None:
        """A message is under way."""

    def strike(self, fault: int, chosen: int) -> None:
        """Begin or end some trouble; ``fault`` is a draw from ``FAULTS``, ``chosen`` a drawn member."""

    def heal(self) -> None:
        """End all trouble."""

    def lost(self, member: int) -> None:
        """The member's machine was lost."""

    def step(self) -> None:
        """Tell members of sessions, and let some messages arrive."""


@dataclass(frozen=True, slots=True)
class Leases:
    """Leases in a world, and what the clocks are like."""

    lease_us: int = ELECTION_US // 2
    in_the_log: bool = False
    drift_ppm_max: int = 100_000
    """What the engines assume."""
    drift_ppm: int = 100_000
    """By how much a clock is fast, slow, or neither, as is drawn for each member."""
    transfers: int = 5
    """In so many of a thousand steps a leader is told to hand over."""


CHECKPOINTS = range(20, 60)
COMPACTIONS = range(60, 90)
FAULTS = range(12)
"""Of the 600 numbers that a step draws from, those that are the network's."""


class Member:
    """One member, and what the world remembers of it."""

    def __init__(self, id_: int, driver: Driver) -> None:
        self.id = id_
        self.driver = driver
        self.applied = 0
        """What its store has applied; a machine that is lost may lose some of it."""
        self.state = 0
        """What that makes of it, in short."""
        self.starts = 0
        self.checkpoint: tuple[int, Era] = (0, NO_ERA)
        """What its store does not lose: up to which entry, and the era with which that was delivered."""
        self.asked: dict[ProposalId, tuple[Era, int]] = {}
        """What it took in this process and neither delivered nor called lost: era and index."""

    def has(self, applied: int, state: int) -> None:
        """Its store is as far as this."""
        self.applied, self.state = applied, state

    @property
    def leads(self) -> bool:
        return self.driver.up and self.driver.engine.leading is not None


def lowest_checkpoint(world: World, member: Member) -> tuple[int, Era]:
    """Cut what all members have in their checkpoints: nobody ever lacks it."""
    return min(each.checkpoint for each in world.members.values())


def own_checkpoint(world: World, member: Member) -> tuple[int, Era]:
    """Cut whatever others lack: who is away needs a snapshot."""
    return member.checkpoint


def drawn_limits(seed: int) -> Limits:
    """Small ones; in one world of three there is room for everything: with little under way little is in disorder."""
    if mix(seed, 12) % 3 == 0:
        return Limits()
    return Limits(**{name: values[mix(seed, 7, at) % len(values)] for at, (name, values) in enumerate(DRAWN.items())})


class World:
    """Members, the network between them, and the checks."""

    def __init__(
        self,
        engine: str,
        network: Callable[[World], Network],
        seed: int,
        members: int = 3,
        *,
        chaos: bool = True,
        campaigns: int = 2,
        strikes_every: int = 1,
        limits: Limits | None = None,
        joiners: int = 0,
        changes: int = 0,
        engine_of: Callable[[int], Callable[[int, Options, Durable], Engine]] | None = None,
        cuts: Callable[[World, Member], tuple[int, Era]] = lowest_checkpoint,
        leases: Leases | None = None,
        disk_steps: int | None = None,
    ) -> None:
        """Each member is told to campaign in ``campaigns`` of a thousand steps, runs ``engine_of`` it, and ``cuts`` its
        log up to there. A leader is asked for another configuration in ``changes`` of a thousand, out of ``joiners``
        further members too."""
        self.seed = seed
        self.now = 0
        self.chaos = chaos
        self._strikes_every = strikes_every
        """Faults are drawn in one of so many steps, on average."""
        self.counts: Counter[str] = Counter()
        """What happened."""
        self.seen: Callable[[Any], None] = lambda message: None
        """Called with every message that leaves."""
        self._campaigns = campaigns
        self._changes = changes
        self._retired: set[int] = set()
        """Members that were switched off, since a change that left them out was over."""
        self._row = ENGINES[engine]
        self._engine_of = engine_of or (lambda member: self._row.engine)
        self._cuts = cuts
        self._leases = leases
        self._draws = 0
        self._proposed = 0
        self.states: dict[int, tuple[int, Era]] = {0: (0, NO_ERA)}
        """By index, what everybody's state is there, and the era with which its entry is delivered."""
        self._disk_draw = disk_steps or 2 + mix(seed, 8) % 20
        """One in so many steps a waiting write completes."""
        self._held_disk: int | None = None
        self._lost: set[ProposalId] = set()
        self._delivered: set[ProposalId] = set()
        self._limits = limits or drawn_limits(seed)
        membership = Membership(tuple(range(1, members + 1)))
        row = PROTOCOLS[engine]
        ids = range(1, members + joiners + 1)
        self.checks: GroupChecks[Any] = GroupChecks(0, membership, Counter(), row.shape(Counter()), ids)
        self.checks.listeners = Listeners(
            [row.checks(self.checks), BarrierIndexes(self.checks), AtMostOnce(self.checks)]
        )
        self.members = {id_: self._member(id_, membership if id_ <= members else Membership(())) for id_ in ids}
        self.network = network(self)
        self.snapshots = Snapshots(self)
        for member in self.members.values():
            self.start(member)

    def clock(self, member: int) -> int:
        """What the member's clock says now."""
        if self._leases is None:
            return self.now
        fast_ppm = (mix(self.seed, 13, member) % 3 - 1) * self._leases.drift_ppm
        return mix(self.seed, 14, member) % ELECTION_US + self.now * (1_000_000 + fast_ppm) // 1_000_000

    def draw(self, bound: int) -> int:
        """The next draw, below ``bound``."""
        self._draws += 1
        return mix(self.seed, 1, self._draws) % bound

    # ------------------------------------------------------------------------------------------------------- life

    def _member(self, id_: int, membership: Membership) -> Member:
        ports = Ports(
            send=partial(self._send, id_),
            deliver=lambda entries: self._deliver(self.members[id_], entries),
            fetch=self._fetch,
            snapshot_to=lambda asked: self.snapshots.send(self.members[id_], asked),
            install=lambda base: self.snapshots.install(self.members[id_], base),
            observe=partial(self._observe, id_),
        )
        log = DurableLog(Base(0, NO_ERA, membership))
        return Member(id_, Driver(partial(self._engine, id_), self._options(id_), log, ports))

    def _engine(self, member: int, now: int, options: Options, durable: Durable) -> Engine:
        self.checks.begins(member, durable)
        return self._engine_of(member)(now, options, durable)

    def _options(self, member: int) -> Options:
        def election_deadline(now: int, era: Era) -> int:
            return now + ELECTION_US + mix(self.seed, 2, member, *era, now) % ELECTION_US

        leases = self._leases or Leases(lease_us=0)
        return Options(
            member=member,
            seed=self.seed,
            election_deadline=election_deadline,
            election_timeout_max_us=2 * ELECTION_US,
            election_timeout_min_us=ELECTION_US,
            heartbeat_us=HEARTBEAT_US,
            lease_us=0 if leases.in_the_log else leases.lease_us,
            log_lease_us=leases.lease_us if leases.in_the_log else 0,
            clock_drift_ppm_max=leases.drift_ppm_max,
            limits=self._limits,
        )

    def start(self, member: Member) -> None:
        log = member.driver.log
        found = self.checks.shape.new_image()
        for record in (StateRecord(log.state), *([BaseRecord(log.base)] if log.base.index else ()), *log.in_order()):
            found.take(record)
        self.checks.recovered(member.id, found, killed=False)
        if log.base.index > member.applied:
            self.snapshots.restore(member)
        member.starts += 1
        member.driver.start(self.clock(member.id), applied=member.applied, tail_entries=self.draw(4))

    def crash(self, member: Member) -> None:
        """The machine is lost; of what was not durable a drawn prefix of the writes remains."""
        writes = member.driver.writes
        kept = self.draw(len(writes) + 1)
        for at in range(kept):
            self._durable(member, writes[at].records)
        self.counts["writes lost"] += kept < len(writes)
        self.counts["crashes"] += 1
        member.driver.crash(writes_kept=kept)
        member.asked.clear()
        self.network.lost(member.id)
        left = 0 if self.draw(4) == 0 else member.applied - self.draw(member.applied + 1) % 3
        applied = max(left, member.checkpoint[0])
        member.has(applied, self.states[applied][0])
        self.snapshots.lost(member)

    def _durable(self, member: Member, records: Sequence[Record]) -> None:
        for record in records:
            self.checks.written(member.id, record)
        self.checks.synced(member.id)

    # ------------------------------------------------------------------------------------------------------ a step

    def step(self) -> None:
        """A little time passes, and something happens."""
        self.now += self.draw(STEP_US)
        if self.chaos:
            self._strike()
        for member in self.members.values():
            if not member.driver.up and self._restarts(member):
                self.start(member)
        self.network.step()
        self.snapshots.step()
        for member in self.members.values():
            self._complete_writes(member)
            if member.driver.up:
                self._offer_work(member, member.driver.engine)
            while member.driver.inputs:
                member.driver.turn(self.clock(member.id), 1 + self.draw(4))

    def _restarts(self, member: Member) -> bool:
        if member.id not in self._retired:
            return not self.chaos or self.draw(100) == 0
        wanted = any(member.id in named(status.membership) for status in self.statuses())
        if not wanted and (not self.chaos or self.draw(2000)):
            return False
        self._retired.discard(member.id)
        return True

    def _retire(self) -> None:
        """Switch somebody off who is not needed any more, as the latest leader says."""
        status = self._leader()
        if status is None or not status.settled:
            return
        for member in self.members.values():
            if member.driver.up and member.id not in named(status.membership) and self.draw(4) == 0:
                self.counts["retired"] += 1
                self._retired.add(member.id)
                self.crash(member)

    def _leader(self) -> Status | None:
        """Of the latest era, if it serves."""
        leaders = [status for status in self.statuses() if status.leader == status.member]
        latest = max(leaders, key=lambda status: status.era, default=None)
        return latest if latest is not None and latest.serving else None

    def _strike(self) -> None:
        if self._changes and self.draw(100) == 0:
            self._retire()
        chosen = 1 + self.draw(len(self.members))
        match self.draw(600 * self._strikes_every):
            case fault if fault in FAULTS:
                self.network.strike(fault, chosen)
            case 12 | 13:
                self._held_disk = chosen
            case 14 | 15 | 16:
                self._held_disk = None
            case number if number in CHECKPOINTS:
                self._checkpoint(self.members[chosen])
            case number if number in COMPACTIONS:
                self._compact(self.members[chosen])
            case 17 | 18 | 19 if self.members[chosen].driver.up:
                self.crash(self.members[chosen])

    def _checkpoint(self, member: Member) -> None:
        """The member's store, as it is, outlives the loss of its machine."""
        if member.driver.up and member.applied > member.checkpoint[0]:
            member.checkpoint = member.driver.delivered
            self.counts["checkpoints"] += 1

    def _compact(self, member: Member) -> None:
        """The member cuts what is in its checkpoint, as far as it is told to."""
        index, era = self._cuts(self, member)
        if member.driver.up and index > member.driver.log.base.index:
            self.counts["compactions"] += 1
            member.driver.feed(lambda engine, now: engine.compacted(now, index, era))

    def _complete_writes(self, member: Member) -> None:
        writes = member.driver.writes
        while writes and (not self.chaos or (self._held_disk != member.id and self.draw(self._disk_draw) == 0)):
            self._durable(member, writes[0].records)
            member.driver.complete()

    def _offer_work(self, member: Member, engine: Engine) -> None:
        feed = member.driver.feed
        if engine.deadline is not None and engine.deadline <= self.clock(member.id):
            feed(tick_engine)
        if self.chaos and self.draw(1000) < self._campaigns:
            feed(lambda engine, now: engine.campaign(now))
        if self.draw(30 if engine.leading is None else 4) == 0:
            feed(partial(self._ask_barrier, member, self._draws))
        if engine.leading is not None and self.draw(8) == 0:
            feed(partial(self._propose, member, 1 + self.draw(3)))
        if self._changes and self.chaos and engine.leading is not None and self.draw(1000) < self._changes:
            feed(partial(self._propose_change, member))
        if self._leases is not None and engine.leading is not None and self.draw(1000) < self._leases.transfers:
            feed(partial(self._transfer, 1 + self.draw(len(self.members))))

    def _transfer(self, to: int, engine: Engine, now: int) -> None:
        self.counts["transfers"] += self.chaos and engine.transfer_leadership(now, to) is None

    def _ask_barrier(self, member: Member, token: int, engine: Engine, now: int) -> None:
        for barrier_fed in self.checks.listeners.barrier_fed:
            barrier_fed(member.id, token)
        engine.read_barrier(now, token)

    def _propose(self, member: Member, count: int, engine: Engine, now: int) -> None:
        era = engine.leading
        numbers = range(self._proposed + 1, self._proposed + count + 1)
        self._proposed += count
        answer = engine.propose(now, [Proposal(ProposalId(member.id, 1, number), b"%d" % number) for number in numbers])
        if isinstance(answer, Taken):
            assert era is not None, "taken without leading"
            for at, number in enumerate(numbers):
                member.asked[ProposalId(member.id, 1, number)] = (era, answer.first + at)

    def _propose_change(self, member: Member, engine: Engine, now: int) -> None:
        before = engine.status().membership
        if self.draw(8) == 0:
            before = Membership(before.voters[1:], before.outgoing, before.learners)
        era = engine.leading
        self._proposed += 1
        proposal = ProposalId(member.id, 1, self._proposed)
        change = Change(before, self._drawn_membership(before), b"%d" % self._proposed)
        answer = engine.propose(now, [Proposal(proposal, encode_change(change), Kind.MEMBERSHIP)])
        if isinstance(answer, Taken):
            assert era is not None, "taken without leading"
            member.asked[proposal] = (era, answer.first)
            self.counts["changes"] += 1
        else:
            self.counts[f"refused: {answer.reason}"] += 1

    def _drawn_membership(self, before: Membership) -> Membership:
        """Another one: one member more or less, one in place of another, or anything."""
        ids, voters, learners = list(self.members), {*before.voters}, {*before.learners}
        match self.draw(4):
            case 0:
                voters ^= {ids[self.draw(len(ids))]}
            case 1:
                learners ^= {ids[self.draw(len(ids))]}
            case 2:
                voters ^= {ids[self.draw(len(ids))], ids[self.draw(len(ids))]}
            case _:
                voters = {ids[self.draw(len(ids))] for _ in range(1 + self.draw(5))}
                learners = {ids[self.draw(len(ids))] for _ in range(self.draw(3))}
        return Membership(tuple(sorted(voters)), (), tuple(sorted(learners - voters)))

    # ------------------------------------------------------------------------------------------------ what leaves

    def _observe(self, member: int, ready: Ready) -> None:
        self.checks.ready(member, ready)
        if ready.write is not None:
            self.counts["truncations"] += sum(isinstance(record, TruncateRecord) for record in ready.write.records)
        if ready.leader is not None:
            self.counts["leaders"] += ready.leader.serving
        for read in ready.reads:
            self.counts["reads" if read.index is not None else "reads refused"] += 1
            self.counts["reads in limbo"] += read.limbo is not None

    def _send(self, member: int, send: Send, session: int | None) -> None:
        if not self.network.carries(member, send.to):
            return
        self.seen(send.message)
        self.snapshots.leaves(self.members[member], send.message)
        for leaves in self.checks.listeners.leaves:
            leaves(member, send.to, send.message)
        self.counts[type(send.message).__name__] += 1
        message = msgspec.msgpack.decode(msgspec.msgpack.encode(send.message), type=self._row.message)
        self.network.send(member, send.to, message)

    def _fetch(self, fetch: Fetch) -> int:
        self.counts["fetches"] += 1
        return 1 + self.draw(fetch.last - fetch.first + 1)

    def _deliver(self, member: Member, entries: Sequence[Entry]) -> int:
        for entry in entries:
            self.counts[f"delivered {Kind(entry.kind).name}"] += 1
            if entry.proposal is not None:
                assert entry.proposal not in self._lost, f"rule 7: {entry.proposal} was lost"
                self._delivered.add(entry.proposal)
                member.asked.pop(entry.proposal, None)
        for proposal, (era, index) in list(member.asked.items()):
            if member.driver.engine.lost(era, index, member.driver.delivered):
                assert proposal not in self._delivered, f"rule 7: {proposal} was delivered and is called lost"
                self._lost.add(proposal)
                del member.asked[proposal]
                self.counts["lost"] += 1
        state = member.state
        for entry in entries:
            state = hash((state, entry.kind, entry.proposal, entry.data))
            self.agree(member, (entry.index, entry.era), state)
        member.has(entries[-1].index, state)
        return member.applied

    def agree(self, member: Member, at: tuple[int, Era], state: int) -> None:
        """Wherever a member's state comes from, it is what everybody's is at this index, and so is the era."""
        index, era = at
        known = self.states.setdefault(index, (state, era))
        if known != (state, era):
            raise Violation("state", f"member {member.id} has {(state, era)} at {index}, others have {known}")

    # -------------------------------------------------------------------------------------------------- the end

    def run(self, steps: int) -> None:
        """Let trouble reign."""
        for _ in range(steps):
            self.step()

    def heal(self, steps: int = 3000) -> None:
        """No more faults: everybody starts, and what is delivered anywhere from now on is delivered everywhere."""
        self.chaos = False
        self._held_disk = None
        self.network.heal()
        goal = self.checks.delivered_max + 20
        for _ in range(steps):
            self.step()
            if self._all_have(goal):
                return
        raise AssertionError(f"no progress in peace: {self.statuses()}")

    def _all_have(self, index: int) -> bool:
        """Have all been delivered so much, whom the configuration names that holds for good?"""
        leader = self._leader()
        if leader is None or not leader.settled:
            return False
        return all(self.members[id_].driver.delivered[0] >= index for id_ in named(leader.membership))

    def statuses(self) -> list[Status]:
        """Of those that are up."""
        return [member.driver.engine.status() for member in self.members.values() if member.driver.up]


def named(membership: Membership) -> set[int]:
    """All that take part."""
    return {*membership.voters, *membership.outgoing, *membership.learners}


def lives(world: World) -> bool:
    """Does nothing go wrong in it, neither in trouble nor in peace?"""
    try:
        world.run(1200)
        world.heal(1500)
    except (AssertionError, Violation):
        return False
    return True
