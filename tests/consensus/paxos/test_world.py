"""What the hostile world shows of Paxos alone."""

import pytest

from ratified.consensus.contract import Extensions
from tests.consensus.networks import Datagrams
from tests.consensus.world import World


@pytest.mark.parametrize("seed", range(200, 220))
def test_a_chosen_slot_keeps_its_value_where_it_is_proposed_again(seed: int) -> None:
    """Without ``skip_chosen``, at all members or at some of them."""
    proposing_all_again = (1, 2, 3) if seed % 2 else (1, 2)
    world = World(
        "paxos", Datagrams, seed, extensions=lambda member: Extensions(skip_chosen=member not in proposing_all_again)
    )
    world.run(1500)
    world.heal()
