"""What the hostile world shows of Paxos alone."""

from functools import partial

import pytest

from ratified.consensus import paxos
from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.extensions import PaxosExtensions
from ratified.consensus.replication import engine
from tests.consensus.networks import Datagrams
from tests.consensus.world import World


@pytest.mark.parametrize("seed", range(200, 220))
def test_a_chosen_slot_keeps_its_value_where_it_is_proposed_again(seed: int) -> None:
    """Without ``skip_chosen``, at all members or at some of them."""
    proposing_all_again = (1, 2, 3) if seed % 2 else (1, 2)
    plain = partial(engine.Engine, partial(Paxos, extensions=PaxosExtensions(skip_chosen=False)))
    world = World(
        "paxos", Datagrams, seed, engine_of=lambda member: plain if member in proposing_all_again else paxos.Engine
    )
    world.run(1500)
    world.heal()
