"""Links are cut: both ways and one way, whole sides and single members, for once and flapping."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Heals, Injector, Links, again_and_again
from ratified.sim.world import Draws


def _partition(injector: Injector, draws: Draws) -> None:
    shape = draws.below(5)
    one = injector.victim(draws).member
    members = injector.cluster.members
    others = [member for member in members if member != one]
    if shape == 0:
        name, links = "isolated", both_ways([one], others)
    elif shape == 1:
        name, links = "cannot be heard", [(one, other) for other in others]
    elif shape == 2:
        name, links = "cannot hear", [(other, one) for other in others]
    elif shape == 3:
        side = [member for member in members if draws.chance(500_000)]
        name, links = "split", both_ways(side, [member for member in members if member not in side])
    else:
        # All but the bridge are divided: each half reaches the other through it only.
        half = others[: len(others) // 2]
        name, links = "bridge", both_ways(half, [member for member in others if member not in half])
    flaps = 1 + draws.below(4) * draws.below(2)
    at = injector.cluster.world.now
    timeout_us = injector.timeout_us
    for _ in range(flaps):
        last = draws.pick((timeout_us // 3, 3 * timeout_us, 8 * timeout_us)) // flaps
        number = injector.new_cut()
        injector.at(at, injector.cut, number, name, one, links)
        at += 1 + draws.below(last + 1)
        injector.at(at, injector.mend, number)
        at += 1 + draws.below(last + 1)


def both_ways(side: list[int], rest: list[int]) -> Links:
    return [(a, b) for a in side for b in rest] + [(b, a) for a in side for b in rest]


PARTITION = Fault(
    name="partition",
    scenarios={
        "partitions": 6,
        "leases": 10,
        "log-leases": 10,
        "members": 12,
        "quiet": 10,
        "users": 8,
        "together": 10,
        "everything": 10,
    },
    begin=again_and_again(_partition),
    heal=Injector.mend_all,
    heals=Heals.LINKS,
    counters=("partitions",),
)
