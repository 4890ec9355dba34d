"""Members that see each other only in part: the topologies of Ng, Haridi and Carbone (EuroSys 2023).

In each at least one member, the *hub*, reaches a majority, and nobody else need. One topology lasts at a time, so that
the check of progress sees for long enough what becomes of it.
"""

from __future__ import annotations

from itertools import pairwise

from ratified.sim.faults.fault import Fault, Heals, Injector, Links, again_and_again
from ratified.sim.world import Draws

BEHIND_TIMEOUTS = 2
"""Before a constrained election the hub hears nothing of its leader for at most so long."""
LASTS_TIMEOUTS = (12, 20)
EVERY_TIMEOUTS = 12


def _cut_in_part(injector: Injector, draws: Draws) -> None:
    leader = injector.cluster.leader()
    members = injector.cluster.members
    if leader is None or len(members) < 3 or injector.cluster.network.cut_links:
        return
    others = [member for member in members if member != leader]
    hub = others[draws.below(len(others))]
    lasts_us = draws.pick(LASTS_TIMEOUTS) * injector.timeout_us
    behind_us = 0
    shape = draws.below(3)
    if shape == 0:
        name, kept = "quorum loss", [(hub, member) for member in members if member != hub]
    elif shape == 1:
        name, kept = "constrained election", [(hub, member) for member in others if member != hub]
        behind_us = 1 + draws.below(BEHIND_TIMEOUTS * injector.timeout_us)
        _cut(injector, "behind", hub, [(leader, hub), (hub, leader)], 0, behind_us)
    else:
        name, kept = "chain", list(pairwise(members))
    both = {*kept, *((b, a) for a, b in kept)}
    links = [(a, b) for a in members for b in members if a != b and (a, b) not in both]
    _cut(injector, name, hub, links, behind_us, lasts_us)


def _cut(injector: Injector, name: str, hub: int, links: Links, begins_us: int, lasts_us: int) -> None:
    number = injector.new_cut()
    begins = injector.cluster.world.now + begins_us
    injector.at(begins, injector.cut, number, name, hub, links)
    injector.at(begins, _count, injector)
    injector.at(begins + lasts_us, injector.mend, number)


def _count(injector: Injector) -> None:
    injector.cluster.world.counters["partial topologies"] += not injector.over


PARTIAL_TOPOLOGY = Fault(
    name="partial-topology",
    scenarios={"partial-topologies": EVERY_TIMEOUTS},
    begin=again_and_again(_cut_in_part),
    heal=Injector.mend_all,
    heals=Heals.LINKS,
    counters=("partial topologies",),
)
