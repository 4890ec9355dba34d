"""Data directories that were wiped, restored or never there: nobody votes who has forgotten."""

from __future__ import annotations

import pytest

from ratified.check.violation import Violation
from ratified.node.cluster_log import ClusterLog
from ratified.node.cluster_table import Add, Bind, changed, first_table
from ratified.node.directories import Directories
from ratified.node.ports import Outcome
from ratified.node.replica import Replica
from ratified.storage.format import PeerRecord
from tests.node.cluster import MS, SECOND, Cluster

OURS = b"1" * 16
MOMENT = 5 * SECOND
"""Many election timeouts."""


def acknowledged_and_away() -> tuple[Cluster, int, int, int]:
    """x is acknowledged by ``a`` and ``b``; ``c`` was down then, and all are down now."""
    cluster = Cluster()
    a = cluster.elect()
    b, c = (member for member in cluster.members if member != a)
    assert cluster.propose(a, b"before").outcome is Outcome.DONE
    cluster.run(100 * MS)
    cluster.kill(c)
    assert cluster.propose(a, b"x").outcome is Outcome.DONE
    cluster.run(100 * MS)
    cluster.kill(a)
    cluster.kill(b)
    return cluster, a, b, c


def elects_nobody(cluster: Cluster) -> bool:
    cluster.run(MOMENT)
    return cluster.leader() == 0


def said(cluster: Cluster, member: int, text: str) -> bool:
    return any(text in notice.text for notice in cluster.processes[member].notices)


def test_a_wiped_member_does_not_vote_and_what_was_acknowledged_stays() -> None:
    cluster, a, b, c = acknowledged_and_away()
    cluster.processes[b].wipe()
    cluster.start(b)
    cluster.start(c)
    assert elects_nobody(cluster)
    assert said(cluster, c, "comes with another data directory than the one that the cluster counts")
    assert said(cluster, b, "must not vote under its old name")
    assert said(cluster, b, "it waits for")
    cluster.start(a)
    leader = cluster.elect()
    assert leader != b
    assert cluster.propose(leader, b"y").outcome is Outcome.DONE
    assert cluster.machine(leader).commands == [b"before", b"x", b"y"]
    assert b not in cluster.node(leader).status().peers


def test_a_wiped_member_is_refused_at_its_second_start_as_at_its_first() -> None:
    cluster, a, b, c = acknowledged_and_away()
    cluster.processes[b].wipe()
    for _ in range(3):
        cluster.start(b)
        cluster.start(c)
        assert elects_nobody(cluster)
        cluster.kill(b)
        cluster.kill(c)
    cluster.start(a)
    cluster.start(b)
    assert elects_nobody(cluster)


def test_the_first_start_of_a_cluster_waits_for_all_members_and_says_for_whom() -> None:
    cluster = Cluster()
    cluster.kill(3)
    assert elects_nobody(cluster)
    assert cluster.node(1).status().waits_for == ("n3 (3) (not connected)",)
    assert said(cluster, 1, "it waits for n3 (3) (not connected)")
    cluster.start(3)
    cluster.elect()
    assert cluster.node(1).status().waits_for == ()


def test_a_member_that_is_wiped_during_the_first_start_takes_part_in_it() -> None:
    cluster = Cluster()
    cluster.kill(3)
    cluster.run(SECOND)
    cluster.kill(2)
    cluster.processes[2].wipe()
    cluster.start(2)
    cluster.start(3)
    cluster.run_until(lambda: all(not cluster.node(member).status().waits_for for member in cluster.members))
    assert cluster.propose(cluster.elect(), b"x").outcome is Outcome.DONE


def test_who_has_begun_needs_only_a_majority_at_its_next_start() -> None:
    cluster, a, b, c = acknowledged_and_away()
    cluster.start(a)
    cluster.start(c)
    assert cluster.elect() in (a, c)  # c may pull what it lacks from a
    cluster.kill(a)
    cluster.start(b)
    assert cluster.elect() in (b, c)


