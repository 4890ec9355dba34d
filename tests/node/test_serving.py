"""A group that serves, end to end."""

from __future__ import annotations

from ratified.node.ports import Outcome, Work
from tests.node.cluster import SECOND, Cluster


def test_a_single_node_serves_and_keeps_what_it_acknowledged() -> None:
    cluster = Cluster(size=1)
    cluster.elect()
    assert cluster.propose(1, b"a").data == b"1"
    assert cluster.propose(1, b"b").data == b"2"
    cluster.kill(1)
    cluster.start(1)
    cluster.elect()
    assert cluster.outcome(cluster.submit(1, b"", Work.READ)).data == b"a,b"


def test_three_nodes_serve_any_request_on_any_node() -> None:
    cluster = Cluster()
    cluster.elect()
    for position, member in enumerate(cluster.members, 1):
        reply = cluster.propose(member, b"from %d" % member)
        assert (reply.outcome, reply.data) == (Outcome.DONE, b"%d" % position)
    for member in cluster.members:
        for work in (Work.READ, Work.ASK):
            reply = cluster.outcome(cluster.submit(member, b"", work))
            assert (reply.outcome, reply.data) == (Outcome.DONE, b"from 1,from 2,from 3")


def test_three_groups_of_one_node_share_its_log() -> None:
    cluster = Cluster(groups=(0, 1, 2))
    for group in (0, 1, 2):
        cluster.elect(group)
    tokens = [cluster.submit(1, b"in %d" % group, group=group) for group in (0, 1, 2)]
    for token in tokens:
        assert cluster.outcome(token).data == b"1"
    cluster.run(SECOND)
    for member in cluster.members:
        assert [cluster.machine(member, group).commands for group in (0, 1, 2)] == [[b"in 0"], [b"in 1"], [b"in 2"]]


def test_turns_of_one_input_give_the_same_state() -> None:
    states = []
    for inputs_max in (1, 2, 64):
        cluster = Cluster(inputs_max=inputs_max)
        cluster.elect()
        tokens = [cluster.submit(1 + number % 3, b"%d" % number) for number in range(20)]
        for token in tokens:
            assert cluster.outcome(token).outcome is Outcome.DONE
        cluster.run(SECOND)
        states.append([sorted(cluster.machine(member).commands) for member in cluster.members])
        assert len({tuple(cluster.machine(member).commands) for member in cluster.members}) == 1
    assert states[0] == states[1] == states[2]
