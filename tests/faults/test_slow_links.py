"""Real processes over links with a bandwidth: large values, and a member that has much to catch up on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ratified.client import Client, ClientError
from ratified.consensus.engines import ENGINES
from ratified.testing.processes import LocalCluster, LocalNode, free_ports
from ratified.testing.slow_link import SlowLink, slow_link

MB = 1_000_000
MBIT_PER_S = 125_000


@contextmanager
def cluster_over(directory: Path, engine: str, bytes_per_second: int) -> Iterator[tuple[LocalCluster, list[SlowLink]]]:
    """Three nodes; whoever dials one of them does so over a link of this rate."""
    listening = free_ports(3)
    with ExitStack() as links:
        between = [links.enter_context(slow_link(port, bytes_per_second)) for port in listening]
        cluster = LocalCluster(
            directory,
            peer_ports=[link.port for link in between],
            listen_peer_ports=listening,
            arguments=[f"--engine={engine}"],
        )
        with cluster:
            yield cluster, between


def put_all(node: LocalNode, keys: list[str], value: bytes) -> list[ClientError]:
    """Put them all at once; what went wrong."""
    wrong: list[ClientError] = []

    def put(key: str) -> None:
        try:
            with Client([node.endpoint], timeout_s=60) as client:
                client.put(key, value)
        except ClientError as error:
            wrong.append(error)

    putting = [threading.Thread(target=put, args=(key,)) for key in keys]
    for each in putting:
        each.start()
    for each in putting:
        each.join()
    return wrong


def terms(cluster: LocalCluster) -> list[int]:
    found: list[int] = []
    for node in cluster.nodes:
        if node.running:
            with Client([node.endpoint]) as client:
                found.append(client.status(node.endpoint).raft_term)
    return found


def leader_of(cluster: LocalCluster) -> LocalNode:
    """Who leads, as itself says."""
    for node in cluster.nodes:
        with Client([node.endpoint]) as client:
            status = client.status(node.endpoint)
            if status.leader == status.member:
                return node
    raise AssertionError("nobody leads")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dozen_megabytes_at_once_over_4_mb_a_second_commit_under_one_leader(tmp_path: Path, engine: str) -> None:
    with cluster_over(tmp_path, engine, 4 * MB) as (cluster, _):
        before = max(terms(cluster))
        leader = leader_of(cluster)
        began = time.monotonic()
        assert put_all(leader, [f"k{number}" for number in range(12)], b"x" * MB) == []
        took = time.monotonic() - began
        print(f"{engine}: 12 MB took {took:.1f} s")
        assert took < 60
        assert max(terms(cluster)) == before


def test_a_member_catches_up_at_about_the_rate_of_a_link_of_one_mbit_and_nobody_is_deposed(tmp_path: Path) -> None:
    """It is 2 MB behind. Small writes go on meanwhile, and the leader leads on."""
    with cluster_over(tmp_path, "raft", 40 * MB) as (cluster, links):
        late, others = cluster.nodes[2], cluster.nodes[:2]
        late.terminate()
        late.wait_stopped()
        assert put_all(others[0], [f"k{number}" for number in range(20)], b"x" * (MB // 10)) == []
        before = max(terms(cluster))
        for link in links:
            link.bytes_per_second = MBIT_PER_S
        late.start()
        began = time.monotonic()
        slowest_s = 0.0
        with Client([others[0].endpoint]) as client, Client([late.endpoint]) as behind:
            target = client.status(others[0].endpoint).raft_applied_index
            while time.monotonic() - began < 100:
                asked = time.monotonic()
                client.put("small", "value")
                slowest_s = max(slowest_s, time.monotonic() - asked)
                if applied(behind, late) >= target:
                    break
                time.sleep(0.2)
            took = time.monotonic() - began
            rate = 2 * MB / took
            print(f"2 MB took {took:.1f} s, {rate / MBIT_PER_S:.0%} of the link; the slowest put {slowest_s:.2f} s")
            assert applied(behind, late) >= target
        assert rate > MBIT_PER_S / 3
        assert max(terms(cluster)) == before


def applied(client: Client, node: LocalNode) -> int:
    """How far the node has applied the log; 0: it does not answer yet."""
    try:
        return client.status(node.endpoint).raft_applied_index
    except ClientError:
        return 0
