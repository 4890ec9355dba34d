"""What a cluster and its surroundings are like. Times are microseconds, chances millionths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from ratified.consensus.contract import CLOCK_DRIFT_PPM_MAX, LeaseKind, Membership
from ratified.consensus.engines import ENGINES, EngineRow
from ratified.kv.limits import KvLimits
from ratified.kv.store import KvStore
from ratified.machine import Store
from ratified.sim.clock import Clock
from ratified.sim.limits import SERVER_LIMITS, SystemLimits
from ratified.storage.space import Space

OpenStore = Callable[[int, int, Space], Store]
"""``(member, group, space) -> store``."""


def open_kv(limits: KvLimits) -> OpenStore:
    return lambda member, group, space: KvStore(space, limits)


class NetworkModel(StrEnum):
    """What happens to messages under way."""

    SESSION = "session"
    DATAGRAM = "datagram"


class NetworkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What links are like."""

    grain_us: int = 1
    """Latencies are multiples of it: the coarser, the more happens at one instant, in a drawn order."""
    latency_least_us: int = 200
    latency_most_us: int = 2_000
    slow_chance: int = 0
    """A message that takes up to ``slow_most_us`` instead."""
    slow_most_us: int = 200_000
    bytes_per_second: int = 0
    """What a link carries in one direction; 0: however much there is, at once."""
    loss_chance: int = 0
    duplicate_chance: int = 0
    break_chance: int = 0
    """A connection breaks instead of taking a frame."""
    stall_least_us: int = 200_000
    stall_most_us: int = 2_000_000
    """How long frames wait at a cut before their connection breaks."""
    redial_least_us: int = 10_000
    redial_most_us: int = 200_000


class ProcessOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a node is driven."""

    turn_most_us: int = 50
    """A turn begins at most so long after something asked for it."""
    turn_inputs: tuple[int, ...] = (1, 2, 5, 1_000)
    """How many inputs a turn may take: one of these, drawn for each."""


class ComputingOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn costs: the node does nothing else until that has passed, and what it sends leaves then."""

    turn_us: int = 0
    output_us: int = 0
    """A frame, a reply, or a job for the disk that leaves."""
    entry_us: int = 0
    """An entry that is delivered to be applied, beside the rows."""
    row_us: int = 0
    """A row of the store that is read or written."""


MEASURED = ComputingOptions(turn_us=20, output_us=10, entry_us=10, row_us=2)
"""What ``bench/node_turn.py`` and ``bench/kv_apply.py`` find, roughly."""


class DiskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How long a disk takes."""

    operation_most_us: int = 100
    sync_least_us: int = 100
    sync_most_us: int = 3_000
    slow_sync_chance: int = 0
    """A sync that takes up to ``slow_sync_most_us``."""
    slow_sync_most_us: int = 500_000


class QuotaOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A store that may only grow so far."""

    quota_bytes: int
    """More than it must keep when those who fill it have deleted all of theirs."""
    value_bytes: int
    """Of what they put."""


class WorkloadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How many clients of each kind there are, and what they do."""

    clients: int = 3
    """Who read and write single keys."""
    keys: int = 3
    think_most_us: int = 50_000
    timeout_least_us: int = 100_000
    timeout_most_us: int = 5_000_000
    probe_timeout_us: int = 10_000_000
    """What the last writes may take: nobody may time out for being impatient."""
    value_bytes: int = 0
    """What every value is longer than it must be: several sectors make a write that can tear."""
    abandon_chance: int = 30_000
    abandon_most_us: int = 20_000
    watchers: int = 0
    """Per group, as the next ones; only the key-value store can be watched, holds leases, and has ranges of keys."""
    lease_holders: int = 0
    range_readers: int = 0
    batch_writers: int = 0
    """On the first group."""
    quota: QuotaOptions | None = None
    """With one, a client fills the store of the first group again and again."""
    large_requests: int = 0
    """On the first group, beside batch writers."""
    large_values: bool = False
    headers_lag: bool = False
    """A read may be answered a lower revision than one that was answered before (log leases); it never shows less."""
    together: int = 0
    """Per group. Whose puts go together, and whose gets do."""
    alarm_operators: int = 0
    """On the first group; at most one."""
    users: int = 0
    """On the first group, who put and read, and as many who watch; beside operators and the clients of registers nobody
    else may ask for anything there."""
    user_operators: int = 0
    """Who change what users may do."""
    member_operators: int = 0
    """Who add, promote and remove members."""


class ClusterOptions(msgspec.Struct, frozen=True, kw_only=True):
    """One cluster: what its members run, on what, between what."""

    engine: str
    nodes: int
    groups: int = 1
    heartbeat_us: int
    election_timeout_us: int
    limits: SystemLimits = SERVER_LIMITS
    open_store: OpenStore = open_kv(SERVER_LIMITS.kv)
    process: ProcessOptions
    computing: ComputingOptions = ComputingOptions()
    disk: DiskOptions
    network: NetworkOptions
    model: NetworkModel = NetworkModel.SESSION
    priorities: Mapping[int, int] = {}
    """By member; 0 for who is not among these."""
    quiescence: bool = True
    """Where the network gives sessions in which nothing is lost."""
    read_lease_us: int = 0
    read_lease_kind: LeaseKind = LeaseKind.CLOCK
    clock_drift_ppm_max: int = CLOCK_DRIFT_PPM_MAX
    """What nodes assume."""
    clocks: Mapping[int, Clock] = {}
    """By member; who is not among these has the world's time."""
    through_wire: bool = False
    """Frames are encoded and decoded on their way."""
    client_urls: Mapping[int, tuple[str, ...]] = {}
    """What each member publishes; nothing where it is not among these."""
    spares: int = 0
    """Machines that may become members later, numbered behind the first members."""
    urls_of_starts: bool = False
    """Each start of a process publishes client URLs of its own: the cluster table changes all the time."""

    @property
    def row(self) -> EngineRow:
        return ENGINES[self.engine]

    @property
    def members(self) -> tuple[int, ...]:
        return tuple(range(1, self.nodes + 1))

    @property
    def joiners(self) -> tuple[int, ...]:
        return tuple(range(self.nodes + 1, self.nodes + self.spares + 1))

    @property
    def memberships(self) -> dict[int, Membership]:
        return dict.fromkeys(range(self.groups), Membership(self.members))
