"""What a seed draws: sizes, timers, limits, what network, disks and processes are like, and what clients do.

Each is drawn on a key of its own, and only from what an operator could meet.
"""

from __future__ import annotations

import msgspec

from ratified.consensus.contract import CLOCK_DRIFT_PPM_MAX, LeaseKind
from ratified.machine_store import SavedMachineStore
from ratified.sim.arguments import Arguments
from ratified.sim.clock import Clock
from ratified.sim.limits import CARRIERS, CHECKPOINTS, SNAPSHOTS, WORK_OF_A_TURN, draw_limits
from ratified.sim.options import (
    MEASURED,
    ClusterOptions,
    ComputingOptions,
    DiskOptions,
    NetworkModel,
    NetworkOptions,
    OpenStore,
    ProcessOptions,
    QuotaOptions,
    WorkloadOptions,
    open_kv,
)
from ratified.sim.workload.state_machine import Registers
from ratified.sim.world import Concern, Draws

QUOTA_SCENARIOS = ("disks", "everything")
QUIET_TIMEOUTS = 8
"""For how long a client may ask nothing, in a world where groups rest."""
SMALL = {
    "checkpoints": CHECKPOINTS,
    "absences": SNAPSHOTS,
    "upgrades": SNAPSHOTS,
    "alarms": SNAPSHOTS,
    "users": SNAPSHOTS,
}
"""The limits that are what a scenario is about."""
NO_LIMIT = 0
FAST_LINK = 8 << 20
ORDINARY_LINK = 512 << 10
SPARES = 4
"""How many machines may join where members come and go."""
REGISTER_CHUNK_BYTES = 20
"""The least pieces that a user's state is read in."""
LEASE_PERCENT = 80
"""Of the shortest election timeout."""
SLOW_LINK = 64 << 10
"""What a link carries in the shortest election timeout, in bytes; 64 KiB in a second are half a Mbit/s."""


class SimulationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All that is drawn before a run begins."""

    cluster: ClusterOptions
    unreliable_network: NetworkOptions
    """While that fault lasts."""
    slow_disk: DiskOptions
    """While that fault lasts."""
    workload: WorkloadOptions
    state_machine: bool
    """The groups replicate a user's ``StateMachine``, and not the key-value store."""


