"""Clusters of real processes that begin with a backup."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from ratified.client import Client, ClientError
from ratified.consensus.engines import ENGINES
from ratified.testing.processes import LocalCluster, LocalNode, free_ports
from tests.conformance.conftest import Etcdctl
from tests.conformance.test_members import wait_until
from tests.conformance.test_snapshot import ratified


def restored(backup: Path, name: str, peers: str, data_dir: Path) -> None:
    arguments = ("--name", name, "--initial-cluster", peers, "--data-dir", data_dir)
    done = ratified("snapshot", "restore", backup, *arguments)
    assert done.returncode == 0, done.stderr


def with_option(arguments: Sequence[str], option: str, value: object) -> list[str]:
    return [*(each for each in arguments if not each.startswith(f"{option}=")), f"{option}={value}"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_new_cluster_of_three_begins_with_what_the_old_one_had(
    engine: str, tmp_path: Path, etcdctl_program: str
) -> None:
    backup = tmp_path / "backup.db"
    with (
        LocalCluster(tmp_path / "old", arguments=[f"--engine={engine}"]) as cluster,
        Client(cluster.endpoints) as client,
    ):
        client.put("kept", "1")
        lease = client.lease_grant(600)
        client.put("leased", "2", lease=lease.id)
        revision = client.put("kept", "3").revision
        Etcdctl(etcdctl_program, cluster.endpoints[0])("snapshot", "save", str(backup))
        client.put("later", "4")
    ports = free_ports(6)
    peers = ",".join(f"new{at}=http://127.0.0.1:{ports[at]}" for at in range(3))
    nodes = []
    for at in range(3):
        data = tmp_path / f"new{at}"
        restored(backup, f"new{at}", peers, data)
        arguments = (
            f"--name=new{at}",
            f"--data-dir={data}",
            f"--listen-client-urls=http://127.0.0.1:{ports[3 + at]}",
            f"--listen-peer-urls=http://127.0.0.1:{ports[at]}",
            f"--engine={engine}",
        )
        nodes.append(LocalNode(f"new{at}", ports[3 + at], arguments, tmp_path / f"new{at}.log"))
    try:
        for again in range(2):
            for node in nodes:
                node.start()
            for node in nodes:
                node.wait_ready(needs=nodes)
            with Client([node.endpoint for node in nodes]) as client:
                found = client.range("\0", end="\0")
                assert [(pair.key, pair.value) for pair in found.pairs[:2]] == [(b"kept", b"3"), (b"leased", b"2")]
                assert client.range("kept", revision=revision - 2).pairs[0].value == b"1"
                assert client.lease_keep_alive(lease.id) == 600
                assert client.put(f"new{again}", "5").revision == revision + 1 + again
                assert [member.name for member in sorted(client.members(), key=lambda each: each.name)] == [
                    "new0",
                    "new1",
                    "new2",
                ]
            hashes = [Etcdctl(etcdctl_program, node.endpoint)("endpoint", "hashkv").split()[-1] for node in nodes]
            assert len(set(hashes)) == 1
            for node in nodes:
                node.kill()
    finally:
        for node in nodes:
            node.kill()


def refused(third: LocalNode, data: Path, text: str) -> None:
    """Start the third member on other data: the others have nothing to do with it, and it serves nobody."""
    log = data.with_suffix(".log")
    node = LocalNode("node3", third.client_port, with_option(third.arguments, "--data-dir", data), log)
    try:
        node.start()
        wait_until(lambda: log.exists() and text in log.read_text(), f"it is told {text!r}")
        with Client([node.endpoint], timeout_s=1.0) as client, pytest.raises(ClientError):
            client.put("from", data.name)
    finally:
        node.kill()


def test_a_backup_and_an_old_copy_are_refused_by_members_of_the_old_cluster(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        first, _, third = cluster.nodes
        third.terminate()
        third.wait_stopped()
        original, copy, backup = tmp_path / "node3", tmp_path / "copy", tmp_path / "backup.db"
        shutil.copytree(original, copy)
        third.start()
        third.wait_ready()
        assert ratified("snapshot", "save", backup, "--endpoints", first.endpoint).returncode == 0
        third.kill()

        (peers,) = (each for each in third.arguments if each.startswith("--initial-cluster="))
        restored(backup, "node3", peers.removeprefix("--initial-cluster="), tmp_path / "restored")
        for data, text in (
            (tmp_path / "restored", "is not cluster"),
            (copy, "copy of its data directory must not run"),
        ):
            refused(third, data, text)
        with Client([first.endpoint]) as client:
            assert client.get("from") is None
        third.start()
        third.wait_ready()
