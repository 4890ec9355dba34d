"""The comparison measures the same thing on every engine, the same way each time."""

from __future__ import annotations

import pytest

from ratified.compare import comparison
from ratified.compare.comparison import (
    BEGIN_US,
    ELECTION_TIMEOUT_US,
    HEARTBEAT_US,
    PLANS,
    ComparisonBroken,
    Measured,
    measure,
    percentile,
    summarize,
)
from ratified.consensus.engines import ENGINES
from ratified.sim.workload.load import VALUE_BYTES, Written
from tests.mutants.paxos import lost_by_slot_alone


@pytest.mark.parametrize("engine", ENGINES)
def test_a_steady_load_gets_through_and_every_cost_is_at_least_what_a_majority_costs(engine: str) -> None:
    run = measure(engine, "steady", 1, 3)
    summary = summarize([run])
    assert summary.commits == PLANS["steady"].load_us // PLANS["steady"].every_us
    assert summary.unacknowledged == 0
    # There and back for each follower; the value goes to both, and into three logs.
    assert 4 <= summary.messages_per_commit < 12
    assert 2 * VALUE_BYTES < summary.wire_bytes_per_commit < 12 * VALUE_BYTES
    assert VALUE_BYTES < summary.log_bytes_per_commit < 4 * VALUE_BYTES
    # A link there and back, and a sync, at least; from a follower once more there and back.
    assert 2_000 < summary.latency_p50_us < 8_000
    assert summary.without_commit_median_us is None
    assert summary.catch_up_median_us is None


@pytest.mark.parametrize("engine", ENGINES)
def test_bursts_share_messages(engine: str) -> None:
    assert summarize([measure(engine, "bursts", 1, 3)]).messages_per_commit < 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("plan", ["leader-crash", "leader-partition", "follower-partition"])
def test_faults_are_survived_and_what_they_cost_is_measured(engine: str, plan: str) -> None:
    run = measure(engine, plan, 1, 3)
    assert run.without_commit_us is not None
    assert 0 < run.without_commit_us < 10 * ELECTION_TIMEOUT_US
    assert run.catch_up is not None
    missed = PLANS[plan].fault_ends_us - PLANS[plan].fault_us - run.without_commit_us
    if missed > 0:
        # What it missed came to it, at least once.
        assert run.catch_up.wire_bytes > missed // PLANS[plan].every_us * VALUE_BYTES // 2
    assert len(run.writes) + run.unacknowledged == PLANS[plan].load_us // PLANS[plan].every_us


@pytest.mark.parametrize("engine", ENGINES)
def test_clients_leave_a_follower_that_is_cut_off_and_nobody_else_notices(engine: str) -> None:
    plan = PLANS["follower-partition"]
    run = measure(engine, "follower-partition", 2, 3)
    during = [
        written
        for written in run.writes
        if plan.fault_us + 100_000 < written.done_us - BEGIN_US < plan.fault_ends_us - 100_000
    ]
    assert len(during) >= (plan.fault_ends_us - plan.fault_us - 200_000) // plan.every_us - 2
    assert max(written.latency_us for written in during) < 20_000


def test_a_run_is_a_function_of_its_arguments_and_another_seed_is_another_run() -> None:
    run = measure("raft", "leader-crash", 3, 3)
    assert run == measure("raft", "leader-crash", 3, 3)
    assert run.writes != measure("raft", "leader-crash", 4, 3).writes


def test_a_load_that_does_not_get_through_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "BEGIN_US", 1)
    with pytest.raises(ComparisonBroken, match="raft, scenario steady, seed 1, 3 nodes: liveness: nobody leads"):
        measure("raft", "steady", 1, 3)


def run_of(seed: int, *latencies_us: int, gap_us: int | None = None) -> Measured:
    return Measured(
        engine="raft",
        seed=seed,
        nodes=3,
        messages=10 * len(latencies_us),
        frames=8 * len(latencies_us),
        wire_bytes=1_000 * len(latencies_us),
        log_bytes=900 * len(latencies_us),
        writes=tuple(Written(BEGIN_US + us, us) for us in latencies_us),
        unacknowledged=1,
        without_commit_us=gap_us,
        catch_up=None,
    )


def test_a_summary_is_of_all_runs_in_any_order() -> None:
    runs = [run_of(1, 5, 7, gap_us=30), run_of(2, 1, gap_us=10), run_of(3, 9, gap_us=20)]
    summary = summarize(runs)
    assert summary == summarize(runs[::-1])
    assert (summary.commits, summary.unacknowledged, summary.runs) == (4, 3, 3)
    assert (summary.messages_per_commit, summary.frames_per_commit) == (10, 8)
    assert (summary.wire_bytes_per_commit, summary.log_bytes_per_commit) == (1_000, 300)
    assert (summary.latency_p50_us, summary.latency_p99_us) == (5, 9)
    assert (summary.without_commit_median_us, summary.without_commit_most_us) == (20, 30)


@pytest.mark.parametrize(("percent", "value"), [(1, 10), (50, 20), (51, 30), (75, 30), (99, 40), (100, 40)])
def test_percentiles_are_values_that_were_measured(percent: int, value: int) -> None:
    assert percentile([40, 10, 30, 20], percent) == value


def test_zab_finds_its_next_leader_without_a_time_out_and_no_write_waits_for_one() -> None:
    """A follower that named its leader before that one broadcasts would forward too early, and again much later."""
    run = measure("zab", "leader-crash", 1, 3)
    assert max(written.latency_us for written in run.writes) < ELECTION_TIMEOUT_US // 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_write_ends_as_unknown_where_the_leader_is_cut_off(seed: int) -> None:
    """Rule 13: what a leader of Paxos took and nobody heard of is known to be lost as soon as on Raft."""
    assert [measure(engine, "leader-partition", seed, 3).unacknowledged for engine in ("raft", "paxos")] == [0, 0]


def test_without_the_fence_writes_that_were_forwarded_to_a_leader_that_is_cut_off_end_as_unknown() -> None:
    with lost_by_slot_alone():
        assert measure("paxos", "leader-partition", 1, 3).unacknowledged > 50


@pytest.mark.parametrize("engine", ENGINES)
def test_a_follower_that_was_away_for_long_needs_a_snapshot(engine: str) -> None:
    run = measure(engine, "follower-away", 1, 3)
    assert run.catch_up is not None
    assert run.unacknowledged == 0
    assert run.without_commit_us is not None
    assert run.without_commit_us < 50_000


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_that_is_replaced_costs_no_heartbeat(engine: str) -> None:
    """Writes once waited for a heartbeat of Paxos, until a promise was asked for again that was not needed before."""
    run = measure(engine, "leader-replaced", 1, 3)
    assert run.catch_up is not None
    assert run.unacknowledged == 0
    assert run.without_commit_us is not None
    assert run.without_commit_us < HEARTBEAT_US
