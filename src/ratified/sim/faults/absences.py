"""Members are away for so long that the others cut the log beyond what they have."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again, at_installations
from ratified.sim.machine import Machine
from ratified.sim.world import Draws

SPARED_OF_100 = 50
"""So many of those that come back do not die while they install a snapshot."""


def _go_away(injector: Injector, draws: Draws) -> None:
    """Its process dies, or its machine does; a majority stays."""
    machine = injector.victim(draws)
    lost = draws.below(2) == 0
    away_us = injector.timeout_us * draws.pick((3, 6, 12)) + draws.below(injector.timeout_us)
    members = injector.cluster.members
    away = sum(not injector.cluster.machines[member].up for member in members)
    if not machine.up or 2 * (away + 1) >= len(members):
        return
    injector.cluster.world.counters["absences"] += 1
    if lost:
        machine.lose()
    else:
        machine.kill()
    injector.later(draws, away_us, machine.start)


def _die(injector: Injector, draws: Draws, member: int) -> None:
    """While the base is written, the store is switched, or the next checkpoint is taken."""
    machine = injector.cluster.machines[member]
    lost, back_us = draws.below(3) > 0, 1 + draws.below(injector.timeout_us)
    injector.later(draws, injector.timeout_us // 10, _end, injector, machine, lost, back_us)


def _end(injector: Injector, machine: Machine, lost: bool, back_us: int) -> None:
    injector.cluster.world.counters["deaths at an installation"] += 1
    if lost:
        machine.lose()
    else:
        machine.kill()
    injector.at(injector.cluster.world.now + back_us, machine.start)


def _begin(injector: Injector, draws: Draws, rate: int) -> None:
    again_and_again(_go_away)(injector, draws, rate)
    at_installations(_die)(injector, injector.draws("death at an installation"), SPARED_OF_100)


ABSENCE = Fault(
    name="absence",
    scenarios={"absences": 5, "upgrades": 4, "members": 8, "users": 10, "together": 12, "alarms": 6},
    begin=_begin,
    heal=Injector.revive,
    counters=("absences",),
)
