"""Rule 6: members come and go, by proposals, on every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from ratified.consensus.contract import (
    Change,
    Entry,
    Kind,
    Membership,
    Proposal,
    Refused,
    RefusedReason,
    Taken,
)
from ratified.consensus.engines import EngineRow
from ratified.consensus.entry import decode_configuration, encode_change
from tests.consensus.contract.harness import ELECTION_US, Cluster, Member

Build = Callable[..., Cluster]


def change(world: Cluster, voters: Sequence[int], learners: Sequence[int] = ()) -> None:
    """Have this configuration in force for good, by whoever leads."""
    wanted = Membership(tuple(voters), (), tuple(learners))

    def proposed() -> bool:
        leader = world.leader()
        return leader is not None and isinstance(leader.change(voters, learners), Taken)

    world.run_until(lambda: settled(world) == wanted or proposed())
    world.run_until(lambda: settled(world) == wanted)


def settled(world: Cluster) -> Membership | None:
    """What holds for good, as the leader says."""
    leader = world.leader()
    status = None if leader is None else leader.running.status()
    return status.membership if status is not None and status.settled else None


def configurations(member: Member) -> list[Entry]:
    return [entry for entry in member.delivered if entry.kind is Kind.MEMBERSHIP]


CHANGES = {
    "a learner joins": ((1, 2, 3), (4,)),
    "a voter joins": ((1, 2, 3, 4), ()),
    "one leaves": ((2, 3), ()),
    "one replaces another": ((1, 2, 4), ()),
    "two join": ((1, 2, 3, 4, 5), ()),
    "all are replaced": ((4, 5, 6), ()),
    "most leave": ((3,), ()),
    "a voter becomes a learner": ((1, 2), (3,)),
    "several things at once": ((2, 5, 6), (3, 4)),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("leader", [1, 3])
def test_a_change_takes_effect_and_all_that_are_named_go_on(cluster: Build, name: str, leader: int) -> None:
    voters, learners = CHANGES[name]
    world = cluster(3, joiners=3)
    world.elect(leader)
    world.propose(b"a", b"b")
    change(world, voters, learners)
    assert isinstance(world.propose(b"c"), Taken)
    world.run_until_delivered(b"a", b"b", b"c", on=[*voters, *learners])
    for member in (*voters, *learners):
        status = world.members[member].running.status()
        assert status.membership == Membership(tuple(voters), (), tuple(learners))
        assert world.members[member].commands == [b"a", b"b", b"c"]
        assert (status.role == "leader" or status.role == "leading") <= (member in voters)


@pytest.mark.parametrize("name", CHANGES)
def test_those_who_left_may_be_gone_as_soon_as_the_change_is_over(cluster: Build, name: str) -> None:
    voters, learners = CHANGES[name]
    world = cluster(3, joiners=3)
    world.elect(1)
    world.propose(b"a")
    change(world, voters, learners)
    world.crash(*[member for member in world.members if member not in (*voters, *learners)])
    world.crash(*voters, *learners)
    world.restart(*voters, *learners)
    world.elect()
    world.propose(b"b")
    world.run_until_delivered(b"a", b"b", on=[*voters, *learners])


def test_a_change_ends_like_any_proposal_and_carries_its_context(cluster: Build) -> None:
    world = cluster(3, joiners=1)
    leader = world.elect(1)
    answer = leader.change((1, 2, 3, 4), context=b"four lives there")
    assert isinstance(answer, Taken)
    world.run_until(lambda: settled(world) == Membership((1, 2, 3, 4)))
    world.run_until(lambda: len(configurations(world.members[4])) >= 1)
    for member in world.members.values():
        first = configurations(member)[0]
        assert first.index == answer.first
        assert first.proposal in world.taken
        membership, context = decode_configuration(first.data)
        assert (membership.voters, context) == ((1, 2, 3, 4), b"four lives there")


def test_learners_get_everything_and_count_nowhere(cluster: Build) -> None:
    world = cluster(3, joiners=2)
    world.elect(1)
    change(world, (1, 2, 3), (4, 5))
    world.propose(b"a")
    world.run_until_delivered(b"a")
    world.crash(2, 3)
    assert world.members[1].up
    leader = world.leader()
    if leader is not None:
        leader.propose(b"b")
    world.run_for(10 * ELECTION_US)
    assert all(b"b" not in member.commands for member in world.members.values())
    assert world.leader() is None
    assert not any(member.leads() for member in world.members.values())
    world.restart(2)
    world.elect()


def test_who_joins_campaigns_only_in_a_configuration_that_names_it(cluster: Build) -> None:
    world = cluster(3, joiners=1)
    world.elect(1)
    world.members[4].feed(lambda engine, now: engine.campaign(now))
    world.crash(1, 2, 3)
    world.run_for(10 * ELECTION_US)
    status = world.members[4].running.status()
    assert (status.leader, status.membership) == (None, Membership(()))
    assert not [message for _, sender, _, message in world.sent if sender == 4 and "Prepare" in type(message).__name__]


# ---------------------------------------------------------------------------------------------------- what is refused


def test_two_operators_at_once_do_not_undo_each_other(cluster: Build) -> None:
    world = cluster(3, joiners=2)
    leader = world.elect(1)
    before = Membership((1, 2, 3))
    change(world, (1, 2, 3, 4))
    assert leader.change((1, 2, 3, 5), before=before) == Refused(RefusedReason.CONFIGURATION_CHANGED, 1)


def test_one_change_at_a_time(cluster: Build) -> None:
    world = cluster(3, joiners=2)
    leader = world.elect(1)
    for member in world.members.values():
        member.hold_disk()
    assert isinstance(leader.change((1, 2, 3, 4)), Taken)
    world.run_for(1_000)
    refused = leader.change((1, 2, 3, 5), before=leader.running.status().membership)
    assert refused == Refused(RefusedReason.CHANGE_UNDER_WAY, 1)
    for member in world.members.values():
        member.release_disk()
    world.run_until(lambda: settled(world) == Membership((1, 2, 3, 4)))


def test_no_change_before_something_of_the_own_era_is_committed(cluster: Build) -> None:
    world = cluster(3, joiners=1)
    world.elect(1)
    one = world.members[2]
    one.feed(lambda engine, now: engine.campaign(now))
    world.run_until(one.leads)
    assert not one.running.status().serving
    assert one.change((1, 2, 3, 4)) == Refused(RefusedReason.NOT_SERVING, 2)


UNFIT = {
    "nobody votes": (Membership((), (), (1, 2, 3)), RefusedReason.NO_VOTER),
    "joint already": (Membership((1, 2), (3,)), RefusedReason.UNFIT_CONFIGURATION),
    "out of order": (Membership((2, 1)), RefusedReason.UNFIT_CONFIGURATION),
    "twice": (Membership((1, 1, 2)), RefusedReason.UNFIT_CONFIGURATION),
    "a learner who votes": (Membership((1, 2), (), (2,)), RefusedReason.UNFIT_CONFIGURATION),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_configuration_is_refused(cluster: Build, name: str) -> None:
    after, reason = UNFIT[name]
    world = cluster(3)
    leader = world.elect(1)
    assert leader.change(after.voters, after.learners, outgoing=after.outgoing) == Refused(reason, 1)


def test_bytes_that_are_no_change_are_refused(cluster: Build) -> None:
    world = cluster(3)
    leader = world.elect(1)
    proposal = Proposal(world.next_id(1), b"nonsense", Kind.MEMBERSHIP)
    answer = leader.running.propose(world.now, [proposal])
    assert answer == Refused(RefusedReason.UNFIT_CONFIGURATION, 1)


def test_a_change_among_other_proposals_is_refused_with_them(cluster: Build) -> None:
    world = cluster(3)
    leader = world.elect(1)
    same = encode_change(Change(world.membership, world.membership))
    batch = [Proposal(world.next_id(1), b"a"), Proposal(world.next_id(1), same, Kind.MEMBERSHIP)]
    assert leader.running.propose(world.now, batch) == Refused(RefusedReason.NOT_ALONE, 1)


def test_only_a_leader_takes_a_change(cluster: Build) -> None:
    world = cluster(3, joiners=1)
    world.elect(1)
    world.run_for(ELECTION_US)
    assert world.members[2].change((1, 2, 3, 4)) == Refused(RefusedReason.NOT_LEADER, 1)


# ---------------------------------------------------------------------------------------------------- who counts


def test_a_change_needs_a_quorum_of_the_old_and_of_the_new_voters(cluster: Build) -> None:
    world = cluster(3, joiners=3)
    leader = world.elect(1)
    change(world, (1, 2, 3), (4, 5, 6))
    world.isolate(4, 5)
    assert isinstance(leader.change((4, 5, 6)), Taken)
    world.run_for(20 * ELECTION_US)
    assert settled(world) != Membership((4, 5, 6))
    world.heal()
    world.run_until(lambda: settled(world) == Membership((4, 5, 6)))


def test_a_leader_that_leaves_hands_over(cluster: Build) -> None:
    world = cluster(3)
    world.elect(1)
    change(world, (2, 3))
    assert not world.members[1].leads()
    world.run_for(20 * ELECTION_US)
    assert not world.members[1].leads()
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[2, 3])


def test_a_member_that_left_disturbs_nobody(cluster: Build, row: EngineRow) -> None:
    world = cluster(3, joiners=1)
    world.elect(1)
    change(world, (1, 2, 4))
    era = world.members[1].running.leading
    world.run_for(50 * ELECTION_US)
    assert world.members[1].running.leading == era
    world.isolate(3)
    world.run_for(20 * ELECTION_US)
    world.heal()
    world.run_for(50 * ELECTION_US)
    assert world.members[1].running.leading == era


def test_a_configuration_outlives_crashes_of_all(cluster: Build) -> None:
    world = cluster(3, joiners=2)
    world.elect(2)
    change(world, (2, 3, 4, 5))
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[2, 3, 4, 5])
    world.crash(*world.members)
    world.restart(*world.members)
    world.elect()
    assert settled(world) == Membership((2, 3, 4, 5))
    world.propose(b"b")
    world.run_until_delivered(b"a", b"b", on=[2, 3, 4, 5])


@pytest.mark.parametrize("held", range(1, 12))
def test_a_change_whose_leader_died_is_finished_by_the_next_or_undone(cluster: Build, held: int) -> None:
    world = cluster(3, joiners=3)
    leader = world.elect(1)
    assert isinstance(leader.change((3, 4, 5)), Taken)
    world.run_for(held * 100)
    world.crash(1)
    world.elect()
    world.run_until(lambda: settled(world) is not None)
    assert settled(world) in (Membership((1, 2, 3)), Membership((3, 4, 5)))
    world.propose(b"a")
    world.run_until_delivered(b"a", on=[3])


def test_reads_go_on_through_a_change(cluster: Build) -> None:
    world = cluster(3, joiners=2)
    leader = world.elect(1)
    leader.change((1, 4, 5))
    for token in range(40):
        leader.barrier(token)
        world.run_for(200)
    world.run_until(lambda: len(leader.reads) == 40)
    assert any(index is not None for index in leader.reads.values())


def test_members_come_and_go_one_by_one_until_none_is_left_of_the_first(cluster: Build) -> None:
    world = cluster(3, joiners=3)
    world.elect(1)
    steps = [((1, 2, 3), (4,)), ((1, 2, 3, 4), ()), ((2, 3, 4), (5,)), ((3, 4, 5), (6,)), ((4, 5, 6), ()), ((5,), ())]
    for number, (voters, learners) in enumerate(steps):
        change(world, voters, learners)
        world.propose(b"%d" % number)
        world.run_until_delivered(b"%d" % number, on=[*voters, *learners])
