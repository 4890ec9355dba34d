"""Members are upgraded one by one, and some go back to the version before.

An earlier version is this program told to speak no later one: what it does not know it is not sent. Each member has one
of the earlier versions.
"""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again
from ratified.sim.machine import Machine
from ratified.sim.world import Draws
from ratified.wire.peer import PROTOCOL_VERSION, PROTOCOL_VERSION_MIN


def _earlier(machine: Machine) -> int:
    return PROTOCOL_VERSION_MIN + machine.member % (PROTOCOL_VERSION - PROTOCOL_VERSION_MIN)


def _upgrade(injector: Injector, draws: Draws) -> None:
    """Another version takes the place of the one that runs."""
    machine = injector.victim(draws)
    is_old = machine.protocol_version != PROTOCOL_VERSION
    machine.protocol_version = PROTOCOL_VERSION if is_old else _earlier(machine)
    injector.cluster.world.counters["upgrades" if is_old else "downgrades"] += 1
    machine.stop(1 + draws.below(injector.down_most(draws)))


def _begin(injector: Injector, draws: Draws, rate: int) -> None:
    """The first versions are mixed too."""
    for machine in injector.cluster.machines.values():
        if draws.below(2) == 0:
            machine.protocol_version = _earlier(machine)
            machine.stop(1)
    again_and_again(_upgrade)(injector, draws, rate)


def _heal(injector: Injector) -> None:
    for machine in injector.cluster.machines.values():
        if machine.protocol_version != PROTOCOL_VERSION:
            machine.protocol_version = PROTOCOL_VERSION
            machine.stop(1)


UPGRADE = Fault(
    name="upgrade",
    scenarios={"upgrades": 3},
    begin=_begin,
    heal=_heal,
    counters=("upgrades", "downgrades"),
)
