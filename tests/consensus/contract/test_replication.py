"""What an engine is for: proposals are taken, committed and delivered, whatever stops and starts meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import Base, BaseRecord, Kind, Refused, RefusedReason, Taken
from tests.consensus.contract.harness import Cluster

Build = Callable[..., Cluster]


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 7])
def test_a_cluster_elects_a_leader_and_delivers_everywhere(cluster: Build, members: int) -> None:
    world = cluster(members)
    world.elect()
    assert isinstance(world.propose(b"a", b"b"), Taken)
    assert isinstance(world.propose(b"c"), Taken)
    world.run_until_delivered(b"a", b"b", b"c")
    for member in world.members.values():
        assert member.commands == [b"a", b"b", b"c"]


def test_an_entry_of_the_node_is_delivered_as_such_in_its_place(cluster: Build) -> None:
    world = cluster()
    world.elect()
    assert isinstance(world.propose(b"a"), Taken)
    leader = world.elect(2)
    assert isinstance(leader.propose(b"own", kind=Kind.NODE), Taken)
    assert isinstance(leader.propose(b"b"), Taken)
    world.run_until_delivered(b"a", b"b")
    for member in world.members.values():
        delivered = [(entry.kind, entry.data) for entry in member.delivered if entry.proposal is not None]
        assert delivered == [(Kind.COMMAND, b"a"), (Kind.NODE, b"own"), (Kind.COMMAND, b"b")]


def test_only_a_leader_takes_and_others_say_who_leads(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(10_000)
    for member in world.members.values():
        if member is not leader:
            assert member.propose(b"a") == Refused(RefusedReason.NOT_LEADER, leader.id)


def test_the_leader_is_reported_with_its_era_and_whether_it_serves(cluster: Build) -> None:
    world = cluster()
    leader = world.elect()
    world.run_for(10_000)
    era = leader.running.leading
    for member in world.members.values():
        assert member.lead is not None
        assert (member.lead.member, member.lead.era) == (leader.id, era)
        assert member.lead.serving == (member is leader)
        assert member.leads() == (member is leader)


def test_who_campaigns_leads(cluster: Build) -> None:
    world = cluster()
    for member in (3, 1, 2):
        assert world.elect(member).id == member


def test_acknowledged_entries_survive_a_crash_of_every_member(cluster: Build) -> None:
    world = cluster()
    world.elect()
    world.propose(b"a", b"b")
    world.run_until_delivered(b"a", b"b")
    world.crash(1, 2, 3)
    world.restart(1, 2, 3)
    world.elect()
    world.propose(b"c")
    world.run_until_delivered(b"a", b"b", b"c")
    assert {tuple(member.commands) for member in world.members.values()} == {(b"a", b"b", b"c")}


def test_a_new_leader_replaces_what_the_old_one_could_not_commit(cluster: Build) -> None:
    world = cluster()
    old = world.elect(1)
    world.isolate(1)
    old.propose(b"never", b"committed")
    world.run_until(lambda: (leader := world.leader()) is not None and leader.id != 1)
    world.propose(b"instead")
    world.run_until_delivered(b"instead", on=[2, 3])
    world.heal()
    world.run_until_delivered(b"instead")
    assert {tuple(member.commands) for member in world.members.values()} == {(b"instead",)}
    world.propose(b"next")
    world.run_until_delivered(b"next")


def test_a_log_need_not_begin_at_one(cluster: Build) -> None:
    world = cluster()
    world.elect()
    world.propose(*[b"%d" % i for i in range(20)])
    world.run_until_delivered(b"19")
    world.run_for(10_000)
    world.crash(1, 2, 3)
    for member in world.members.values():
        log = member.driver.log
        log.take([BaseRecord(Base(10, log.entries[10].era, log.base.membership))])
    world.restart(1, 2, 3)
    world.elect()
    world.propose(b"after")
    world.run_until_delivered(b"after")
    assert all(member.commands[-1] == b"after" for member in world.members.values())
