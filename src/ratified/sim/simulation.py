"""One run: a cluster and its clients, put together from arguments, live through a scenario, heal, and are judged.

``simulate`` is a function of its arguments. Faults are injected for ``duration``; then everything that is broken is
mended, the clients begin nothing new, and every node of every group is asked for one more write. That these writes get
through, that every open request ends and that all replicas meet at one applied index, within ``patience``, is the
liveness that is promised; who waits for whom is said where it is broken. Then the histories are judged, everybody
leaves, and within ``REST_TIMEOUTS`` every table of every node returns to its size, groups rest that may, and are led by
whoever is to lead them.
"""

from __future__ import annotations

from typing import IO

from ratified.check.tables import Tables
from ratified.check.violation import Violation
from ratified.kv.identity import SERVER
from ratified.sim.arguments import Arguments
from ratified.sim.cluster import Cluster
from ratified.sim.draw import REGISTER_CHUNK_BYTES, draw_options
from ratified.sim.dump import write_dump
from ratified.sim.faults import registry as faults
from ratified.sim.faults.fault import Injector
from ratified.sim.limits import SERVER_LIMITS
from ratified.sim.options import NetworkModel
from ratified.sim.progress import ProgressSamples
from ratified.sim.report import Report
from ratified.sim.scenario import SCENARIOS
from ratified.sim.workload.answers import BATCH_KEYS
from ratified.sim.workload.batch_writer import DELETED_AT_ONCE
from ratified.sim.workload.kv_api import KvApi
from ratified.sim.workload.state_machine import RegistersApi
from ratified.sim.workload.workload import Workload
from ratified.sim.world import World

REST_TIMEOUTS = 20
"""Election timeouts within which all tables are back to their size when nobody is left: resending backs off."""
SAMPLES_A_TIMEOUT = 7
LEASES_PATIENCE_US = 5_000_000
"""What the last leases may live."""
RETRY_PATIENCE_US = 2_000_000
"""What a checkpoint that failed may need until the next one; where it is more, the default of a minute, logs are not
judged: a copy may have failed just before."""
ENTRY_PATIENCE_US = 40_000
"""What a lagging replica may need for one entry, where every limit admits one item at a time."""

COPIES_PATIENCE = 10
"""Of the patience with logs: so long they may be judged anew because a copy has just ended."""
PIECE_PATIENCE_US = 10_000
"""What each piece of a snapshot may take beside ways and syncs."""
ROW_BYTES_LEAST = 60


