"""Copies between a cluster of ours and etcd, both ways, with restarts of either side."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from ratified.client import Client, ClientError, Do, Event, KeyValue
from ratified.client.copying import (
    BATCH_BYTES_MAX,
    PLACES,
    Copy,
    CopyFailed,
    PlaceTaken,
    Scope,
    TargetNotEmpty,
    Told,
    _transactions,
)
from ratified.testing.processes import LocalCluster
from tests.client.etcd import Etcd

WRITES_PER_S = 400
LOAD_S = 0.7
"""How long a mirror follows between two restarts."""
COPIED_KEYS_DEFAULT = 2000


class Sides(NamedTuple):
    """Clients of the cluster that is read, and of the one that is written."""

    source: Client
    target: Client

    def copy(self, key: str, *, leases: bool = False, **more: object) -> Copy:
        """Of the test's own keys."""
        scope = Scope(f"{key}/from/".encode(), f"{key}/to/".encode())
        return Copy(self.source, self.target, scope=scope, leases=leases, **more)  # type: ignore[arg-type]


@pytest.fixture(params=["from etcd", "to etcd"])
def sides(request: pytest.FixtureRequest, cluster: LocalCluster, etcd: Etcd) -> Iterator[Sides]:
    ends = [[etcd.endpoint], cluster.endpoints]
    source, target = ends if request.param == "from etcd" else reversed(ends)
    with Client(source) as reading, Client(target) as writing:
        yield Sides(reading, writing)


def contents(client: Client, prefix: str) -> list[KeyValue]:
    return [pair for page in client.pages(prefix, prefix=True) for pair in page.pairs]


def values(pairs: list[KeyValue], prefix: str) -> dict[bytes, bytes]:
    return {pair.key.removeprefix(prefix.encode()): pair.value for pair in pairs}


def same(sides: Sides, key: str) -> bool:
    return values(contents(sides.source, f"{key}/from/"), f"{key}/from/") == values(
        contents(sides.target, f"{key}/to/"), f"{key}/to/"
    )


def fill(client: Client, prefix: str, keys: int) -> None:
    """In an order that is not the keys', with history, transactions, leases and deletions."""
    numbers = list(range(keys))
    random.Random(keys).shuffle(numbers)
    lease = client.lease_grant(600)
    for at in range(0, keys, 10):
        some = numbers[at : at + 10]
        client.txn([], [Do.put(f"{prefix}{n:06}", f"old {n}") for n in some])
        for n in some[:3]:
            client.put(f"{prefix}{n:06}", bytes([n % 256]) * (n % 50), lease=lease.id if n % 2 else 0)
        client.delete(f"{prefix}{some[-1]:06}")


def test_an_import_is_the_source_at_one_revision_in_its_order_with_leases(sides: Sides, key: str) -> None:
    fill(sides.source, f"{key}/from/", 300)
    told: list[Told] = []
    copy = sides.copy(key, leases=True, batch_keys=7, told=told.append)
    assert copy.begin() is False
    assert copy.snapshot() == 270
    copy.forget()
    source, target = contents(sides.source, f"{key}/from/"), contents(sides.target, f"{key}/to/")
    assert values(source, f"{key}/from/") == values(target, f"{key}/to/")
    assert [pair.lease for pair in source] == [pair.lease for pair in target]
    assert all(pair.version == 1 for pair in target)
    assert (told[-1].done, told[-1].keys, told[-1].through) == (270, 270, copy.through)
    order = {pair.key.removeprefix(f"{key}/to/".encode()): pair.mod_revision for pair in target}
    revisions = [
        order[pair.key.removeprefix(f"{key}/from/".encode())]
        for pair in sorted(source, key=lambda pair: pair.mod_revision)
    ]
    assert revisions == sorted(revisions)
    (lease,) = {pair.lease for pair in target if pair.lease}
    left = sides.target.lease_time_to_live(lease, keys=True)
    assert left is not None
    assert 0 < left.ttl <= 600
    assert len(left.keys) == sum(pair.lease == lease for pair in source)
    assert sides.target.range(PLACES, prefix=True, count_only=True).count == 0


def test_what_was_there_before_is_only_written_over_when_told(sides: Sides, key: str) -> None:
    sides.source.put(f"{key}/from/a", "new")
    sides.target.put(f"{key}/to/a", "old")
    sides.target.put(f"{key}/to/b", "old")
    with pytest.raises(TargetNotEmpty, match=r"not empty \(.*/to/a"):
        sides.copy(key).begin()
    copy = sides.copy(key)
    assert copy.begin(overwrite=True) is False
    assert copy.snapshot() == 1
    assert same(sides, key)
    copy.forget()


