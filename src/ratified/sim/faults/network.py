"""Links that lose, duplicate and delay; connections that break."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again, all_the_time, nothing_lasts
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
    begin=again_and_again(5, _break_connections),
    heal=nothing_lasts,
    counters=("connections broken",),
)
UNRELIABLE_NETWORK = Fault(
    name="unreliable-network",
    begin=all_the_time(_unreliable),
    heal=_reliable,
    counters=("messages duplicated", "messages lost", "messages reordered"),
)
