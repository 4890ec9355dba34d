"""Watches that want to be told of progress are told by interval, and never of a revision before its events."""

from __future__ import annotations

from pathlib import Path

from ratified.client import Client
from ratified.testing.processes import LocalCluster
from ratified.wire.etcd.rpc_pb2 import WatchCreateRequest
from tests.conformance.asking import Asked

PUTS = 300


def test_every_event_comes_before_the_progress_to_its_revision(tmp_path: Path) -> None:
    arguments = ["--experimental-watch-progress-notify-interval=100ms"]
    with LocalCluster(tmp_path, 1, arguments=arguments) as cluster:
        endpoint = cluster.nodes[0].endpoint
        asked = Asked("ours", endpoint)
        stream = asked.watches()
        stream.create(WatchCreateRequest(key=b"k", progress_notify=True))
        assert stream.next().created
        with Client([endpoint]) as client:
            last = [client.put("k" if number % 3 else "other", b"v").revision for number in range(PUTS)][-1]
        seen, told = 0, 0
        while told < last:
            response = stream.next()
            for event in response.events:
                assert event.kv.mod_revision > told, "its revision was told before"
                seen += 1
            told = response.header.revision
        assert seen == PUTS - len(range(0, PUTS, 3))
        quiet = stream.next()
        assert (quiet.header.revision, list(quiet.events), quiet.watch_id) == (last, [], 0)
        stream.close()
        asked.close()
