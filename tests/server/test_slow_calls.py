"""The log says of a slow call what it waited for: on real nodes, one of which has a slow disk."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import pytest

from ratified.client import Client
from ratified.runtime import Host
from ratified.server.slow_calls import LINES_A_SECOND_MAX, SlowCalls
from ratified.testing.processes import LocalCluster
from ratified.testing.slow_disk import may_be_slow, slow_disk
from tests.faults.test_slow_links import leader_of

SYNC_S = 1.2


def lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if "a call of /etcdserverpb.KV/Put" in line]


def test_a_slow_write_says_how_far_it_had_come_when(tmp_path: Path) -> None:
    cluster = LocalCluster(
        tmp_path / "cluster", arguments=["--election-timeout=5000", "--warning-unary-request-duration=1s"]
    )
    may_be_slow(cluster.nodes, tmp_path / "site")
    with cluster:
        leader = leader_of(cluster)
        with Client([leader.endpoint], timeout_s=20) as client:
            client.put("fast", "1")
            assert lines(leader.log_file) == []
            with ExitStack() as slow:
                for node in cluster.nodes:
                    slow.enter_context(slow_disk(node, SYNC_S))
                client.put("slow", "secret")
        until = time.monotonic() + 10
        while not (said := lines(leader.log_file)):
            assert time.monotonic() < until
            time.sleep(0.05)
    (line,) = said
    found = re.search(
        r"took (\d+) ms, and ended as OK, proposed after (\d+) ms, durable after (\d+) ms, "
        r"committed after (\d+) ms, applied after (\d+) ms",
        line,
    )
    assert found is not None, line
    took, proposed, durable, committed, applied = map(int, found.groups())
    assert proposed < 1000 * SYNC_S / 2
    assert 1000 * SYNC_S <= committed <= applied <= took + 5
    assert durable + 5 >= 1000 * SYNC_S
    assert "secret" not in leader.log_file.read_text()


def test_of_very_many_slow_calls_some_are_said_and_how_many_more_there_were(caplog: pytest.LogCaptureFixture) -> None:
    slow_calls = SlowCalls(cast(Host, None), 0.3)
    for number in range(1000):
        slow_calls.ended(b"/etcdserverpb.KV/Range", "OK", 0.5, number / 500)
    slow_calls.ended(b"/etcdserverpb.KV/Range", "OK", 0.5, 2.0)
    said = [record.getMessage() for record in caplog.records]
    alone = "a call of /etcdserverpb.KV/Range took 500 ms, and ended as OK"
    further = f"{500 - LINES_A_SECOND_MAX} further calls took longer than 300 ms"
    assert said == [*[alone] * LINES_A_SECOND_MAX, further, *[alone] * LINES_A_SECOND_MAX, further, alone]


def test_it_is_an_object_of_json_too_and_goes_to_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    arguments = [f"--log-outputs=stderr,{path}", "--log-format=json", "--warning-unary-request-duration=1ms"]
    with LocalCluster(tmp_path / "cluster", 1, arguments=arguments) as cluster, Client(cluster.endpoints) as client:
        until = time.monotonic() + 20
        while not (said := lines(path)):
            assert time.monotonic() < until
            client.put("a", "x" * 100_000)
    line = json.loads(said[0])
    assert line["level"] == "warn"
    assert (line["method"], line["code"]) == ("/etcdserverpb.KV/Put", "OK")
    assert line["took_ms"] > 1
    assert line["proposed_ms"] <= line["committed_ms"] <= line["applied_ms"] <= line["took_ms"] + 5
