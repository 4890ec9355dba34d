"""Rule 14 on every engine that has it; partial topologies are in ``tests/consensus/test_topologies``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import pytest

from ratified.consensus.engines import ENGINES, EngineRow
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, PROBING, REPEATING, Cluster, Member

Build = Callable[..., Cluster]

HAND_OVER_US = 4 * HEARTBEAT_US
"""From a resignation to the first commit of another leader: a draw, some round trips, one that is lost to a duel."""


@pytest.fixture(params=PROBING)
def row(request: pytest.FixtureRequest) -> EngineRow:
    return ENGINES[request.param]


def another_serves(world: Cluster, than: Member) -> bool:
    leader = world.leader()
    return leader is not None and leader is not than


@pytest.mark.parametrize("notice", [True, False], ids=["sessions end", "silent"])
def test_rule_14_a_member_that_was_cut_off_disturbs_nobody_when_it_comes_back(cluster: Build, *, notice: bool) -> None:
    world = cluster(5)
    leader = world.elect(1)
    era = leader.running.leading
    everybody = list(combinations(world.members, 2))
    for cut_off in (3, 4):
        world.keep([pair for pair in everybody if cut_off not in pair], notice=notice)
        world.run_for(5 * ELECTION_US)
        world.keep(everybody, notice=notice)
        world.run_for(2 * ELECTION_US)
        assert leader.running.leading == era
    leader.propose(b"a")
    world.run_until_delivered(b"a")


@pytest.mark.parametrize("seed", range(1, 6))
def test_rule_14_a_leader_whose_disk_is_full_hands_over(cluster: Build, seed: int) -> None:
    world = cluster(seed=seed)
    leader = world.elect()
    world.run_for(ELECTION_US)
    leader.feed(lambda engine, now: engine.disk_full(now, True))
    world.run_until(lambda: not leader.leads(), HEARTBEAT_US)
    world.run_until(lambda: another_serves(world, leader), HAND_OVER_US)


@pytest.mark.parametrize("seed", range(1, 6))
def test_rule_14_a_leader_whose_disk_is_slow_hands_over(cluster: Build, seed: int) -> None:
    world = cluster(seed=seed)
    leader = world.elect()
    world.run_for(ELECTION_US)
    leader.hold_disk()
    leader.propose(b"a")
    world.run_until(lambda: not leader.leads(), 2 * ELECTION_US)
    world.run_until(lambda: another_serves(world, leader), HAND_OVER_US)


@pytest.mark.parametrize("notice", [True, False], ids=["sessions end", "silent"])
def test_rule_14_a_candidate_whose_questions_were_lost_asks_again(cluster: Build, *, notice: bool) -> None:
    """It is needed: one of three is dead."""
    world = cluster()
    world.crash(3)
    world.members[1].feed(lambda engine, now: engine.campaign(now))
    world.run_for(world.disk_us + world.latency_us // 2)
    world.keep([], notice=notice)
    world.run_for(HEARTBEAT_US // 2)
    world.keep([(1, 2)], notice=notice)
    timeouts = 1 if notice or world.row.name in REPEATING else 3
    world.run_until(lambda: world.leader() is not None, timeouts * ELECTION_US)
