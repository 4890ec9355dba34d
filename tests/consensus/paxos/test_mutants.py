"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still."""

from __future__ import annotations

import pytest

from tests.consensus.networks import Datagrams, Sessions
from tests.consensus.world import World, lives
from tests.mutants import paxos
from tests.mutants.mutant import Break

SEEDS_MAX = 120
NETWORKS = (Datagrams, Sessions)

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


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught(mutant: Break) -> None:
    with mutant():
        survives = all(lives(World("paxos", NETWORKS[seed % 2], seed)) for seed in range(SEEDS_MAX))
    assert not survives, f"survived {SEEDS_MAX} seeds"
