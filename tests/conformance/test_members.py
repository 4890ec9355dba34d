"""The member list, and its changes, as etcdctl sees them on real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ratified.consensus.engines import ENGINES
from ratified.testing.processes import LocalCluster, LocalNode, free_ports, joining_node
from tests.conformance.conftest import Etcdctl

WAIT_S = 60.0


def members(etcdctl: Etcdctl) -> dict[str, Any]:
    """By name."""
    listed = json.loads(etcdctl("member", "list", "-w", "json").strip().splitlines()[-1])["members"]
    return {member.get("name", ""): member for member in listed}


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.05)


def test_everybody_lists_the_client_urls_of_all_members_with_one_down(tmp_path: Path, etcdctl_program: str) -> None:
    with LocalCluster(tmp_path) as cluster:
        first, second, third = cluster.nodes
        urls = {node.name: [f"http://127.0.0.1:{node.client_port}"] for node in cluster.nodes}

        def listed(endpoint: str) -> dict[str, Any]:
            found = members(Etcdctl(etcdctl_program, endpoint))
            return {name: member.get("clientURLs") for name, member in found.items()}

        wait_until(lambda: all(listed(endpoint) == urls for endpoint in cluster.endpoints), "all publish")
        third.kill()
        first.terminate()
        first.wait_stopped()
        first.start()
        first.wait_ready()
        assert listed(first.endpoint) == urls
        assert listed(second.endpoint) == urls


def test_a_member_moves_to_another_peer_url(tmp_path: Path, etcdctl_program: str) -> None:
    """Of the third node the URLs are the highest, so it is the others that dial it."""
    ports = [str(port) for port in free_ports(3)]
    with LocalCluster(tmp_path, peer_ports=[int(port) for port in sorted(ports)]) as cluster:
        first, _, third = cluster.nodes
        etcdctl = Etcdctl(etcdctl_program, first.endpoint)
        before = members(etcdctl)
        taken = etcdctl.run(
            "member", "update", f"{before['node3']['ID']:x}", f"--peer-urls={before['node1']['peerURLs'][0]}"
        )
        assert "etcdserver: Peer URLs already exists" in taken.stderr
        nobody = etcdctl.run("member", "update", "12345", "--peer-urls=http://127.0.0.1:1")
        assert "etcdserver: member not found" in nobody.stderr

        third.kill()
        url = f"http://127.0.0.1:{free_ports(1)[0]}"
        etcdctl("member", "update", f"{before['node3']['ID']:x}", f"--peer-urls={url}")
        assert members(etcdctl)["node3"]["peerURLs"] == [url]
        moved = LocalNode(
            "node3",
            third.client_port,
            [
                *(each for each in third.arguments if not each.startswith("--listen-peer-urls")),
                f"--listen-peer-urls={url}",
            ],
            tmp_path / "moved.log",
        )
        try:
            etcdctl("put", "while", "away")
            moved.start()
            moved.wait_ready()
            assert Etcdctl(etcdctl_program, moved.endpoint)("get", "while", "--print-value-only") == "away\n"
        finally:
            moved.kill()


@pytest.mark.parametrize("engine", ENGINES)
def test_grow_by_a_learner_that_is_promoted_and_remove_the_leader(
    engine: str, tmp_path: Path, etcdctl_program: str
) -> None:
    with LocalCluster(tmp_path, arguments=[f"--engine={engine}"]) as cluster:
        first = cluster.nodes[0]
        etcdctl = Etcdctl(etcdctl_program, first.endpoint)
        etcdctl("put", "before", "1")
        url, client_port = f"http://127.0.0.1:{free_ports(1)[0]}", free_ports(1)[0]
        added = etcdctl("member", "add", "node4", "--learner", f"--peer-urls={url}")
        assert "added to cluster" in added
        known = [f"{name}={member['peerURLs'][0]}" for name, member in members(etcdctl).items() if name]
        fourth = joining_node(tmp_path / "node4", url, client_port, known, [f"--engine={engine}"])
        try:
            fourth.start()
            wait_until(lambda: "node4" in members(etcdctl), "it joins and publishes its name")
            id = f"{members(etcdctl)['node4']['ID']:x}"
            wait_until(lambda: etcdctl.run("member", "promote", id).returncode == 0, "it is promoted")
            fourth.wait_ready()
            on_fourth = Etcdctl(etcdctl_program, fourth.endpoint)
            assert on_fourth("get", "before", "--print-value-only") == "1\n"
            assert len(members(on_fourth)) == 4

            status = json.loads(on_fourth("endpoint", "status", "-w", "json"))[0]["Status"]
            leader = f"{status['leader']:x}"
            (gone,) = [node for node in (*cluster.nodes, fourth) if f"{members(etcdctl)[node.name]['ID']:x}" == leader]
            (other,) = [node for node in (*cluster.nodes, fourth) if node is not gone][:1]
            asked = Etcdctl(etcdctl_program, other.endpoint)
            asked("member", "remove", leader)
            wait_until(lambda: not gone.running, "the removed member stops")
            wait_until(lambda: "was removed from the cluster" in gone.log_file.read_text(), "it says why")
            assert gone.name not in members(asked)
            asked("put", "after", "2")
            assert asked("get", "after", "--print-value-only") == "2\n"
        finally:
            fourth.kill()


def test_who_was_down_while_it_was_removed_is_told_when_it_is_back(tmp_path: Path, etcdctl_program: str) -> None:
    """Nobody dials it any more, and it is not its turn to dial, for its peer URL is the highest."""
    timing = ["--heartbeat-interval=20", "--election-timeout=200"]
    with LocalCluster(tmp_path, arguments=timing) as cluster:
        listed = members(Etcdctl(etcdctl_program, cluster.nodes[0].endpoint))
        gone = max(cluster.nodes, key=lambda node: str(listed[node.name]["peerURLs"][0]))
        asked = Etcdctl(etcdctl_program, next(node.endpoint for node in cluster.nodes if node is not gone))
        gone.kill()
        asked("member", "remove", f"{listed[gone.name]['ID']:x}")
        gone.start()
        wait_until(lambda: not gone.running, "the removed member is told, and stops")
        assert "was removed from the cluster" in gone.log_file.read_text()


@pytest.mark.parametrize("engine", ENGINES)
def test_who_was_down_while_another_was_replaced_follows_a_leader_of_which_it_has_never_heard(
    engine: str, tmp_path: Path, etcdctl_program: str
) -> None:
    timing = [f"--engine={engine}", "--heartbeat-interval=50", "--election-timeout=500"]
    with LocalCluster(tmp_path, arguments=timing) as cluster:
        replaced, stays, away = cluster.nodes
        asked = Etcdctl(etcdctl_program, stays.endpoint)
        ids = {name: f"{member['ID']:x}" for name, member in members(asked).items()}
        away.kill()
        url, client_port = f"http://127.0.0.1:{free_ports(1)[0]}", free_ports(1)[0]
        asked("member", "add", "node4", f"--peer-urls={url}")
        known = [f"{name}={member['peerURLs'][0]}" for name, member in members(asked).items() if name]
        fourth = joining_node(tmp_path / "node4", url, client_port, known, timing)
        try:
            fourth.start()
            wait_until(lambda: not members(asked).get("node4", {"isLearner": True}).get("isLearner"), "it votes")
            ids["node4"] = f"{members(asked)['node4']['ID']:x}"
            asked("member", "remove", ids[replaced.name])
            wait_until(lambda: not replaced.running, "the removed member stops")
            wait_until(lambda: leads_after_a_move(ids["node4"], etcdctl_program, stays, fourth), "the new one leads")

            away.start()
            away.wait_ready()
            on_away = Etcdctl(etcdctl_program, away.endpoint)
            on_away("put", "through", "it")
            assert set(members(on_away)) == {stays.name, away.name, "node4"}
            assert leader(on_away) == ids["node4"]
        finally:
            fourth.kill()


def leader(etcdctl: Etcdctl) -> str:
    return f"{json.loads(etcdctl('endpoint', 'status', '-w', 'json'))[0]['Status']['leader']:x}"


def leads_after_a_move(id: str, etcdctl_program: str, *nodes: LocalNode) -> bool:
    """Does the member with this id lead by now? Whoever else does is asked to hand over."""
    for node in nodes:
        etcdctl = Etcdctl(etcdctl_program, node.endpoint)
        if etcdctl.run("endpoint", "status").returncode == 0 and leader(etcdctl) == id:
            return True
        etcdctl.run("move-leader", id)
    return False
