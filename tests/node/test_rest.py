"""Groups of whole nodes that rest: who wakes them, when nothing of the engines would."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.engines import ENGINES
from ratified.machine import ApplyFailed, StateMachineStore
from ratified.node.ports import Outcome, Work
from tests.node.cluster import MS, SECOND, Cluster, Journal

TIMEOUT_US = 100 * MS


class Untidy(StateMachineStore):
    """Fails when it is tidied, once that is due."""

    fails = False

    @property
    def untidy(self) -> bool:
        return self.fails

    def tidy(self) -> None:
        raise ApplyFailed(self.applied, OSError("no such page"))


def rests(cluster: Cluster, group: int = 0) -> Callable[[], bool]:
    return lambda: all(
        machine.node is None or machine.node.status().groups[group].engine.rests
        for machine in cluster.processes.values()
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_replica_that_stops_at_rest_is_replaced_and_other_groups_go_on(engine: str) -> None:
    """Its node lives, and so would the sessions with it: nothing else would tell that its leader says nothing more."""
    cluster = Cluster(engine=engine, groups=(0, 1), open_store=lambda member, group: Untidy(Journal()))
    leader, other = cluster.elect(0), cluster.elect(1)
    cluster.run_until(lambda: rests(cluster, 0)() and rests(cluster, 1)())
    cluster.run(10 * TIMEOUT_US)
    store = cluster.processes[leader].stores[0]
    assert isinstance(store, Untidy)
    store.fails = True
    cluster.submit(leader, b"", Work.READ_LOCAL)
    cluster.run_until(lambda: cluster.leader(0) not in (0, leader), within_us=4 * TIMEOUT_US)
    follower = next(member for member in cluster.members if member != leader)
    assert cluster.propose(follower, b"on").outcome is Outcome.DONE
    cluster.run(4 * TIMEOUT_US)
    assert cluster.leader(1) == other


@pytest.mark.parametrize("engine", ENGINES)
def test_a_connection_that_is_replaced_out_of_rest_deposes_nobody(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    other, gone = (member for member in cluster.members if member != leader)
    cluster.kill(gone)
    for _ in range(4):
        cluster.run_until(rests(cluster), within_us=4 * SECOND)
        cluster.run(10 * TIMEOUT_US)
        era = cluster.node(leader).lead(0).era
        cluster.reconnect(min(leader, other), max(leader, other))
        cluster.run(5 * TIMEOUT_US)
        lead = cluster.node(leader).lead(0)
        assert (lead.member, lead.era) == (leader, era)
