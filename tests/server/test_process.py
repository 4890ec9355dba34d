"""Real server processes: start, ready line, clean stop; and bad surroundings, each one clear line."""

from __future__ import annotations

import asyncio
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import google_crc32c
import pytest

from ratified.api.service import Service
from ratified.client import AsyncClient, CallRefused, Client
from ratified.consensus.engines import ENGINES
from ratified.kv.errors import EtcdError
from ratified.server import process
from ratified.server.config import load
from ratified.storage.identity import IDENTITY_FILE, VERSION
from ratified.testing.processes import LocalCluster, LocalNode, free_ports
from ratified.wire.etcd import errors

TIMEOUT_S = 60


class Place:
    """A directory and two ports for one member."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.client_port, self.peer_port = free_ports(2)

    def arguments(self, *more: str) -> list[str]:
        return [
            f"--data-dir={self.data}",
            f"--listen-client-urls=http://127.0.0.1:{self.client_port}",
            f"--listen-peer-urls=http://127.0.0.1:{self.peer_port}",
            "--heartbeat-interval=20",
            "--election-timeout=100",
            *more,
        ]

    def node(self, *more: str) -> LocalNode:
        return LocalNode("default", self.client_port, self.arguments(*more), self.directory / "log")

    @contextmanager
    def serving(self, *more: str) -> Iterator[LocalNode]:
        node = self.node(*more)
        node.start()
        try:
            node.wait_ready()
            yield node
        finally:
            node.terminate()
            node.wait_stopped()

    def fails(self, *more: str) -> str:
        """Start a server that must fail; its one line, without the prefix."""
        done = subprocess.run(
            [sys.executable, "-m", "ratified", "serve", *self.arguments(*more)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        lines = [line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT.* INFO ", line)]
        assert len(lines) == 1, done.stderr
        return lines[0].removeprefix("ratified: error: ")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_cleanly_and_the_data_is_there_afterwards(place: Place, number: int) -> None:
    node = place.node()
    node.start()
    node.wait_ready()
    with Client([node.endpoint]) as client:
        client.put("k", "v")
    assert node.pid is not None
    os.kill(node.pid, number)
    assert node.wait_stopped() == 0
    log = node.log_file.read_text()
    assert log.count("ready to serve client requests") == 1
    assert log.splitlines()[-1].endswith("stopped cleanly")
    with place.serving("--initial-cluster-state=existing") as again, Client([again.endpoint]) as client:
        pair = client.get("k")
        assert pair is not None
        assert pair.value == b"v"


def test_variables_and_a_file_configure_a_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place.directory / "ratified.toml"
    file.write_text('name = "from-file"\nlog-level = "debug"\n')
    monkeypatch.setenv("RATIFIED_CONFIG_FILE", str(file))
    monkeypatch.setenv("RATIFIED_LOG_LEVEL", "info")
    with place.serving() as node, Client([node.endpoint]) as client:
        assert [member.name for member in client.members()] == ["from-file"]


@pytest.mark.parametrize(
    ("level", "means"),
    [("debug", 10), ("info", 20), ("warn", 30), ("error", 40), ("panic", 50), ("fatal", 50)],
)
def test_levels_of_the_log_are_etcds(level: str, means: int) -> None:
    assert process._least_level(load({"log-level": level}, {}, None)) == means


def test_what_was_made_for_etcd_configures_a_server(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    file = place.directory / "etcd.conf"
    file.write_text("name: 'from-file'\ndata-dir:\nmax-wals: 5\nlog-level: debug\nstrict-reconfig-check: true\n")
    monkeypatch.setenv("ETCD_CONFIG_FILE", str(file))
    monkeypatch.setenv("ETCD_LOG_LEVEL", "info")
    monkeypatch.setenv("ETCD_MAX_TXN_OPS", "200")
    monkeypatch.setenv("RATIFIED_MAX_TXN_OPS", "100")
    with place.serving("-pre-vote") as node, Client([node.endpoint]) as client:
        assert [member.name for member in client.members()] == ["from-file"]
    said = "variable RATIFIED_MAX_TXN_OPS counts, and variable ETCD_MAX_TXN_OPS, which says something else, does not"
    assert said in node.log_file.read_text()


def test_a_request_over_the_limit_and_a_full_store_are_refused(place: Place) -> None:
    flags = ("--max-request-bytes=4096", "--quota-backend-bytes=200000")
    with place.serving(*flags) as node, Client([node.endpoint]) as client:
        with pytest.raises(CallRefused, match=re.escape("etcdserver: request is too large")):
            client.put("k", b"x" * 4096)
        with pytest.raises(CallRefused, match=re.escape("etcdserver: mvcc: database space exceeded")):
            fill(client)
        pair = client.get("k0")
        assert pair is not None
        assert pair.value == b"x" * 1000
        assert client.delete("k", prefix=True).deleted > 10
        newest = client.range("k", prefix=True).revision
        client.compact(newest)
        with pytest.raises(CallRefused, match=re.escape("etcdserver: mvcc: database space exceeded")):
            client.put("k", b"the alarm stands")
        client.defragment(node.endpoint)  # waits for what the compaction removes by itself
        until = time.monotonic() + 30
        while client.alarms():
            assert time.monotonic() < until, "there is room again, and the alarm stands"
            time.sleep(0.1)
        client.put("again", b"x" * 100)


def test_puts_of_a_moment_are_taken_where_single_requests_must_be_small(place: Place) -> None:
    """They go into the log together, and together are much more than one may be."""

    async def put_all(endpoint: str) -> list[int]:
        async with AsyncClient([endpoint]) as client:
            puts = [client.put(f"k{number}", bytes(3_000)) for number in range(64)]
            return [done.revision for done in await asyncio.gather(*puts)]

    with place.serving("--max-request-bytes=4096") as node:
        assert len(set(asyncio.run(put_all(node.endpoint)))) == 64


def test_a_raised_limit_on_requests_has_effect(place: Place) -> None:
    with place.serving("--max-request-bytes=4000000") as node, Client([node.endpoint]) as client:
        client.put("k", b"x" * 3_999_000)
        pair = client.get("k")
        assert pair is not None
        assert len(pair.value) == 3_999_000
        with pytest.raises(CallRefused, match=re.escape("etcdserver: request is too large")):
            client.put("k", b"x" * 4_000_001)


def test_a_used_client_port_is_named(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.client_port)):
        told = place.fails()
    assert f"cannot listen for clients on http://127.0.0.1:{place.client_port}: Address already in use" in told
    assert "--listen-client-urls" in told


def test_a_used_peer_port_is_named(place: Place) -> None:
    with socket.create_server(("127.0.0.1", place.peer_port)):
        told = place.fails()
    assert f"cannot listen for peers on 127.0.0.1:{place.peer_port}: Address already in use" in told


def test_a_foreign_address_is_named(place: Place) -> None:
    told = place.fails("--listen-client-urls=http://192.0.2.1:2379", "--advertise-client-urls=http://h:1")
    assert "cannot listen for clients on http://192.0.2.1:2379: Cannot assign requested address" in told


def test_a_data_directory_that_is_a_file_is_named(place: Place) -> None:
    place.data.write_text("not a directory")
    assert f"data directory {place.data}: File exists: give a directory" in place.fails()


def test_a_data_directory_that_cannot_be_made_is_named(place: Place) -> None:
    (place.directory / "file").write_text("")
    place.data = place.directory / "file" / "data"
    assert f"data directory {place.data}: Not a directory: give a directory" in place.fails()


def test_a_directory_that_has_lost_its_identity_is_refused_and_left_alone(place: Place) -> None:
    with place.serving():
        pass
    (place.data / IDENTITY_FILE).unlink()
    before = {file.name: file.read_bytes() for file in place.data.iterdir() if file.is_file()}
    assert f"data directory {place.data}: the data directory has a log" in place.fails()
    assert {file.name: file.read_bytes() for file in place.data.iterdir() if file.is_file()} == before


def test_a_locked_data_directory_is_named(place: Place) -> None:
    with place.serving():
        other = Place(place.directory)
        other.data = place.data
        assert f"data directory {place.data} is in use by another process: stop that one first" in other.fails()


def test_a_data_directory_of_another_cluster_is_refused(place: Place) -> None:
    with place.serving():
        pass
    told = place.fails("--initial-cluster-token=another")
    assert f"data directory {place.data}: the data directory belongs to cluster " in told


@pytest.mark.parametrize("engine", ENGINES)
def test_a_member_serves_on_every_engine_and_its_directory_is_no_other_ones(place: Place, engine: str) -> None:
    with place.serving(f"--engine={engine}") as node, Client([node.endpoint]) as client:
        client.put("a", "1")
    for other in ENGINES:
        if other != engine:
            told = place.fails(f"--engine={other}")
            assert (
                f"data directory {place.data}: the data directory belongs to a cluster that runs engine {engine}"
                in told
            )
    with place.serving(f"--engine={engine}") as node, Client([node.endpoint]) as client:
        assert client.get("a") is not None


def test_a_data_directory_of_a_newer_version_is_refused(place: Place) -> None:
    with place.serving():
        pass
    write_version(place.data / IDENTITY_FILE, VERSION + 1)
    told = place.fails()
    assert f"data directory {place.data}: file 'identity' has format version {VERSION + 1} and this program" in told


def test_existing_without_data_is_refused(place: Place) -> None:
    told = place.fails("--initial-cluster-state=existing")
    assert f"{place.data} holds no member's data" in told
    assert not place.data.exists()


def test_a_node_ends_with_the_process_that_started_it(place: Place) -> None:
    script = (
        "import sys; from pathlib import Path; from ratified.testing.processes import LocalNode\n"
        "node = LocalNode('n', 0, sys.argv[2:], Path(sys.argv[1])); node.start(); node.wait_ready()\n"
        "print(node.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(place.directory / "log"), *place.arguments()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        gone = os.pidfd_open(pid)
        parent.kill()
    wait_for_end(gone)


def fill(client: Client) -> None:
    """Write until the store refuses."""
    for number in range(100_000):
        client.put(f"k{number}", b"x" * 1000)


def write_version(file: Path, version: int) -> None:
    """Give an identity file another format version; magic, version and checksum are its first 16 bytes."""
    content = bytearray(file.read_bytes())
    content[8:12] = version.to_bytes(4, "little")
    content[12:16] = google_crc32c.value(bytes(content[:12] + content[16:])).to_bytes(4, "little")
    file.write_bytes(content)


def wait_for_end(pidfd: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        ready, _, _ = select.select([pidfd], [], [], TIMEOUT_S)
        assert ready, "the node outlived the process that started it"
    finally:
        os.close(pidfd)


def test_a_group_that_is_stopped_is_asked_again_after_longer_and_longer_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    class StoppedService:
        async def query(self, request: bytes) -> bytes:
            if len(pauses) == 20:
                raise asyncio.CancelledError
            raise EtcdError(*errors.STOPPED)

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(process._announce(cast(Service, StoppedService()), load({}, {}, None)))
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[7:] == [process.FIRST_READ_PAUSE_MAX_S] * 13
    assert caplog.text.count("waiting for a leader and a majority") == 20


@pytest.mark.parametrize("engine", ENGINES)
def test_a_leader_that_is_stopped_has_handed_over_the_lead_when_it_ends(tmp_path: Path, engine: str) -> None:
    # With heartbeats so slow nobody else would miss it for a second.
    slow = ["--heartbeat-interval=500", "--election-timeout=5000"]
    with (
        LocalCluster(tmp_path, arguments=[f"--engine={engine}", *slow]) as cluster,
        Client(cluster.endpoints) as client,
    ):
        client.put("k", "v")
        leader = client.status(cluster.endpoints[0]).leader
        stopped = next(node for node in cluster.nodes if client.status(node.endpoint).member == leader)
        stopped.terminate()
        assert stopped.wait_stopped() == 0
        others = [node.endpoint for node in cluster.nodes if node is not stopped]
        (successor,) = {client.status(endpoint).leader for endpoint in others}
        assert successor not in (0, leader)
