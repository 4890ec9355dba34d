"""Other groups follow the configuration of group 0, and who is removed leaves when none needs it any more."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ratified.consensus.contract import Change, Kind, Membership, Status
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import decode_change as decode_change_of_members
from ratified.consensus.entry import encode_configuration, make_entry
from ratified.node.changes import AddMember, Asked, PromoteMember, RemoveMember, encode_asked
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import (
    Follow,
    Keep,
    configured,
    decode_change,
    encode_context,
    encode_table,
    first_table,
)
from ratified.node.config import NodeLimits
from ratified.node.directories import Directories
from ratified.node.ports import Outcome, TransferLead, Work
from ratified.node.requests import Requests
from ratified.node.steward import GROUPS_A_LOOK, Chores, Steward
from ratified.node.timers import Timers
from ratified.storage.format import ClusterRecord
from ratified.wire.peer import TABLES_SINCE
from tests.node.cluster import SECOND, Cluster
from tests.node.test_peers import CONFIG

GROUPS = (0, 1, 2)
PATIENCE_US = 30 * SECOND


def ask(cluster: Cluster, asked: Asked) -> None:
    token = cluster.submit(cluster.elect(), encode_asked(asked), Work.MEMBERS, timeout_us=10 * SECOND)
    reply = cluster.outcome(token)
    assert (reply.outcome, reply.data) == (Outcome.DONE, b"")


def memberships(cluster: Cluster, group: int) -> set[Membership]:
    return {
        machine.node.status().groups[group].engine.membership
        for machine in cluster.processes.values()
        if machine.node is not None
    }


def until_all_follow(cluster: Cluster, voters: tuple[int, ...], learners: tuple[int, ...] = ()) -> None:
    """In every group, and the cluster table says so."""
    wanted = {Membership(voters, (), learners)}

    def all_follow() -> bool:
        tables = [machine.node.table() for machine in cluster.processes.values() if machine.node is not None]
        return all(memberships(cluster, group) == wanted for group in GROUPS) and all(
            table.behind == () and set(table.members) == {*voters, *learners} for table in tables
        )

    cluster.run_until(all_follow, within_us=PATIENCE_US)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_group_follows_though_others_lead_it_and_who_leads_one_is_removed(engine: str) -> None:
    cluster = Cluster(groups=GROUPS, engine=engine, durable=True, spares=1)
    for group in GROUPS:
        cluster.elect(group)
        cluster.offer(cluster.leader(group), TransferLead(group, group + 1))
        cluster.run_until(lambda group=group: cluster.leader(group) == group + 1)  # type: ignore[misc]
    ask(cluster, AddMember(4, ("http://n004",), learner=False))
    cluster.processes[4].join(cluster.leader())
    until_all_follow(cluster, (1, 2, 3, 4))
    removed = cluster.leader(1)
    ask(cluster, RemoveMember(removed))
    staying = tuple(member for member in (1, 2, 3, 4) if member != removed)
    cluster.run_until(lambda: not cluster.processes[removed].up, within_us=PATIENCE_US)
    until_all_follow(cluster, staying)
    assert cluster.node(staying[0]).table().left == (removed,)
    assert all(cluster.elect(group) in staying for group in GROUPS)


@pytest.mark.parametrize("engine", ENGINES)
def test_who_is_removed_leaves_though_it_is_down(engine: str) -> None:
    cluster = Cluster(size=4, groups=GROUPS, engine=engine, durable=True)
    removed = next(member for member in cluster.members if member != cluster.elect())
    cluster.kill(removed)
    cluster.run(SECOND)
    ask(cluster, RemoveMember(removed))
    until_all_follow(cluster, tuple(member for member in (1, 2, 3, 4) if member != removed))


def test_a_learner_that_never_came_is_removed_again_and_the_groups_end_as_they_began() -> None:
    cluster = Cluster(groups=GROUPS, spares=1)
    cluster.elect()
    ask(cluster, AddMember(4, ("http://n004",), learner=True))
    ask(cluster, RemoveMember(4))
    until_all_follow(cluster, (1, 2, 3))
    assert cluster.node(1).table().left == (4,)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_removal_in_the_middle_of_an_upgrade_ends_after_it(engine: str) -> None:
    """Earlier programs keep nothing of other groups in the table."""
    cluster = Cluster(size=4, groups=GROUPS, engine=engine, durable=True)
    for member in cluster.members:
        cluster.processes[member].protocol_version = TABLES_SINCE - 1
        cluster.kill(member)
        cluster.start(member)
    removed = next(member for member in cluster.members if member != cluster.elect())
    ask(cluster, RemoveMember(removed))
    cluster.run(SECOND)
    assert cluster.node(cluster.elect()).table().configuration is None
    for member in cluster.members:
        cluster.processes[member].protocol_version = TABLES_SINCE
        cluster.kill(member)
        cluster.start(member)
        cluster.run(SECOND)
    until_all_follow(cluster, tuple(member for member in (1, 2, 3, 4) if member != removed))


def test_who_is_leaving_is_not_promoted_back() -> None:
    cluster = Cluster(size=4, groups=GROUPS)
    leader = cluster.elect()
    removed = next(member for member in cluster.members if member != leader)
    cluster.drop = lambda sender, to, group, message: group != 0  # no other group can change anything
    ask(cluster, RemoveMember(removed))
    cluster.run(SECOND)
    assert removed in cluster.node(leader).membership().learners
    token = cluster.submit(cluster.elect(), encode_asked(PromoteMember(removed)), Work.MEMBERS, timeout_us=10 * SECOND)
    assert cluster.outcome(token).data == b"etcdserver: member not found"
    cluster.drop = lambda sender, to, group, message: False
    until_all_follow(cluster, tuple(member for member in (1, 2, 3, 4) if member != removed))


# ---- the steward alone: a node that leads groups 1 and 2, and not group 0

BEFORE, WANTED = Membership((1, 2, 3)), Membership((1, 2, 3), (), (4,))


class Led:
    """The steward of member 1, with the groups that it leads as this test says."""

    def __init__(self) -> None:
        first = first_table(CONFIG.names, CONFIG.peer_urls)
        cluster = Cluster()
        leader = cluster.elect()
        self.status = replace(cluster.node(leader).status().groups[0].engine, membership=BEFORE, settled=True)
        kept = ClusterRecord(1, encode_table(replace(first, index=1, configuration=BEFORE)))
        self.cluster = ClusterLog(lambda record: None, first, kept, (1, 2))
        self.table_wants(WANTED, 7)
        self.groups: dict[int, Status] = {1: self.status}
        timers = Timers()
        directories = Directories(CONFIG, self.cluster, lambda record: None, {}, begun=True, joins=False)
        self.requests = Requests(NodeLimits(), timers)
        self.steward = Steward(CONFIG, self.cluster, directories, self.requests, timers)

    def table_wants(self, membership: Membership, index: int) -> None:
        table = configured(self.cluster.table, index, membership, self.cluster.others)
        self.cluster.recorded(ClusterRecord(index, encode_table(table)))

    def due(self, *, all_know: bool = True) -> Chores:
        return self.steward.due(0, self.groups.get, all_know=all_know)

    def barriers(self, chores: Chores) -> dict[int, int]:
        """Tokens, by the group that is asked."""
        return {each.group: each.token for each in chores.requests if each.work is Work.BARRIER}


def said(chores: Chores) -> list[Follow]:
    changes = [decode_change(each.data) for each in chores.requests if each.work is Work.PROPOSE]
    return [change for change in changes if isinstance(change, Follow)]


def test_a_group_follows_by_a_table_as_late_as_what_its_leader_has_seen_of_it() -> None:
    led = Led()
    first = led.due()
    assert (list(led.barriers(first)), first.following) == ([0], {})
    assert led.due().requests == [], "it is asked already"
    led.steward.ended(led.barriers(first)[0], done=True)
    assert led.due().following == {1: Change(BEFORE, WANTED)}
    again = led.due()
    assert (list(led.barriers(again)), again.following) == ([0], {}), "once"


@pytest.mark.parametrize("done", [True, False])
def test_a_group_that_has_changed_meanwhile_does_not_follow_by_that_table(*, done: bool) -> None:
    led = Led()
    token = led.barriers(led.due())[0]
    if done:
        led.groups[1] = replace(led.status, era=(9, 9))
    led.steward.ended(token, done=done)
    after = led.due()
    assert (list(led.barriers(after)), after.following) == ([0], {})


def test_that_a_group_has_followed_is_said_once_it_is_confirmed_that_this_node_leads_it() -> None:
    led = Led()
    led.groups[1] = replace(led.status, membership=WANTED)
    asked = led.due()
    assert (list(led.barriers(asked)), said(asked)) == ([1], [])
    assert said(led.due()) == []
    led.steward.ended(led.barriers(asked)[1], done=True)
    assert said(led.due()) == [Follow((1,), 7)]


def test_what_was_confirmed_for_an_earlier_table_or_era_is_not_said() -> None:
    led = Led()
    led.groups[1] = replace(led.status, membership=WANTED)
    token = led.barriers(led.due())[1]
    led.table_wants(BEFORE, 8)
    led.table_wants(WANTED, 9)
    led.steward.ended(token, done=True)
    asked = led.due()
    assert (list(led.barriers(asked)), said(asked)) == ([1], [])
    led.steward.ended(led.barriers(asked)[1], done=True)
    led.groups[1] = replace(led.status, membership=WANTED, era=(9, 9))
    assert said(led.due()) == []


def test_what_other_groups_are_to_have_is_kept_once_all_members_know_what_that_means() -> None:
    led = Led()
    led.cluster.recorded(ClusterRecord(9, encode_table(replace(led.cluster.table, configuration=None, behind=()))))
    led.groups = {0: led.status}
    assert led.due(all_know=False).requests == []
    (asked,) = led.due().requests
    assert (asked.group, asked.kind) == (0, Kind.MEMBERSHIP)
    assert decode_change_of_members(asked.data) == Change(BEFORE, BEFORE, encode_context(Keep()))
    led.steward.ended(asked.token, done=True)
    led.groups[0] = replace(led.status, settled=False)
    assert led.due().requests == [], "another change is under way"


def test_groups_that_have_followed_do_not_keep_others_from_being_looked_at() -> None:
    led = Led()
    count = 2 * GROUPS_A_LOOK
    table = replace(led.cluster.table, index=8, behind=tuple(range(1, count + 1)))
    led.cluster.recorded(ClusterRecord(8, encode_table(table)))
    led.groups = {group: replace(led.status, membership=WANTED) for group in range(1, count)}
    led.groups[count] = led.status
    asked = led.due()
    assert len(asked.requests) == 1 + GROUPS_A_LOOK
    led.steward.ended(led.barriers(asked)[0], done=True)
    assert led.due().following == {count: Change(BEFORE, WANTED)}


def test_a_configuration_that_is_not_settled_is_left_alone() -> None:
    led = Led()
    led.groups = {1: replace(led.status, settled=False), 2: replace(led.status, membership=WANTED, settled=False)}
    assert led.due() == Chores([], {})


def test_who_is_to_vote_and_is_no_member_of_the_group_learns_first() -> None:
    led = Led()
    led.table_wants(Membership((2, 3, 4)), 9)
    led.steward.ended(led.barriers(led.due())[0], done=True)
    assert led.due().following == {1: Change(BEFORE, Membership((1, 2, 3), (), (4,)))}


def test_what_group_0_has_refused_is_not_said_of_another_groups_entry() -> None:
    """Which has the same index."""
    cluster = Cluster(groups=(0, 1))
    cluster.elect(1)
    node = cluster.node(1)
    node._cluster._refusals[5] = "refused"
    entry = make_entry(5, (1, 1), Kind.MEMBERSHIP, None, encode_configuration(BEFORE, b""))
    node._replicas[1]._settle([entry], [])
    assert node._cluster.result_of(entry) == b"refused"
