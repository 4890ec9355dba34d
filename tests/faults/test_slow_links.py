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


@pytest.mark.parametrize("engine", ENGINES)
def test_a_dozen_megabytes_at_once_over_4_mb_a_second_commit_under_one_leader(tmp_path: Path, engine: str) -> None:
    with cluster_over(tmp_path, engine, 4 * MB) as (cluster, _):
        before = max(terms(cluster))
        began = time.monotonic()
        assert put_all(cluster.nodes[0], [f"k{number}" for number in range(12)], b"x" * MB) == []
        took = time.monotonic() - began
        print(f"{engine}: 12 MB took {took:.1f} s")
        assert took < 60
        assert max(terms(cluster)) == before
