"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still; rules
of elections by how long nothing is committed, or by who is deposed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain

import pytest

from ratified.consensus.engines import ENGINES
from tests.consensus import test_topologies as topologies
from tests.consensus.contract import test_suspicion as kit
from tests.consensus.contract.harness import Cluster
from tests.consensus.networks import Datagrams, Sessions
from tests.consensus.paxos import test_suspicion as alone
from tests.consensus.world import World, lives
from tests.models.topologies import TOPOLOGIES
from tests.mutants import paxos
from tests.mutants.mutant import Break

SEEDS_MAX = 120
NETWORKS = (Datagrams, Sessions)
LATE_SEEDS_MAX = 500
LATE_CAUGHT_BY = 436
"""Of those seeds one that is known to catch it; where the test begins to look."""

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
    paxos.void_where_a_proposer_says_so,
    paxos.never_void,
    paxos.births_rewritten_where_proposed_again,
    paxos.opened_in_the_first_gap,
    paxos.fence_forgotten_on_restart,
    paxos.fence_derived_from_the_log,
    paxos.taught_as_delivered,
    paxos.decided_trusted_for_an_older_value,
    paxos.own_accept_counted_before_durable,
    paxos.delivered_before_durable,
    paxos.reads_without_a_round,
    paxos.reads_before_serving,
)


def build(members: int = 3, **options: int) -> Cluster:
    return Cluster(ENGINES["paxos"], members, **options)  # type: ignore[arg-type]


CHAIN = next(each for each in TOPOLOGIES if each.name == "chain of five, led from an end")
ELECTIONS: tuple[tuple[Break, Callable[[], None]], ...] = (
    (paxos.stands_without_grants, partial(topologies.test_a_broken_connection_deposes_nobody, "paxos")),
    (paxos.grants_while_a_leader_is_heard, partial(topologies.test_a_broken_connection_deposes_nobody, "paxos")),
    (
        paxos.grants_right_after_a_promise,
        partial(
            topologies.test_one_leader_within_two_timeouts_and_nobody_after_it, "paxos", CHAIN, notice=False, seed=2
        ),
    ),
    (
        paxos.prepare_not_repeated,
        partial(kit.test_rule_14_a_candidate_whose_questions_were_lost_asks_again, build, notice=True),
    ),
    (
        paxos.prepare_not_repeated,
        partial(kit.test_rule_14_a_candidate_whose_questions_were_lost_asks_again, build, notice=False),
    ),
    (
        paxos.candidates_give_up,
        alone.test_a_candidate_wins_by_a_report_that_took_longer_than_an_election_timeout,
    ),
    (
        paxos.reports_under_way_hold_nobody_back,
        alone.test_who_still_sends_a_candidate_its_report_refuses_others_and_asks_for_nothing,
    ),
    (paxos.resigns_in_silence, partial(kit.test_rule_14_a_leader_whose_disk_is_full_hands_over, build, 1)),
    (paxos.hearsay_restarts_the_election_timer, alone.test_a_higher_ballot_does_not_restart_the_election_timer),
    (
        paxos.own_promise_dropped_when_more_is_chosen,
        alone.test_the_own_promise_counts_whatever_is_chosen_while_the_ballot_is_written,
    ),
    (
        paxos.acceptances_of_an_earlier_leadership_counted,
        alone.test_an_acceptance_of_an_earlier_leadership_counts_for_nothing,
    ),
    (
        paxos.heartbeat_answers_of_an_earlier_leadership_counted,
        alone.test_a_heartbeats_answer_of_an_earlier_leadership_confirms_no_read,
    ),
)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught(mutant: Break) -> None:
    with mutant():
        survives = all(lives(World("paxos", NETWORKS[seed % 2], seed)) for seed in range(SEEDS_MAX))
    assert not survives, f"survived {SEEDS_MAX} seeds"


@pytest.mark.parametrize(("mutant", "test"), ELECTIONS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_broken_rule_of_elections_is_caught(mutant: Break, test: Callable[[], None]) -> None:
    test()
    with mutant(), pytest.raises(AssertionError):
        test()


def leaders_that_return(seed: int) -> World:
    """Where members lead, are deposed, and lead again while answers to what they asked before are under way."""
    return World("paxos", partial(Datagrams, late_percent=30), seed, members=5, campaigns=10)


def test_acceptances_of_an_earlier_leadership_are_caught_where_answers_are_late() -> None:
    assert lives(leaders_that_return(LATE_CAUGHT_BY))
    with paxos.acceptances_of_an_earlier_leadership_counted():
        seeds = chain((LATE_CAUGHT_BY,), range(LATE_SEEDS_MAX))
        assert not all(lives(leaders_that_return(seed)) for seed in seeds), f"survived {LATE_SEEDS_MAX} seeds"