def draw_options(arguments: Arguments) -> SimulationOptions:
    seed = arguments.seed

    def pick(question: int, *choices: int) -> int:
        return Draws(seed, Concern.OPTIONS, question).pick(choices)

    model = NetworkModel(arguments.network)
    timeout = pick(1, 100_000, 200_000, 400_000)
    bytes_per_timeout = pick(27, NO_LIMIT, NO_LIMIT, NO_LIMIT, FAST_LINK, ORDINARY_LINK, SLOW_LINK)
    network = NetworkOptions(
        bytes_per_second=bytes_per_timeout * 1_000_000 // timeout,
        grain_us=pick(2, 1, 1, 500),
        latency_least_us=pick(3, 100, 1_000),
        latency_most_us=pick(4, 1_000, 4_000, 12_000),
        stall_least_us=timeout // 2,
        stall_most_us=4 * timeout,
        redial_least_us=timeout // 20,
        redial_most_us=timeout,
    )
    disk = DiskOptions(sync_most_us=pick(11, 500, 3_000, 10_000))
    members_change = arguments.scenario == "members"
    large_requests = arguments.scenario == "large-requests"
    slow_machines = (pick(42, 0, 1) if large_requests else pick(30, 0, 0, 1)) == 1
    large_values = large_requests and not slow_machines and bytes_per_timeout in (NO_LIMIT, FAST_LINK)
    small = SMALL.get(arguments.scenario, frozenset())
    limits = draw_limits(
        seed,
        frames_are_messages=model is NetworkModel.DATAGRAM,
        always=(WORK_OF_A_TURN if slow_machines else frozenset()) | small,
        never=CARRIERS if large_values else frozenset(),
    )
    # A user's state is restored in one turn, however long that is; who joins gets all of it.
    together = arguments.scenario == "together"
    alarms = arguments.scenario == "alarms"
    users = arguments.scenario == "users"
    kv_alone = large_requests or together or alarms or users or (members_change and slow_machines)
    state_machine = pick(22, 0, 0, 0, 1) == 1 and not kv_alone
    log_leases = arguments.scenario == "log-leases"
    leases = log_leases or arguments.scenario == "leases"
    quiet = arguments.scenario == "quiet"
    clients_of_kv = 0 if state_machine else 1
    clients_without_user = 0 if users else clients_of_kv
    steady_clients = 0 if quiet or alarms else clients_without_user  # whom an alarm would refuse
    batch_writers = 1 if large_requests else steady_clients * pick(31, 0, 0, 1)
    nodes = arguments.nodes if arguments.nodes is not None else pick(13, 3, 3, 3, 4, 5, 5, 7)
    keys = pick(17, 1, 2, 5)
    small_values = bytes_per_timeout == NO_LIMIT or members_change  # who joins is sent all of them
    value_bytes = pick(25, 0, 0, 600, 1_500) if small_values else pick(28, 600, 6_000, 30_000)
    # A store of a size that says something is not filled over a slow link.
    may_have_quota = clients_of_kv == 1 and bytes_per_timeout == NO_LIMIT and arguments.scenario in QUOTA_SCENARIOS
    has_quota = may_have_quota and pick(32, 0, 1) == 1
    return SimulationOptions(
        cluster=ClusterOptions(
            engine=arguments.engine,
            nodes=nodes,
            groups=pick(14, 1, 1, 1, 3),
            election_timeout_us=timeout,
            heartbeat_us=timeout // pick(15, 3, 5, 10),
            priorities={member: pick(44 + member, 0, 1, 2) for member in range(1, nodes + 1)} if quiet else {},
            quiescence=quiet or pick(43, 0, 1) == 1,
            read_lease_us=timeout * LEASE_PERCENT // 100 if leases else 0,
            read_lease_kind=LeaseKind.LOG if log_leases else LeaseKind.CLOCK,
            clocks={member: _clock(seed, member, timeout) for member in range(1, nodes + 1)} if leases else {},
            limits=limits,
            open_store=_open_registers(pick(40, REGISTER_CHUNK_BYTES, 200)) if state_machine else open_kv(limits.kv),
            process=ProcessOptions(turn_most_us=pick(10, 0, 50, 500)),
            computing=_slow(timeout) if slow_machines else MEASURED,
            disk=disk,
            network=network,
            model=model,
            through_wire=pick(21, 0, 0, 0, 1) == 1,
            spares=SPARES if members_change else 0,
            urls_of_starts=arguments.scenario in ("absences", "upgrades"),
        ),
        unreliable_network=msgspec.structs.replace(
            network,
            loss_chance=pick(5, 0, 10_000, 100_000, 300_000),
            duplicate_chance=pick(6, 0, 20_000, 200_000),
            slow_chance=pick(7, 0, 20_000, 100_000),
            slow_most_us=pick(8, timeout // 4, timeout),
            break_chance=pick(9, 0, 500, 5_000),
        ),
        slow_disk=msgspec.structs.replace(
            disk, slow_sync_chance=pick(12, 0, 10_000, 100_000), slow_sync_most_us=timeout
        ),
        workload=WorkloadOptions(
            clients=pick(16, 1, 2, 4, 6),
            keys=keys,
            think_most_us=QUIET_TIMEOUTS * timeout if quiet else pick(18, timeout // 10, timeout // 2),
            timeout_least_us=pick(19, 1_000, timeout),
            timeout_most_us=pick(20, timeout, 3 * timeout, 10 * timeout),
            probe_timeout_us=20 * timeout,
            value_bytes=value_bytes,
            abandon_most_us=timeout,
            watchers=clients_without_user * pick(23, 0, 1, 3),
            range_readers=max(batch_writers, steady_clients * pick(26, 0, 0, 1, 2)),
            batch_writers=batch_writers,
            lease_holders=0 if leases else steady_clients * pick(24, 0, 0, 1, 2),
            large_requests=pick(41, 1, 2) if large_requests else 0,
            large_values=large_values,
            headers_lag=log_leases,
            together=pick(60, 1, 3) if together else 0,
            alarm_operators=1 if alarms else 0,
            users=pick(61, 2, 4, 6) if users else 0,
            user_operators=pick(62, 1, 1, 2) if users else 0,
            member_operators=1 if members_change else 0,
            quota=_quota((keys + nodes) * value_bytes, batch_writers) if has_quota else None,
        ),
        state_machine=state_machine,
    )


def _quota(kept_bytes: int, batch_writers: int) -> QuotaOptions:
    """Above what others keep: their keys, with the last writes of all, and their batches, each in some tables."""
    quota_bytes = 4_000 + 4 * kept_bytes + batch_writers * 100_000
    return QuotaOptions(quota_bytes=quota_bytes, value_bytes=quota_bytes // 20)


def _clock(seed: int, member: int, timeout_us: int) -> Clock:
    """Fast, slow, or neither, as far as nodes assume at most."""
    draws = Draws(seed, Concern.CLOCK, member)
    return Clock(draws.pick((-CLOCK_DRIFT_PPM_MAX, 0, CLOCK_DRIFT_PPM_MAX)), draws.below(10 * timeout_us))


def _slow(timeout_us: int) -> ComputingOptions:
    """Where a hundred entries, or some hundred rows, in one turn take an election timeout."""
    return ComputingOptions(turn_us=20, output_us=10, entry_us=timeout_us // 100, row_us=timeout_us // 500)


def _open_registers(chunk_bytes: int) -> OpenStore:
    return lambda member, group, space: SavedMachineStore(Registers(), space, chunk_bytes)
