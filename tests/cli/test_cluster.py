"""The commands against real processes: the client's, ``up`` and ``demo``."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ratified.cli.main import run
from ratified.client import Client
from ratified.consensus.engines import ENGINES
from ratified.testing.leaders import read_back
from ratified.testing.processes import LocalCluster
from tests.cli.conftest import Ratified

TIMEOUT_S = 60


def test_move_leader(ratified: Ratified) -> None:
    before = ratified.json("status")
    to = next(row for row in before if row["name"] != row["leader"])
    assert ratified("move-leader", to["name"]) == f"{to['name']} leads\n"
    assert {row["leader"] for row in ratified.json("status") if row["name"] == to["name"]} == {to["name"]}
    back = next(row for row in before if row["name"] == row["leader"])
    assert ratified.json("move-leader", back["member"]) == {"leader": back["member"]}
    ratified("move-leader", "nobody", status=1)


def test_put_get_and_del(ratified: Ratified) -> None:
    assert ratified("put", "cli/a", "one") == "OK\n"
    assert ratified("get", "cli/a") == "cli/a\none\n"
    assert ratified("put", "cli/b", "two") == "OK\n"
    assert ratified("get", "--prefix", "cli/") == "cli/a\none\ncli/b\ntwo\n"
    assert ratified("get", "--prefix", "cli/", "--limit", "1") == "cli/a\none\n"
    assert ratified("del", "--prefix", "cli/") == "2\n"
    assert ratified("get", "cli/a", status=1) == ""


def test_json_says_everything(ratified: Ratified) -> None:
    revision = ratified.json("put", "json/a", "one")["revision"]
    assert ratified.json("get", "json/a") == {
        "revision": revision,
        "count": 1,
        "pairs": [
            {
                "key": "json/a",
                "value": "one",
                "create_revision": revision,
                "mod_revision": revision,
                "version": 1,
                "lease": None,
            }
        ],
    }
    assert ratified.json("del", "json/a") == {"revision": revision + 1, "deleted": 1}
    assert ratified.json("get", "json/a", "--rev", str(revision))["pairs"][0]["value"] == "one"


def test_bytes_that_are_no_text_are_shown_all_the_same(cluster: LocalCluster, ratified: Ratified) -> None:
    with Client(cluster.endpoints) as client:
        client.put("bytes", b"\xff\x00")
    assert ratified("get", "bytes") == "bytes\n\\xff\x00\n"
    assert ratified.json("get", "bytes")["pairs"][0]["value_base64"] == "/wA="


def test_watch_prints_each_change(ratified: Ratified) -> None:
    first = ratified.json("put", "watch/a", "one")["revision"]
    ratified("put", "watch/a", "two")
    ratified("del", "watch/a")
    arguments = ("watch", "--prefix", "watch/", "--rev", str(first), "--count", "3")
    assert ratified(*arguments) == "PUT\nwatch/a\none\nPUT\nwatch/a\ntwo\nDELETE\nwatch/a\n"
    told = [json.loads(line) for line in ratified(*arguments, "--json").splitlines()]
    assert [(event["type"], event["revision"]) for event in told] == [
        ("put", first),
        ("put", first + 1),
        ("delete", first + 2),
    ]


def test_status_shows_each_endpoint(cluster: LocalCluster, ratified: Ratified) -> None:
    rows = ratified.json("status")
    assert [row["endpoint"] for row in rows] == cluster.endpoints
    assert [row["name"] for row in rows] == ["node1", "node2", "node3"]
    assert sorted(row["role"] for row in rows).count("leader") == 1
    assert [row["words"]["term"] for row in rows] == [str(row["term"]) for row in rows]
    shown = ratified("status")
    assert all(row["name"] in shown for row in rows)
    assert "│ term │" in shown.replace("┃", "│")


def test_status_of_nobody_fails_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    told = Ratified(["127.0.0.1:1"], capsys).json("status", "--timeout", "0.5", status=1)
    assert told[0]["error"]


def test_a_nodes_history_ends_with_the_newest_revision_even_if_that_is_a_deletion(
    cluster: LocalCluster, ratified: Ratified
) -> None:
    put = ratified.json("put", "history/a", "one")["revision"]
    ratified("del", "history/a")
    for node in cluster.nodes:
        told = asyncio.run(read_back(node))
        assert told[put] == ("history/a", b"one")
        assert told[put + 1] == ("history/a", None)


class Up:
    """``ratified up`` in a pipe."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ratified", "up", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._watchdog = threading.Timer(TIMEOUT_S, self.process.kill)
        self._watchdog.start()
        self.said: list[str] = []

    def until(self, words: str) -> str:
        """Read lines until one has these words."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line)
            if words in line:
                return line
        raise AssertionError(f"never said {words!r}: {self.said}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        rest, error = self.process.communicate()
        self._watchdog.cancel()
        self.said.append(rest)
        assert "Traceback" not in error, error
        return self.process.returncode


def nodes_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def wait_for_ends(pidfds: list[int]) -> None:
    for pidfd in pidfds:
        ready, _, _ = select.select([pidfd], [], [], TIMEOUT_S)
        os.close(pidfd)
        assert ready, "a node outlived `ratified up`"


def test_up_serves_restarts_what_is_killed_and_stops_everything(tmp_path: Path) -> None:
    up = Up("--nodes", "3", "--data-dir", str(tmp_path))
    endpoints = up.until("nodes serve on").split()[-1].split(",")
    assert f"etcdctl --endpoints {','.join(endpoints)} put" in up.until("etcdctl")
    assert "ratified get greeting" in up.until("ratified get")
    leader = up.until(": leader, term ").partition(":")[0]
    nodes = nodes_of(up.process.pid)
    assert len(nodes) == 3
    with Client(endpoints) as client:
        client.put("k", "v")
        victim = nodes[int(leader.removeprefix("node")) - 1]
        os.kill(victim, signal.SIGKILL)
        up.until(f"{leader}: down")
        up.until(f"{leader}: follower, term ")
        pair = client.get("k")
        assert pair is not None
        assert pair.value == b"v"
    ends = [os.pidfd_open(pid) for pid in nodes_of(up.process.pid)]
    assert len(ends) == 3
    assert up.end(signal.SIGINT) == 0
    assert "stopped all nodes" in up.said[-1]
    wait_for_ends(ends)

    again = Up("--data-dir", str(tmp_path))
    again.until("ratified get")
    with Client(endpoints) as client:
        pair = client.get("k")
        assert pair is not None
        assert pair.value == b"v"
    assert again.end(signal.SIGTERM) == 0


def test_the_nodes_end_with_up_however_it_ends(tmp_path: Path) -> None:
    up = Up("--nodes", "1", "--data-dir", str(tmp_path))
    up.until("one node serves on")
    ends = [os.pidfd_open(pid) for pid in nodes_of(up.process.pid)]
    assert len(ends) == 1
    up.end(signal.SIGKILL)
    wait_for_ends(ends)


@pytest.mark.parametrize("engine", ENGINES)
def test_up_runs_any_engine_shows_its_words_and_keeps_to_it(
    tmp_path: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    up = Up("--nodes", "1", "--data-dir", str(tmp_path), "--engine", engine)
    endpoint = up.until("one node serves on").split()[-1]
    up.until(f"it runs {engine}, alone")
    up.until("ratified get")
    assert run(["status", "--endpoints", endpoint, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    words = [name for name in row["words"] if not name.startswith("ignored: ")]
    shown = up.until("node1: ")
    assert words
    assert all(f", {word} " in shown for word in words)
    assert run(["status", "--endpoints", endpoint]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in words)
    assert up.end(signal.SIGINT) == 0
    for other in ENGINES:
        if other != engine:
            assert run(["up", "--nodes", "1", "--data-dir", str(tmp_path), "--engine", other]) == 1
            error = capsys.readouterr().err
            assert f"belongs to a cluster that runs engine {engine}, and this node is configured for" in error


@pytest.mark.parametrize("engine", ENGINES)
def test_demo_kills_a_leader_and_gives_its_verdict(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--engine", engine, "--kills", "1", "--clients", "3", "--json"]) == 0
    printed = capsys.readouterr()
    assert f"three nodes run {engine} and serve on" in printed.err
    outcome = json.loads(printed.out)
    assert outcome["verdict"] == "linearizable"
    assert outcome["lost"] == []
    assert len(outcome["faults"]) == 1
    assert outcome["acknowledged_writes"] > 0
