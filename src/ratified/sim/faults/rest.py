"""Leaders die whose groups rest, for so long that the others have to notice by themselves."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Injector, again_and_again
from ratified.sim.world import Draws

AWAY_TIMEOUTS = 12


def _die_at_rest(injector: Injector, draws: Draws) -> None:
    cluster = injector.cluster
    up = sum(cluster.machines[member].up for member in cluster.members)
    group = draws.below(cluster.options.groups)
    leader = cluster.leader(group)
    if leader is None or 2 * (up - 1) <= len(cluster.members) or (leader, group) in cluster.awake():
        return
    cluster.world.counters["leaders lost at rest"] += 1
    cluster.machines[leader].kill()
    injector.at(cluster.world.now + AWAY_TIMEOUTS * injector.timeout_us, cluster.machines[leader].start)


LEADER_LOST_AT_REST = Fault(
    name="leader-lost-at-rest",
    scenarios={"quiet": 8},
    begin=again_and_again(_die_at_rest),
    heal=Injector.revive,
    counters=("leaders lost at rest",),
)
