"""The same load and the same fault on any engine, in a plain world, measured.

Where ``sim.simulation`` draws limits and faults to find what is wrong, this world is made to be understood:

1. Limits and timers are the defaults of a server. Links take 0.5 to 1.5 ms, syncs 1 to 2 ms, computing takes no time at
   all: what is measured is the protocol's, in virtual time, and not Python's.
2. Load comes at fixed moments, whether or not earlier writes are done, from member after member: who is down, or cut
   off, is left out, as clients do that move on.
3. A scenario has at most one fault, at a fixed moment, for a fixed time. The seed moves latencies, election timeouts,
   and what follows from them.
4. Bytes are those of the wire's codec and of the log's batches. Every check of the simulator watches.
5. A run is a function of its arguments; ``summarize`` of its runs, in whatever order they were made.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from enum import Enum

import msgspec

from ratified.check.violation import Violation
from ratified.sim.cluster import Cluster
from ratified.sim.limits import SERVER_LIMITS
from ratified.sim.meter import Meter, Traffic
from ratified.sim.options import ClusterOptions, DiskOptions, NetworkOptions, ProcessOptions
from ratified.sim.workload.leader_replacement import LeaderReplacement
from ratified.sim.workload.load import Load, Written
from ratified.sim.world import World

HEARTBEAT_US = 100_000
ELECTION_TIMEOUT_US = 1_000_000
BEGIN_US = 6_000_000
"""The load begins: a leader has been elected long ago."""
SETTLE_US = 20_000_000
"""So long after the load's end every write must have ended, and every member must have everything."""
LOOK_US = 1_000
"""How often it is looked whether a returned member has caught up."""
NETWORK = NetworkOptions(
    latency_least_us=500,
    latency_most_us=1_500,
    stall_least_us=1_000_000,
    stall_most_us=1_500_000,
    redial_least_us=50_000,
    redial_most_us=100_000,
)
PROCESS = ProcessOptions(turn_most_us=20, turn_inputs=(1_000,))
DISK = DiskOptions(operation_most_us=20, sync_least_us=1_000, sync_most_us=2_000)


class MemberFault(Enum):
    """What happens to one member for a while."""

    LEADER_CRASH = "the leader is killed"
    LEADER_CUT_OFF = "the leader is cut off"
    FOLLOWER_CUT_OFF = "a follower is cut off"
    FOLLOWER_AWAY = "a follower is down until the log is cut beyond it"
    LEADER_REPLACED = "a member is added, and when it votes the leader is removed"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario: load, and at most one fault. Times count from the beginning of the load."""

    text: str
    every_us: int
    puts_at_once: int
    load_us: int
    fault: MemberFault | None = None
    fault_us: int = 3_000_000
    fault_ends_us: int = 7_000_000


PLANS: dict[str, Plan] = {
    "steady": Plan(text="one put every 10 ms for 10 s", every_us=10_000, puts_at_once=1, load_us=10_000_000),
    "bursts": Plan(text="50 puts at once every 50 ms for 4 s", every_us=50_000, puts_at_once=50, load_us=4_000_000),
    "leader-crash": Plan(
        text="one put every 10 ms for 12 s; the leader is killed after 3 s and starts again after 7 s",
        every_us=10_000,
        puts_at_once=1,
        load_us=12_000_000,
        fault=MemberFault.LEADER_CRASH,
    ),
    "leader-partition": Plan(
        text="one put every 10 ms for 12 s; the leader is cut off after 3 s, the network heals after 7 s",
        every_us=10_000,
        puts_at_once=1,
        load_us=12_000_000,
        fault=MemberFault.LEADER_CUT_OFF,
    ),
    "follower-partition": Plan(
        text="one put every 10 ms for 12 s; a follower is cut off after 3 s, the network heals after 7 s",
        every_us=10_000,
        puts_at_once=1,
        load_us=12_000_000,
        fault=MemberFault.FOLLOWER_CUT_OFF,
    ),
    "follower-away": Plan(
        text="one put every 10 ms for 12 s, a checkpoint each 100; a follower is killed after 3 s and starts after 7 s",
        every_us=10_000,
        puts_at_once=1,
        load_us=12_000_000,
        fault=MemberFault.FOLLOWER_AWAY,
    ),
    "leader-replaced": Plan(
        text="one put every 10 ms for 12 s; a member is added after 3 s, and when it votes the leader is removed",
        every_us=10_000,
        puts_at_once=1,
        load_us=12_000_000,
        fault=MemberFault.LEADER_REPLACED,
    ),
}
OFTEN_CUT = msgspec.structs.replace(
    SERVER_LIMITS,
    node=msgspec.structs.replace(SERVER_LIMITS.node, checkpoint_entries=100, snapshot_catchup_entries=20),
)
"""The limits where the log is to be cut within seconds."""


_KILLS = (MemberFault.LEADER_CRASH, MemberFault.FOLLOWER_AWAY)


class CatchUp(msgspec.Struct, frozen=True):
    """What it took until the member of the fault had applied all that was committed without it.

    Messages and bytes are those between this member and all others, in both directions, from its return on.
    """

    us: int
    messages: int
    wire_bytes: int


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Counts are from the load's beginning to its end, heartbeats included."""

    engine: str
    seed: int
    nodes: int
    messages: int
    """The engine's own messages."""
    frames: int
    """What left the nodes: a frame carries all that a turn has for one peer, forwarded writes included."""
    wire_bytes: int
    log_bytes: int
    """Of all members' logs together."""
    writes: tuple[Written, ...]
    """Every acknowledged write, in the order of the acknowledgements."""
    unacknowledged: int
    """Writes that ended as unknown, or with the process that had taken them."""
    without_commit_us: int | None
    """The longest time without an acknowledged write that ended after the fault had begun; None: no fault."""
    catch_up: CatchUp | None


