"""Rule 8: a barrier's index is at least every commit acknowledged before it was fed, confirmed after that."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ratified.consensus.contract import Limits
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, Cluster

Build = Callable[..., Cluster]


def test_rule_8_a_barrier_is_answered_with_what_is_committed(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[leader.id])
    leader.barrier(1)
    world.run_until(lambda: 1 in leader.reads)
    assert leader.reads[1] == leader.delivered[-1].index


def test_rule_8_a_member_that_does_not_lead_confirms_nothing(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    follower = next(member for member in world.members.values() if member is not leader)
    follower.barrier(1)
    world.run_until(lambda: 1 in follower.reads)
    assert follower.reads[1] is None


def test_rule_8_one_member_alone_needs_no_round(cluster: Build) -> None:
    world = cluster(1)
    leader = world.elect()
    leader.barrier(1)
    world.run_for(0)
    assert leader.reads[1] is not None


def test_rule_8_a_leader_that_was_cut_off_confirms_nothing(cluster: Build) -> None:
    """The old leader does not know of the new one; only the missing round keeps its old state from being read."""
    world = cluster()
    old = world.elect(1)
    world.run_for(ELECTION_US)
    world.isolate(1)
    old.barrier(1)
    world.run_until(lambda: (leader := world.leader()) is not None and leader.id != 1)
    world.propose(b"new")
    world.run_until_delivered(b"new", on=[2, 3])
    old.barrier(2)
    world.run_for(4 * ELECTION_US)
    world.heal()
    world.run_for(4 * ELECTION_US)
    assert old.reads == {1: None, 2: None}


def test_rule_8_an_answer_to_an_earlier_round_confirms_nothing_later(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    leader.barrier(1)
    world.run_for(world.latency_us)  # the round's question has arrived, its answers are under way
    leader.barrier(2)
    world.run_for(world.latency_us)
    assert 1 in leader.reads
    assert 2 not in leader.reads
    world.run_until(lambda: 2 in leader.reads)
    assert leader.reads[2] is not None


def test_rule_8_nothing_is_confirmed_before_the_leader_serves(cluster: Build) -> None:
    """Committed by the old leader, and not known to be so by the new one until it commits in its own era."""
    world = cluster()
    old = world.elect(1)
    world.run_for(ELECTION_US)
    world.members[2].hold_disk()
    world.isolate(2)
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[1, 3])
    world.heal()
    world.members[2].release_disk()
    world.run_for(1)
    new = world.members[3]
    new.feed(lambda engine, now: engine.campaign(now))
    world.run_until(lambda: new.leads())
    for member in (1, 2):
        world.members[member].hold_disk()
    new.barrier(1)
    world.run_for(3 * HEARTBEAT_US)
    assert not new.serves()
    assert 1 not in new.reads
    for member in (1, 2):
        world.members[member].release_disk()
    world.run_until(lambda: 1 in new.reads)
    assert new.reads[1] is not None
    assert new.serves()
    assert old.commands == [b"a"]


def test_rule_8_one_round_serves_all_barriers_that_wait(cluster: Build) -> None:
    world = cluster(5)
    leader = world.elect()
    world.run_for(ELECTION_US)
    leader.barrier(0)
    world.run_for(0)
    before = len(world.sent)
    for token in range(1, 101):
        leader.barrier(token)
    world.run_until(lambda: all(token in leader.reads for token in range(101)))
    others = 4
    questions = 2 * others * 4  # a round's questions and answers, the first round's answers, a heartbeat beside them
    assert len(world.sent) - before <= questions


def test_rule_8_barriers_beyond_the_limit_are_answered_at_once(cluster: Build) -> None:
    world = cluster(limits=Limits(barriers_max=2))
    leader = world.elect()
    world.run_for(ELECTION_US)
    for token in range(4):
        leader.barrier(token)
    world.run_for(0)
    assert leader.reads == {2: None, 3: None}
    world.run_for(4 * world.latency_us)
    assert leader.reads.keys() == {0, 1, 2, 3}
    assert None not in (leader.reads[0], leader.reads[1])


def test_rule_8_a_round_survives_lost_messages(cluster: Build) -> None:
    world = cluster(seed=3)
    leader = world.elect()
    world.run_for(ELECTION_US)
    for token in range(20):
        world.loss_percent = 50
        leader.barrier(token)
        world.run_for(world.latency_us)
        world.loss_percent = 0
        world.run_until(partial(leader.reads.__contains__, token))


def test_reads_do_not_wait_for_the_followers_disks(cluster: Build) -> None:
    """Rule 3: a heartbeat's answer claims only a durable era, and goes at once."""
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    for member in world.members.values():
        if member is not leader:
            member.hold_disk()
    leader.propose(b"a")
    world.run_for(HEARTBEAT_US)
    leader.barrier(1)
    world.run_for(3 * world.latency_us)
    assert leader.reads[1] is not None
