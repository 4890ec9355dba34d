"""``import`` and ``mirror`` as commands, from etcd and to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from ratified.client import Client
from ratified.client.copying import PLACES
from ratified.testing.processes import LocalCluster
from tests.cli.conftest import Ratified
from tests.client.etcd import Etcd

TIMEOUT_S = 60


def test_an_import_from_etcd(etcd: Etcd, ratified: Ratified, key: str) -> None:
    with Client([etcd.endpoint]) as client:
        lease = client.lease_grant(600)
        for number in range(20):
            client.put(f"{key}/{number}", str(number), lease=lease.id if number % 2 else 0)
    copying = ("import", "--from-etcd", etcd.endpoint, "--prefix", f"{key}/", "--dest-prefix", f"{key}-here/")
    assert ratified(*copying).startswith("imported 20 keys and 1 leases of revision ")
    pairs = ratified.json("get", "--prefix", f"{key}-here/")["pairs"]
    assert {pair["key"].rpartition("/")[2]: pair["value"] for pair in pairs} == {str(n): str(n) for n in range(20)}
    assert sum(pair["lease"] == f"{lease.id:x}" for pair in pairs) == 10
    ratified(*copying, status=1)
    assert "the target is not empty" in ratified.error
    ratified("put", f"{key}-here/else", "v")
    done = ratified.json(*copying, "--overwrite")
    assert (done["keys"], done["resumed"]) == (20, False)
    ratified("get", f"{key}-here/else", status=1)


def test_a_source_that_cannot_be_reached_or_named(ratified: Ratified) -> None:
    ratified("import", "--from", "127.0.0.1:1", "--from-timeout", "0.5", status=1)
    assert "the source: failed to connect" in ratified.error
    ratified("mirror", "--from", "ftp://h:1", status=1)
    assert "--from: endpoint 'ftp://h:1'" in ratified.error
    ratified("mirror", "--from", "h:1", "--from-cacert", "no-such-file", status=1)
    assert "--from-cacert: no-such-file" in ratified.error
    ratified("mirror", status=2)
    assert "Missing option '--from'" in ratified.error


@contextmanager
def mirroring(arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "ratified", "mirror", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def until(client: Client, key: str, value: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while (pair := client.get(key)) is None or pair.value != value.encode():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_mirror_to_etcd_that_is_killed_goes_on(
    cluster: LocalCluster, etcd: Etcd, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = ",".join(cluster.endpoints)
    arguments = ["--from", ours, "--endpoints", etcd.endpoint, "--prefix", f"{key}/"]
    with Client(cluster.endpoints) as source, Client([etcd.endpoint]) as target:
        source.put(f"{key}/a", "1")
        with mirroring(arguments) as mirror:
            until(target, f"{key}/a", "1")
            source.put(f"{key}/a", "2")
            until(target, f"{key}/a", "2")
            os.kill(mirror.pid, signal.SIGKILL)
        source.put(f"{key}/a", "3")
        source.put(f"{key}/b", "1")
        at_etcd = Ratified([etcd.endpoint], capsys)
        done = at_etcd.json("mirror", "--from", ours, "--prefix", f"{key}/", "--once")
        assert done == {"revision": done["revision"], "complete": True}
        pair = target.get(f"{key}/a")
        assert pair is not None
        assert (pair.value, pair.version) == (b"3", 3)
        assert target.get(f"{key}/b") is not None
        with mirroring(arguments) as mirror:
            source.put(f"{key}/a", "4")
            until(target, f"{key}/a", "4")
            mirror.send_signal(signal.SIGINT)
            said, error = mirror.communicate(timeout=TIMEOUT_S)
            assert (mirror.returncode, error) == (130, "")
            assert said.startswith("the target has revision ")
        assert target.range(PLACES, prefix=True).count == 1
