"""A member is replaced by one command, with ratified's client, on real processes."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from ratified.client import Client
from ratified.consensus.engines import ENGINES
from ratified.testing.processes import LocalCluster, LocalNode, free_ports, joining_node
from tests.conformance.test_members import wait_until
from tests.conformance.test_snapshot import ratified


def names(endpoint: str) -> dict[int, str]:
    with Client([endpoint]) as client:
        return {member.id: member.name for member in client.members()}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_whose_disk_is_lost_is_replaced(engine: str, tmp_path: Path) -> None:
    with LocalCluster(tmp_path, arguments=[f"--engine={engine}"]) as cluster:
        first, second, third = cluster.nodes
        with Client([first.endpoint]) as client:
            client.put("kept", "1")
        third.kill()
        shutil.rmtree(tmp_path / "node3")
        before = names(first.endpoint)
        done = ratified("member", "replace", "node3", "--endpoints", first.endpoint)
        assert done.returncode == 0, done.stderr
        said, command = done.stdout.splitlines()
        assert "is removed, and" in said
        program, serve, *arguments = shlex.split(command)
        assert (program, serve) == ("ratified", "serve")
        new = LocalNode(
            "node3",
            third.client_port,
            [*arguments, f"--data-dir={tmp_path / 'node3'}"],
            tmp_path / "new.log",
        )
        try:
            new.start()
            new.wait_ready()
            with Client([new.endpoint]) as client:
                wait_until(lambda: not any(member.is_learner for member in client.members()), "it votes")
                pair = client.get("kept")
                assert pair is not None
                assert pair.value == b"1"
            after = names(new.endpoint)
            assert sorted(after.values()) == sorted(before.values())
            assert len(after.keys() & before.keys()) == 2
            second.kill()
            with Client([new.endpoint, first.endpoint]) as client:
                client.put("with", "the new one")
        finally:
            new.kill()


def test_nothing_is_changed_where_the_others_could_not_go_on(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        first, second, third = cluster.nodes
        before = names(first.endpoint)
        taken = ratified("member", "replace", "node3", "--endpoints", first.endpoint, "--peer-urls", "ftp://h:1")
        assert "--peer-urls: " in taken.stderr
        with Client([first.endpoint]) as client:
            (url,) = next(member for member in client.members() if member.name == "node2").peer_urls
        taken = ratified("member", "replace", "node3", "--endpoints", first.endpoint, "--peer-urls", url)
        assert f"{url} is that of member node2; nothing was changed" in taken.stderr
        second.kill()
        refused = ratified("member", "replace", "node3", "--endpoints", third.endpoint)
        assert refused.returncode == 1
        assert "member node3 was not replaced: too few of the voters that would be left are up" in refused.stderr
        assert refused.stderr.count("\n") == 1
        assert names(first.endpoint) == before
        assert third.running
    with LocalCluster(tmp_path / "one", 1) as cluster:
        (only,) = cluster.nodes
        refused = ratified("member", "replace", "node1", "--endpoints", only.endpoint)
        assert "it is the only one that votes" in refused.stderr
        with Client([only.endpoint]) as client:
            client.put("goes", "on")


def test_a_learner_that_is_to_be_promoted_votes_once_it_has_caught_up(tmp_path: Path) -> None:
    """Whoever leads then: the leader that was asked is killed before the learner is started."""
    peer_port, client_port = free_ports(2)
    url = f"http://127.0.0.1:{peer_port}"
    with LocalCluster(tmp_path) as cluster:
        first = cluster.nodes[0]
        added = ratified(
            "member", "add", "--learner", "--auto-promote", "--peer-urls", url, "--endpoints", first.endpoint
        )
        assert added.returncode == 0, added.stderr
        assert "learner" in added.stdout
        with Client(cluster.endpoints) as client:
            leader = client.report(first.endpoint).leader
            peers = [f"{member.name}={member.peer_urls[0]}" for member in client.members() if member.name]
        gone = next(node for node in cluster.nodes if node.name == leader)
        gone.kill()
        learner = joining_node(tmp_path / "node4", url, client_port, peers)
        try:
            learner.start()
            learner.wait_ready()
            with Client([learner.endpoint]) as client:
                wait_until(lambda: not any(member.is_learner for member in client.members()), "it votes")
        finally:
            learner.kill()
