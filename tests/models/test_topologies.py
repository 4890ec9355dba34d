"""What rule 14 promises in partial topologies, what a dead leader costs, and what each sentence is for."""

from __future__ import annotations

import pytest

from tests.models.raft_member import Timing
from tests.models.raft_world import Hostility
from tests.models.topologies import TOPOLOGIES, WITHOUT, Outage, Outcome, Topology, outage, run

TIMEOUT = Timing().timeout
RULE = WITHOUT["the rule"]


def topology(name: str) -> Topology:
    return next(each for each in TOPOLOGIES if each.name == name)


@pytest.mark.parametrize("notice", [True, False], ids=["sessions end", "silent"])
@pytest.mark.parametrize("case", TOPOLOGIES, ids=lambda case: case.name)
def test_commits_go_on_under_one_leader(case: Topology, notice: bool) -> None:
    outcome = run(case, 1, RULE, notice=notice)
    assert outcome.stalled <= 2 * TIMEOUT
    assert outcome.elections == (0 if case.leader_sees_majority else 1)
    assert outcome.healed_elections == 0


def without(name: str, case: str, *, notice: bool) -> Outcome:
    return run(topology(case), 1, WITHOUT[name], notice=notice)


def test_without_pull_a_constrained_election_never_ends() -> None:
    assert without("no Pull", "constrained election", notice=True).elections == 0


def test_without_a_check_of_the_quorum_a_lost_quorum_stays_lost() -> None:
    assert without("no check of the quorum", "quorum loss", notice=True).elections == 0


def test_without_resign_the_hub_waits_for_its_own_time_out() -> None:
    assert without("no Resign", "quorum loss", notice=False).stalled > 2 * TIMEOUT


def test_a_check_after_the_longest_time_out_is_too_late() -> None:
    assert without("quorum checked after two time-outs", "quorum loss", notice=True).stalled > 2 * TIMEOUT


def test_where_peers_that_hear_a_leader_grant_the_lead_wanders() -> None:
    assert without("peers that hear a leader grant", "bridge, led from a side", notice=True).elections > 2


def test_without_probes_two_members_take_turns() -> None:
    assert without("no probes", "chained", notice=True).elections > 2


def outages(name: str, members: int, **options: Hostility) -> list[Outage]:
    return [outage(seed, WITHOUT[name], members, **options) for seed in range(1, 9)]  # type: ignore[arg-type]


@pytest.mark.parametrize("members", [3, 5])
def test_a_dead_leader_is_replaced_within_round_trips(members: int) -> None:
    took = sorted(each.microseconds or TIMEOUT for each in outages("the rule", members))
    assert took[len(took) // 2] < 100_000
    assert took[-1] < TIMEOUT


def test_without_draws_three_members_split_their_votes_again_and_again() -> None:
    took = [each.microseconds for each in outages("no draws", 3)]
    assert any(one is None or one > 2 * TIMEOUT for one in took)


def test_where_only_the_latest_probe_counts_slow_links_never_elect() -> None:
    slow = Hostility(latency=60_000, jitter=5_000)
    assert outage(1, WITHOUT["only the latest probe's answers count"], hostility=slow).microseconds is None
    assert outage(1, RULE, hostility=slow).microseconds is not None
