"""Snapshots: taken as fast as the client reads, and let go where it does not."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest

from ratified.api.access import Access
from ratified.api.methods import METHODS
from ratified.api.snapshot import SNAPSHOTS_MAX
from ratified.kv import commands
from ratified.kv.errors import EtcdError
from ratified.wire.backup import verify
from ratified.wire.etcd import errors, rpc_pb2
from tests.api.conftest import Act, Api

SNAPSHOT, TXN = "/etcdserverpb.Maintenance/Snapshot", "/etcdserverpb.KV/Txn"
PATIENCE_S = 1.0

WithApi = Callable[[Act], None]


class Client:
    """The client's side: it takes a message when the test does."""

    def __init__(self, api: Api) -> None:
        self.offered: asyncio.Queue[bytes] = asyncio.Queue()
        self._taken = asyncio.Semaphore(0)
        self.cancelled = 0
        self.call = asyncio.ensure_future(METHODS[SNAPSHOT].handler(Access(api.service), self))

    async def receive(self) -> bytes | None:
        return b""

    async def send(self, message: bytes) -> None:
        self.offered.put_nowait(message)
        try:
            await self._taken.acquire()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def take(self) -> None:
        """The message that is offered, or the next one."""
        self._taken.release()


async def fill_rows(api: Api) -> None:
    """Some messages of a snapshot, each with as many rows as are looked at for one."""
    for first in range(0, 2000, 100):
        puts = [
            rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=b"key%04d" % (first + at), value=b"v"))
            for at in range(100)
        ]
        await api.call(TXN, rpc_pb2.TxnRequest(success=puts).SerializeToString())


async def fill(api: Api) -> None:
    """More than waits for a reader before what it reads is held."""
    for number in range(40):
        put = rpc_pb2.PutRequest(key=b"%d" % number, value=bytes(100_000))
        await api.service.host.propose(commands.put(put.SerializeToString()))


async def until_nothing_is_read(api: Api) -> None:
    while api.service.host.status().open_requests:
        await asyncio.sleep(0.005)


def test_a_client_that_reads_is_never_ended_however_slow_it_is(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        await fill_rows(api)
        api.service.snapshot_patience_s = PATIENCE_S
        loop = asyncio.get_running_loop()
        client, began = Client(api), loop.time()
        blobs = []
        left = 1
        while left:
            message = rpc_pb2.SnapshotResponse.FromString(await client.offered.get())
            blobs.append(message.blob)
            left = message.remaining_bytes
            await asyncio.sleep(PATIENCE_S / 4)
            client.take()
        await client.call
        assert loop.time() - began > PATIENCE_S
        assert verify(io.BytesIO(b"".join(blobs))).head.keys == 2000

    with_api(act)


@pytest.mark.parametrize("taken", [0, 2])
def test_one_that_is_left_unread_is_read_no_further_and_its_message_is_not_cancelled(
    with_api: WithApi, taken: int
) -> None:
    async def act(api: Api) -> None:
        await fill(api)
        api.service.snapshot_patience_s = 0.05
        client = Client(api)
        for _ in range(taken):
            client.take()
        for _ in range(taken + 1):
            await client.offered.get()
        await until_nothing_is_read(api)
        assert not client.call.done()
        assert client.cancelled == 0
        client.take()
        with pytest.raises(EtcdError) as caught:
            await client.call
        assert (caught.value.code, caught.value.text) == errors.SNAPSHOT_UNREAD
        assert client.offered.empty()

    with_api(act)


@pytest.mark.parametrize("patience_s", [0.05, 60])
def test_a_client_that_leaves_leaves_nothing_behind(with_api: WithApi, patience_s: float) -> None:
    """While its message waits, or when it has waited for too long."""

    async def act(api: Api) -> None:
        await fill(api)
        api.service.snapshot_patience_s = patience_s
        before = asyncio.all_tasks()
        client = Client(api)
        await client.offered.get()
        if patience_s < 1:
            await until_nothing_is_read(api)
        client.call.cancel()
        await until_nothing_is_read(api)
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.005)
        assert client.cancelled == 1

    with_api(act)


def test_only_so_many_are_read_at_once_and_one_that_is_left_unread_is_none_of_them(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        await fill(api)
        clients = [Client(api) for _ in range(SNAPSHOTS_MAX)]
        for client in clients:
            await client.offered.get()
        with pytest.raises(EtcdError) as caught:
            await Client(api).call
        assert (caught.value.code, caught.value.text) == errors.TOO_MANY_SNAPSHOTS
        clients[0].call.cancel()
        await asyncio.wait([clients[0].call])
        api.service.snapshot_patience_s = 0.05
        await (unread := Client(api)).offered.get()
        while api.service.snapshots == SNAPSHOTS_MAX:
            await asyncio.sleep(0.005)
        await (last := Client(api)).offered.get()
        for client in (*clients, unread, last):
            client.call.cancel()

    with_api(act)
