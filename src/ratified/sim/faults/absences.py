"""Members are away for so long that the others cut the log beyond what they have."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again
from ratified.sim.world import Draws


def _go_away(injector: Injector, draws: Draws) -> None:
    """Its process dies, or its machine does; a majority stays."""
    machine = injector.victim(draws)
    lost = draws.below(2) == 0
    away_us = injector.timeout_us * draws.pick((3, 6, 12)) + draws.below(injector.timeout_us)
    away = sum(not each.up for each in injector.cluster.machines.values())
    if not machine.up or 2 * (away + 1) >= len(injector.cluster.machines):
        return
    injector.cluster.world.counters["absences"] += 1
    if lost:
        machine.lose()
    else:
        machine.kill()
    injector.later(draws, away_us, machine.start)


ABSENCE = Fault(
    name="absence",
    scenarios={"absences": 5},
    begin=again_and_again(_go_away),
    heal=Injector.revive,
    counters=("absences",),
)
