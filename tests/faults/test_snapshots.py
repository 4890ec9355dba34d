"""Real processes: a member is away, or new, and the others have cut their logs beyond what it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ratified.client import Client
from ratified.consensus.engines import ENGINES
from ratified.storage.format import segment_number
from ratified.testing.processes import LocalCluster, LocalNode, free_ports, joining_node
from ratified.wire.report import NodeReport

OFTEN_CUT = ("--snapshot-count=100", "--snapshot-catchup-entries=20", "--checkpoint-log-bytes=1048576")
VALUE = "x" * 2_000
KEYS = 50
WRITERS = 4
WAIT_S = 60.0


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.05)


@contextmanager
def writing(endpoints: list[str]) -> Iterator[None]:
    """Clients write meanwhile, each its own keys; an error that one of them gets is raised at the end."""
    over = threading.Event()

    def write(writer: int) -> None:
        with Client(endpoints) as client:
            number = 0
            while not over.is_set():
                number += 1
                client.put(f"w{writer}/{number % KEYS}", f"{number} {VALUE}")

    with ThreadPoolExecutor(WRITERS) as writers:
        written = [writers.submit(write, writer) for writer in range(WRITERS)]
        try:
            yield
        finally:
            over.set()
        for each in written:
            each.result()


def first_segment(node: LocalNode, directory: Path) -> int:
    names = [path.name for path in (directory / node.name).iterdir()]
    return min(number for name in names if (number := segment_number(name)) is not None)


def report(client: Client, node: LocalNode) -> NodeReport:
    return client.report(node.endpoint)


def same_everywhere(nodes: list[LocalNode]) -> bool:
    """Do all members hold the same, as far as each has it?"""
    found = []
    for node in nodes:
        with Client([node.endpoint]) as client:
            answer = client.range("w", prefix=True, serializable=True)
            found.append([(pair.key, pair.value, pair.mod_revision, pair.version) for pair in answer.pairs])
    return all(each == found[0] for each in found)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_that_was_killed_catches_up_while_others_write(tmp_path: Path, engine: str) -> None:
    with (
        LocalCluster(tmp_path, arguments=[f"--engine={engine}", *OFTEN_CUT]) as cluster,
        Client(cluster.endpoints) as client,
    ):
        leader = report(client, cluster.nodes[0]).leader
        away = next(node for node in cluster.nodes if node.name != leader)
        here = [node for node in cluster.nodes if node is not away]
        client.put("w/before", "1")
        away.kill()
        with writing([node.endpoint for node in here]):
            wait_until(lambda: all(first_segment(node, tmp_path) > 1 for node in here), "the log is cut")
            term = report(client, here[0]).term
            away.start()
            wait_until(lambda: "goes on from the snapshot" in away.log_file.read_text(), "the snapshot is installed")
            away.wait_ready()
        wait_until(lambda: same_everywhere(cluster.nodes), "it has what the others have")
        assert report(client, here[0]).term == term, "its return changed the leader"
        assert report(client, here[0]).leader == leader


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_member_joins_a_cluster_whose_log_is_cut(tmp_path: Path, engine: str) -> None:
    with (
        LocalCluster(tmp_path, arguments=[f"--engine={engine}", *OFTEN_CUT]) as cluster,
        Client(cluster.endpoints) as client,
    ):
        with writing(cluster.endpoints):
            wait_until(lambda: all(first_segment(node, tmp_path) > 1 for node in cluster.nodes), "the log is cut")
        peer_port, client_port = free_ports(2)
        url = f"http://127.0.0.1:{peer_port}"
        client.add_member([url])
        known = [f"{member.name}={member.peer_urls[0]}" for member in client.members() if member.name]
        fourth = joining_node(tmp_path / "node4", url, client_port, known, [f"--engine={engine}", *OFTEN_CUT])
        try:
            fourth.start()
            fourth.wait_ready()
            wait_until(lambda: "goes on from the snapshot" in fourth.log_file.read_text(), "the snapshot is installed")
            nodes = [*cluster.nodes, fourth]
            wait_until(lambda: same_everywhere(nodes), "it has what the others have")
            assert {member.name for member in client.members()} == {"node1", "node2", "node3", "node4"}
            with Client([fourth.endpoint]) as on_fourth:
                on_fourth.put("w/after", "2")
        finally:
            fourth.kill()
