"""Machines lose their power."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again
from ratified.sim.world import Draws


def _lose(injector: Injector, draws: Draws) -> None:
    machine = injector.victim(draws)
    machine.lose()
    injector.later(draws, injector.down_most(draws), machine.start)


def _lose_all(injector: Injector, draws: Draws) -> None:
    injector.cluster.world.counters["power cuts"] += 1
    for machine in injector.cluster.machines.values():
        machine.lose()
        injector.later(draws, injector.timeout_us, machine.start)


MACHINE_LOSS = Fault(
    name="machine-loss",
    scenarios={"machine-losses": 5, "checkpoints": 6, "absences": 12, "members": 15, "users": 12, "everything": 12},
    begin=again_and_again(_lose),
    heal=Injector.revive,
    counters=("machine losses",),
)
POWER_CUT = Fault(
    name="power-cut",
    scenarios={"machine-losses": 25, "checkpoints": 40, "users": 40, "together": 30, "everything": 60},
    begin=again_and_again(_lose_all),
    heal=Injector.revive,
    counters=("power cuts",),
)
