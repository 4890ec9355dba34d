"""What a node counts of what goes between members, and of who leads: people and metrics read it, nothing decides."""

from __future__ import annotations

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.peer_counts import PROBE_US, PeerCounts
from ratified.node.status import LeaderChange
from ratified.wire.peer import Mark, Marked
from tests.node.cluster import MS, NET_US, SECOND, Cluster


def counts(cluster: Cluster, member: int, other: int) -> PeerCounts:
    return cluster.node(member).status().peer_counts[other]


@pytest.mark.parametrize("engine", ENGINES)
def test_round_trips_are_as_long_as_the_link_is(engine: str) -> None:
    cluster = Cluster(engine=engine)
    cluster.elect()
    cluster.run(10 * SECOND)
    for member in cluster.members:
        for other in cluster.members:
            if other != member:
                trips = counts(cluster, member, other).round_trips
                total = sum(trips.counts)
                assert total >= 10 * SECOND // PROBE_US // 2, "they are measured where nothing is written, too"
                assert 2 * NET_US * total <= trips.sum_s * 1e6 <= 2 * NET_US * total * 1.5


def test_a_round_trip_stands_for_no_bytes_and_is_measured_now_and_then_only() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    began = cluster.now
    while cluster.now < began + 3 * SECOND:
        cluster.propose(leader, b"x")
        cluster.run(2 * MS)
    probes = [frame for sender, _, frame in cluster.frames if sender == leader and frame == Mark(0)]
    answers = [frame for _, to, frame in cluster.frames if to == leader and frame == Marked(0)]
    assert 4 <= len(answers) <= len(probes) <= 2 * (3 * SECOND // PROBE_US + 2)


def test_messages_are_counted_by_type_on_both_sides() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    other = cluster.follower()
    before = {kind.__name__: count for kind, count in counts(cluster, leader, other).sent.items()}
    for number in range(20):
        cluster.propose(leader, b"%d" % number)
    cluster.run(50 * MS)
    sent = {kind.__name__: count for kind, count in counts(cluster, leader, other).sent.items()}
    received = {kind.__name__: count for kind, count in counts(cluster, other, leader).received.items()}
    assert sent["AppendEntries"] - before.get("AppendEntries", 0) >= 20
    assert sent["AppendEntries"] == received["AppendEntries"]


def test_what_cannot_be_sent_is_counted() -> None:
    cluster = Cluster()
    leader = cluster.elect()
    others = [member for member in cluster.members if member != leader]
    cluster.isolate(others[0])
    cluster.isolate(others[1])
    cluster.run(10 * SECOND)
    assert sum(counts(cluster, member, other).dropped for member in cluster.members for other in cluster.members
               if member != other) > 0  # fmt: skip


def test_why_another_member_leads() -> None:
    cluster = Cluster()
    first = cluster.elect()
    cluster.run(SECOND)
    causes = cluster.node(first).status().groups[0].leader_changes_by_cause
    assert causes[LeaderChange.FIRST] == 1
    cluster.kill(first)
    rest = [member for member in cluster.members if member != first]
    cluster.run_until(lambda: any(cluster.node(member).lead(0).member == member for member in rest))
    cluster.run(SECOND)
    for member in rest:
        causes = cluster.node(member).status().groups[0].leader_changes_by_cause
        assert (causes[LeaderChange.FIRST], causes[LeaderChange.UNREACHABLE]) == (1, 1)
        assert sum(causes.values()) == cluster.node(member).status().groups[0].leader_changes
