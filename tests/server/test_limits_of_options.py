"""Options about limits and listeners, at a real process."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from ratified.client import Client
from tests.server.test_process import Place


def put_many(endpoint: str, operations: int) -> str:
    """A transaction of so many; what went wrong with it, or ""."""
    put = [{"request_put": {"key": f"{number:04}", "value": ""}} for number in range(operations)]  # base64
    body = json.dumps({"success": put}).encode()
    try:
        with urllib.request.urlopen(f"http://{endpoint}/v3/kv/txn", body, timeout=30):
            return ""
    except urllib.error.HTTPError as failed:
        return str(json.loads(failed.read())["error"])


def test_transactions_have_the_operations_that_the_operator_allows(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.serving("--max-txn-ops=130") as node:
        assert put_many(node.endpoint, 130) == ""
        assert put_many(node.endpoint, 131) == "etcdserver: too many operations in txn request"
    with place.serving() as node:
        assert put_many(node.endpoint, 129) == "etcdserver: too many operations in txn request"


def test_a_port_may_be_shared_where_both_processes_say_so(tmp_path: Path) -> None:
    for each in ("a", "b"):
        (tmp_path / each).mkdir()
    first, second = Place(tmp_path / "a"), Place(tmp_path / "b")
    second.client_port = first.client_port
    with first.serving("--socket-reuse-port") as node:
        assert "in use" in second.fails()
        with second.serving("--socket-reuse-port"), Client([node.endpoint]) as client:
            client.put("k", "v")
