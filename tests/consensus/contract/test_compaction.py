"""``compacted``: the history's base moves, and nothing at or below it is needed from anybody any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import BaseRecord, Era, Limits
from tests.consensus.contract.harness import Cluster, Member

Build = Callable[..., Cluster]

SHORT_TAIL = Limits(tail_bytes_max=1)


def filled(world: Cluster, count: int = 20) -> None:
    world.elect()
    world.propose(*[b"%d" % number for number in range(count)])
    world.run_until_delivered(b"%d" % (count - 1))
    world.run_for(10_000)


def era_at(member: Member, index: int) -> Era:
    """That with which the entry was delivered."""
    return next(entry.era for entry in member.delivered if entry.index == index)


def compact(member: Member, index: int) -> None:
    era = era_at(member, index)
    member.feed(lambda engine, now: engine.compacted(now, index, era))


def bases(member: Member) -> list[int]:
    """Those that it asked to be written, in their order."""
    writes = [ready.write for ready in member.readies if ready.write is not None]
    return [record.base.index for write in writes for record in write.records if isinstance(record, BaseRecord)]


def test_the_base_joins_the_next_write_with_era_and_membership(cluster: Build) -> None:
    world = cluster()
    filled(world)
    for member in world.members.values():
        compact(member, 10)
    world.run_for(10_000)
    for member in world.members.values():
        base = member.driver.log.base
        assert (base.index, base.era, base.membership) == (10, era_at(member, 10), world.membership)
        assert min(member.driver.log.entries) == 11
        assert bases(member) == [10]


def test_what_is_gone_already_changes_nothing(cluster: Build) -> None:
    world = cluster()
    filled(world)
    leader = world.elect()
    for index in (10, 10, 4, 12):
        compact(leader, index)
    world.run_for(10_000)
    assert bases(leader) == [10, 12]


def test_everything_that_is_applied_may_go(cluster: Build) -> None:
    world = cluster()
    filled(world)
    for member in world.members.values():
        compact(member, member.applied)
    world.run_for(10_000)
    world.propose(b"next")
    world.run_until_delivered(b"next")
    world.crash(1, 2, 3)
    world.restart(1, 2, 3)
    world.elect()
    world.propose(b"after")
    world.run_until_delivered(b"after")


def test_what_is_not_applied_never_goes(cluster: Build) -> None:
    world = cluster()
    filled(world)
    leader = world.elect()
    with pytest.raises(AssertionError, match="what is applied ends at"):
        leader.running.compacted(world.now, leader.applied + 1, era_at(leader, leader.applied))


def test_members_whose_logs_begin_apart_follow_each_other(cluster: Build) -> None:
    """Each hears of the others' checkpoints in its own time; whoever leads, all have what is below any base."""
    world = cluster(limits=SHORT_TAIL)
    filled(world)
    for member, index in ((1, 15), (2, 5)):
        compact(world.members[member], index)
    world.run_for(10_000)
    for leader in (1, 3, 2):
        assert world.elect(leader).id == leader
        world.propose(b"by %d" % leader)
        world.run_until_delivered(b"by %d" % leader)


def test_a_follower_that_was_away_goes_on_from_what_it_has(cluster: Build) -> None:
    world = cluster(limits=SHORT_TAIL)
    filled(world)
    world.elect(1)
    world.isolate(3)
    behind = world.members[3].applied
    world.propose(*[b"more %d" % number for number in range(20)])
    world.run_for(20_000)
    for member in (1, 2):
        compact(world.members[member], behind)
    world.run_for(10_000)
    world.heal()
    world.propose(b"last")
    world.run_until_delivered(b"last")
    assert world.members[3].commands == world.members[1].commands


def test_a_leader_goes_on_to_send_where_its_log_now_begins(cluster: Build) -> None:
    """What was under way to a follower, and what it has not answered, may be gone; it has that."""
    world = cluster(limits=SHORT_TAIL)
    filled(world)
    leader = world.elect(1)
    index = min(member.applied for member in world.members.values())
    world.isolate(2)
    compact(leader, index)
    world.run_for(30_000)
    world.heal()
    world.propose(b"next")
    world.run_until_delivered(b"next")
