"""The asyncio client against a real cluster."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest

from ratified.client import AsyncClient, CallRefused, ClientClosed, Compacted, Do, Unavailable, compare_version
from ratified.testing.processes import LocalCluster, free_ports


def with_client(cluster: LocalCluster, act: Callable[[AsyncClient], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), AsyncClient(cluster.endpoints) as client:
            await act(client)

    asyncio.run(run())


def test_put_get_range_delete_and_transactions(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        await client.put(key, "one")
        pair = await client.get(key)
        assert pair is not None
        assert pair.value == b"one"
        assert (await client.range(key, prefix=True)).count == 1
        taken = await client.txn([compare_version(key, "==", 1)], [Do.put(key, "two")])
        assert taken.succeeded
        assert (await client.delete(key)).deleted == 1
        with pytest.raises(CallRefused, match="etcdserver: key is not provided"):
            await client.put("", "v")

    with_client(cluster, act)


def test_leases_members_and_status(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        lease = await client.lease_grant(50)
        assert lease.id in await client.leases()
        assert await client.lease_keep_alive(lease.id) == 50
        assert await client.lease_time_to_live(lease.id) is not None
        await client.lease_revoke(lease.id)
        assert len(await client.members()) == 3
        status = await client.status(cluster.endpoints[1])
        report = await client.report(cluster.endpoints[1])
        assert report.name == "node2"
        assert report.member == f"{status.member:x}"

    with_client(cluster, act)


def test_many_calls_at_once(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        puts = await asyncio.gather(*(client.put(f"{key}/{number:03}", str(number)) for number in range(100)))
        assert len({put.revision for put in puts}) == 100
        found = await client.range(key, prefix=True)
        assert [pair.value for pair in found.pairs] == [str(number).encode() for number in range(100)]

    with_client(cluster, act)


def test_a_watch_goes_on_at_another_member_when_its_own_is_killed(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        async with client.watch(key, prefix=True) as watch, AsyncClient(cluster.endpoints[1:]) as writer:
            await watch.begin()
            before = await writer.put(f"{key}/0", "v")
            assert (await anext(watch)).revision == before.revision
            cluster.nodes[0].kill()
            try:
                revisions = [(await writer.put(f"{key}/{number}", "v")).revision for number in range(3)]
                assert [(await anext(watch)).revision for _ in range(3)] == revisions
            finally:
                cluster.nodes[0].start()
                await asyncio.to_thread(cluster.nodes[0].wait_ready)

    with_client(cluster, act)


def test_a_watch_that_was_quiet_for_longer_than_a_call_may_take_goes_on_too(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with (
            AsyncClient(cluster.endpoints, timeout_s=2.0) as client,
            AsyncClient(cluster.endpoints[1:]) as writer,
            client.watch(key) as watch,
        ):
            await watch.begin()
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(2.2)
            cluster.nodes[0].kill()
            try:
                await writer.put(key, "v")
                assert (await waiting).pair.value == b"v"
            finally:
                cluster.nodes[0].start()
                await asyncio.to_thread(cluster.nodes[0].wait_ready)

    asyncio.run(run())


def test_a_watch_of_what_is_compacted_says_where_to_begin(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        await client.put(key, "one")
        newest = await client.put(key, "two")
        await client.compact(newest.revision)
        async with client.watch(key, revision=1) as watch:
            with pytest.raises(Compacted) as caught:
                await anext(watch)
        assert caught.value.revision == newest.revision

    with_client(cluster, act)


def test_when_nobody_can_be_reached_nothing_has_happened() -> None:
    async def run() -> None:
        async with AsyncClient([f"127.0.0.1:{port}" for port in free_ports(2)], timeout_s=0.3) as client:
            with pytest.raises(Unavailable):
                await client.put("k", "v")

    asyncio.run(run())


def test_a_write_to_who_accepts_connections_and_never_answers_has_not_happened() -> None:
    async def run(endpoint: str) -> None:
        async with AsyncClient([endpoint], timeout_s=0.3) as client:
            with pytest.raises(Unavailable):
                await client.put("k", "v")

    with socket.create_server(("127.0.0.1", 0)) as mute:
        asyncio.run(run(f"127.0.0.1:{mute.getsockname()[1]}"))


def test_a_first_write_is_taken_by_another_member_when_its_own_hangs(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with AsyncClient(cluster.endpoints, timeout_s=6.0) as client:
            with cluster.nodes[0].paused():
                await client.put(key, "v")

    asyncio.run(run())


def test_a_read_is_answered_by_another_member_when_its_own_hangs(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with AsyncClient(cluster.endpoints, timeout_s=3.0) as client:
            await client.put(key, "v")
            with cluster.nodes[0].paused():
                pair = await client.get(key)
            assert pair is not None
            assert pair.value == b"v"

    asyncio.run(run())


def test_a_watch_goes_on_at_another_member_when_its_own_hangs(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with (
            AsyncClient(cluster.endpoints, timeout_s=2.0) as client,
            AsyncClient(cluster.endpoints[1:]) as writer,
            client.watch(key) as watch,
        ):
            await watch.begin()
            with cluster.nodes[0].paused():
                await writer.put(key, "v")
                assert (await anext(watch)).pair.value == b"v"

    asyncio.run(run())


def test_a_quiet_watch_stays_on_a_member_that_answers(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with AsyncClient(cluster.endpoints[:1], timeout_s=0.6) as client, client.watch(key) as watch:
            await watch.begin()
            stream = watch._stream
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 2.0)
            assert watch._stream is stream

    asyncio.run(run())


def test_to_wait_for_an_event_with_a_time_out_does_a_watch_no_harm(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        async with client.watch(key) as watch:
            await watch.begin()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.05)
            await client.put(key, "v")
            assert (await anext(watch)).pair.value == b"v"

    with_client(cluster, act)


def test_to_close_a_watch_ends_the_loop_that_waits_on_it(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        watch = client.watch(key)
        await watch.begin()

        async def consume() -> list[bytes]:
            return [event.pair.value async for event in watch]

        consuming = asyncio.create_task(consume())
        await asyncio.sleep(0)
        watch.close()
        assert await consuming == []

    with_client(cluster, act)


def test_a_write_goes_on_where_a_name_has_no_address(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with AsyncClient(["no-such-host.invalid:1", cluster.endpoints[0]]) as client:
            await client.put(key, "v")

    asyncio.run(run())


def test_a_watch_outlasts_an_outage_that_is_longer_than_a_call_may_take(cluster: LocalCluster, key: str) -> None:
    async def run() -> None:
        async with (
            AsyncClient(cluster.endpoints, timeout_s=0.5) as client,
            AsyncClient(cluster.endpoints) as writer,
            client.watch(key) as watch,
        ):
            await watch.begin()
            following = asyncio.ensure_future(anext(watch))
            for node in cluster.nodes:
                node.kill()
            done, _ = await asyncio.wait((following,), timeout=2.0)
            cluster.start()  # on the thread that they are tied to
            assert not done
            await writer.put(key, "v")
            assert (await asyncio.wait_for(following, 30)).pair.value == b"v"

    asyncio.run(run())


def test_to_close_a_client_ends_its_watches_and_its_calls_and_cancels_nobody(cluster: LocalCluster, key: str) -> None:
    async def act(client: AsyncClient) -> None:
        watch = client.watch(key)
        await watch.begin()
        await client.put(key, "v")

        arrived = asyncio.Event()

        async def consume() -> list[bytes]:
            values = []
            async for event in watch:
                values.append(event.pair.value)
                arrived.set()
            return values

        consuming = asyncio.create_task(consume())
        await arrived.wait()
        with ExitStack() as paused:
            for node in cluster.nodes:
                paused.enter_context(node.paused())
            held = asyncio.create_task(client.barrier(key).wait())
            calling = asyncio.create_task(client.get(key))
            await asyncio.sleep(0)  # both have begun
            await client.close()
        assert await consuming == [b"v"]
        for task in (held, calling):
            with pytest.raises(ClientClosed):
                await task
        with pytest.raises(ClientClosed):
            await client.get(key)

    with_client(cluster, act)
