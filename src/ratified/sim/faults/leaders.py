"""Leaders fail within moments of their election, which is when it is worth most to be rid of them."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Heals, Injector, at_elections
from ratified.sim.faults.partitions import both_ways
from ratified.sim.world import Draws


def _fail(injector: Injector, draws: Draws, member: int) -> None:
    """One of three is cut off at once, before anybody hears of its new era: its log then holds entries of that era
    which nobody else has. The others are killed, or cut off, when some of their words may have got out."""
    injector.cluster.world.counters["leader failures"] += 1
    way = draws.below(3)
    if way == 0:
        _cut_off(injector, draws, member)
    else:
        fail = _cut_off if way == 1 else _kill
        injector.later(draws, draws.pick((5_000, 20_000, 60_000)), fail, injector, draws, member)


def _cut_off(injector: Injector, draws: Draws, member: int) -> None:
    if not injector.over:
        number = injector.new_cut()
        others = [other for other in injector.cluster.members if other != member]
        injector.cut(number, "new leader", member, both_ways([member], others))
        injector.later(draws, _away_most(injector, draws), injector.mend, number)


def _kill(injector: Injector, draws: Draws, member: int) -> None:
    machine = injector.cluster.machines[member]
    if not injector.over and machine.up:
        machine.kill()
        injector.later(draws, _away_most(injector, draws), machine.start)


def _away_most(injector: Injector, draws: Draws) -> int:
    return draws.pick((injector.timeout_us // 2, 2 * injector.timeout_us, 5 * injector.timeout_us))


def _heal(injector: Injector) -> None:
    injector.mend_all()
    injector.revive()


LEADER_FAILURE = Fault(
    name="leader-failure",
    scenarios={"leader-failures": 10, "leases": 30, "log-leases": 20, "everything": 90},
    begin=at_elections(_fail),
    heal=_heal,
    heals=Heals.LINKS,
    counters=("leader failures",),
)