def test_a_member_that_comes_back_with_less_than_it_acknowledged_to_the_leader_stops() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    member = cluster.follower()
    cluster.run(100 * MS)
    backup = cluster.processes[member].disk.fork()
    for command in (b"x", b"y"):
        assert cluster.propose(leader, command).outcome is Outcome.DONE
    cluster.run(100 * MS)
    cluster.kill(member)
    cluster.processes[member].restore(backup)
    cluster.start(member)
    with pytest.raises(Violation, match=r"the log of group 0 ends at \d+, but this member has acknowledged entry \d+"):
        cluster.run(MOMENT)
    assert said(cluster, member, "the log was lost, or an older copy of the data directory was put in its place")


def test_a_member_that_lost_its_link_and_nothing_else_goes_on() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    member = cluster.follower()
    for _ in range(5):
        assert cluster.propose(leader, b"x").outcome is Outcome.DONE
        cluster.reconnect(leader, member)
        cluster.run(20 * MS)
    cluster.kill(member)
    cluster.start(member)
    cluster.run(MOMENT)
    assert cluster.node(leader).status().peers[member].connected


def test_an_old_copy_of_a_directory_is_refused_by_who_has_met_a_later_start() -> None:
    cluster = Cluster()
    cluster.elect()
    member = cluster.follower()
    backup = cluster.processes[member].disk.fork()
    for _ in range(3):
        cluster.kill(member)
        cluster.start(member)
        cluster.run(200 * MS)
    cluster.kill(member)
    cluster.processes[member].restore(backup)
    cluster.start(member)
    cluster.run(MOMENT)
    others = [other for other in cluster.members if other != member]
    assert all(
        said(cluster, other, "was overtaken by 4; an old copy of its data directory must not run") for other in others
    )
    assert not any(cluster.node(other).status().peers[member].connected for other in others)


def old_copy_votes(cluster: Cluster) -> None:
    """x was acknowledged by the leader and a member, which comes back with an older copy; then the leader dies, and the
    copy and the third, which has never had x, are a majority."""
    leader = cluster.elect()
    member, third = (other for other in cluster.members if other != leader)
    cluster.run(100 * MS)
    backup = cluster.processes[member].disk.fork()
    cluster.kill(third)
    assert cluster.propose(leader, b"x").outcome is Outcome.DONE
    cluster.run(100 * MS)
    cluster.kill(member)
    cluster.processes[member].restore(backup)
    cluster.start(member)
    cluster.run(20 * MS)
    cluster.kill(leader)
    cluster.start(third)
    cluster.run(MOMENT)


def test_an_old_copy_stops_before_it_could_vote_with_who_has_less() -> None:
    with pytest.raises(Violation, match=r"no node stops by itself: .*the log was lost"):
        old_copy_votes(Cluster())


def test_without_the_rule_an_old_copy_forgets_what_was_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replica, "_check_acknowledged", lambda replica, session, acknowledged: None)
    with pytest.raises(Violation, match="leader completeness"):
        old_copy_votes(Cluster())


def test_the_start_that_answered_before_its_directory_was_bound_is_the_confirmed_one() -> None:
    """Else nothing that a member says of which that is needed would count before it starts again."""
    table = changed(first_table({1: "one"}, {1: ("http://one",)}), 5, Add(2, ("http://two",), votes_soon=True))[0]
    cluster = ClusterLog(lambda record: None, table, None)
    config = Cluster(size=1).config(1)
    directories = Directories(config, cluster, lambda record: None, {}, begun=True, joins=False)
    directories.confirm(2, OURS, incarnation=1, start=7)
    assert directories.confirmed(2, OURS) is None
    cluster.table = changed(table, 6, Bind(2, OURS))[0]
    directories.table_changed()
    assert directories.confirmed(2, OURS) == PeerRecord(2, OURS, 1, 7)
