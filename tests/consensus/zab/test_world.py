"""What sessions that keep order, and sessions that do not, show of ZAB."""

from collections import Counter
from functools import partial
from typing import Any

import pytest

from ratified.consensus.zab.messages import NewLeader
from tests.consensus.networks import Sessions
from tests.consensus.world import World

lossy = partial(Sessions, lossy=True)


def noticed(world: World, reason: str) -> int:
    """How often the engines that are up have counted messages ignored for this reason."""
    return sum(
        int(count)
        for status in world.statuses()
        for word, count in status.words.items()
        if word.startswith("ignored") and reason in word
    )


@pytest.mark.parametrize("seed", range(60))
def test_in_sessions_that_keep_order_everything_that_arrives_is_in_its_place(seed: int) -> None:
    world = World("zab", Sessions, seed, 3 + 2 * (seed % 3 == 2))
    world.run(1500)
    world.heal()
    assert noticed(world, "") == 0


@pytest.mark.parametrize("seed", range(100, 115))
def test_what_a_session_loses_doubles_or_swaps_does_no_harm(seed: int) -> None:
    world = World("zab", lossy, seed, 3 + 2 * (seed % 3 == 2))
    world.run(1500)
    world.heal()


def test_what_a_session_loses_doubles_or_swaps_is_noticed_and_nothing_else_is() -> None:
    found = 0
    for seed in range(20):
        world = World("zab", lossy, seed)
        world.run(1000)
        found += noticed(world, "FIFO")
        assert noticed(world, "") == noticed(world, "FIFO")
    assert found > 20


def test_seed_389_a_leader_gives_up_for_the_better_history_that_it_met() -> None:
    """It lost every election's race anew: the votes for member 5 always came first, and member 3 knew more."""
    world = World("zab", lossy, 389, 5)
    world.run(1500)
    world.heal()


def test_seeds_104_and_154_a_lost_acknowledgement_that_nothing_follows_is_missed() -> None:
    for seed, members in ((104, 5), (154, 3)):
        world = World("zab", lossy, seed, members)
        world.run(1500)
        world.heal()


@pytest.mark.parametrize("seed", [20, 233])
def test_a_follower_that_comes_back_is_not_counted_before_it_acknowledges(seed: int) -> None:
    """Its leader committed with a follower that had pulled the epoch (rule 14 of the contract)."""
    world = World("zab", Sessions, seed, 5)
    world.run(3000)
    world.heal()


def test_histories_are_added_to_and_truncated() -> None:
    modes: Counter[str] = Counter()

    def note(message: Any) -> None:
        if isinstance(message, NewLeader):
            modes[message.mode.name] += 1

    for seed in range(200, 220):
        world = World("zab", Sessions, seed)
        world.seen = note
        world.run(2000)
    assert min(modes["DIFF"], modes["TRUNC"]) > 2, modes