class ComparisonBroken(Exception):
    """A check of the simulator failed, or the load did not get through; the message says where."""


class _Run:
    """One cluster with one engine and one plan."""

    def __init__(self, engine: str, plan: Plan, seed: int, nodes: int) -> None:
        self._plan = plan
        self._world = World(seed)
        options = ClusterOptions(
            engine=engine,
            nodes=nodes,
            heartbeat_us=HEARTBEAT_US,
            election_timeout_us=ELECTION_TIMEOUT_US,
            process=PROCESS,
            disk=DISK,
            network=NETWORK,
            limits=OFTEN_CUT if plan.fault is MemberFault.FOLLOWER_AWAY else SERVER_LIMITS,
            spares=1 if plan.fault is MemberFault.LEADER_REPLACED else 0,
        )
        self._cluster = Cluster(options, self._world)
        self._network = self._cluster.network
        self._machines = self._cluster.machines
        self._checks = self._cluster.checkers.groups[0]
        self._meter = Meter(self._cluster)
        self._load = Load(self._cluster, plan.every_us, plan.puts_at_once)
        self._total, self._log_bytes = Traffic(), 0
        self._target = 0
        self._returned: tuple[int, Traffic] = (0, Traffic())
        self._catch_up: CatchUp | None = None
        self._replacement: LeaderReplacement | None = None

    def run(self) -> None:
        """From the first start until every member has everything."""
        self._cluster.start(self._load)
        self._world.run(BEGIN_US)
        if self._cluster.leader() is None:
            raise Violation("liveness", f"nobody leads {BEGIN_US / 1e6:.0f} s after the start")
        self._meter.reset()
        self._load.begin(BEGIN_US + self._plan.load_us)
        if self._plan.fault is not None:
            self._world.at(BEGIN_US + self._plan.fault_us, 0, 0, self._inject, self._plan.fault)
        self._world.run(BEGIN_US + self._plan.load_us)
        self._total, self._log_bytes = self._meter.total(), self._meter.log_bytes
        self._run_until(lambda: not self._load.open, "writes are still open")
        self._run_until(self._all_have_everything, "not every member has everything")

    def measured(self, engine: str, nodes: int) -> Measured:
        return Measured(
            engine=engine,
            seed=self._world.seed,
            nodes=nodes,
            messages=self._total.messages,
            frames=self._total.frames,
            wire_bytes=self._total.wire_bytes,
            log_bytes=self._log_bytes,
            writes=tuple(self._load.written),
            unacknowledged=self._load.unacknowledged,
            without_commit_us=self._without_commit_us(),
            catch_up=self._catch_up,
        )

    def _without_commit_us(self) -> int | None:
        if self._plan.fault is None:
            return None
        moments = [BEGIN_US, *(written.done_us for written in self._load.written)]
        fault_us = BEGIN_US + self._plan.fault_us
        return max(later - before for before, later in itertools.pairwise(moments) if later > fault_us)

    def _run_until(self, done: Callable[[], bool], otherwise: str) -> None:
        limit = self._world.now + SETTLE_US
        while not done():
            if self._world.now >= limit:
                raise Violation("liveness", f"{otherwise} {SETTLE_US / 1e6:.0f} s after the end of the load")
            self._world.run(self._world.now + LOOK_US)

    def _all_have_everything(self) -> bool:
        caught_up = self._plan.fault is None or self._catch_up is not None
        replaced = self._replacement is None or self._replacement.is_over
        return caught_up and replaced and self._cluster.replicas_agree()

    # -----------------------------------------------------------------------------------------------------------
    # The fault

    def _inject(self, fault: MemberFault) -> None:
        leader = self._cluster.leader()
        assert leader is not None, "nothing has happened that could end a leader"
        if fault is MemberFault.LEADER_REPLACED:
            self._replace_leader()
            return
        victim = leader
        if fault in (MemberFault.FOLLOWER_CUT_OFF, MemberFault.FOLLOWER_AWAY):
            victim = next(member for member in self._machines if member != leader)
        self._load.avoided = victim
        if fault in _KILLS:
            self._machines[victim].kill()
        else:
            for source, target in self._links(victim):
                self._network.cut(source, target)
        self._world.at(BEGIN_US + self._plan.fault_ends_us, 0, 0, self._mend, fault, victim)

    def _replace_leader(self) -> None:
        """Who joins is the one that catches up."""

        def votes(leader: int) -> None:
            self._load.avoided = leader
            self._look(replacement.joiner)

        self._target = self._checks.delivered_max
        self._replacement = replacement = LeaderReplacement(self._cluster, votes)
        self._returned = self._world.now, self._meter.of(replacement.joiner)

    def _mend(self, fault: MemberFault, victim: int) -> None:
        if fault in _KILLS:
            self._machines[victim].start()
        else:
            for source, target in self._links(victim):
                self._network.heal(source, target)
        self._target = self._checks.delivered_max
        self._returned = self._world.now, self._meter.of(victim)
        self._look(victim)

    def _look(self, victim: int) -> None:
        if self._machines[victim].stores[0].applied < self._target:
            self._world.at(self._world.now + LOOK_US, 0, 0, self._look, victim)
            return
        since_us, before = self._returned
        now = self._meter.of(victim)
        self._catch_up = CatchUp(
            self._world.now - since_us, now.messages - before.messages, now.wire_bytes - before.wire_bytes
        )
        if self._plan.fault is not MemberFault.LEADER_REPLACED:
            self._load.avoided = None
        snapshots = self._world.counters["snapshots installed"]
        if self._plan.fault is MemberFault.FOLLOWER_AWAY and not snapshots:
            raise Violation("nothing new", f"member {victim} needed no snapshot")

    def _links(self, victim: int) -> list[tuple[int, int]]:
        others = [member for member in self._machines if member != victim]
        return [(victim, other) for other in others] + [(other, victim) for other in others]


