"""Backups of a running member, by etcd's client and by the command line."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import BinaryIO

from ratified.client import Client, Do
from ratified.kv import queries
from ratified.kv.encoding import response
from ratified.kv.store import KvStore
from ratified.machine import load_all
from ratified.storage.memory import MemoryEnvironment
from ratified.testing.processes import LocalCluster
from ratified.wire.backup import pieces, verify
from ratified.wire.etcd.rpc_pb2 import RangeRequest, RangeResponse
from tests.conformance.conftest import COMMAND_TIMEOUT_S, Etcdctl


def ratified(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ratified", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def status(file: Path) -> dict[str, object]:
    done = ratified("snapshot", "status", file, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def test_etcdctl_and_ratified_save_the_same(etcdctl: Etcdctl, key: str, tmp_path: Path) -> None:
    for number in range(5):
        etcdctl("put", f"{key}{number}", "x" * 100_000)
    by_etcdctl, by_ratified = tmp_path / "etcdctl.db", tmp_path / "ratified.db"
    assert "Snapshot saved at" in etcdctl("snapshot", "save", str(by_etcdctl))
    done = ratified("snapshot", "save", by_ratified, "--endpoints", etcdctl.endpoint)
    assert done.returncode == 0, done.stderr
    assert by_etcdctl.read_bytes() == by_ratified.read_bytes()
    found = status(by_ratified)
    assert f"revision {found['revision']}, {found['keys']} keys" in done.stdout
    assert found["size_bytes"] == by_ratified.stat().st_size > 500_000
    with Client([etcdctl.endpoint]) as client:
        everything = client.range("\0", end="\0", keys_only=True)
    assert (everything.count, everything.revision) == (found["keys"], found["revision"])
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["etcdctl.db", "ratified.db"]


def loaded(file: BinaryIO) -> KvStore:
    environment = MemoryEnvironment()
    store = KvStore(environment.space(0))
    load_all(store.load_state(1, (0, 0)), pieces(file), environment.transaction)
    return store


def value(store: KvStore, key: str) -> bytes:
    answer = store.read(0, queries.range_(RangeRequest(key=key.encode()).SerializeToString()))
    assert isinstance(answer, bytes)
    return RangeResponse.FromString(response(answer)).kvs[0].value


def test_it_is_of_one_moment_while_clients_write(cluster: LocalCluster, key: str, tmp_path: Path) -> None:
    """Each revision writes two keys with one value."""
    stop = threading.Event()
    begun = threading.Event()

    def write() -> None:
        with Client(cluster.endpoints) as client:
            number = 0
            while not stop.is_set():
                number += 1
                client.txn((), [Do.put(f"{key}a", f"{number}" * 1000), Do.put(f"{key}b", f"{number}" * 1000)])
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert begun.wait(COMMAND_TIMEOUT_S)
        for endpoint in cluster.endpoints:
            with Client([endpoint]) as client, (tmp_path / "backup.db").open("w+b") as file:
                before = client.range(key).revision
                for part in client.snapshot(endpoint):
                    file.write(part.data)
                head = verify(file).head
                assert before <= head.revision <= client.range(key).revision
                store = loaded(file)
            assert store.revision == head.revision
            assert value(store, f"{key}a") == value(store, f"{key}b")
    finally:
        stop.set()
        writer.join()


def test_what_goes_wrong_is_one_line_and_leaves_nothing(cluster: LocalCluster, tmp_path: Path) -> None:
    file = tmp_path / "backup.db"
    endpoint = cluster.endpoints[0]
    assert ratified("snapshot", "save", file, "--endpoints", endpoint).returncode == 0
    data = file.read_bytes()
    wrong = tmp_path / "wrong.db"
    for what, text in ((data[:-1], "was cut"), (bytes(544), "does not begin"), (data[:600] + b"!" + data[601:], "SHA")):
        wrong.write_bytes(what)
        commands: tuple[list[str | Path], ...] = (
            ["status", wrong],
            ["restore", wrong, "--data-dir", tmp_path / "data"],
        )
        for command in commands:
            done = ratified("snapshot", *command)
            assert done.returncode == 1
            assert done.stderr.count("\n") == 1
            assert str(wrong) in done.stderr
            assert text in done.stderr
            assert done.stderr.endswith("Take another backup\n")
    wrong.unlink()
    refused: tuple[tuple[list[str | Path], str], ...] = (
        (["save", tmp_path / "no" / "x.db", "--endpoints", endpoint], "No such file or directory"),
        (["save", tmp_path / "x.db", "--endpoints", "127.0.0.1:1", "--timeout", "1"], "UNAVAILABLE"),
        (["save", tmp_path / "x.db", "--endpoints", f"{endpoint},{endpoint}"], "of one member"),
        (["status", tmp_path / "none.db"], "No such file or directory"),
        (["restore", file, "--name", "b", "--data-dir", tmp_path / "data"], "'b' is not in --initial-cluster"),
        (["restore", file, "--initial-cluster", "default=ftp://x", "--data-dir", tmp_path / "data"], "--initial-cl"),
        (["restore", file, "--data-dir", tmp_path], "is there already"),
        (
            ["restore", file, "--initial-advertise-peer-urls", "http://h:1", "--data-dir", tmp_path / "data"],
            "--initial-advertise-peer-urls",
        ),
    )
    for arguments, text in refused:
        done = ratified("snapshot", *arguments)
        assert done.returncode == 1, arguments
        assert done.stderr.count("\n") == 1
        assert text in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["backup.db"]


def test_a_member_without_a_majority_is_backed_up_and_one_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    with LocalCluster(tmp_path) as cluster:
        first, second, third = cluster.nodes
        with Client([first.endpoint]) as client:
            revision = client.put("key", "value").revision
        second.kill()
        third.kill()
        file = tmp_path / "backup.db"
        assert ratified("snapshot", "save", file, "--endpoints", first.endpoint).returncode == 0
        assert status(file)["revision"] == revision
        with first.paused():
            hangs = ratified("snapshot", "save", tmp_path / "none.db", "--endpoints", first.endpoint, "--timeout", "1")
        assert hangs.returncode == 1
        assert hangs.stderr.count("\n") == 1
        assert "UNAVAILABLE" in hangs.stderr
        assert not list(tmp_path.glob("none*"))
