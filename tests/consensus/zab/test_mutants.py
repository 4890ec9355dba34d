"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still."""

from __future__ import annotations

import pytest

from tests.consensus.networks import Sessions
from tests.consensus.world import World, lives
from tests.consensus.zab import test_world
from tests.mutants import zab
from tests.mutants.mutant import Break

SEEDS_MAX = 150

MUTANTS: tuple[Break, ...] = (
    zab.old_epoch_accepted,
    zab.epoch_accepted_twice,
    zab.commit_before_a_quorum_of_acks,
    zab.diff_where_trunc_was_due,
    zab.counter_used_twice,
    zab.newleader_acknowledged_before_durable,
    zab.proposal_acknowledged_before_durable,
    zab.epoch_acknowledged_before_durable,
    zab.epoch_proposed_before_durable,
    zab.current_epoch_before_the_history,
    zab.history_acknowledged_before_it_is_complete,
    zab.leads_before_a_quorum_is_synchronised,
    zab.election_ignores_the_epoch,
    zab.committed_without_newleader,
    zab.own_acknowledgement_before_durable,
    zab.delivered_before_durable,
    zab.reads_without_a_round,
    zab.lost_when_a_later_epoch_begins,
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught(mutant: Break) -> None:
    with mutant():
        survives = all(lives(World("zab", Sessions, seed, 3 + 2 * (seed % 3 == 2))) for seed in range(SEEDS_MAX))
    assert not survives, f"survived {SEEDS_MAX} seeds"


def test_order_that_is_not_checked_is_caught() -> None:
    """Sessions that keep order never show it; those that do not, show that nobody looks."""
    with zab.fifo_violated_unseen(), pytest.raises(AssertionError):
        test_world.test_what_a_session_loses_doubles_or_swaps_is_noticed_and_nothing_else_is()
