"""Competing proposers, lost machines and a network that loses, doubles and reorders: what must hold, holds."""

from collections import Counter

import pytest

from tests.consensus.paxos.world import World

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_safety_holds_in_a_hostile_world_and_progress_returns_with_peace(seed: int) -> None:
    world = World(seed, 3 + 2 * (seed % 3 == 2))
    world.run(1500)
    world.heal()


@pytest.mark.parametrize("seed", range(200, 220))
def test_a_chosen_slot_keeps_its_value_where_it_is_proposed_again(seed: int) -> None:
    """Without ``skip_chosen``, at all members or at some of them."""
    world = World(seed, proposing_all_again=(1, 2, 3) if seed % 2 else (1, 2))
    world.run(1500)
    world.heal()


def test_the_world_is_not_quiet() -> None:
    counts: Counter[str] = Counter()
    for seed in range(100, 130):
        world = World(seed)
        world.run(2000)
        counts.update(world.counts)
    for what in (
        "crashes",
        "writes lost",
        "leaders",
        "fetches",
        "reads",
        "reads refused",
        "lost",
        "delivered COMMAND",
        "delivered NOOP",
        "Refused",
        "Learn",
        "Learned",
        "Decided",
    ):
        assert counts[what] > 2, (what, counts)
