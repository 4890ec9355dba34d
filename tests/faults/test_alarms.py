"""Real processes: one member of three has a small quota, and all refuse what makes stores grow."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from ratified.client import Client, NoSpace
from ratified.testing.processes import LocalCluster, LocalNode
from tests.conformance.reference import ETCD_35

QUOTA_BYTES = 200_000
ETCDCTL = ETCD_35.with_name("etcdctl")


def health(node: LocalNode, query: str = "") -> object:
    try:
        with urllib.request.urlopen(f"http://{node.endpoint}/health{query}", timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def etcdctl(node: LocalNode, *arguments: str) -> str:
    done = subprocess.run(
        [ETCDCTL, f"--endpoints={node.endpoint}", *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def fill(client: Client) -> None:
    for number in range(100_000):
        client.put(f"big{number}", b"x" * 10_000)


def test_one_full_member_closes_all_until_the_alarm_is_disarmed(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    small, other, third = cluster.nodes
    small.arguments = (*small.arguments, f"--quota-backend-bytes={QUOTA_BYTES}")
    with cluster, Client([small.endpoint]) as at_small, Client([other.endpoint]) as at_other:
        with pytest.raises(NoSpace):
            fill(at_small)
        while not (alarms := at_other.alarms()):
            pass
        (alarm,) = alarms
        assert alarm.member == at_small.status(small.endpoint).member
        for node in cluster.nodes:
            with Client([node.endpoint]) as client, pytest.raises(NoSpace):
                client.put("k", b"v")
        third.kill()
        shutil.rmtree(tmp_path / third.name / "store")
        third.start()
        third.wait_ready()
        with Client([third.endpoint]) as client, pytest.raises(NoSpace):
            client.put("k", b"what was rebuilt from the log has the alarm too")
        listed = f"memberID:{alarm.member} alarm:NOSPACE \n"
        assert [etcdctl(node, "alarm", "list") for node in cluster.nodes] == [listed] * 3
        assert health(other) == {"health": "false", "reason": "ALARM NOSPACE"}
        assert health(other, "?exclude=NOSPACE") == {"health": "true", "reason": ""}
        at_other.delete("big", prefix=True)
        at_other.compact(at_other.range("big", prefix=True).revision)
        for node in cluster.nodes:
            etcdctl(node, "defrag")
        with pytest.raises(NoSpace):
            at_other.put("k", b"there is room, and the alarm stands")
        assert etcdctl(other, "alarm", "disarm") == listed
        at_small.put("k", b"v")
        assert health(small) == {"health": "true", "reason": ""}
