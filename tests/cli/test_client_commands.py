"""The commands that are clients, at a cluster of ours and at etcd."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ratified.cli import check
from ratified.client import Client
from tests.cli.conftest import Ratified
from tests.client.etcd import Etcd

TIMEOUT_S = 60.0


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """What the next command finds on standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@contextmanager
def started(anywhere: Ratified, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs on."""
    command = [sys.executable, "-m", "ratified", *arguments[:1], "--endpoints", anywhere.endpoints, *arguments[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def test_many_keys_in_any_order(anywhere: Ratified, key: str) -> None:
    for name, value in (("b", "1"), ("a", "3"), ("c", "2"), ("b", "4")):
        anywhere("put", f"{key}/{name}", value)
    everything = ("get", "--prefix", f"{key}/")
    assert anywhere(*everything, "--print-value-only").split() == ["3", "4", "2"]
    assert anywhere(*everything, "--print-value-only", "--order", "descend").split() == ["2", "4", "3"]
    assert anywhere(*everything, "--print-value-only", "--sort-by", "create").split() == ["4", "3", "2"]
    assert anywhere(*everything, "--keys-only", "--sort-by", "value", "--limit", "1") == f"{key}/c\n"
    assert anywhere(*everything, "--count-only") == "3\n"
    assert anywhere.json(*everything, "--count-only")["count"] == 3
    assert anywhere("get", f"{key}/b", "--end", f"{key}/c", "--keys-only") == f"{key}/b\n"
    assert anywhere("get", f"{key}/b", "--from-key", "--keys-only", "--limit", "2") == f"{key}/b\n{key}/c\n"
    assert anywhere("del", f"{key}/a", "--end", f"{key}/b", "--prev-kv") == f"1\n{key}/a\n3\n"
    gone = anywhere.json("del", "--prefix", f"{key}/", "--prev-kv")
    assert (gone["deleted"], [pair["value"] for pair in gone["previous"]]) == (2, ["4", "2"])
    assert anywhere("get", "--prefix", f"{key}/", "--count-only", status=1) == "0\n"


def test_values_are_bytes(anywhere: Ratified, key: str) -> None:
    content = bytes(range(256))
    with Client(anywhere.endpoints.split(",")) as client:
        assert subprocess_output(anywhere, "put", key, stdin=content) == b"OK\n"
        pair = client.get(key)
        assert pair is not None
        assert pair.value == content
        assert subprocess_output(anywhere, "get", key, "--raw") == content
        assert subprocess_output(anywhere, "put", key.encode().hex(), "ff00", "--hex") == b"OK\n"
        assert (
            subprocess_output(anywhere, "get", key.encode().hex(), "--hex") == f"{key.encode().hex()}\nff00\n".encode()
        )
        assert json.loads(subprocess_output(anywhere, "get", key, "--json"))["pairs"][0]["value_base64"] == "/wA="
        assert subprocess_output(anywhere, "put", key, os.fsdecode(b"\xff\xfe")) == b"OK\n"
        assert subprocess_output(anywhere, "get", key, "--raw") == b"\xff\xfe"


def subprocess_output(anywhere: Ratified, *arguments: str, stdin: bytes = b"") -> bytes:
    command = [sys.executable, "-m", "ratified", *arguments, "--endpoints", anywhere.endpoints]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_put_shows_and_keeps_what_was_there(anywhere: Ratified, key: str) -> None:
    lease = anywhere.json("lease", "grant", "300")["id"]
    anywhere("put", key, "one", "--lease", lease)
    assert anywhere("put", key, "two", "--ignore-lease", "--prev-kv") == f"OK\n{key}\none\n"
    assert anywhere.json("get", key)["pairs"][0]["lease"] == lease
    anywhere("put", key, "--ignore-value")
    pair = anywhere.json("get", key)["pairs"][0]
    assert (pair["value"], pair["lease"], pair["version"]) == ("two", None, 3)
    assert anywhere.json("put", key, "three", "--prev-kv")["previous"]["value"] == "two"
    anywhere("put", f"{key}/none", "--ignore-value", status=1)
    assert "etcdserver: key not found" in anywhere.error


def test_leases(anywhere: Ratified, key: str) -> None:
    granted = anywhere("lease", "grant", "300")
    assert granted.endswith("granted with TTL(300s)\n")
    lease = granted.split()[1]
    anywhere("put", key, "v", "--lease", lease)
    assert lease in anywhere("lease", "list").split()
    assert lease in anywhere.json("lease", "list")
    left = anywhere("lease", "timetolive", lease, "--keys").splitlines()
    assert left[0].startswith(f"lease {lease} granted with TTL(300s), remaining(")
    assert left[1] == key
    assert anywhere.json("lease", "timetolive", lease, "--keys")["keys"] == [{"key": key}]
    assert anywhere("lease", "keep-alive", lease, "--once") == f"lease {lease} keepalived with TTL(300s)\n"
    assert anywhere("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert anywhere.json("lease", "timetolive", lease, status=1) is None
    anywhere("lease", "keep-alive", lease, status=1)
    assert "does not exist, or has ended" in anywhere.error
    assert anywhere.json("lease", "grant", "300", "--id", lease) == {"id": lease, "ttl": 300}
    anywhere("lease", "grant", "300", "--id", lease, status=1)
    assert "lease already exists" in anywhere.error


def test_a_transaction_in_the_words_of_etcdctl(anywhere: Ratified, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = f'''version("{key}") = "0"

put {key} "first value"
put {key}/b 2

get {key}
del {key}/ --prefix
'''.encode()
    typed(monkeypatch, script)
    assert anywhere("txn") == "SUCCESS\n\nOK\n\nOK\n"
    typed(monkeypatch, script)
    assert anywhere("txn") == f"FAILURE\n\n{key}\nfirst value\n\n1\n"
    typed(monkeypatch, f'val("{key}") != "x"\nmod({key}) > "0"\nlease("{key}") = "0"\n\nget {key} --keys-only'.encode())
    done = anywhere.json("txn")
    assert done["succeeded"]
    assert done["results"][0]["pairs"][0]["key"] == key


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("mod(k) ~ 1\n", "line 1: 'mod(k) ~ 1' is no comparison"),
        ("size(k) > 1\n", "line 1: 'size' is nothing to compare"),
        ("mod(k) > one\n", "line 1: mod is compared with a whole number, not with 'one'"),
        ("\nputt k v\n", "line 2: 'putt' is no operation of a transaction"),
        ("\nput k\n", "line 2: put: the following arguments are required: value"),
        ("\nput k 'v\n", "line 2: No closing quotation"),
        ("\nget k --prefix --from-key\n", "line 2: --prefix and --from-key exclude each other"),
        ("\n\n\nput k v\n", "line 4: a transaction has three paragraphs"),
    ],
)
def test_a_wrong_transaction_says_where_it_is_wrong(
    ratified: Ratified, script: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, script.encode())
    ratified("txn", status=1)
    assert words in ratified.error


def test_a_watch_shows_what_was_there_before_and_how_far_it_is(anywhere: Ratified, key: str) -> None:
    first = anywhere.json("put", key, "one")["revision"]
    anywhere("put", key, "two")
    watch = ("watch", key, "--rev", str(first), "--prev-kv", "--count", "2")
    assert anywhere(*watch) == f"PUT\n{key}\none\nPUT\n{key}\none\n{key}\ntwo\n"
    with started(anywhere, "watch", key, "--progress", "--json", "--timeout", "1") as watching:
        assert json.loads(line(watching))["type"] == "progress"


def test_a_watch_runs_a_command_for_every_change(anywhere: Ratified, key: str, tmp_path: Path) -> None:
    first = anywhere.json("put", key, "one")["revision"]
    anywhere("del", key)
    out = tmp_path / "out"
    script = f'echo "$RATIFIED_WATCH_TYPE $RATIFIED_WATCH_REVISION $RATIFIED_WATCH_KEY $(cat)" >> {out}'
    anywhere("watch", key, "--rev", str(first), "--count", "2", "--", "sh", "-c", script)
    assert out.read_text() == f"put {first} {key} one\ndelete {first + 1} {key} \n"
    anywhere("watch", key, "--rev", str(first), "--", "sh", "-c", "exit 3", status=1)
    assert f"sh ended with status 3 at revision {first}" in anywhere.error
    anywhere("watch", key, "--rev", str(first), "--", "no-such-command", status=1)
    assert "no-such-command: No such file" in anywhere.error


def test_a_lock_runs_a_command_and_gives_its_status(anywhere: Ratified, key: str) -> None:
    anywhere("lock", key, "--", "sh", "-c", 'test -n "$RATIFIED_LOCK_KEY" && exit 7', status=7)
    with started(anywhere, "lock", key) as holding:
        held = line(holding)
        assert held.startswith(f"{key}/")
        anywhere("lock", key, "--wait", "0.3", "--", "true", status=1)
        assert "was not free within 0.3 s" in anywhere.error
        holding.send_signal(signal.SIGTERM)
        assert holding.wait(TIMEOUT_S) == 130
    anywhere("lock", key, "--", "true")


def test_a_lock_that_is_lost_ends_its_command(anywhere: Ratified, key: str) -> None:
    with started(anywhere, "lock", key, "--ttl", "2", "--", "sleep", "60") as holding:
        deadline = time.monotonic() + TIMEOUT_S
        while not (found := anywhere.json("get", "--prefix", f"{key}/", status=None))["pairs"]:
            assert time.monotonic() < deadline
        anywhere("lease", "revoke", found["pairs"][0]["lease"])
        assert holding.wait(TIMEOUT_S) == 1
        assert holding.stderr is not None
        assert "was lost" in holding.stderr.read()


def test_an_election(anywhere: Ratified, key: str) -> None:
    with started(anywhere, "elect", key, "us") as leading:
        assert line(leading).startswith(f"{key}/")
        assert line(leading) == "us"
        with started(anywhere, "elect", key, "--listen", "--json") as listening:
            assert json.loads(line(listening))["value"] == "us"
            with started(anywhere, "elect", key, "them") as next_one:
                while anywhere.json("get", "--prefix", f"{key}/")["count"] < 2:
                    time.sleep(0.05)
                leading.send_signal(signal.SIGINT)
                line(next_one)
                assert line(next_one) == "them"
                assert json.loads(line(listening))["value"] == "them"


def test_compaction(anywhere: Ratified, key: str) -> None:
    old = anywhere.json("put", key, "one")["revision"]
    new = anywhere.json("put", key, "two")["revision"]
    assert anywhere("compact", str(new), "--physical") == f"compacted revision {new}\n"
    anywhere("get", key, "--rev", str(old), status=1)
    assert "required revision has been compacted" in anywhere.error
    anywhere("compact", str(new), status=1)


def test_endpoints(anywhere: Ratified, key: str) -> None:
    revision = str(anywhere.json("put", key, "v")["revision"])
    count = len(anywhere.endpoints.split(","))
    assert anywhere("endpoint", "health").count("is healthy: a read took") == count
    assert [row["health"] for row in anywhere.json("endpoint", "health", "--cluster")] == [True] * count
    rows = anywhere.json("endpoint", "status", "--cluster")
    assert sum(row["is_leader"] for row in rows) == 1
    assert {row["leader"] for row in rows} == {row["member"] for row in rows if row["is_leader"]}
    assert "version" in anywhere("endpoint", "status")
    hashes = anywhere.json("endpoint", "hashkv", "--cluster", "--rev", revision)
    assert len({row["hash"] for row in hashes}) == 1


def test_an_endpoint_that_is_down_is_unhealthy(ratified: Ratified, capsys: pytest.CaptureFixture[str]) -> None:
    up = ratified.endpoints.split(",")[0]
    both = Ratified([up, "127.0.0.1:1"], capsys)
    said = both("endpoint", "health", "--timeout", "1", status=1).splitlines()
    assert said[0].startswith(f"{up} is healthy")
    assert said[1].startswith("127.0.0.1:1 is unhealthy: ")
    assert [row["health"] for row in both.json("endpoint", "health", "--timeout", "1", status=1)] == [True, False]


def test_no_alarms(anywhere: Ratified) -> None:
    assert anywhere("alarm", "list") == ""
    assert anywhere.json("alarm", "list") == []
    assert anywhere.json("alarm", "disarm") == []


def test_an_alarm_is_seen_and_disarmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Etcd(tmp_path, ["--quota-backend-bytes=200000"]) as etcd:
        full = Ratified([etcd.endpoint], capsys)
        for number in range(40):
            full("put", f"k{number}", "v" * 20_000, status=None)
            if full.error:
                break
        assert "database space exceeded" in full.error
        (raised,) = full.json("alarm", "list")
        assert raised["alarm"] == "NOSPACE"
        assert full("alarm", "list") == f"memberID:{raised['member']} alarm:NOSPACE\n"
        revision = full.json("del", "--prefix", "k")["revision"]
        full("compact", str(revision), "--physical")
        assert full("defrag") == f"{etcd.endpoint} is defragmented\n"
        assert full.json("alarm", "disarm") == [raised]
        full("put", "k", "v")


def test_check_perf(anywhere: Ratified) -> None:
    told = anywhere.json("check", "perf", "--seconds", "1", status=None)
    assert told["failed"] == 0
    assert told["writes_per_s"] > 50
    assert anywhere("get", "--prefix", "ratified-check-perf/", status=1) == ""


def test_what_check_perf_wants() -> None:
    size = check.Size(writes_per_s=100, clients=1)
    fine = check.Measured(1.0, [0.01] * 95, [])
    assert all(good for good, _ in check._verdicts(fine, size))
    for bad in (
        check.Measured(1.0, [0.01] * 80, []),
        check.Measured(1.0, [0.01] * 94 + [0.6], []),
        check.Measured(1.0, [0.01] * 60 + [0.4] * 40, []),
        check.Measured(1.0, [0.01] * 95, ["etcdserver: request timed out"]),
        check.Measured(1.0, [], []),
    ):
        assert not all(good for good, _ in check._verdicts(bad, size))
