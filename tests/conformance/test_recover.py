"""A majority is lost for good, and what is left becomes a new cluster: real processes, each engine."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ratified.client import Client
from ratified.consensus.engines import ENGINES
from ratified.testing.processes import LocalCluster, LocalNode, free_ports, joining_node
from tests.conformance.test_members import wait_until
from tests.conformance.test_restore import with_option
from tests.conformance.test_snapshot import ratified


def files(path: Path) -> dict[str, tuple[int, str]]:
    """By name, when each was changed and what is in it."""
    return {
        str(file.relative_to(path)): (file.stat().st_mtime_ns, hashlib.sha256(file.read_bytes()).hexdigest())
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def count(endpoint: str, *, serializable: bool = False) -> int:
    with Client([endpoint]) as client:
        return client.range("key", prefix=True, keys_only=True, serializable=serializable).count


def recovered(survivors: Sequence[Path], to: Path) -> Any:
    """What the command says in JSON."""
    done = ratified("recover", "--from-survivors", *survivors, "--to", to, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def alone(like: LocalNode, data: Path) -> LocalNode:
    """The one member of the new cluster, where an old one was."""
    arguments = [each for each in like.arguments if not each.startswith("--initial-cluster=")]
    return LocalNode(like.name, like.client_port, with_option(arguments, "--data-dir", data), data.with_suffix(".log"))


@pytest.mark.parametrize("engine", ENGINES)
def test_all_that_the_survivors_had_is_there_and_the_new_cluster_grows(engine: str, tmp_path: Path) -> None:
    """The third member hangs while the others go on; then all are killed. Checkpoints are taken, and logs are cut."""
    arguments = [f"--engine={engine}", "--snapshot-count=100"]
    with LocalCluster(tmp_path, arguments=arguments) as cluster:
        first, _, third = cluster.nodes
        with Client(cluster.endpoints[:1]) as client:
            for number in range(300):
                client.put(f"key{number}", str(number))
            wait_until(lambda: count(third.endpoint, serializable=True) == 300, "the third one has it all")
            third.pause()
            for number in range(300, 400):
                client.put(f"key{number}", str(number))
        for node in cluster.nodes:
            node.kill()
    one, three = tmp_path / "node1", tmp_path / "node3"
    before = {path: files(path) for path in (one, three)}
    assert (one / "checkpoint").exists()

    for survivors, least, name in (([three], 300, "third"), ([one], 400, "first"), ([three, one], 400, "both")):
        found = recovered(survivors, tmp_path / name)
        assert found["acknowledged_may_be_lost"] is (len(survivors) == 1)
        rows = found["survivors"]
        assert found["kept"] >= found["committed"] == max(row["committed"] for row in rows)
        assert {path: files(path) for path in before} == before
        best = rows[found["best"]]["name"]
        assert found["made"]["name"] == best
        node = alone(first if best == "node1" else third, tmp_path / name)
        try:
            node.start()
            node.wait_ready()
            assert least <= count(node.endpoint) <= 400
            with Client([node.endpoint]) as client:
                for number in (0, 99, least - 1):
                    pair = client.get(f"key{number}")
                    assert pair is not None
                    assert pair.value == b"%d" % number
                client.put("new", name)
                assert [member.name for member in client.members()] == [node.name]
            if len(survivors) == 2:
                grows(node, engine, tmp_path / "fourth")
        finally:
            node.kill()


def grows(node: LocalNode, engine: str, data: Path) -> None:
    """Another member joins the new cluster, and has everything."""
    peer_port, client_port = free_ports(2)
    url = f"http://127.0.0.1:{peer_port}"
    with Client([node.endpoint]) as client:
        (peer,) = client.members()[0].peer_urls
        client.add_member([url])
    joins = joining_node(data, url, client_port, [f"{node.name}={peer}"], [f"--engine={engine}"])
    try:
        joins.start()
        joins.wait_ready()
        wait_until(lambda: count(joins.endpoint, serializable=True) == count(node.endpoint), "it has everything")
        with Client([joins.endpoint]) as client:
            wait_until(lambda: not any(member.is_learner for member in client.members()), "it votes")
            assert client.put("from", "fourth").revision > 400
    finally:
        joins.kill()


def test_what_is_not_fit_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    new = tmp_path / "new"
    with LocalCluster(tmp_path, 3) as cluster, LocalCluster(tmp_path / "other", 1) as other:
        running = ratified("recover", "--from-survivors", tmp_path / "node1", "--to", new, "--yes")
        assert "node1: a member runs on it: stop that first" in running.stderr
        for node in (*cluster.nodes, *other.nodes):
            node.kill()
    one, two = tmp_path / "node1", tmp_path / "node2"
    shutil.copytree(one, tmp_path / "copy")
    damaged = tmp_path / "damaged"
    shutil.copytree(two, damaged)
    log = damaged / "0000000001.log"
    data = bytearray(log.read_bytes())
    data[100] ^= 1
    log.write_bytes(data)
    (tmp_path / "empty").mkdir()
    for survivors, text in (
        ([tmp_path / "none"], "none"),
        ([tmp_path / "empty"], "empty: there is no member's data"),
        ([one, tmp_path / "copy"], "copy: it is the same member as"),
        ([one, tmp_path / "other" / "node1"], "give directories of one cluster"),
        ([damaged], "damaged: "),
    ):
        done = ratified("recover", "--from-survivors", *survivors, "--to", new, "--yes")
        assert done.returncode == 1, text
        assert done.stderr.count("\n") == 1, done.stderr
        assert text in done.stderr
    asks_nothing = ratified("recover", "--from-survivors", one, "--to", new, "--json")
    assert "--json asks nothing" in asks_nothing.stderr
    taken = ratified("recover", "--from-survivors", one, "--to", two, "--yes")
    assert "--to: " in taken.stderr
    assert "is there already" in taken.stderr
    declined = ratified("recover", "--from-survivors", one, "--to", new)  # its standard input is empty
    assert declined.returncode != 0
    assert "Make a new cluster of one member, node1" in declined.stdout
    looked = ratified("recover", "--from-survivors", one, two, "--to", new, "--dry-run")
    assert looked.returncode == 0
    assert "Lost: node3, too few to have acknowledged a write: none is gone. A majority is left" in looked.stdout
    assert not new.exists()
    assert not new.with_name("new.part").exists()
