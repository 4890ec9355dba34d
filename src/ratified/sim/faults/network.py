"""Links that lose, duplicate and delay; connections that break."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Heals, Injector, again_and_again, all_the_time, nothing_lasts
from ratified.sim.world import Draws


def _break_connections(injector: Injector, draws: Draws) -> None:
    """All of one member."""
    injector.cluster.network.break_all(injector.victim(draws).member)


def _unreliable(injector: Injector) -> None:
    injector.cluster.network.options = injector.unreliable_network


def _reliable(injector: Injector) -> None:
    injector.cluster.network.options = injector.cluster.options.network


BROKEN_CONNECTIONS = Fault(
    name="broken-connections",
    scenarios={
        "unreliable-network": 10,
        "partitions": 20,
        "absences": 3,
        "strangers": 20,
        "quiet": 4,
        "everything": 25,
    },
    begin=again_and_again(_break_connections),
    heal=nothing_lasts,
    counters=("connections broken",),
)
UNRELIABLE_NETWORK = Fault(
    name="unreliable-network",
    scenarios={
        "unreliable-network": 1,
        "machine-losses": 1,
        "absences": 1,
        "leader-failures": 1,
        "transfers": 1,
        "everything": 1,
    },
    begin=all_the_time(_unreliable),
    heal=_reliable,
    heals=Heals.CONDITIONS,
    counters=(),
    datagram_counters=("messages duplicated", "messages lost", "messages reordered"),
)
