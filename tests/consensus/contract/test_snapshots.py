"""Snapshots: a member that lacks what no log has any more is as far as the others again, and goes on behind that."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import Base, BaseRecord, Limits, Refused, RefusedReason
from ratified.consensus.engines import EngineRow
from tests.consensus.contract.harness import HEARTBEAT_US, IN_SEQUENCE, Cluster, Member

Build = Callable[..., Cluster]


SHORT_TAIL = Limits(tail_bytes_max=1)
BEFORE = [b"before %d" % number for number in range(5)]
MORE = [b"more %d" % number for number in range(20)]


def lacking(cluster: Build, away: int = 3) -> Cluster:
    """A cluster whose member ``away`` was away when much was delivered and cut."""
    world = cluster(limits=SHORT_TAIL)
    world.elect(1 if away != 1 else 2)
    world.propose(*BEFORE)
    world.run_until_delivered(*BEFORE)
    world.run_for(HEARTBEAT_US)
    world.isolate(away)
    world.propose(*MORE)
    world.run_until_delivered(MORE[-1], on=[member for member in world.members if member != away])
    world.run_for(HEARTBEAT_US)
    for member in world.members.values():
        if member.id != away:
            member.compact(member.applied)
    world.run_for(HEARTBEAT_US)
    return world


def to(world: Cluster, member: int) -> Member:
    """Who is asked to send this member a snapshot."""
    world.run_until(
        lambda: any(asked.member == member for each in world.members.values() for asked in each.snapshots_asked)
    )
    return next(each for each in world.members.values() if each.snapshots_asked)


def arrived(world: Cluster, member: Member) -> tuple[Member, Base]:
    """Its snapshot is durable there and asked to be installed; and by whom it was sent."""
    sender = to(world, member.id)
    base = sender.snapshot()
    assert member.offer(sender, base) is None
    assert member.receive(sender, base) is None
    return sender, base


def bases(member: Member) -> list[int]:
    writes = [ready.write for ready in member.readies if ready.write is not None]
    return [record.base.index for write in writes for record in write.records if isinstance(record, BaseRecord)]


def test_who_lacks_what_is_cut_installs_a_snapshot_and_goes_on_behind_it(cluster: Build) -> None:
    world = lacking(cluster)
    away = world.members[3]
    delivered = away.applied
    world.heal()
    world.run_until(lambda: away.applied > delivered)
    assert away.delivered == world.members[1].delivered[: len(away.delivered)]
    world.elect()
    world.propose(b"after")
    world.run_until_delivered(b"after")
    assert away.commands == world.members[1].commands
    deliveries = [entry.index for ready in away.readies for entry in ready.deliver]
    assert away.driver.log.base.index not in deliveries
    assert away.driver.log.base.snapshot, "the base says whose state it is"


def test_a_snapshot_is_asked_for_once_until_it_is_known_what_became_of_it(cluster: Build) -> None:
    world = lacking(cluster)
    world.carries_snapshots = False
    world.heal()
    sender = to(world, 3)
    world.run_for(20 * HEARTBEAT_US)
    assert [asked.member for asked in sender.snapshots_asked] == [3]
    assert sender.snapshots_asked[0].index <= sender.applied
    sender.sent(3, sender.applied, ok=False)
    failed = world.now
    world.run_until(lambda: len(sender.snapshots_asked) == 2)
    assert world.now - failed >= HEARTBEAT_US


def test_it_is_heard_as_long_as_a_snapshot_is_under_way_to_it(cluster: Build) -> None:
    """It may take much longer than an election timeout, which would begin everything anew."""
    world = lacking(cluster)
    world.carries_snapshots = False
    world.heal()
    to(world, 3)
    era = world.elect().running.status().era
    world.run_for(100 * HEARTBEAT_US)
    assert world.elect().running.status().era == era
    assert world.members[3].running.status().leader in (None, world.elect().id)


def test_rule_5_nothing_is_delivered_before_the_store_is_switched(cluster: Build) -> None:
    world = lacking(cluster)
    world.carries_snapshots = False
    away = world.members[3]
    away.switch_us = None
    world.heal()
    sender, base = arrived(world, away)
    delivered = away.driver.delivered
    world.propose(b"meanwhile")
    world.run_for(20 * HEARTBEAT_US)
    assert away.driver.delivered == delivered
    away.switch(base)
    sender.sent(3, base.index, ok=True)
    world.run_until_delivered(b"meanwhile")


def test_rule_3_who_installs_a_snapshot_acknowledges_nothing_that_counts_it(cluster: Build, row: EngineRow) -> None:
    """What is loaded may turn out to be damaged; until it is known to be right, the others decide without it."""
    if row.name not in IN_SEQUENCE:
        pytest.skip("its acknowledgements do not count what lies below")
    world = lacking(cluster)
    world.carries_snapshots = False
    away = world.members[3]
    away.switch_us = None
    world.heal()
    sender, base = arrived(world, away)
    leader = world.elect()
    world.crash(next(member for member in (1, 2) if member != leader.id))
    leader.propose(b"meanwhile")
    world.run_for(4 * HEARTBEAT_US)
    assert b"meanwhile" not in leader.commands
    away.switch(base)
    if sender.up:
        sender.sent(3, base.index, ok=True)
    world.elect()
    world.propose(b"after")
    world.run_until_delivered(b"after")
    assert away.commands == leader.commands


def test_a_start_whose_log_begins_ahead_of_its_store_switches_first(cluster: Build) -> None:
    world = lacking(cluster)
    world.carries_snapshots = False
    away = world.members[3]
    away.switch_us = None
    world.heal()
    sender, base = arrived(world, away)
    world.run_until(lambda: away.driver.log.base == base)
    world.crash(3)
    world.restart(3)
    assert away.applied == base.index
    sender.sent(3, base.index, ok=False)
    world.elect()
    world.propose(b"after")
    world.run_until_delivered(b"after")
    assert away.commands == sender.commands


def test_a_crash_before_the_base_is_durable_leaves_the_log_as_it_was(cluster: Build) -> None:
    world = lacking(cluster)
    world.carries_snapshots = False
    away = world.members[3]
    applied = away.applied
    world.heal()
    to(world, 3)
    away.hold_disk()
    sender, base = arrived(world, away)
    world.run_for(1000)
    world.crash(3)
    away.disk_us = world.disk_us
    assert (away.applied, away.driver.log.base.index) == (applied, 0)
    world.carries_snapshots = True
    world.restart(3)
    sender.sent(3, base.index, ok=False)
    world.elect()
    world.propose(b"after")
    world.run_until_delivered(b"after")


def test_what_is_known_here_is_not_installed(cluster: Build) -> None:
    world = lacking(cluster)
    leader = world.elect()
    other = world.members[2 if leader.id == 1 else 1]
    base = leader.snapshot()
    answer = other.offer(leader, base)
    assert isinstance(answer, Refused)
    assert answer.reason is RefusedReason.NOT_NEEDED
    assert isinstance(other.receive(leader, base), Refused)
    world.run_for(HEARTBEAT_US)
    assert base.snapshot not in [other.driver.log.base.snapshot]


def test_one_snapshot_is_installed_at_a_time(cluster: Build) -> None:
    world = lacking(cluster)
    world.carries_snapshots = False
    away = world.members[3]
    away.switch_us = None
    world.heal()
    sender, base = arrived(world, away)
    world.propose(b"meanwhile")
    world.run_for(HEARTBEAT_US)
    answer = away.offer(sender, sender.snapshot())
    assert isinstance(answer, Refused)
    assert answer.reason is RefusedReason.INSTALLING
    assert bases(away) == [base.index]


def test_a_member_that_lacks_what_is_cut_can_be_needed_for_every_quorum(cluster: Build) -> None:
    """Only it reaches both others, or one of them is gone: all depends on the snapshot."""
    world = lacking(cluster)
    world.crash(1)
    world.heal()
    world.run_until(lambda: world.leader() is not None)
    world.propose(b"after")
    world.run_until_delivered(b"after")
    assert world.members[3].commands == world.members[2].commands


def test_a_member_that_is_behind_can_lead_where_only_it_reaches_a_quorum(cluster: Build) -> None:
    """No vote can help it, and what it lacks is in nobody's log: who it asks sends it a snapshot."""
    world = lacking(cluster)
    world.crash(1)
    world.heal()
    world.keep([(2, 3)], notice=True)
    away = world.members[3]
    world.run_until(lambda: world.leader() is not None and bool(away.driver.log.base.index))
    world.elect(3)
    world.propose(b"after")
    world.run_until_delivered(b"after")
