"""The synchronous client against a real cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager

import pytest

from ratified.client import (
    CallRefused,
    Client,
    ClientClosed,
    Compacted,
    Deleted,
    Do,
    Put,
    Range,
    Unavailable,
    compare_create,
    compare_mod,
    compare_value,
    compare_version,
)
from ratified.testing.processes import LocalCluster, free_ports


@pytest.fixture
def client(cluster: LocalCluster) -> Client:
    return Client(cluster.endpoints)


def test_put_get_range_and_delete(client: Client, key: str) -> None:
    with client:
        assert client.get(key) is None
        first = client.put(key, "one")
        second = client.put(key, b"two", previous=True)
        assert second.previous is not None
        assert (second.previous.value, second.previous.mod_revision) == (b"one", first.revision)
        pair = client.get(key)
        assert pair is not None
        assert (pair.value, pair.version, pair.create_revision, pair.mod_revision) == (
            b"two",
            2,
            first.revision,
            second.revision,
        )
        old = client.get(key, revision=first.revision)
        assert old is not None
        assert old.value == b"one"
        client.put(f"{key}/x", "three")
        found = client.range(key, prefix=True, limit=1)
        assert ([pair.value for pair in found.pairs], found.count, found.more) == ([b"two"], 2, True)
        assert [pair.value for pair in client.range(key, end=f"{key}/x").pairs] == [b"two"]
        gone = client.delete(key, prefix=True, previous=True)
        assert (gone.deleted, [pair.value for pair in gone.previous]) == (2, [b"two", b"three"])


def test_transactions(client: Client, key: str) -> None:
    with client:
        put = client.put(key, "v")
        conditions = [
            compare_value(key, "==", "v"),
            compare_version(key, "<", 2),
            compare_create(key, "==", put.revision),
            compare_mod(key, "!=", 1),
        ]
        taken = client.txn(conditions, [Do.put(key, "w", previous=True), Do.get(key)], [Do.delete(key)])
        assert taken.succeeded
        written, read = taken.results
        assert isinstance(written, Put)
        assert isinstance(read, Range)
        assert read.pairs[0].value == b"w"
        assert written.previous is not None
        refused = client.txn([compare_version(key, "==", 0)], [], [Do.delete(key, prefix=True)])
        assert not refused.succeeded
        assert refused.results == (Deleted(refused.revision, 1),)


def test_leases(client: Client, key: str) -> None:
    with client:
        lease = client.lease_grant(100)
        client.put(key, "v", lease=lease.id)
        assert lease.id in client.leases()
        assert client.lease_keep_alive(lease.id) == 100
        left = client.lease_time_to_live(lease.id, keys=True)
        assert left is not None
        assert (left.granted, left.keys) == (100, (key.encode(),))
        client.lease_revoke(lease.id)
        assert client.get(key) is None
        assert client.lease_keep_alive(lease.id) is None
        assert client.lease_time_to_live(lease.id) is None
        with pytest.raises(CallRefused, match="requested lease not found"):
            client.lease_revoke(lease.id)
        chosen = client.lease_grant(100, id=7_654_321)
        assert chosen.id == 7_654_321
        with pytest.raises(CallRefused, match="lease already exists"):
            client.lease_grant(100, id=7_654_321)


def test_members_status_and_report(client: Client, cluster: LocalCluster) -> None:
    with client:
        members = client.members()
        assert {member.name: member.client_urls for member in members} == {
            node.name: (f"http://{node.endpoint}",) for node in cluster.nodes
        }
        statuses = [client.status(endpoint) for endpoint in cluster.endpoints]
        assert sorted(status.member for status in statuses) == sorted(member.id for member in members)
        assert len({status.leader for status in statuses}) == 1
        reports = [client.report(endpoint) for endpoint in cluster.endpoints]
        assert {report.name for report in reports} == {"node1", "node2", "node3"}
        assert len({report.leader for report in reports}) == 1
        assert all(report.log_bytes > 0 and report.operations > 0 for report in reports)


def test_a_watch_sees_each_change_once_and_ends_where_it_is_closed(client: Client, key: str) -> None:
    with client:
        watch = client.watch(key, prefix=True, previous=True)
        watch.begin()
        first = client.put(key, "one")
        client.put(key, "two")
        client.delete(key)
        events = [next(watch) for _ in range(3)]
        assert [(event.kind, event.pair.value) for event in events] == [
            ("put", b"one"),
            ("put", b"two"),
            ("delete", b""),
        ]
        assert events[2].previous is not None
        assert events[2].previous.value == b"two"
        assert events[0].revision == first.revision
        threading.Timer(0.05, watch.close).start()
        assert list(watch) == []


def test_a_watch_of_what_is_compacted_says_where_to_begin(client: Client, key: str) -> None:
    with client:
        client.put(key, "one")
        newest = client.put(key, "two")
        client.compact(newest.revision)
        with client.watch(key, revision=1) as watch, pytest.raises(Compacted) as caught:
            next(watch)
        assert caught.value.revision == newest.revision
        with pytest.raises(Compacted):
            client.get(key, revision=newest.revision - 1)


def test_a_call_goes_on_at_the_next_endpoint(cluster: LocalCluster, key: str) -> None:
    nobody = [f"127.0.0.1:{port}" for port in free_ports(2)]
    with Client([*nobody, cluster.endpoints[0]]) as client:
        client.put(key, "v")
        pair = client.get(key)
        assert pair is not None
        assert pair.value == b"v"


def test_when_nobody_can_be_reached_nothing_has_happened() -> None:
    with Client([f"127.0.0.1:{port}" for port in free_ports(2)], timeout_s=0.3) as client:
        with pytest.raises(Unavailable):
            client.put("k", "v")
        with pytest.raises(Unavailable):
            client.status(f"127.0.0.1:{free_ports(1)[0]}")


def test_a_watch_goes_on_at_another_member_when_its_own_is_killed(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints) as watcher, Client(cluster.endpoints[1:]) as writer:
        watch = watcher.watch(key, prefix=True)
        watch.begin()
        cluster.nodes[0].kill()
        try:
            revisions = [writer.put(f"{key}/{number}", "v").revision for number in range(3)]
            assert [next(watch).revision for _ in range(3)] == revisions
        finally:
            cluster.nodes[0].start()
            cluster.nodes[0].wait_ready()


def test_a_watch_that_was_quiet_for_longer_than_a_call_may_take_goes_on_too(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints, timeout_s=2.0) as watcher, Client(cluster.endpoints[1:]) as writer:
        watch = watcher.watch(key)
        watch.begin()
        kill = threading.Timer(2.2, cluster.nodes[0].kill)
        kill.start()
        try:
            put = threading.Timer(2.4, writer.put, (key, "v"))
            put.start()
            assert next(watch).pair.value == b"v"
            put.join()
        finally:
            kill.join()
            cluster.nodes[0].start()
            cluster.nodes[0].wait_ready()


def test_a_first_write_is_taken_by_another_member_when_its_own_hangs(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints, timeout_s=6.0) as client, cluster.nodes[0].paused():
        client.put(key, "v")


def test_a_read_is_answered_by_another_member_when_its_own_hangs(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints, timeout_s=3.0) as client:
        client.put(key, "v")
        with cluster.nodes[0].paused():
            pair = client.get(key)
        assert pair is not None
        assert pair.value == b"v"


def test_a_watch_goes_on_at_another_member_when_its_own_hangs(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints, timeout_s=2.0) as watcher, Client(cluster.endpoints[1:]) as writer:
        watch = watcher.watch(key)
        watch.begin()
        with cluster.nodes[0].paused():
            writer.put(key, "v")
            assert next(watch).pair.value == b"v"


def test_a_quiet_watch_stays_on_a_member_that_answers(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints[:1], timeout_s=0.6) as client:
        watch = client.watch(key)
        watch.begin()
        stream = watch._stream
        threading.Timer(2.0, client.put, (key, "v")).start()
        assert next(watch).pair.value == b"v"
        assert watch._stream is stream


def test_a_write_goes_on_where_a_name_has_no_address(cluster: LocalCluster, key: str) -> None:
    with Client(["no-such-host.invalid:1", cluster.endpoints[0]]) as client:
        client.put(key, "v")


@contextmanager
def all_killed(cluster: LocalCluster) -> Iterator[None]:
    for node in cluster.nodes:
        node.kill()
    try:
        yield
    finally:
        cluster.start()


def test_a_watch_outlasts_an_outage_that_is_longer_than_a_call_may_take(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints, timeout_s=0.5) as watcher, Client(cluster.endpoints) as writer:
        watch = watcher.watch(key)
        watch.begin()
        with ThreadPoolExecutor(1) as pool:
            following = pool.submit(next, watch)
            with all_killed(cluster), pytest.raises(FutureTimeout):
                following.result(timeout=2.0)
            writer.put(key, "v")
            assert following.result(timeout=30).pair.value == b"v"


def test_a_watch_that_has_not_begun_ends_when_nobody_serves_it() -> None:
    with Client([f"127.0.0.1:{free_ports(1)[0]}"], timeout_s=0.3) as client, pytest.raises(Unavailable):
        next(client.watch("k"))


def test_batches_are_whole_revisions(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints[:1], timeout_s=1.0) as client, client.watch(key, prefix=True) as watch:
        watch.begin()
        done = client.txn([], [Do.put(f"{key}/a", "1"), Do.put(f"{key}/b", "1")])
        batch = next(watch.batches())
        assert [(event.pair.key, event.revision) for event in batch] == [
            (f"{key}/a".encode(), done.revision),
            (f"{key}/b".encode(), done.revision),
        ]
        batches = watch.batches(progress=True)
        elsewhere = client.put(f"{key[1:]}/elsewhere", "v")
        while watch.seen_revision < elsewhere.revision:
            assert next(batches) == ()


def test_to_close_a_client_ends_its_watches_and_its_calls(client: Client, key: str) -> None:
    watch = client.watch(key)
    watch.begin()
    client.put(key, "v")
    waiting = client.barrier(key)
    with ThreadPoolExecutor(2) as pool:
        watching = pool.submit(list, watch)
        held = pool.submit(waiting.wait)
        time.sleep(0.3)
        client.close()
        assert [event.pair.value for event in watching.result(10)] == [b"v"]
        with pytest.raises(ClientClosed):
            held.result(10)
    with pytest.raises(ClientClosed):
        client.get(key)


def test_a_closed_watch_does_not_begin(client: Client, key: str) -> None:
    with client:
        watch = client.watch(key)
        watch.close()
        watch.begin()
        assert list(watch) == []


def test_a_quiet_watch_outlasts_a_compaction_behind_its_last_event(cluster: LocalCluster, key: str) -> None:
    with Client(cluster.endpoints[:1], timeout_s=1.0) as client, client.watch(key) as watch:
        watch.begin()
        batches = watch.batches(progress=True)
        for number in range(3):
            elsewhere = client.put(f"{key[1:]}/elsewhere", str(number))
        while watch.seen_revision < elsewhere.revision:
            next(batches)
        client.compact(elsewhere.revision, physical=True)
        cluster.nodes[0].kill()
        cluster.nodes[0].start()
        cluster.nodes[0].wait_ready()
        Client(cluster.endpoints[:1]).put(key, "v")
        while not (batch := next(batches)):
            pass
        assert [event.pair.value for event in batch] == [b"v"]
