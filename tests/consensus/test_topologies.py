"""Members that see each other only in part (rule 14): one leader, soon, and nobody after it.

The topologies are those of ``tests/models/topologies``, where the rule was tried as a program: the three of Omni-Paxos
(Ng, Haridi, Carbone, EuroSys 2023), chains and a bridge of five. Here the engines themselves run in them.
"""

from __future__ import annotations

from itertools import combinations

import pytest

from ratified.consensus.engines import ENGINES
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, PROBING, Cluster
from tests.consensus.elections import STALL_MAX_US, Watch, cut
from tests.models.topologies import TOPOLOGIES, Topology

WATCHED_US = 10 * ELECTION_US


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("notice", [True, False], ids=["sessions end", "silent"])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda topology: topology.name)
@pytest.mark.parametrize("engine", PROBING)
def test_one_leader_within_two_timeouts_and_nobody_after_it(
    engine: str, topology: Topology, notice: bool, seed: int
) -> None:
    watch, cluster = cut(engine, topology, seed, notice=notice)
    before = {each.running.status().era for each in cluster.members.values() if each.serves()}
    watch.run_for(WATCHED_US)
    assert watch.stalled_us <= STALL_MAX_US
    assert len(watch.eras - before) <= 1, "more than one leader after the first"
    after = set(watch.eras)
    cluster.keep(list(combinations(cluster.members, 2)), notice=notice)
    watch.run_for(5 * ELECTION_US)
    assert watch.eras == after, "a leader is replaced when everybody sees everybody again"


@pytest.mark.parametrize("engine", PROBING)
def test_a_broken_connection_deposes_nobody(engine: str) -> None:
    cluster = Cluster(ENGINES[engine], 3)
    leader = cluster.elect(1)
    watch = Watch(cluster)
    watch.run_for(ELECTION_US)
    for number in range(20):
        peer = 2 + number % 2
        cluster.keep([pair for pair in combinations(cluster.members, 2) if pair != (1, peer)], notice=True)
        watch.run_for(HEARTBEAT_US // (1 + number % 4))
        cluster.heal()
        watch.run_for(HEARTBEAT_US)
    assert leader.serves()
    assert len(watch.eras) == 1


@pytest.mark.parametrize("members", [3, 5])
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("engine", PROBING)
def test_a_dead_leader_is_replaced_long_before_an_election_timeout(engine: str, seed: int, members: int) -> None:
    cluster = Cluster(ENGINES[engine], members, seed=seed)
    leader = cluster.elect()
    Watch(cluster).run_for(ELECTION_US)
    cluster.crash(leader.id)
    watch = Watch(cluster)
    watch.run_for(2 * ELECTION_US)
    assert watch.stalled_us < ELECTION_US
