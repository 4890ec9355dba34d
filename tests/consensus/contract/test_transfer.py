"""Handing the lead to another member (Ongaro's dissertation, section 3.10), on every engine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import Refused, RefusedReason, Taken
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, Cluster, Member

Build = Callable[..., Cluster]

TRANSFER_US = 4 * HEARTBEAT_US
"""From asking to the first commit of the new leader: some round trips and disk writes, and no timeout."""


def transfer(world: Cluster, leader: Member, to: int) -> Refused | None:
    """Ask the leader in a turn of its own."""
    answer = leader.running.transfer_leadership(world.now, to)
    leader.feed(lambda engine, now: None)
    return answer


def serving(world: Cluster, member: int) -> Callable[[], bool]:
    return lambda: world.leader(member) is not None


@pytest.mark.parametrize("members", [2, 3, 5])
def test_the_named_member_leads_within_some_round_trips_and_nothing_is_lost(cluster: Build, members: int) -> None:
    world = cluster(members)
    leader = world.elect(1)
    for to in (2, members, 1):
        leader.propose(b"before %d" % to)
        if to == leader.id:
            continue
        assert transfer(world, leader, to) is None
        world.run_until(serving(world, to), TRANSFER_US)
        leader = world.members[to]
        assert isinstance(leader.propose(b"by %d" % to), Taken)
    world.run_for(ELECTION_US)
    assert {len(member.commands) for member in world.members.values()} == {len(leader.commands)}
    assert {b"before 2", b"before 1", b"by 2", b"by 1"} <= set(leader.commands)


def test_a_target_that_is_behind_is_caught_up_first_and_nothing_is_taken_meanwhile(cluster: Build) -> None:
    world = cluster()
    leader = world.elect(1)
    world.members[3].hold_disk()
    leader.propose(b"a", b"b")
    assert transfer(world, leader, 3) is None
    world.run_for(HEARTBEAT_US)
    assert leader.propose(b"c") == Refused(RefusedReason.TRANSFERRING, 1)
    assert leader.leads(), "the target has not everything yet"
    leader.barrier(1)
    world.run_for(HEARTBEAT_US)
    assert leader.reads[1] is not None, "reads go on"
    world.members[3].release_disk()
    world.run_until(serving(world, 3), TRANSFER_US)
    assert world.members[3].commands == [b"a", b"b"]


def test_a_transfer_to_a_target_that_stays_behind_ends_after_an_election_timeout(cluster: Build) -> None:
    world = cluster()
    leader = world.elect(1)
    world.members[3].hold_disk()
    leader.propose(b"a")
    assert transfer(world, leader, 3) is None
    refused = Refused(RefusedReason.TRANSFERRING, 1)
    world.run_until(lambda: leader.propose(b"b") != refused, 3 * ELECTION_US)
    assert world.leader() is leader
    world.members[3].release_disk()
    world.run_for(4 * ELECTION_US)
    assert world.leader() is leader, "it is not told any more"


def test_a_transfer_ends_when_the_session_with_the_target_does(cluster: Build) -> None:
    world = cluster()
    leader = world.elect(1)
    world.members[3].hold_disk()
    leader.propose(b"a")
    assert transfer(world, leader, 3) is None
    world.crash(3)
    world.run_for(HEARTBEAT_US)
    assert isinstance(leader.propose(b"b"), Taken)


def test_a_transfer_is_refused_with_a_reason(cluster: Build) -> None:
    world = cluster()
    leader = world.elect(1)

    def why(member: Member, to: int) -> RefusedReason | None:
        answer = member.running.transfer_leadership(world.now, to)
        return None if answer is None else answer.reason

    assert why(world.members[2], 3) is RefusedReason.NOT_LEADER
    assert why(leader, 1) is RefusedReason.LEADS_ALREADY
    assert why(leader, 9) is RefusedReason.UNKNOWN_MEMBER
    world.crash(3)
    world.run_for(2 * ELECTION_US)
    assert why(leader, 3) is RefusedReason.UNREACHABLE
    assert why(leader, 2) is None
    assert why(leader, 2) is RefusedReason.TRANSFERRING


def test_the_target_that_cannot_write_does_not_stand(cluster: Build) -> None:
    world = cluster()
    leader = world.elect(1)
    world.members[3].feed(lambda engine, now: engine.disk_full(now, True))
    assert transfer(world, leader, 3) is None
    world.run_for(3 * ELECTION_US)
    assert world.leader() is leader
    assert isinstance(leader.propose(b"a"), Taken)
