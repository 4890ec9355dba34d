"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from tests.consensus.networks import Sessions
from tests.consensus.world import World, lives
from tests.consensus.zab import test_pull, test_suspicion, test_world
from tests.mutants import zab
from tests.mutants.mutant import Break
from tests.node import test_slow_links

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


CAUGHT_ALONE: dict[Break, Callable[[], None]] = {
    zab.leads_no_longer_and_says_nothing: (
        test_suspicion.test_a_leader_says_to_its_followers_that_it_resigns_and_lets_them_go_first
    ),
    zab.stands_without_a_quorum_of_grants: test_suspicion.test_nobody_stands_without_a_quorum_of_grants,
    zab.refuses_nobody_while_a_leader_is_heard: (
        test_suspicion.test_who_hears_a_leader_refuses_until_the_shortest_timeout_has_passed
    ),
    zab.takes_a_broken_link_for_a_leader_that_is_gone: (
        test_suspicion.test_a_link_that_broke_says_nothing_of_the_leader_while_the_session_lasts
    ),
    zab.counts_answers_of_an_earlier_series: (
        test_suspicion.test_an_answer_to_a_probe_of_an_earlier_series_counts_for_nothing
    ),
    zab.pulls_what_does_not_rank_above: test_pull.test_a_history_that_does_not_rank_above_is_not_taken,
    zab.pulls_over_what_is_committed: test_pull.test_nothing_is_removed_that_is_known_here_to_be_committed,
    zab.pulls_the_epoch_before_its_initial_history: (
        test_pull.test_a_long_initial_history_comes_in_parts_and_the_epoch_with_the_last
    ),
    zab.pulls_without_accepting_the_epoch: (
        test_pull.test_one_write_raises_the_accepted_epoch_first_and_adopts_behind_the_initial_history
    ),
    zab.keeps_an_epoch_whose_beginning_was_cut_off: (
        test_pull.test_what_was_cut_below_its_epochs_initial_history_gives_that_epoch_to_nobody
    ),
    zab.offers_observers_an_epoch_that_no_quorum_has: (
        test_suspicion.test_who_does_not_vote_is_offered_an_epoch_that_a_quorum_has_accepted
    ),
    zab.waits_with_a_spent_epoch: (
        test_suspicion.test_an_epoch_that_its_quorum_accepted_before_is_followed_by_the_next_one_at_once
    ),
    zab.gives_up_a_synchronisation_after_a_timeout: partial(
        test_slow_links.test_a_quorum_of_one_that_has_everything_and_one_that_is_far_behind_gets_a_leader, "zab"
    ),
    zab.pulls_anew_from_whoever_answers_first: partial(
        test_slow_links.test_the_only_member_that_reaches_a_quorum_leads_although_it_is_far_behind, "zab"
    ),
    zab.answers_a_pull_whatever_is_under_way: partial(
        test_slow_links.test_the_only_member_that_reaches_a_quorum_leads_although_it_is_far_behind, "zab"
    ),
}
"""Rule 14's, and what is done at once: each by a test of its own."""


@pytest.mark.parametrize("mutant", CAUGHT_ALONE, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught_by_its_test(mutant: Break) -> None:
    test = CAUGHT_ALONE[mutant]
    test()
    with mutant(), pytest.raises((AssertionError, ValueError)):
        test()


def test_order_that_is_not_checked_is_caught() -> None:
    """Sessions that keep order never show it; those that do not, show that nobody looks."""
    with zab.fifo_violated_unseen(), pytest.raises(AssertionError):
        test_world.test_what_a_session_loses_doubles_or_swaps_is_noticed_and_nothing_else_is()
