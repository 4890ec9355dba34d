"""Rule 11, quiescence: a group in which nothing happens keeps no time, and whatever happens wakes whom it concerns.

What each part of the rule is for in hostile orders, ``tests/models/test_rest.py`` shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations

import pytest

from ratified.consensus.contract import Extensions, Refused
from ratified.consensus.engines import ENGINES, EngineRow
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, PROBING, Cluster, Member

Build = Callable[..., Cluster]

SOON_US = 4 * HEARTBEAT_US
"""A heartbeat in which nothing is asked, and the one that says so."""


@pytest.fixture(params=PROBING)
def row(request: pytest.FixtureRequest) -> EngineRow:
    return ENGINES[request.param]


@pytest.fixture
def cluster(row: EngineRow) -> Build:
    return partial(Cluster, row, extensions=Extensions(quiescence=True))


def rest(world: Cluster) -> bool:
    """Do all that are up keep no time?"""
    return all(member.running.deadline is None for member in world.members.values() if member.up)


def at_rest(world: Cluster, leader: int | None = 1) -> Member:
    member = world.elect(leader)
    world.run_until(lambda: rest(world), SOON_US)
    return member


def test_a_group_in_which_nothing_happens_says_nothing(cluster: Build) -> None:
    world = cluster(5)
    leader = at_rest(world)
    world.run_for(HEARTBEAT_US)  # what is under way arrives
    said = len(world.sent)
    world.run_for(100 * ELECTION_US)
    assert len(world.sent) == said
    assert leader.serves()
    statuses = [member.running.status() for member in world.members.values()]
    assert {status.leader for status in statuses} == {leader.id}
    assert all(status.rests for status in statuses)


def test_a_proposal_is_taken_at_once_and_the_group_rests_again(cluster: Build) -> None:
    world = cluster()
    at_rest(world)
    world.run_for(10 * ELECTION_US)
    world.propose(b"a")
    began = world.now
    world.run_until_delivered(b"a")
    assert world.now - began < HEARTBEAT_US
    world.run_until(lambda: rest(world), SOON_US)


def test_a_read_asks_those_who_rest(cluster: Build) -> None:
    world = cluster()
    leader = at_rest(world)
    world.run_for(10 * ELECTION_US)
    leader.barrier(1)
    world.run_until(lambda: 1 in leader.reads, HEARTBEAT_US)
    assert leader.reads[1] == leader.running.status().commit
    world.run_until(lambda: rest(world), SOON_US)


def test_the_death_of_a_leader_wakes_the_others(cluster: Build) -> None:
    world = cluster()
    at_rest(world)
    world.run_for(10 * ELECTION_US)
    world.crash(1)
    world.run_until(lambda: world.leader() is not None and world.leader(1) is None, SOON_US)
    world.run_until(lambda: rest(world), SOON_US)
    world.restart(1)
    world.run_until(lambda: world.members[1].running.status().leader is not None, SOON_US)
    world.run_until(lambda: rest(world), 2 * SOON_US)


def test_those_who_are_there_rest_without_who_is_not(cluster: Build) -> None:
    world = cluster()
    at_rest(world)
    world.crash(3)
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[1, 2])
    world.run_until(lambda: rest(world), SOON_US)
    world.restart(3)
    world.run_until_delivered(b"a")
    world.run_until(lambda: rest(world), 2 * SOON_US)


def test_a_leader_without_a_quorum_does_not_rest(cluster: Build) -> None:
    world = cluster()
    leader = at_rest(world)
    world.isolate(1)
    world.run_until(lambda: not leader.leads(), 2 * ELECTION_US)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_connection_that_breaks_out_of_rest_deposes_nobody(cluster: Build, size: int) -> None:
    """Whose session ended said nothing for as long as the rest lasted, and is needed for a quorum."""
    world = cluster(size)
    leader = at_rest(world)
    world.crash(*range(size // 2 + 2, size + 1))
    world.run_until(lambda: rest(world), 2 * SOON_US)
    world.run_for(20 * ELECTION_US)
    era = leader.running.leading
    world.isolate(1)
    world.run_for(HEARTBEAT_US // 4)
    world.heal()
    world.run_for(5 * ELECTION_US)
    assert leader.running.leading == era


def test_a_leader_whose_own_disk_hangs_does_not_rest(cluster: Build) -> None:
    """The others commit without it."""
    world = cluster()
    leader = at_rest(world)
    leader.hold_disk()
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[2, 3])
    world.run_until(lambda: not leader.leads(), 3 * ELECTION_US)


def test_who_did_not_hear_that_it_may_rest_asks_and_rests(cluster: Build) -> None:
    """The session with it fell silent, and came back, before anybody would have ended it."""
    world = cluster()
    leader = world.elect(1)
    world.run_for(HEARTBEAT_US // 2)
    era = leader.running.leading
    everybody = list(combinations(world.members, 2))
    world.keep([pair for pair in everybody if pair != (1, 3)], notice=False)
    world.run_until(lambda: leader.running.deadline is None, SOON_US)
    world.keep(everybody, notice=False)
    world.run_until(lambda: rest(world), 3 * ELECTION_US)
    world.run_for(10 * ELECTION_US)
    assert leader.running.leading == era


def test_who_reaches_the_old_leader_alone_hears_that_it_leads_no_longer(cluster: Build) -> None:
    world = cluster()
    at_rest(world)
    world.keep([(1, 2), (1, 3)], notice=True)
    world.run_until(lambda: rest(world), 2 * SOON_US)
    world.members[2].feed(lambda engine, now: engine.campaign(now))
    world.run_until(lambda: not world.members[1].leads(), ELECTION_US)
    world.run_for(HEARTBEAT_US)
    assert world.members[3].running.deadline is not None


def test_who_does_not_know_what_resting_is_costs_heartbeats_and_no_more(row: EngineRow) -> None:
    """A program of an earlier version takes such a heartbeat for any other one, and answers it."""
    world = Cluster(row, extensions=Extensions(quiescence=True))
    earlier = world.members[3]
    world.crash(3)
    world.extensions = Extensions()
    world.restart(3)
    leader = world.elect(1)
    world.run_for(SOON_US)
    said = len(world.sent)
    beats = 50
    world.run_for(beats * HEARTBEAT_US)
    assert leader.serves()
    assert earlier.running.status().leader == 1
    assert beats <= len(world.sent) - said <= 3 * beats + 10


def test_who_learns_keeps_no_time_and_yet_says_whether_the_group_rests(row: EngineRow) -> None:
    world = Cluster(row, joiners=1)
    leader = world.elect()
    leader.change(world.membership.voters, learners=(4,))
    world.run_until(lambda: world.members[4].running.status().leader == leader.id)
    world.run_for(4 * SOON_US)
    assert not world.members[4].running.status().rests


def test_a_full_disk_is_no_rest(cluster: Build) -> None:
    world = cluster()
    leader = at_rest(world)
    leader.feed(lambda engine, now: engine.disk_full(now, True))
    world.run_until(lambda: not leader.leads(), SOON_US)


def test_the_lead_is_handed_over_out_of_rest(cluster: Build) -> None:
    world = cluster()
    leader = at_rest(world)
    world.run_for(10 * ELECTION_US)
    answers: list[Refused | None] = []
    leader.feed(lambda engine, now: answers.append(engine.transfer_leadership(now, 2)))
    world.run_until(lambda: world.leader(2) is not None, SOON_US)
    assert answers == [None]
