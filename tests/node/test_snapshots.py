"""A member is away until the log is cut beyond it, and is sent a snapshot when it is back."""

from __future__ import annotations

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.config import NodeLimits
from ratified.storage.snapshot_file import snapshot_files
from tests.node.cluster import MS, Cluster

LIMITS = NodeLimits(checkpoint_entries=10, snapshot_catchup_entries=1, snapshot_piece_bytes=300)


def cluster_of(size: int = 3, engine: str = "raft", limits: NodeLimits = LIMITS) -> Cluster:
    cluster = Cluster(size=size, limits=limits, engine=engine, durable=True)
    cluster.elect()
    return cluster


def write(cluster: Cluster, count: int, size: int = 50) -> None:
    for number in range(count):
        cluster.propose(cluster.leader(), b"%d" % number + b"x" * size)
        cluster.run(20 * MS)


def base(cluster: Cluster, member: int) -> int:
    return cluster.node(member).status().groups[0].engine.base


def applied(cluster: Cluster, member: int) -> int:
    return cluster.node(member).status().groups[0].applied


def files(cluster: Cluster, member: int) -> list[str]:
    return list(snapshot_files(cluster.processes[member].disk))


def is_even(cluster: Cluster) -> bool:
    up = [member for member in cluster.members if cluster.processes[member].up]
    return len({cluster.node(member).digest(0) for member in up}) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_who_was_away_gets_a_snapshot_and_then_what_follows(engine: str) -> None:
    cluster = cluster_of(engine=engine)
    write(cluster, 5)
    away = cluster.follower()
    cluster.kill(away)
    write(cluster, 40)
    assert base(cluster, cluster.leader()) > 10
    cluster.start(away)
    cluster.run_until(lambda: applied(cluster, away) >= 40)
    write(cluster, 3)
    cluster.run_until(lambda: is_even(cluster))
    cluster.run_until(lambda: files(cluster, away) == [])
