"""A turn takes virtual time: what it does too much of makes the node late."""

from __future__ import annotations

from collections import Counter

import pytest
from msgspec.structs import replace

from ratified.check.violation import Violation
from ratified.consensus.contract import Membership
from ratified.consensus.engines import ENGINES
from ratified.sim.arguments import Arguments
from ratified.sim.checkers import TURNS_A_TIMEOUT, Checkers
from ratified.sim.cluster import Cluster
from ratified.sim.draw import draw_options
from ratified.sim.options import ComputingOptions
from ratified.sim.world import World
from tests.sim.clients import NOBODY


def test_a_turn_longer_than_its_bound_is_rejected() -> None:
    checkers = Checkers(ENGINES["raft"], {0: Membership((1, 2, 3))}, Counter())
    checkers.turn_took(1, 100_000 // TURNS_A_TIMEOUT, 100_000)
    with pytest.raises(Violation, match="turn length"):
        checkers.turn_took(1, 100_000 // TURNS_A_TIMEOUT + 1, 100_000)


def elections(costs: ComputingOptions) -> int:
    options = draw_options(Arguments(seed=3, nodes=3, scenario="fault-free")).cluster
    world = World(3)
    cluster = Cluster(replace(options, groups=1, computing=costs), world)
    cluster.start(NOBODY)
    world.run(20 * options.election_timeout_us)
    return world.counters["elections"]


def test_turns_that_take_nearly_half_a_timeout_cost_elections() -> None:
    timeout_us = draw_options(Arguments(seed=3, nodes=3, scenario="fault-free")).cluster.election_timeout_us
    assert elections(ComputingOptions(turn_us=20)) == 1
    assert elections(ComputingOptions(turn_us=timeout_us * 49 // 100)) != 1
