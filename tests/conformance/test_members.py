"""The member list, and its changes, as etcdctl sees them on real processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ratified.testing.processes import LocalCluster
from tests.conformance.conftest import Etcdctl

WAIT_S = 20.0


def members(etcdctl: Etcdctl) -> dict[str, Any]:
    """By name."""
    listed = json.loads(etcdctl("member", "list", "-w", "json").strip().splitlines()[-1])["members"]
    return {member["name"]: member for member in listed}


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
