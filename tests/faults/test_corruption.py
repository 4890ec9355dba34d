"""Real processes: a row of one member's store changes by itself, under the member or while it is stopped."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

import ratified
from ratified.client import CallRefused, Client
from ratified.storage.guard import STORE_DIRECTORY
from ratified.storage.lmdb import DATA_FILE
from ratified.testing.processes import LocalCluster, LocalNode

RIGHT, WRONG = b"what was written and acknowledged", b"what was written and acknowladged"
KEYS = 200
LOOKS_AT_NO_ROW = """
import ratified.kv.check as check
check.KV_CHECKS = check.RowChecks(lambda rows: None, lambda rows: None, lambda *row: None)
"""
"""A start looks at all rows of a store of this size, and at drawn ones of a large one: as if it had drawn others."""


def data_of(cluster: LocalCluster, node: LocalNode) -> Path:
    return cluster.directory / node.name / STORE_DIRECTORY / DATA_FILE


def damage(path: Path, *, everywhere: bool) -> None:
    """Change the value in the rows that are there: of ``live`` and ``events``, or the first one alone."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as rows:
        at = rows.find(RIGHT)
        assert at >= 0, "the value stands in the file"
        while at >= 0:
            rows[at : at + len(WRONG)] = WRONG
            at = rows.find(RIGHT, at) if everywhere else -1


def fill(client: Client) -> None:
    for number in range(KEYS):
        client.put(f"k{number}", b"v%d" % number)
    client.put("the key", RIGHT)


def node_of(cluster: LocalCluster, *, leads: bool) -> tuple[LocalNode, int]:
    with Client(cluster.endpoints) as client:
        for node in cluster.nodes:
            status = client.status(node.endpoint)
            if (status.leader == status.member) == leads:
                return node, status.member
    raise AssertionError("there is no such member")


@pytest.mark.parametrize(("leads", "everywhere"), [(False, True), (False, False), (True, True)])
def test_the_leader_finds_a_row_that_changed_and_nothing_is_written_until_the_alarm_is_taken_back(
    leads: bool, everywhere: bool, tmp_path: Path
) -> None:
    arguments = ["--experimental-corrupt-check-time=1s"]
    with LocalCluster(tmp_path, arguments=arguments) as cluster, Client(cluster.endpoints) as client:
        fill(client)
        assert client.alarms() == ()
        node, member = node_of(cluster, leads=leads)
        damage(data_of(cluster, node), everywhere=everywhere)
        while not (alarms := client.alarms()):
            pass
        (alarm,) = alarms
        assert (alarm.member, alarm.kind) == (member, "CORRUPT")
        with pytest.raises(CallRefused, match="etcdserver: corrupt cluster"):
            client.put("k", b"v")
        assert client.get("k0") is not None, "reads are answered"


@pytest.mark.parametrize("looks_at_its_store", [True, False])
def test_a_member_whose_store_changed_while_it_was_stopped_rebuilds_it_or_does_not_serve(
    looks_at_its_store: bool, tmp_path: Path
) -> None:
    with LocalCluster(tmp_path, arguments=["--experimental-initial-corrupt-check"]) as cluster:
        with Client(cluster.endpoints) as client:
            fill(client)
        node, _ = node_of(cluster, leads=False)
        restarted(node).wait_ready()
        assert "this member's data at revision 202 is that of" in node.log_file.read_text()
        if not looks_at_its_store:
            (tmp_path / "sitecustomize.py").write_text(LOOKS_AT_NO_ROW)
            node.environment = {"PYTHONPATH": f"{tmp_path}:{Path(ratified.__file__).parents[1]}"}
        restarted(node, data_of(cluster, node))
        if looks_at_its_store:
            node.wait_ready()
            with Client([node.endpoint]) as client:
                found = client.get("the key", serializable=True)
            assert found is not None
            assert found.value == RIGHT
        else:
            assert node.wait_stopped() == 1
            assert "differs from that of others at revision 202" in node.log_file.read_text()
        with Client(cluster.endpoints) as client:
            client.put("k", b"the others go on")


def restarted(node: LocalNode, damaged: Path | None = None) -> LocalNode:
    node.terminate()
    assert node.wait_stopped() == 0
    if damaged is not None:
        damage(damaged, everywhere=True)
    node.start()
    return node