def test_a_snapshot_that_was_stopped_goes_on_and_writes_nothing_twice(sides: Sides, key: str) -> None:
    fill(sides.source, f"{key}/from/", 200)

    def tell(told: Told) -> None:
        if told.done > 60:
            first.stop()

    first: Copy = sides.copy(key, batch_keys=10, told=tell)
    first.begin()
    first.snapshot()
    assert not first.complete
    begun = len(contents(sides.target, f"{key}/to/"))
    assert 60 < begun < 180
    changed, deleted = contents(sides.target, f"{key}/to/")[:2]
    sides.source.put(changed.key.replace(b"/to/", b"/from/"), "changed")
    sides.source.delete(deleted.key.replace(b"/to/", b"/from/"))
    with pytest.raises(TargetNotEmpty):
        sides.copy(key, leases=True).begin()  # that would be another copy
    second = sides.copy(key)
    assert second.begin() is True
    second.snapshot()
    assert second.complete
    assert same(sides, key)
    versions = {pair.key: pair.version for pair in contents(sides.target, f"{key}/to/")}
    assert versions.pop(changed.key) == 2
    assert set(versions.values()) == {1}


def test_a_mirror_makes_each_change_once_and_in_order(sides: Sides, key: str) -> None:
    mirror = sides.copy(key, batch_keys=10)
    mirror.begin()
    mirror.snapshot()
    with sides.target.watch(f"{key}/to/", prefix=True) as watch:
        watch.begin()
        for number in range(30):
            sides.source.put(f"{key}/from/{number % 3}", str(number))
        sides.source.txn([], [Do.put(f"{key}/from/many/{number}", "v") for number in range(25)])
        sides.source.delete(f"{key}/from/many/", prefix=True)
        sides.source.put(f"{key}/from/big/1", b"x" * (BATCH_BYTES_MAX // 2 + 1))
        sides.source.put(f"{key}/from/big/2", b"x" * (BATCH_BYTES_MAX // 2 + 1))
        mirror.catch_up()
        seen = [next(watch) for _ in range(30 + 25 + 25 + 2)]
    assert [event.pair.value for event in seen[:30]] == [str(number).encode() for number in range(30)]
    assert {event.kind for event in seen[30:55]} == {"put"}
    assert {event.kind for event in seen[55:80]} == {"delete"}
    assert same(sides, key)
    again = sides.copy(key)
    assert again.begin() is True
    assert (again.complete, again.through) == (True, mirror.through)


def test_a_mirror_makes_up_for_what_was_compacted_before_it_was_read(sides: Sides, key: str) -> None:
    for name in ("kept", "changed", "deleted"):
        sides.source.put(f"{key}/from/{name}", "old")
    mirror = sides.copy(key)
    mirror.begin()
    mirror.snapshot()
    sides.source.put(f"{key}/from/changed", "new")
    sides.source.put(f"{key}/from/added", "new")
    last = sides.source.delete(f"{key}/from/deleted")
    sides.source.put(f"{key}/from/more", "new")
    sides.source.compact(last.revision)
    again = sides.copy(key)
    again.begin()
    again.catch_up()
    assert same(sides, key)
    kept = sides.target.get(f"{key}/to/kept")
    assert kept is not None
    assert kept.version == 1


def test_of_two_mirrors_of_the_same_keys_one_ends(sides: Sides, key: str) -> None:
    one, other = sides.copy(key), sides.copy(key)
    one.begin()
    other.begin()
    one.snapshot()
    sides.source.put(f"{key}/from/a", "v")
    with pytest.raises(PlaceTaken, match="another copy of the same keys is at work"):
        other.snapshot()
    one.catch_up()
    assert same(sides, key)


def test_a_source_that_is_behind_the_copy_was_restored(sides: Sides, key: str) -> None:
    copy = sides.copy(key)
    copy.begin()
    copy.snapshot()
    place = sides.target.get(copy.place_key)
    assert place is not None
    future = place.value.replace(f'"through":{copy.through}'.encode(), b'"through":999999999')
    sides.target.put(place.key, future)
    with pytest.raises(CopyFailed, match="was it restored"):
        sides.copy(key).begin()
    sides.target.delete(place.key)


def test_what_a_cluster_refuses_ends_the_copy_and_says_which(sides: Sides, key: str) -> None:
    sides.source.put(f"{key}/from/a", "v")
    long = Scope(f"{key}/from/".encode(), b"x" * (2 << 20))
    copy = Copy(sides.source, sides.target, scope=long)
    with pytest.raises(CopyFailed, match=r"the target: .*(too large|larger)"):
        copy.begin()
    with Client(["127.0.0.1:1"], timeout_s=0.5) as nobody:
        with pytest.raises(CopyFailed, match="the source: "):
            Copy(nobody, sides.target).begin()
        with pytest.raises(CopyFailed, match="the target: "):
            Copy(sides.source, nobody).begin()
    with pytest.raises(ValueError, match="batch_keys is 128"):
        Copy(sides.source, sides.target, batch_keys=128)


def event(revision: int, key: str, size_bytes: int = 0) -> Event:
    return Event("put", KeyValue(key.encode(), bytes(size_bytes), revision, revision, 1))


@pytest.mark.parametrize(
    ("changes", "cut"),
    [
        ([(1, "a"), (2, "b"), (3, "c")], [("ab", 2), ("c", 3)]),
        ([(1, "a"), (2, "a"), (2, "b")], [("a", 1), ("ab", 2)]),
        ([(1, "a"), (2, "b"), (2, "c"), (3, "d")], [("a", 1), ("bc", 2), ("d", 3)]),
        (
            [(1, "a"), (2, "b"), (2, "c"), (2, "d"), (2, "e"), (2, "f"), (3, "g")],
            [("a", 1), ("bc", 1), ("de", 1), ("fg", 3)],
        ),
        ([], []),
    ],
)
def test_revisions_are_torn_apart_only_where_they_must_be(
    changes: list[tuple[int, str]], cut: list[tuple[str, int]]
) -> None:
    parts = list(_transactions([event(*change) for change in changes], 2))
    assert [(b"".join(each.pair.key for each in part).decode(), through) for part, through in parts] == cut


def test_a_transaction_is_not_larger_than_servers_take() -> None:
    half = BATCH_BYTES_MAX // 2
    parts = list(_transactions([event(1, "a", half), event(2, "b", half), event(3, "c", 3 * half)], 100))
    assert [[each.revision for each in part] for part, _ in parts] == [[1], [2], [3]]


class Restarted(NamedTuple):
    """A server that can be killed and started."""

    endpoint: str
    kill: Callable[[], None]
    start: Callable[[], None]


@contextmanager
def servers(directory: Path) -> Iterator[list[Restarted]]:
    """etcd, and a node of ours."""
    (directory / "etcd").mkdir(parents=True)
    with Etcd(directory / "etcd") as etcd, LocalCluster(directory / "ours", 1) as cluster:
        (node,) = cluster.nodes

        def start() -> None:
            node.start()
            node.wait_ready()

        yield [Restarted(etcd.endpoint, etcd.kill, etcd.start), Restarted(node.endpoint, node.kill, start)]


def insist(write: Callable[[], object]) -> None:
    """A write that may be made twice."""
    while True:
        try:
            write()
        except ClientError:
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("way", ["from etcd", "to etcd"])
def test_a_mirror_loses_nothing_when_either_side_restarts(tmp_path: Path, way: str) -> None:
    """Under load; the versions of the keys tell whether each write was copied, and once."""
    with servers(tmp_path) as both, ExitStack() as stack:
        source, target = both if way == "from etcd" else reversed(both)
        reading, writing, loading = (
            stack.enter_context(Client([server.endpoint], timeout_s=3)) for server in (source, target, source)
        )
        sides = Sides(reading, writing)
        first = sides.copy("/k")
        first.begin()
        first.snapshot()
        enough = threading.Event()

        def load() -> None:
            draw = random.Random(1)
            while not enough.wait(1 / WRITES_PER_S):
                name = f"/k/from/{draw.randrange(50)}"
                insist(partial(loading.put, name, str(draw.random())))
                if draw.random() < 0.02:
                    insist(partial(loading.delete, name))

        with ThreadPoolExecutor(2) as pool:
            following, writer = pool.submit(first.follow), pool.submit(load)
            try:
                for server in (target, source, target, source):
                    time.sleep(LOAD_S)
                    server.kill()
                    time.sleep(LOAD_S / 2)
                    server.start()
                first.stop()
                following.result(30)
                second = sides.copy("/k")
                assert second.begin() is True
                following = pool.submit(second.follow)
                time.sleep(LOAD_S)
                second.stop()
                following.result(30)
            finally:
                first.stop()
                enough.set()
                writer.result(60)
        last = sides.copy("/k")
        last.begin()
        last.catch_up()
        assert same(sides, "/k")
        read, written = (
            {pair.key.rpartition(b"/")[2]: pair.version for pair in contents(client, prefix)}
            for client, prefix in ((reading, "/k/from/"), (writing, "/k/to/"))
        )
        assert read == written
        assert sum(read.values()) > 100


@pytest.mark.parametrize("way", ["from etcd", "to etcd"])
def test_an_import_goes_on_when_either_side_restarts(
    tmp_path: Path, way: str, pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    keys = pytestconfig.getoption("--copied-keys", default=None) or COPIED_KEYS_DEFAULT
    with servers(tmp_path) as both, ExitStack() as stack:
        source, target = both if way == "from etcd" else reversed(both)
        reading, writing = (stack.enter_context(Client([server.endpoint], timeout_s=3)) for server in (source, target))
        fill(reading, "/k/from/", keys)
        sides = Sides(reading, writing)
        half, restarted = threading.Event(), threading.Event()

        def tell(told: Told) -> None:
            if told.done > keys // 4 and not half.is_set():
                half.set()
                restarted.wait(30)

        copy = sides.copy("/k", leases=True, told=tell)
        copy.begin()
        with ThreadPoolExecutor(1) as pool:
            copying = pool.submit(copy.snapshot)
            try:
                assert half.wait(600)
                for server in (source, target):
                    server.kill()
            finally:
                restarted.set()
            for server in (source, target):
                server.start()
            began = time.monotonic()
            assert copying.result(600) == keys * 9 // 10
        record_property("keys_per_s_after_the_restart", keys * 0.675 / (time.monotonic() - began))
        assert same(sides, "/k")
        assert all(pair.version == 1 for pair in contents(writing, "/k/to/"))
        copy.forget()
