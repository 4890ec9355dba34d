"""Debian's etcdctl (API 3) works unchanged, on every node."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ratified.testing.processes import LocalCluster
from tests.conformance.conftest import Etcdctl


def as_json(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def revision(etcdctl: Etcdctl) -> int:
    return int(as_json(etcdctl("get", "no such key", "-w", "json"))["header"]["revision"])


def test_put_and_get(etcdctl: Etcdctl, key: str) -> None:
    assert etcdctl("put", key, "one") == "OK\n"
    assert etcdctl("get", key) == f"{key}\none\n"
    assert etcdctl("put", key, "two", "--prev-kv") == f"OK\n{key}\none\n"
    assert etcdctl("get", key, "--print-value-only") == "two\n"


def test_get_by_prefix_in_order_and_with_a_limit(etcdctl: Etcdctl, key: str) -> None:
    for name in ("b", "a", "c"):
        etcdctl("put", f"{key}/{name}", name)
    assert etcdctl("get", "--prefix", key, "--print-value-only").split() == ["a", "b", "c"]
    assert etcdctl("get", "--prefix", key, "--print-value-only", "--limit=2").split() == ["a", "b"]
    assert etcdctl("get", "--prefix", key, "--print-value-only", "--order=DESCEND").split() == ["c", "b", "a"]
    assert etcdctl("get", "--prefix", key, "--keys-only", "--sort-by=MODIFY").split() == [
        f"{key}/b",
        f"{key}/a",
        f"{key}/c",
    ]
    assert etcdctl("get", f"{key}/a", f"{key}/c", "--print-value-only").split() == ["a", "b"]


def test_get_at_an_old_revision(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", key, "old")
    then = revision(etcdctl)
    etcdctl("put", key, "new")
    assert etcdctl("get", key, f"--rev={then}", "--print-value-only") == "old\n"
    future = etcdctl.run("get", key, "--rev=1000000000")
    assert future.returncode != 0
    assert "etcdserver: mvcc: required revision is a future revision" in future.stderr


def test_serializable_get(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", key, "here")
    assert etcdctl("get", key)
    assert etcdctl("get", key, "--consistency=s", "--print-value-only") == "here\n"


def test_delete(etcdctl: Etcdctl, key: str) -> None:
    for name in ("a", "b", "c"):
        etcdctl("put", f"{key}/{name}", name)
    assert etcdctl("del", f"{key}/a") == "1\n"
    assert etcdctl("del", "--prefix", key, "--prev-kv") == f"2\n{key}/b\nb\n{key}/c\nc\n"
    assert etcdctl("del", f"{key}/a") == "0\n"
    assert etcdctl("get", "--prefix", key) == ""


def test_watch_from_a_revision(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", f"{key}/a", "one")
    first = revision(etcdctl)
    etcdctl("put", f"{key}/a", "two")
    etcdctl("del", f"{key}/a")
    assert etcdctl.lines(8, "watch", "--prefix", key, f"--rev={first}") == [
        *["PUT", f"{key}/a", "one"],
        *["PUT", f"{key}/a", "two"],
        *["DELETE", f"{key}/a"],
    ]


def test_watch_with_the_pair_before(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", key, "one")
    etcdctl("put", key, "two")
    assert etcdctl.lines(5, "watch", key, f"--rev={revision(etcdctl)}", "--prev-kv") == ["PUT", key, "one", key, "two"]


def test_many_watches_and_progress_on_one_stream(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", f"{key}/a", "1")
    etcdctl("put", f"{key}/b", "2")
    first = revision(etcdctl) - 1
    commands = f"watch {key}/a --rev={first}\nwatch {key}/b --rev={first}\n"
    told = etcdctl.lines(6, "watch", "-i", stdin=commands)
    assert sorted((told[1:3], told[4:6])) == [[f"{key}/a", "1"], [f"{key}/b", "2"]]
    told = etcdctl.lines(4, "watch", "-i", stdin=f"watch {key}/a --rev={first}\nprogress\n")
    assert "progress notify: " in "\n".join(told)


def test_transactions(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", key, "here")
    taken = etcdctl("txn", stdin=f'value("{key}") = "here"\n\nput {key} there\nget {key}\n\nput {key} nowhere\n\n')
    assert taken.split("\n\n") == ["SUCCESS", "OK", f"{key}\nthere\n"]
    not_taken = etcdctl("txn", stdin=f'version("{key}") = "7"\n\nput {key} x\n\ndel {key}\n\n')
    assert not_taken.split("\n\n") == ["FAILURE", "1\n"]
    assert etcdctl("txn", stdin=f'create("{key}") = "0"\n\nget {key}\n\n\n').startswith("SUCCESS")


def test_compaction(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", key, "one")
    etcdctl("put", key, "two")
    etcdctl("put", key, "three")
    here = revision(etcdctl)
    assert etcdctl("compaction", str(here)) == f"compacted revision {here}\n"
    assert etcdctl("get", key, f"--rev={here}", "--print-value-only") == "three\n"
    gone = etcdctl.run("get", key, f"--rev={here - 1}")
    assert gone.returncode != 0
    assert "etcdserver: mvcc: required revision has been compacted" in gone.stderr
    again = etcdctl.run("compaction", str(here - 1))
    assert "etcdserver: mvcc: required revision has been compacted" in again.stderr
    watch = etcdctl.run("watch", key, "--rev=1")
    assert "etcdserver: mvcc: required revision has been compacted" in watch.stdout + watch.stderr


def grant(etcdctl: Etcdctl, ttl_s: int) -> str:
    """``lease 694d77aa9e38260f granted with TTL(100s)``."""
    words = etcdctl("lease", "grant", str(ttl_s)).split()
    assert words == ["lease", words[1], "granted", "with", f"TTL({ttl_s}s)"]
    return words[1]


def test_leases(etcdctl: Etcdctl, key: str) -> None:
    lease = grant(etcdctl, 100)
    etcdctl("put", key, "leased", f"--lease={lease}")
    assert lease in etcdctl("lease", "list").split()
    left = etcdctl("lease", "timetolive", lease, "--keys")
    assert f"lease {lease} granted with TTL(100s)" in left
    assert f"attached keys([{key}])" in left
    assert f"lease {lease} keepalived with TTL(100)" in etcdctl("lease", "keep-alive", "--once", lease)
    assert etcdctl.lines(1, "lease", "keep-alive", lease) == [f"lease {lease} keepalived with TTL(100)"]
    assert etcdctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert etcdctl("get", key) == ""
    assert f"lease {lease} already expired" in etcdctl("lease", "timetolive", lease)
    assert lease not in etcdctl("lease", "list").split()
    assert "etcdserver: requested lease not found" in etcdctl.run("lease", "revoke", lease).stderr
    assert "etcdserver: requested lease not found" in etcdctl.run("put", key, "x", f"--lease={lease}").stderr


def test_a_lease_that_nobody_keeps_alive_takes_its_keys_along(etcdctl: Etcdctl, key: str) -> None:
    lease = grant(etcdctl, 2)
    etcdctl("put", key, "short", f"--lease={lease}")
    first = revision(etcdctl)
    assert etcdctl.lines(5, "watch", key, f"--rev={first}") == ["PUT", key, "short", "DELETE", key]


def test_a_lock_is_taken_and_left(etcdctl: Etcdctl, key: str) -> None:
    held = etcdctl.lines(1, "lock", key)
    assert held[0].startswith(f"{key}/")


def test_an_election_is_won(etcdctl: Etcdctl, key: str) -> None:
    assert etcdctl.lines(2, "elect", key, "proposal")[1] == "proposal"


def test_endpoint_status(etcdctl: Etcdctl, cluster: LocalCluster) -> None:
    (told,) = as_json(etcdctl("endpoint", "status", "-w", "json"))
    status = told["Status"]
    assert told["Endpoint"] == etcdctl.endpoint
    assert status["version"].startswith("3.5.")
    assert status["leader"] != 0
    assert status["raftTerm"] == status["header"]["raft_term"] >= 1
    assert status["raftIndex"] >= status["raftAppliedIndex"] > 0
    assert status["dbSize"] > 0
    every = etcdctl("endpoint", "status", "--cluster", "-w", "json")
    assert {one["Endpoint"] for one in json.loads(every)} == {f"http://{node.endpoint}" for node in cluster.nodes}
    assert len({one["Status"]["header"]["member_id"] for one in json.loads(every)}) == 3
    assert {one["Status"]["leader"] for one in json.loads(every)} == {status["leader"]}


def test_endpoint_health(etcdctl: Etcdctl) -> None:
    assert f"{etcdctl.endpoint} is healthy" in etcdctl.run("endpoint", "health").stderr


def test_endpoint_hashes_are_the_same_everywhere(etcdctl: Etcdctl, key: str) -> None:
    etcdctl("put", key, "hashed")
    told = json.loads(etcdctl("endpoint", "hashkv", "--cluster", f"--rev={revision(etcdctl)}", "-w", "json"))
    assert len(told) == 3
    assert len({one["HashKV"]["hash"] for one in told}) == 1


def test_member_list(etcdctl: Etcdctl, cluster: LocalCluster) -> None:
    members = as_json(etcdctl("member", "list", "-w", "json"))["members"]
    assert {member["name"]: member["clientURLs"] for member in members} == {
        node.name: [f"http://{node.endpoint}"] for node in cluster.nodes
    }
    assert all(member["peerURLs"] for member in members)
    lines = etcdctl("member", "list").splitlines()
    assert len(lines) == 3
    assert all("started" in line for line in lines)


def test_move_leader(etcdctl: Etcdctl, cluster: LocalCluster) -> None:
    every = Etcdctl(etcdctl.program, ",".join(node.endpoint for node in cluster.nodes))
    for _ in range(3):  # each member's turn
        told = json.loads(every("endpoint", "status", "-w", "json"))
        leader = told[0]["Status"]["leader"]
        ids = sorted(one["Status"]["header"]["member_id"] for one in told)
        to = ids[(ids.index(leader) + 1) % len(ids)]
        assert every("move-leader", f"{to:x}") == f"Leadership transferred from {leader:x} to {to:x}\n"
    wrong = every.run("move-leader", "abc")
    assert "etcdserver: bad leader transferee" in wrong.stderr


def test_users_do_not_count_before_there_is_root(etcdctl: Etcdctl) -> None:
    done: subprocess.CompletedProcess[str] = etcdctl.run("auth", "enable")
    assert done.returncode != 0
    assert "etcdserver: root user does not exist" in done.stderr


def test_there_is_nothing_to_defragment(etcdctl: Etcdctl) -> None:
    assert "Finished defragmenting etcd member" in etcdctl("defrag")


def test_wrong_requests_get_etcds_errors(etcdctl: Etcdctl, key: str) -> None:
    assert "etcdserver: key is not provided" in etcdctl.run("put", "", "x").stderr
    twice = etcdctl.run("txn", stdin=f"\nput {key} a\nput {key} b\n\n\n")
    assert "etcdserver: duplicate key given in txn request" in twice.stderr
    assert "etcdserver: request is too large" in etcdctl.run("put", key, stdin="x" * (1600 * 1024)).stderr
    long_key = key + "k" * 1000
    etcdctl("put", long_key, "long")
    assert etcdctl("get", long_key, "--print-value-only") == "long\n"
