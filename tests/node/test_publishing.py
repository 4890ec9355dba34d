"""What members are called and where clients reach them is in the cluster table, on every node, whoever is down."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.cluster_table import URL_EXISTS, Publish, Readdress, decode_change, encode_change
from ratified.node.ports import Outcome, Reason, Reply, Work
from ratified.wire.peer import Forward
from tests.node.cluster import MS, SECOND, Cluster

URLS = {member: (f"http://client{member}",) for member in (1, 2, 3)}


def seen_by(cluster: Cluster, member: int) -> dict[int, tuple[str, ...]]:
    return {each: row.client_urls for each, row in cluster.node(member).table().members.items()}


def all_see(cluster: Cluster, members: Sequence[int] = (1, 2, 3)) -> bool:
    return all(seen_by(cluster, member) == URLS for member in members)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_member_publishes_and_every_node_knows_who_is_down_included(engine: str) -> None:
    cluster = Cluster(engine=engine, client_urls=URLS)
    cluster.run_until(lambda: all_see(cluster))
    for member in (1, 2, 3):
        cluster.kill(member)
    for member in (1, 2):
        cluster.start(member)
        assert seen_by(cluster, member) == URLS
    cluster.elect()
    assert all_see(cluster, (1, 2))


def test_what_is_published_is_not_proposed_again() -> None:
    cluster = Cluster(client_urls=URLS)
    cluster.run_until(lambda: all_see(cluster))
    cluster.kill(3)
    cluster.start(3)
    cluster.run(5 * SECOND)
    leader = cluster.leader()
    published = [
        decode_change(data)
        for *_, message in cluster.sent
        if isinstance(message, Forward)
        for _, data, _ in message.proposals
        if data is not None
    ]
    assert {change.member for change in published if isinstance(change, Publish)} == {1, 2, 3} - {leader}
    assert cluster.node(leader).table().index == cluster.node(3).table().index


def test_a_member_that_finds_no_leader_publishes_when_there_is_one_again() -> None:
    cluster = Cluster(client_urls=URLS)
    cluster.run_until(lambda: all(cluster.node(member).status().waits_for == () for member in (1, 2, 3)))
    cluster.kill(2)
    cluster.kill(3)
    cluster.run(3 * SECOND)
    assert seen_by(cluster, 1) == {1: (), 2: (), 3: ()}
    cluster.start(2)
    cluster.start(3)
    cluster.run_until(lambda: all_see(cluster), within_us=5 * SECOND)


def test_no_more_than_one_proposal_of_it_is_open() -> None:
    cluster = Cluster(client_urls=URLS)
    cluster.run_until(lambda: cluster.node(1).status().waits_for == ())
    cluster.kill(2)
    cluster.kill(3)
    most = 0
    for _ in range(200):
        cluster.run(50 * MS)
        most = max(most, cluster.node(1).status().open_requests)
    assert most == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_an_operator_changes_where_a_member_is_reached_at_any_node(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    moved = cluster.outcome(
        cluster.submit(cluster.follower(), encode_change(Readdress(leader, ("http://x",))), Work.CLUSTER)
    )
    assert moved == Reply(moved.token, Outcome.DONE)
    cluster.run_until(
        lambda: all(cluster.node(each).table().members[leader].peer_urls == ("http://x",) for each in cluster.members)
    )
    other = cluster.follower()
    taken = cluster.outcome(cluster.submit(leader, encode_change(Readdress(other, ("http://x",))), Work.CLUSTER))
    assert (taken.outcome, taken.data) == (Outcome.DONE, URL_EXISTS.encode())
    assert cluster.machine(leader).commands == []


def test_what_no_node_could_read_never_enters_the_log() -> None:
    cluster = Cluster(groups=(0, 1))
    leader = cluster.elect()
    for data, group in (
        (b"", 0),
        (encode_change(Readdress(1, ())), 0),
        (encode_change(Readdress(1, ("http://x",))), 1),
    ):
        refused = cluster.outcome(cluster.submit(leader, data, Work.CLUSTER, group=group))
        assert (refused.outcome, refused.reason) == (Outcome.REFUSED, Reason.UNFIT)
