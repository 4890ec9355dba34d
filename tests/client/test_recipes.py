"""The recipes, blocking and awaited, against a cluster and against etcd."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ratified.client import (
    AsyncClient,
    AsyncTransaction,
    Client,
    Conflict,
    Do,
    KeyNotFound,
    LeaseExists,
    LeaseLost,
    LeaseNotFound,
    Range,
    RequestTooLarge,
    Transaction,
    Txn,
    When,
    compare_lease,
    compare_version,
)
from tests.client.etcd import Etcd

WORKERS = 4


@pytest.fixture
def client(endpoints: list[str]) -> Iterator[Client]:
    with Client(endpoints) as client:
        yield client


@pytest.fixture
def other(endpoints: list[str]) -> Iterator[Client]:
    """A client of the same store, with connections of its own."""
    with Client(endpoints) as client:
        yield client


def awaited(endpoints: list[str], act: Callable[[AsyncClient, AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), AsyncClient(endpoints) as client, AsyncClient(endpoints) as other:
            await act(client, other)

    asyncio.run(run())


def test_pages_are_of_one_revision(client: Client, key: str) -> None:
    for number in range(10):
        client.put(f"{key}/{number}", str(number))
    pages = client.pages(f"{key}/", prefix=True, page_keys=4)
    first = next(pages)
    client.put(f"{key}/9", "changed")
    client.put(f"{key}/99", "new")
    rest = list(pages)
    assert [len(page.pairs) for page in (first, *rest)] == [4, 4, 2]
    assert [pair.value for page in (first, *rest) for pair in page.pairs] == [str(n).encode() for n in range(10)]
    names = [pair.key for page in client.pages(key + "/", prefix=True, keys_only=True) for pair in page.pairs]
    assert len(names) == 11
    with pytest.raises(ValueError, match="page_keys is 0"):
        next(client.pages(key, page_keys=0))


def test_a_range_is_sorted_as_asked(client: Client, key: str) -> None:
    for name, value in (("b", "1"), ("a", "3"), ("c", "2"), ("b", "4")):
        client.put(f"{key}/{name}", value)

    def values(**how: Any) -> list[bytes]:
        return [pair.value for pair in client.range(f"{key}/", prefix=True, **how).pairs]

    assert values() == [b"3", b"4", b"2"]
    assert values(descending=True) == [b"2", b"4", b"3"]
    assert values(sort_by="create") == [b"4", b"3", b"2"]
    assert values(sort_by="mod", descending=True, limit=1) == [b"4"]
    assert values(sort_by="value") == [b"2", b"3", b"4"]
    assert client.range(f"{key}/", prefix=True, count_only=True).count == 3
    assert [pair.key for pair in client.range(f"{key}/b", end=f"{key}0").pairs] == [
        f"{key}/b".encode(),
        f"{key}/c".encode(),
    ]


def test_conditional_writes(client: Client, key: str) -> None:
    created = client.put_if_absent(key, "one")
    assert created
    again = client.put_if_absent(key, "two")
    assert not again
    assert again.current is not None
    assert (again.current.value, again.current.mod_revision) == (b"one", created.revision)
    assert not client.compare_and_swap(key, "two", expected="zero")
    swapped = client.compare_and_swap(key, "two", expected="one")
    assert swapped
    assert not client.compare_and_swap(key, "three", revision=created.revision)
    assert client.compare_and_swap(key, "three", revision=swapped.revision)
    assert not client.compare_and_delete(key, expected="two")
    assert client.compare_and_delete(key, expected="three")
    gone = client.compare_and_delete(key, expected="three")
    assert (gone.swapped, gone.current) == (False, None)
    with pytest.raises(ValueError, match="either its value or its mod revision"):
        client.compare_and_swap(key, "x")


def test_what_is_refused_has_a_class(client: Client, key: str) -> None:
    with pytest.raises(KeyNotFound):
        client.put(key, None)
    with pytest.raises(LeaseNotFound):
        client.put(key, "v", lease=123_456)
    lease = client.lease_grant(60)
    with pytest.raises(LeaseExists):
        client.lease_grant(60, id=lease.id)
    with pytest.raises(RequestTooLarge):
        client.put(key, b"x" * 3_000_000)
    client.put(key, "v", lease=lease.id)
    client.put(key, "w", lease=None)
    client.put(key, None, lease=None)
    pair = client.get(key)
    assert pair is not None
    assert (pair.value, pair.lease, pair.version) == (b"w", lease.id, 3)


def test_a_transaction_holds_transactions(client: Client, key: str) -> None:
    inner = When(compare_version(f"{key}/b", "==", 0)).then(Do.put(f"{key}/b", "1"), Do.get(f"{key}/b"))
    outer = (
        When(compare_version(f"{key}/a", "==", 0), compare_lease(f"{key}/a", "==", 0))
        .then(Do.put(f"{key}/a", "1"), Do.nested(inner.otherwise(Do.delete(f"{key}/b"))))
        .otherwise(Do.get(f"{key}/", prefix=True))
    )
    taken = client.commit(outer)
    assert taken.succeeded
    nested = taken.results[1]
    assert isinstance(nested, Txn)
    assert nested.succeeded
    assert isinstance(nested.results[1], Range)
    assert nested.results[1].pairs[0].value == b"1"
    again = client.commit(outer)
    assert not again.succeeded
    assert isinstance(again.results[0], Range)
    assert again.results[0].count == 2
    every = When(compare_version(f"{key}/", "==", 1, prefix=True)).then(Do.delete(f"{key}/", prefix=True))
    assert client.commit(every).succeeded


def test_a_kept_lease_outlives_its_ttl_and_ends_when_it_is_closed(client: Client, key: str) -> None:
    with client.keep_lease(2) as lease:
        client.put(key, "v", lease=lease.id)
        assert not lease.lost.wait(lease.ttl + 1.5)
        lease.check()
        assert client.get(key) is not None
    assert client.get(key) is None


def test_a_kept_lease_that_is_revoked_is_lost(client: Client) -> None:
    with client.keep_lease(2) as lease:
        client.lease_revoke(lease.id)
        assert lease.lost.wait(10)
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_lock_is_held_by_one_at_a_time_in_the_order_of_asking(client: Client, other: Client, key: str) -> None:
    got: list[int] = []
    inside = threading.Semaphore(1)

    def work(number: int) -> None:
        with (client if number % 2 else other).lock(key, 10) as place:
            assert inside.acquire(blocking=False)
            got.append(place.revision)
            time.sleep(0.01)
            inside.release()

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(12)))
    assert len(got) == 12
    assert got == sorted(got)
    assert client.range(f"{key}/", prefix=True).count == 0


def test_who_does_not_get_a_lock_in_time_leaves_the_queue(client: Client, other: Client, key: str) -> None:
    with client.lock(key, 10) as place:
        with pytest.raises(TimeoutError):
            other.lock(key, 10).acquire(timeout_s=0.3)
        assert client.range(f"{key}/", prefix=True).count == 1
        with other.keep_lease(10) as lease:
            with pytest.raises(TimeoutError):
                other.lock(key, lease).acquire(timeout_s=0.3)
            assert client.range(f"{key}/", prefix=True).count == 1
        assert client.commit(When(place.held()).then(Do.put(f"{key}-done", "v"))).succeeded
    assert not client.commit(When(place.held()).then(Do.put(f"{key}-done", "w"))).succeeded


def test_who_has_lost_its_place_meanwhile_does_not_get_the_lock(client: Client, other: Client, key: str) -> None:
    holder = client.lock(key, 30)
    holder.acquire()
    with other.keep_lease(30) as lease, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(other.lock(key, lease).acquire)
        while client.range(f"{key}/", prefix=True).count < 2:
            time.sleep(0.02)
        client.delete(f"{key}/{lease.id:x}")
        holder.release()
        with pytest.raises(LeaseLost, match="ended before its turn"):
            waiting.result(30)


def test_etcdctl_and_a_lock_of_ours_exclude_each_other(etcd: Etcd, key: str) -> None:
    with Client([etcd.endpoint]) as client:
        assert etcd.ctl("lock", key, "echo", "locked").splitlines()[-1] == "locked"
        with client.lock(key, 10) as place:
            held = etcd.ctl("get", "--prefix", f"{key}/", "--keys-only").split()
            assert held == [place.key.decode()]


def test_an_election(client: Client, other: Client, key: str) -> None:
    ours, theirs = client.election(key, 10), other.election(key, 10)
    assert ours.leader() is None
    ours.campaign("us")
    seen = other.election(key).observe()
    assert next(seen).value == b"us"
    ours.proclaim("still us")
    assert next(seen).value == b"still us"
    with ThreadPoolExecutor(1) as pool:
        campaign = pool.submit(theirs.campaign, "them")
        while client.range(f"{key}/", prefix=True).count < 2:
            time.sleep(0.02)
        ours.resign()
        place = campaign.result(30)
    leader = ours.leader()
    assert leader is not None
    assert (leader.value, leader.key) == (b"them", place.key)
    assert next(seen).value == b"them"
    with pytest.raises(RuntimeError, match="is not held"):
        ours.proclaim("us again")
    theirs.resign()
    assert ours.leader() is None


def test_a_leader_whose_lease_has_ended_cannot_proclaim(client: Client, key: str) -> None:
    with client.keep_lease(30) as lease:
        election = client.election(key, lease)
        election.campaign("us")
        client.lease_revoke(lease.id)
        with pytest.raises(LeaseLost):
            election.proclaim("us, we think")


def test_a_queue_gives_each_item_once_in_order(client: Client, other: Client, key: str) -> None:
    queue = client.queue(key)
    assert queue.get_nowait() is None
    for number in range(3):
        queue.put(str(number))
    assert [queue.get() for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(TimeoutError):
        queue.get(timeout_s=0.2)
    with ThreadPoolExecutor(WORKERS) as pool:
        taken = [pool.submit((client if n % 2 else other).queue(key).get, 30.0) for n in range(20)]
        for number in range(20):
            queue.put(str(number))
        assert sorted(int(each.result()) for each in taken) == list(range(20))


def test_a_barrier_holds_everybody_until_it_is_released(client: Client, other: Client, key: str) -> None:
    barrier = client.barrier(key)
    barrier.wait()
    assert barrier.hold()
    assert not other.barrier(key).hold()
    with pytest.raises(TimeoutError):
        barrier.wait(timeout_s=0.2)
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting = [pool.submit(other.barrier(key).wait, 30.0) for _ in range(WORKERS)]
        assert barrier.release()
        assert [each.result() for each in waiting] == [None] * WORKERS
    assert not barrier.release()


def test_stm_moves_money_and_makes_none(client: Client, other: Client, key: str) -> None:
    accounts = [f"{key}/{number}" for number in range(3)]
    for account in accounts:
        client.put(account, "100")

    def move(transaction: Transaction, source: str, target: str) -> None:
        amount = 7
        transaction.put(source, str(int(transaction.get(source) or b"0") - amount))
        transaction.put(target, str(int(transaction.get(target) or b"0") + amount))

    def work(number: int) -> None:
        source, target = accounts[number % 3], accounts[(number + 1) % 3]
        (client if number % 2 else other).stm(lambda transaction: move(transaction, source, target))

    def total(transaction: Transaction) -> int:
        return sum(int(transaction.get(account) or b"0") for account in accounts)

    with ThreadPoolExecutor(WORKERS) as pool:
        moving = [pool.submit(work, number) for number in range(24)]
        while not all(each.done() for each in moving):
            assert other.stm(total) == 300
        for each in moving:
            each.result()
    assert client.stm(total) == 300


def test_stm_reads_what_it_wrote_and_sees_one_moment(client: Client, key: str) -> None:
    client.put(f"{key}/a", "old")
    client.put(f"{key}/b", "old")

    def apply(transaction: Transaction) -> tuple[bytes | None, ...]:
        before = transaction.get(f"{key}/a")
        client.put(f"{key}/b", "new")
        transaction.put(f"{key}/c", "mine")
        transaction.delete(f"{key}/c")
        return before, transaction.get(f"{key}/b"), transaction.get(f"{key}/c")

    with pytest.raises(Conflict, match="3 times"):
        client.stm(apply, attempts=3)  # what it reads is written each time
    assert client.get(f"{key}/c") is None

    def read(transaction: Transaction) -> tuple[bytes | None, bytes | None]:
        before = transaction.get(f"{key}/a")
        client.put(f"{key}/b", "newer")
        return before, transaction.get(f"{key}/b")

    assert client.stm(read) == (b"old", b"new")


def test_stm_does_not_write_over_what_was_written_since_it_first_read(client: Client, key: str) -> None:
    client.put(f"{key}/a", "1")
    runs = []

    def apply(transaction: Transaction) -> None:
        runs.append(transaction.get(f"{key}/a"))
        if len(runs) == 1:
            client.put(f"{key}/b", "theirs")
        transaction.put(f"{key}/b", "ours")

    client.stm(apply)
    assert runs == [b"1", b"1"]
    with pytest.raises(ZeroDivisionError):
        client.stm(lambda transaction: 1 / 0)


def test_all_of_it_awaited(endpoints: list[str], key: str) -> None:
    async def act(client: AsyncClient, other: AsyncClient) -> None:
        for number in range(5):
            await client.put(f"{key}/pages/{number}", str(number))
        pages = [page async for page in client.pages(f"{key}/pages/", prefix=True, page_keys=2)]
        assert [len(page.pairs) for page in pages] == [2, 2, 1]
        assert await client.put_if_absent(f"{key}/swap", "a")
        assert await client.compare_and_swap(f"{key}/swap", "b", expected="a")
        assert await client.compare_and_delete(f"{key}/swap", expected="b")
        assert (await client.commit(When().then(Do.get(f"{key}/swap")))).succeeded

        held = 0

        async def work(number: int) -> None:
            nonlocal held
            async with (client if number % 2 else other).lock(f"{key}/lock", 10) as place:
                held += 1
                assert held == 1
                assert place.revision
                await asyncio.sleep(0.01)
                held -= 1

        await asyncio.gather(*(work(number) for number in range(8)))
        async with client.lock(f"{key}/lock", 10):
            with pytest.raises(TimeoutError):
                await other.lock(f"{key}/lock", 10).acquire(timeout_s=0.2)
            waiting = asyncio.create_task(other.lock(f"{key}/lock", 10).acquire())
            while (await client.range(f"{key}/lock/", prefix=True)).count < 2:
                await asyncio.sleep(0.02)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await client.range(f"{key}/lock/", prefix=True)).count == 1

        election = client.election(f"{key}/election", 10)
        await election.campaign("us")
        observed = other.election(f"{key}/election").observe()
        assert (await anext(observed)).value == b"us"
        await election.proclaim("still us")
        assert (await anext(observed)).value == b"still us"
        await election.resign()
        assert await election.leader() is None

        queue = client.queue(f"{key}/queue")
        taking = asyncio.create_task(other.queue(f"{key}/queue").get(30))
        await queue.put("item")
        assert await taking == b"item"
        assert await queue.get_nowait() is None

        barrier = client.barrier(f"{key}/barrier")
        assert await barrier.hold()
        waiting_there = asyncio.create_task(other.barrier(f"{key}/barrier").wait(30))
        assert await barrier.release()
        await waiting_there

        async def add(transaction: AsyncTransaction) -> None:
            transaction.put(f"{key}/sum", str(int(await transaction.get(f"{key}/sum") or b"0") + 1))

        await asyncio.gather(*(client.stm(add) for _ in range(6)))
        total = await client.get(f"{key}/sum")
        assert total is not None
        assert total.value == b"6"

        async with client.keep_lease(2) as lease:
            await client.put(f"{key}/kept", "v", lease=lease.id)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(lease.lost.wait(), 3.5)
            assert await client.get(f"{key}/kept") is not None
            await client.lease_revoke(lease.id)
            await asyncio.wait_for(lease.lost.wait(), 10)
            with pytest.raises(LeaseLost):
                lease.check()

    awaited(endpoints, act)
