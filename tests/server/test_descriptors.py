"""Real server processes that may open few files, under clients that take all they can get."""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from ratified.client import Client
from ratified.edge.frames import PREFACE, settings
from ratified.server.descriptors import NODE_DESCRIPTORS
from ratified.testing.processes import LocalCluster

OPEN_FILES = 256
SEGMENT_BYTES = 64 << 20
VALUE = "x" * 1_000_000

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")


@contextmanager
def idle_connections(ports: list[int], count: int) -> Iterator[list[socket.socket]]:
    """Connections on which nothing is asked; those that the server has kept are yielded."""
    with ExitStack() as opened:
        idle = []
        for port in ports:
            for _ in range(count):
                connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                with suppress(ConnectionError):  # of one too many
                    connection.sendall(PREFACE + settings())
                idle.append(connection)
        yield [connection for connection in idle if is_kept(connection)]


def is_kept(connection: socket.socket) -> bool:
    """Does the server hold its end, and has said who it is?"""
    try:
        return connection.recv(1) != b""
    except ConnectionError:
        return False


def test_idle_connections_neither_stop_the_log_nor_keep_members_apart(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path, arguments=["--heartbeat-interval=20", "--election-timeout=200"])
    ports = [node.client_port for node in cluster.nodes]
    try:
        for node in cluster.nodes:
            node.start()
            assert node.pid is not None
            resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
        for node in cluster.nodes:
            node.wait_ready()
        with Client(cluster.endpoints) as client:
            client.put("k", "v")
            with idle_connections(ports, 400) as kept:
                assert 0 < len(kept) <= 3 * (OPEN_FILES - NODE_DESCRIPTORS)
                for _ in range(SEGMENT_BYTES // len(VALUE) + 2):
                    client.put("k", VALUE)
                cluster.nodes[0].kill()
                cluster.nodes[0].start()
                cluster.nodes[0].wait_ready()
        with Client([cluster.nodes[0].endpoint]) as newcomer:
            pair = newcomer.get("k")
            assert pair is not None
            assert pair.value == VALUE.encode()
        assert all((tmp_path / node.name / "0000000002.log").exists() for node in cluster.nodes)
    finally:
        statuses = cluster.stop()
    assert statuses == [0, 0, 0]


def test_a_process_that_may_open_too_few_files_does_not_start(tmp_path: Path) -> None:
    few = ["sh", "-c", 'ulimit -n 100 && exec "$@"', "sh"]
    addresses = ["--listen-client-urls=http://127.0.0.1:0", "--listen-peer-urls=http://127.0.0.1:0"]
    done = subprocess.run(
        [*few, sys.executable, "-m", "ratified", "serve", f"--data-dir={tmp_path}", *addresses],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "ratified: error: this process may open 100 files and needs at least 144: raise the limit"
    )
