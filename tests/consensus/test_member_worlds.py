"""Members that come and go in a hostile world (rule 6): single ones, several at once, leaders, majorities.

Whoever is left out may be switched off as soon as the leader says that the change is over, and may come back.
"""

from __future__ import annotations

from collections import Counter

import pytest

from ratified.consensus.engines import ENGINES
from tests.consensus.member_worlds import NETWORKS, member_world
from tests.consensus.networks import Datagrams

SEEDS = 6


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_lost_and_all_goes_on_while_members_come_and_go(engine: str) -> None:
    seen: Counter[str] = Counter()
    for seed in range(1, SEEDS + 1):
        for network in NETWORKS[engine]:
            world = member_world(engine, network, seed)
            world.run(1500)
            world.heal()
            seen += world.counts
    assert seen["changes"] > SEEDS
    assert seen["delivered MEMBERSHIP"] > SEEDS
    assert seen["retired"] > 0
    assert seen["leaders"] > 2 * SEEDS


def test_a_leader_that_knows_of_no_later_configuration_is_judged_by_its_own() -> None:
    """A leader of Paxos that was overtaken went on proposing in slots that another configuration had by then; the check
    asked for promises of that one (what the leader proposes there is never chosen)."""
    world = member_world("paxos", Datagrams, 284)
    world.run(1500)
    world.heal()
