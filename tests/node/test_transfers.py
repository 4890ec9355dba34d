"""A leader hands the lead over: to whom it is told, or to whoever has most."""

from __future__ import annotations

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.ports import TransferLead
from tests.node.cluster import MS, Cluster


@pytest.mark.parametrize("engine", ENGINES)
def test_without_a_name_it_goes_to_who_has_most(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    behind, ahead = (member for member in cluster.members if member != leader)
    cluster.hold_disk(behind)
    cluster.propose(leader, b"x")
    cluster.offer(leader, TransferLead(0, None))
    cluster.run_until(lambda: cluster.node(leader).lead(0).member == ahead, within_us=100 * MS)
    cluster.release_disk(behind)
    cluster.propose(behind, b"y")


@pytest.mark.parametrize("engine", ENGINES)
def test_who_is_silent_is_passed_over(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    silent, other = (member for member in cluster.members if member != leader)
    cluster.isolate(silent)
    cluster.run(cluster.config(leader).election_timeout_us)
    cluster.offer(leader, TransferLead(0, None))
    cluster.run_until(lambda: cluster.node(leader).lead(0).member == other, within_us=100 * MS)


def test_without_anybody_else_it_leads_on() -> None:
    cluster = Cluster(size=1)
    leader = cluster.elect()
    cluster.offer(leader, TransferLead(0, None))
    cluster.run(100 * MS)
    assert cluster.leader() == leader
    cluster.propose(leader, b"x")
