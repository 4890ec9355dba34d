"""Links so slow that one message of entries takes many election timeouts: whoever has to catch up does, and serves.

A link carries ``LINK_BYTES`` in an election timeout, a message of entries holds sixteen times as much, and who is
behind lacks a little more than one message.
"""

from __future__ import annotations

from itertools import combinations

import pytest

from ratified.consensus.engines import ENGINES
from tests.node.cluster import MS, SECOND, Cluster

TIMEOUT_US = 100 * MS
LINK_BYTES = 64 * 1024
ENTRY = b"x" * 20_000
ENTRIES = 70
WITHIN_US = 60 * TIMEOUT_US
"""The bytes alone take 22 timeouts. A pull has to be asked for twice, and a member that was elected by it then says the
same to others who are behind."""


def behind(cluster: Cluster, member: int) -> None:
    """This member lacks 1.4 MB, and sees nobody; the links are slow from now on."""
    cluster.isolate(member)
    leader = cluster.elect()
    for token in [cluster.submit(leader, ENTRY, timeout_us=10 * SECOND) for _ in range(ENTRIES)]:
        cluster.outcome(token)
    cluster.slow_down(LINK_BYTES * SECOND // TIMEOUT_US)


def serves_again(cluster: Cluster) -> int:
    """Who serves, when somebody does."""
    cluster.run_until(lambda: cluster.leader() != 0, within_us=WITHIN_US)
    return cluster.leader()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_quorum_of_one_that_has_everything_and_one_that_is_far_behind_gets_a_leader(engine: str) -> None:
    """The third has died. On Raft and ZAB nothing is committed before the other one has all."""
    cluster = Cluster(3, engine=engine)
    leader = cluster.elect()
    late, other = (member for member in cluster.members if member != leader)
    behind(cluster, late)
    cluster.kill(leader)
    cluster.kill(other)
    cluster.heal(late, other)
    cluster.start(other)
    serves_again(cluster)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_only_member_that_reaches_a_quorum_leads_although_it_is_far_behind(engine: str) -> None:
    cluster = Cluster(5, engine=engine)
    leader = cluster.elect()
    hub = next(member for member in cluster.members if member != leader)
    behind(cluster, hub)
    others = [member for member in cluster.members if member != hub]
    for pair in combinations(others, 2):
        cluster.part(*pair)
    cluster.run(4 * TIMEOUT_US)
    for other in others:
        cluster.heal(hub, other)
    assert serves_again(cluster) == hub
