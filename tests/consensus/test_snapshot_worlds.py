"""Members are away, the log is cut beyond them, and they come back: everybody is in one state at each index.

What these worlds find is in ``tests.mutants.snapshots``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from ratified.consensus.engines import ENGINES
from tests.consensus.networks import Sessions
from tests.consensus.test_world import EVERY
from tests.consensus.world import Network, World, own_checkpoint


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(("engine", "network"), EVERY)
def test_who_was_away_is_as_far_as_the_others_when_peace_returns(
    engine: str, network: Callable[[World], Network], seed: int
) -> None:
    world = World(engine, network, seed, 3 + 2 * (seed % 3 == 2), cuts=own_checkpoint)
    world.run(1500)
    world.heal()


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("engine", ENGINES)
def test_a_snapshot_brings_the_configuration_of_its_index(engine: str, seed: int) -> None:
    """Members join and leave while others are away; on Paxos one may have accepted a configuration that is below it."""
    world = World(engine, Sessions, seed, 1 + seed % 5, joiners=3, changes=30, cuts=own_checkpoint)
    world.run(1200)
    world.heal()


@pytest.mark.parametrize("engine", ENGINES)
def test_these_worlds_see_snapshots_come_late_break_off_and_outlive_machines(engine: str) -> None:
    counts: Counter[str] = Counter()
    for seed in range(100, 140):
        world = World(engine, Sessions, seed, cuts=own_checkpoint)
        world.run(1500)
        counts.update(world.counts)
    assert counts["snapshots installed"] > 4, counts
    assert counts["snapshots installed at a start"] > 1, counts
    assert sum(count for what, count in counts.items() if what.startswith("snapshots refused")) > 1, counts
    assert counts["snapshots sent"] > counts["snapshots installed"]
