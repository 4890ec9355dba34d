"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still."""

from __future__ import annotations

import pytest

from ratified.check.violation import Violation
from tests.consensus.paxos.world import World
from tests.mutants import paxos
from tests.mutants.mutant import Break

SEEDS_MAX = 120

MUTANTS: tuple[Break, ...] = (
    paxos.promise_forgotten_on_restart,
    paxos.latest_instead_of_highest_value,
    paxos.lowest_instead_of_highest_value,
    paxos.gaps_left_open,
    paxos.delivered_over_a_gap,
    paxos.accept_taken_below_the_promise,
    paxos.quorum_counted_by_messages,
    paxos.prepare_before_its_ballot_is_durable,
    paxos.lost_while_the_slot_is_open,
    paxos.decided_trusted_for_an_older_value,
    paxos.own_accept_counted_before_durable,
    paxos.delivered_before_durable,
    paxos.reads_without_a_round,
    paxos.reads_before_serving,
)


def lives(seed: int) -> bool:
    """Does nothing go wrong with this seed?"""
    world = World(seed)
    try:
        world.run(1200)
        world.heal(1500)
    except (AssertionError, Violation):
        return False
    return True


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught(mutant: Break) -> None:
    with mutant():
        caught = next((seed for seed in range(SEEDS_MAX) if not lives(seed)), None)
    assert caught is not None, f"survived {SEEDS_MAX} seeds"
