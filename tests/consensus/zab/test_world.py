"""Lost machines, slow disks, sessions that break and stall: what must hold holds, and peace brings progress."""

from collections import Counter

import pytest

from ratified.consensus.contract import Limits
from tests.consensus.zab.world import World


@pytest.mark.parametrize("seed", range(60))
def test_safety_holds_in_a_hostile_world_and_progress_returns_with_peace(seed: int) -> None:
    world = World(seed, 3 + 2 * (seed % 3 == 2))
    world.run(1500)
    world.heal()
    assert world.noticed("") == 0, "in sessions that keep order, everything that arrives is in its place"


@pytest.mark.parametrize("seed", range(100, 115))
def test_what_a_session_loses_doubles_or_swaps_does_no_harm(seed: int) -> None:
    world = World(seed, 3 + 2 * (seed % 3 == 2), lossy=True)
    world.run(1500)
    world.heal()


def test_what_a_session_loses_doubles_or_swaps_is_noticed_and_nothing_else_is() -> None:
    noticed = 0
    for seed in range(10):
        world = World(seed, lossy=True)
        world.run(1000)
        noticed += world.noticed("FIFO")
        assert world.noticed("") == world.noticed("FIFO")
    assert noticed > 20


def test_seed_389_a_leader_gives_up_for_the_better_history_that_it_met() -> None:
    """It lost every election's race anew: the votes for member 5 always came first, and member 3 knew more."""
    world = World(389, 5, lossy=True)
    world.run(1500)
    world.heal()


def test_seeds_104_and_154_a_lost_acknowledgement_that_nothing_follows_is_missed() -> None:
    for seed, members in ((104, 5), (154, 3)):
        world = World(seed, members, lossy=True)
        world.run(1500)
        world.heal()


def test_peace_alone_keeps_one_leader() -> None:
    world = World(1, 5, chaos=False, limits=Limits())
    world.run(2000)
    assert world.counts["leaders"] == 1
    assert world.counts["lost"] == 0
    assert world.highest > 100


def test_the_world_is_not_quiet() -> None:
    counts: Counter[str] = Counter()
    for seed in range(200, 220):
        world = World(seed)
        world.run(2000)
        counts.update(world.counts)
    for what in (
        "crashes",
        "writes lost",
        "sessions broken",
        "truncations",
        "leaders",
        "fetches",
        "reads",
        "reads refused",
        "lost",
        "delivered COMMAND",
        "delivered NOOP",
        "DIFF",
        "TRUNC",
        "History",
        "UpToDate",
        "Commit",
    ):
        assert counts[what] > 2, (what, counts)
