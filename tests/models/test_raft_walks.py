"""Rule 14 as a program keeps every oracle in hostile worlds, and reaches what is rare in them."""

from __future__ import annotations

from tests.models.raft_walks import walk

SEEDS = (7, 24, 35, 37, 57, 71, 81, 113, 124, 157, 172)
"""Of the first 200, some that reach what is rare."""
REACHED = (
    "pull",
    "pull adopts an era",
    "pull removes entries",
    "pull removes entries while writes are under way",
    "pull leaves the term",
    "pull needs a further part before it ranks above",
)


def test_walks_keep_the_oracles_and_reach_every_kind_of_pull() -> None:
    reached: dict[str, int] = {}
    elections = 0
    for seed in SEEDS:
        world = walk(seed, timeouts=30)
        elections += len(world.elections)
        for what, count in world.reached.items():
            reached[what] = reached.get(what, 0) + count
    assert elections > 50
    assert not [what for what in REACHED if not reached.get(what)], reached