class Simulation:
    def __init__(self, arguments: Arguments, trace: IO[bytes] | None) -> None:
        self.options = draw_options(arguments)
        self.world = World(arguments.seed, trace=trace)
        self.cluster = Cluster(self.options.cluster, self.world)
        # Whether users count or not, the registers' clients may do everything.
        who = SERVER if self.options.workload.users else None
        api = RegistersApi() if self.options.state_machine else KvApi(who)
        self.workload = Workload(self.cluster, api, self.options.workload)
        self._arguments = arguments
        self._injector = Injector(self.cluster, self.options.unreliable_network, self.options.slow_disk)
        self._progress = ProgressSamples(self.cluster, self._injector.set_aside)

    def run(self) -> None:
        """Everything, from the first start to the verdict; raises ``Violation``."""
        self.cluster.start(self.workload)
        self.workload.start()
        self._progress.begin()
        faults.begin(self._injector, SCENARIOS[self._arguments.scenario].faults)
        self.world.run(self._arguments.duration_us)
        self._progress.end()
        faults.heal(self._injector)
        self.workload.stop()
        self._settle()
        self._logs_are_short()
        self.workload.judge()
        self.workload.leave()
        self._rest()

    def _settle(self) -> None:
        timeout = self.options.cluster.election_timeout_us
        entries = sum(checks.delivered_max for checks in self.cluster.checkers.groups.values())
        limits = self.options.cluster.limits.node
        deleted = self.world.counters["ranges deleted"] * DELETED_AT_ONCE * BATCH_KEYS
        patience = (
            LEASES_PATIENCE_US
            + 40 * timeout
            + 3 * self.options.workload.timeout_most_us
            + entries * ENTRY_PATIENCE_US
            + deleted * limits.tidy_pause_us  # each may need a turn of its own
            + self._snapshot_patience()
        )
        limit = self.world.now + patience
        while self.workload.waiting() or not self.cluster.replicas_agree():
            if self.world.now > limit:
                waiting = "; ".join(self.workload.waiting() + self.cluster.standing())
                raise Violation("liveness", f"{patience / 1e6:.1f} s after the world has healed {waiting}")
            self.world.run(self.world.now + timeout)

    def _snapshot_patience(self) -> int:
        """What a snapshot of the largest store may take, a way there and back and a sync for each piece."""
        cluster = self.options.cluster
        limits = cluster.limits
        piece_bytes = REGISTER_CHUNK_BYTES
        if not self.options.state_machine:
            of_rows = limits.kv.snapshot_rows_at_once * ROW_BYTES_LEAST
            piece_bytes = min(of_rows, limits.node.snapshot_piece_bytes, limits.node.window_bytes_min)
        state_bytes = max(machine.environment.size_bytes for machine in self.cluster.machines.values())
        piece_us = 2 * cluster.network.latency_most_us + cluster.disk.sync_most_us + PIECE_PATIENCE_US
        return state_bytes // piece_bytes * piece_us

    def _rest(self) -> None:
        timeout_us = self.options.cluster.election_timeout_us
        limit = self.world.now + REST_TIMEOUTS * timeout_us
        tables = Tables()
        while True:
            self.world.run(self.world.now + timeout_us // SAMPLES_A_TIMEOUT)
            tables.sampled({member: machine.sizes() for member, machine in self.cluster.machines.items()})
            found = {
                "tables at rest": tables.swollen,
                "groups at rest": [
                    f"member {member} keeps time in group {group}" for member, group in self.cluster.awake()
                ],
                "preferred leaders": self.cluster.led_by_others(),
            }
            unmet = [(rule, what) for rule, what in found.items() if what]
            if not unmet:
                return
            if self.world.now > limit:
                rule, what = unmet[0]
                raise Violation(rule, f"{REST_TIMEOUTS} election timeouts after the end {'; '.join(what)}")

    def _logs_are_short(self) -> None:
        """Everybody is up and has everything: what all have in a checkpoint has gone, or goes soon."""
        options = self.options
        limits = options.cluster.limits.node
        drawn = (
            limits.checkpoint_log_bytes_min < SERVER_LIMITS.node.checkpoint_log_bytes_min
            and limits.checkpoint_retry_us <= RETRY_PATIENCE_US
        )
        if not drawn or options.state_machine or options.cluster.model is not NetworkModel.SESSION:
            return
        patience = 20 * options.cluster.election_timeout_us + 2 * limits.checkpoint_retry_us
        began = until = self.world.now
        lanes = [machine.checkpoint_lane for machine in self.cluster.machines.values()]
        while too_long := self.cluster.logs_too_long():
            if any(lane.is_busy for lane in lanes):  # logs are cut when others have heard of its end
                until = min(self.world.now, began + COPIES_PATIENCE * patience)
            if self.world.now > until + patience:
                since = f"all had everything and {patience / 1e6:.1f} s after the last copy"
                raise Violation("log size", f"{since} {'; '.join(too_long)}")
            self.world.run(self.world.now + options.cluster.election_timeout_us)


def simulate(arguments: Arguments, *, trace: IO[bytes] | None = None, dump: IO[bytes] | None = None) -> Report:
    """Run one world to its verdict. Errors of the code itself (assertions and the like) go through to the caller."""
    simulation = Simulation(arguments, trace)
    broken: Violation | None = None
    try:
        simulation.run()
    except Violation as violation:
        broken = violation
    cluster, world = simulation.cluster, simulation.world
    digest = write_dump(arguments, broken, cluster, simulation.workload.histories(), dump)
    return Report(
        arguments=arguments,
        nodes=cluster.options.nodes,
        groups=cluster.options.groups,
        broken=None if broken is None else (broken.rule, broken.seen),
        virtual_us=world.now,
        events=world.executed,
        counters=dict(sorted(world.counters.items())),
        digest=digest,
    )