def measure(engine: str, plan: str, seed: int, nodes: int) -> Measured:
    """One run. Raises ``ComparisonBroken``."""
    run = _Run(engine, PLANS[plan], seed, nodes)
    try:
        run.run()
    except Violation as violation:
        raise ComparisonBroken(
            f"{engine}, scenario {plan}, seed {seed}, {nodes} nodes: {violation.rule}: {violation.seen}"
        ) from violation
    return run.measured(engine, nodes)


# ---------------------------------------------------------------------------------------------------------------
# Many runs


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """All runs of one engine. Medians and percentiles are nearest ranks: values that were measured."""

    engine: str
    runs: int
    commits: int
    """Acknowledged writes."""
    unacknowledged: int
    messages_per_commit: float
    frames_per_commit: float
    wire_bytes_per_commit: float
    log_bytes_per_commit: float
    """Of one member."""
    latency_p50_us: int
    latency_p99_us: int
    without_commit_median_us: int | None
    without_commit_most_us: int | None
    catch_up_median_us: int | None
    catch_up_messages_median: int | None
    catch_up_wire_bytes_median: int | None


def percentile(values: Sequence[int], percent: int) -> int:
    """The nearest rank: the least value that so many percent of all do not exceed."""
    ranked = sorted(values)
    return ranked[max(-(-len(ranked) * percent // 100) - 1, 0)]


def summarize(runs: Sequence[Measured]) -> Summary:
    """What the runs of one engine, at least one, say together."""
    commits = sum(len(run.writes) for run in runs)
    latencies = [written.latency_us for run in runs for written in run.writes]
    gaps = [run.without_commit_us for run in runs if run.without_commit_us is not None]
    catch_ups = [run.catch_up for run in runs if run.catch_up is not None]
    return Summary(
        engine=runs[0].engine,
        runs=len(runs),
        commits=commits,
        unacknowledged=sum(run.unacknowledged for run in runs),
        messages_per_commit=sum(run.messages for run in runs) / commits,
        frames_per_commit=sum(run.frames for run in runs) / commits,
        wire_bytes_per_commit=sum(run.wire_bytes for run in runs) / commits,
        log_bytes_per_commit=sum(run.log_bytes for run in runs) / commits / runs[0].nodes,
        latency_p50_us=percentile(latencies, 50),
        latency_p99_us=percentile(latencies, 99),
        without_commit_median_us=percentile(gaps, 50) if gaps else None,
        without_commit_most_us=max(gaps, default=None),
        catch_up_median_us=percentile([one.us for one in catch_ups], 50) if catch_ups else None,
        catch_up_messages_median=percentile([one.messages for one in catch_ups], 50) if catch_ups else None,
        catch_up_wire_bytes_median=percentile([one.wire_bytes for one in catch_ups], 50) if catch_ups else None,
    )
