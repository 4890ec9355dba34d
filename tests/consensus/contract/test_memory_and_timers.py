"""Rules 10 and 11: what an engine keeps in memory, and when it wakes."""

from __future__ import annotations

from collections.abc import Callable

from ratified.consensus.contract import Limits, Refused, RefusedReason, Taken
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, Cluster

Build = Callable[..., Cluster]


def test_rule_10_what_is_no_longer_in_memory_is_fetched_for_a_follower_far_behind(cluster: Build) -> None:
    world = cluster(limits=Limits(tail_bytes_max=500, entries_per_message_max=10))
    leader = world.elect(1)
    world.isolate(3)
    datas = [b"%d" % i for i in range(200)]
    for data in datas:
        world.propose(data)
        world.run_for(50)
    world.run_until_delivered(*datas, on=[1, 2])
    world.heal()
    world.run_until_delivered(*datas)
    assert leader.fetches, "the leader had everything in memory: the test proves nothing"
    assert world.members[3].commands == datas


def test_rule_10_delivery_after_a_restart_reads_the_log_again(cluster: Build) -> None:
    world = cluster()
    world.elect()
    datas = [b"%d" % i for i in range(50)]
    world.propose(*datas)
    world.run_until_delivered(*datas)
    world.crash(1, 2, 3)
    for member in world.members.values():
        member.applied = 0  # the store was lost with the machine
        member.delivered.clear()
    world.restart(1, 2, 3)
    world.elect()
    world.run_until_delivered(*datas)
    assert all(member.commands == datas for member in world.members.values())
    assert all(member.fetches for member in world.members.values())


def test_rule_10_propose_refuses_while_too_much_waits_for_the_disk(cluster: Build) -> None:
    world = cluster(limits=Limits(undurable_bytes_max=2500))
    leader = world.elect()
    world.run_for(ELECTION_US)
    leader.hold_disk()
    assert isinstance(leader.propose(bytes(5000)), Taken), "the first always fits"
    assert leader.propose(b"a") == Refused(RefusedReason.OVERLOADED, leader.id)
    leader.release_disk()
    world.run_for(0)
    assert isinstance(leader.propose(bytes(500)), Taken)
    assert leader.propose(bytes(500)) == Refused(RefusedReason.OVERLOADED, leader.id)
    assert isinstance(leader.propose(bytes(100)), Taken)


def test_rule_10_propose_refuses_while_too_much_waits_for_a_quorum(cluster: Build) -> None:
    world = cluster(limits=Limits(uncommitted_bytes_max=3000))
    leader = world.elect()
    world.run_for(ELECTION_US)
    others = [member for member in world.members.values() if member is not leader]
    for other in others:
        other.hold_disk()
    assert isinstance(leader.propose(bytes(500)), Taken)
    assert isinstance(leader.propose(bytes(500)), Taken)
    world.run_for(1_000)
    assert leader.propose(bytes(500)) == Refused(RefusedReason.OVERLOADED, leader.id)
    for other in others:
        other.release_disk()
    world.run_for(10_000)
    assert isinstance(leader.propose(bytes(500)), Taken)


def test_rule_11_an_early_tick_does_nothing(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    for member in world.members.values():
        deadline = member.running.deadline
        assert deadline is not None
        assert deadline > world.now
        member.running.tick(world.now)
        assert member.running.ready() is None
        assert member.running.deadline == deadline
    assert leader.serves()


def test_rule_11_who_waits_for_the_disk_is_not_ticked_again_and_again(cluster: Build) -> None:
    """The harness looks that each tick that is due moves the deadline."""
    world = cluster()
    for member in world.members.values():
        member.hold_disk()
        member.feed(lambda engine, now: engine.campaign(now))
    world.run_for(3 * ELECTION_US)
    for member in world.members.values():
        member.release_disk()
    world.elect()


def test_rule_11_the_election_deadline_is_what_the_function_says(cluster: Build) -> None:
    world = cluster()
    for member in world.members.values():
        options = world.options(member.id)
        era = member.running.status().era
        assert member.running.deadline == options.election_deadline(0, era)


def test_rule_11_a_leader_that_is_heard_keeps_its_lead(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    era = leader.running.leading
    world.run_for(100 * ELECTION_US)
    assert leader.running.leading == era


def test_rule_11_the_leader_wakes_for_heartbeats(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    deadline = leader.running.deadline
    assert deadline is not None
    assert world.now < deadline <= world.now + HEARTBEAT_US


def test_rule_11_a_leader_whose_disk_is_slow_stops_leading_and_another_one_takes_over(cluster: Build) -> None:
    world = cluster()
    slow = world.elect(1)
    world.run_for(ELECTION_US)
    slow.hold_disk()
    slow.propose(b"a")
    world.run_for(2 * ELECTION_US - 1)
    assert slow.leads()
    world.run_for(1)
    assert not slow.leads()
    world.run_until(lambda: (leader := world.leader()) is not None and leader.id != 1)
    world.propose(b"b")
    world.run_until_delivered(b"b", on=[2, 3])
