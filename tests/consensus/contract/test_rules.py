"""The rules that bind an engine, by number; reads, memory and timers have files of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from ratified.consensus.contract import Limits, Taken
from ratified.consensus.draws import mix
from tests.consensus.contract.harness import ELECTION_US, Cluster

Build = Callable[..., Cluster]

TINY = Limits(
    entries_per_message_max=1,
    bytes_per_message_max=1,
    inflight_messages_max=1,
    inflight_bytes_max=1,
    deliver_bytes_max=1,
    tail_bytes_max=1,
    undurable_bytes_max=1,
    barriers_max=1,
)
SMALL = Limits(
    entries_per_message_max=3,
    bytes_per_message_max=200,
    inflight_messages_max=2,
    inflight_bytes_max=300,
    deliver_bytes_max=150,
    tail_bytes_max=300,
    undurable_bytes_max=500,
    barriers_max=4,
)


def proposed(world: Cluster, data: bytes) -> bool:
    """Was it taken, by whoever serves now?"""
    return world.leader() is not None and isinstance(world.propose(data), Taken)


def trouble(world: Cluster, steps: int) -> None:
    """Proposals, barriers, isolations, losses, crashes and restarts, drawn from the world's seed.

    The harness checks every Ready. At the end the world heals and a last command reaches everybody.
    """
    everyone = list(world.members)

    def draw(*keys: int) -> int:
        return mix(world.seed, 99, *keys)

    for step in range(steps):
        chosen = everyone[draw(step, 0) % len(everyone)]
        match draw(step, 1) % 10:
            case 0:
                world.isolate(chosen)
            case 1:
                world.heal()
            case 2 if all(member.up for member in world.members.values()):
                world.crash(chosen)
            case 3:
                down = [member for member in everyone if not world.members[member].up]
                world.restart(*down, tail_entries=draw(step, 2) % 4)
            case 4:
                world.members[chosen].hold_disk()
            case 5:
                for member in world.members.values():
                    member.release_disk()
        for member in world.members.values():
            if member.up:
                member.barrier(step)
                if member.leads():
                    member.propose(*[b"%d.%d" % (step, i) for i in range(draw(step, 3) % 4 + 1)])
        world.run_for(draw(step, 4) % ELECTION_US)
    world.loss_percent = 0
    for member in world.members.values():
        member.release_disk()
    world.restart(*[member for member in everyone if not world.members[member].up])
    world.heal()
    end = world.now + 200 * ELECTION_US
    era = None
    while not all(b"last" in member.commands for member in world.members.values()):
        leader = world.elect()
        if leader.running.leading != era and proposed(world, b"last"):
            era = leader.running.leading  # a leader that was already replaced may have taken it: ask the next one too
        world.run_for(ELECTION_US)
        assert world.now < end, f"the healed world makes no progress: {world.describe()}"


@pytest.mark.parametrize("turn_inputs_max", [1, 2, 8])
@pytest.mark.parametrize("seed", range(8))
def test_rule_1_safety_does_not_depend_on_where_turns_are_cut(cluster: Build, seed: int, turn_inputs_max: int) -> None:
    world = cluster(3 + 2 * (seed % 2), seed=seed, turn_inputs_max=turn_inputs_max, limits=SMALL)
    world.loss_percent = 10 * (seed % 3)
    trouble(world, 120)


def test_rule_1_every_limit_admits_at_least_one_item(cluster: Build) -> None:
    world = cluster(limits=TINY)
    world.elect()
    datas = [b"%d" % i for i in range(8)]
    for data in datas:
        world.run_until(partial(proposed, world, data))
    world.run_until_delivered(*datas)
    trouble(world, 60)


def test_rule_3_nobody_leads_whose_disk_answers_nothing(cluster: Build) -> None:
    world = cluster()
    for member in world.members.values():
        member.hold_disk()
    world.run_for(20 * ELECTION_US)
    assert world.leader() is None
    assert not any(member.leads() for member in world.members.values())


def test_rule_3_nobody_leads_by_votes_that_are_not_durable(cluster: Build) -> None:
    world = cluster()
    for member in (2, 3):
        world.members[member].hold_disk()
    for _ in range(20):
        world.run_for(ELECTION_US)
        assert not any(member.leads() for member in world.members.values())


def test_rule_3_a_commit_needs_a_quorum_of_disks(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    followers = [member for member in world.members.values() if member is not leader]
    for member in followers:
        member.hold_disk()
    leader.propose(b"a")
    world.run_for(ELECTION_US)
    assert leader.commands == []
    followers[0].release_disk()
    world.run_until_delivered(b"a", on=[leader.id, followers[0].id])


def test_rule_3_a_members_own_copy_counts_only_when_its_disk_has_it(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    followers = [member for member in world.members.values() if member is not leader]
    followers[0].hold_disk()
    leader.hold_disk()
    commit = leader.running.status().commit
    leader.propose(b"a")
    world.run_for(ELECTION_US)
    assert leader.running.status().commit == commit


def test_rule_4_a_write_in_flight_stands_for_nothing_that_was_truncated(cluster: Build) -> None:
    world = cluster()
    old = world.elect(1)
    world.run_for(ELECTION_US)
    world.isolate(1)
    old.hold_disk()
    old.propose(*[b"old %d" % i for i in range(5)])
    world.loss_percent = 100  # what the old leader sends again at once is lost
    world.heal()
    world.run_for(0)
    world.loss_percent = 0
    world.elect(2)
    world.propose(*[b"new %d" % i for i in range(3)])
    world.run_until_delivered(b"new 2", on=[2, 3])
    world.run_for(ELECTION_US)
    while old.writes_held:  # on some engines what conflicts is truncated only when these are durable
        assert old.commands == []
        old.release_disk(writes=1)
        world.run_for(1)
        status = old.running.status()
        known = min(status.durable, status.commit)
        assert old.holds_what_was_agreed(known), "the durable index counts what was truncated"
    old.release_disk()
    world.run_until_delivered(*[b"new %d" % i for i in range(3)])
    assert old.commands == [b"new 0", b"new 1", b"new 2"]


def test_rule_5_what_is_committed_elsewhere_is_not_delivered_before_it_is_durable_here(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(ELECTION_US)
    last = next(member for member in world.members.values() if member is not leader)
    last.hold_disk()
    leader.propose(b"a")
    world.run_for(ELECTION_US)
    assert last.running.status().commit > last.running.status().durable
    assert last.commands == []
    last.release_disk()
    world.run_until_delivered(b"a")


def test_rule_5_at_most_deliver_bytes_max_is_out(cluster: Build) -> None:
    world = cluster(limits=Limits(deliver_bytes_max=1000))
    leader = world.elect()
    world.run_for(ELECTION_US)
    leader.apply_us = None
    leader.propose(*[bytes(200)] * 20)
    world.run_for(ELECTION_US)
    assert 0 < len(leader.commands) < 5
    while len(leader.commands) < 20:
        before = len(leader.commands)
        assert leader.running.applied(world.now, leader.delivered[-1].index), "there is more to deliver"
        leader.apply(leader.delivered[-1].index)
        world.run_for(1000)
        assert before < len(leader.commands) <= before + 4
    assert not leader.running.applied(world.now, leader.delivered[-1].index)


def test_rule_7_a_replaced_proposal_is_lost_and_one_that_may_yet_come_is_not(cluster: Build) -> None:
    world = cluster()
    old = world.elect(1)
    world.isolate(1)
    taken = old.propose(b"replaced")
    assert isinstance(taken, Taken)
    (proposal,) = [each for each, (_, index) in world.taken.items() if index == taken.first]
    world.run_for(world.latency_us)  # too short for another election, however an engine elects
    assert not world.is_lost(proposal)
    world.run_until(lambda: (leader := world.leader()) is not None and leader.id != 1)
    world.heal()
    world.propose(b"instead")
    world.run_until_delivered(b"instead")
    world.run_until(lambda: world.is_lost(proposal))


def test_rule_7_a_proposal_of_an_old_era_that_survived_is_delivered_and_never_lost(cluster: Build) -> None:
    """Taken in one era, delivered in a later one: a later *term* alone loses nothing."""
    world = cluster()
    old = world.elect(1)
    world.run_for(ELECTION_US)
    world.isolate(3)
    world.members[2].hold_disk()
    old.propose(b"survives")
    world.run_for(500)
    world.members[2].release_disk(writes=1)
    world.crash(1)
    world.members[2].release_disk()
    world.heal()
    world.run_until(lambda: (leader := world.leader()) is not None and leader.id != 1)
    world.run_until_delivered(b"survives", on=[2, 3])


def test_rule_12_the_same_inputs_give_the_same_outputs(cluster: Build) -> None:
    def transcript() -> list[str]:
        world = cluster(5, seed=7, turn_inputs_max=3, limits=SMALL)
        world.loss_percent = 10
        trouble(world, 60)
        return [f"{member.id} {ready}" for member in world.members.values() for ready in member.readies]

    assert transcript() == transcript()


def test_types_a_members_id_is_any_u64_but_the_last(cluster: Build) -> None:
    """Ids are the first 8 bytes of a hash; what carries one must take all of them. 2^64-1 is nobody's."""
    world = cluster(3, first_member=2**64 - 4, seed=5)
    world.elect()
    trouble(world, 40)
