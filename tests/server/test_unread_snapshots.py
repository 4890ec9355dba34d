"""A client that asks for a snapshot and does not read it, on a real socket."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from ratified.api.methods import METHODS
from ratified.api.service import Service
from ratified.kv import commands
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig
from ratified.server.clients import ClientListener
from ratified.server.urls import Url
from ratified.storage.lmdb import LmdbEnvironment
from ratified.testing.processes import free_ports
from ratified.wire.etcd import errors, rpc_pb2

VALUES = 60
VALUE_BYTES = 100_000
"""Together more than waits for a reader, and than gRPC takes."""
TAKES_LITTLE = (("grpc.http2.bdp_probe", 0), ("grpc.use_local_subchannel_pool", 1))
"""gRPC takes 64 KiB by itself, and grants no more."""


class Server:
    def __init__(self, host: Host, address: str) -> None:
        self.host = host
        self._address = address

    @property
    def views(self) -> int:
        environment = self.host._environment
        assert isinstance(environment, LmdbEnvironment)
        return environment.views

    @asynccontextmanager
    async def unread(self) -> AsyncIterator[grpc.aio.UnaryStreamCall]:
        """A call whose first message has come, when the server has let go of what it was read from."""
        async with grpc.aio.insecure_channel(self._address, options=TAKES_LITTLE) as channel:
            call = channel.unary_stream("/etcdserverpb.Maintenance/Snapshot")(b"")
            await call.read()
            while self.views or self.host.status().open_requests:
                await asyncio.sleep(0.005)
            yield call


@asynccontextmanager
async def serving(path: Path, patience_s: float) -> AsyncIterator[Server]:
    config = HostConfig(data_dir=path, heartbeat_us=10_000, election_timeout_us=50_000)
    async with asyncio.timeout(60), await Host.start(config, lambda group, space: KvStore(space)) as host:
        for number in range(VALUES):
            put = rpc_pb2.PutRequest(key=b"%d" % number, value=bytes(VALUE_BYTES))
            await host.propose(commands.put(put.SerializeToString()))
        service = Service(
            host,
            election_timeout_s=0.05,
            request_bytes_max=1000,
            quota_bytes=1000,
            lease_ttl_min_s=1,
            snapshot_patience_s=patience_s,
        )
        listener = ClientListener(METHODS, service, connections_max=10)
        url = Url("127.0.0.1", free_ports(1)[0])
        listener.listen(url)
        await listener.start()
        try:
            yield Server(host, url.address)
        finally:
            await listener.stop(0)


async def read_on(call: grpc.aio.UnaryStreamCall) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def test_its_view_is_closed_while_it_does_not_read_and_it_is_told_when_it_does(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, patience_s=0.1) as server, server.unread() as call:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await read_on(call)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert caught.value.details() == errors.SNAPSHOT_UNREAD.text

    asyncio.run(run())


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_it_leaves_no_task_and_no_descriptor_behind_when_it_goes(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path, patience_s=0.1) as server:
            async with server.unread():  # what gRPC makes once
                pass
            tasks, descriptors = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
            for _ in range(3):
                async with server.unread():
                    pass
            while len(asyncio.all_tasks()) > tasks or len(os.listdir("/proc/self/fd")) > descriptors:
                await asyncio.sleep(0.005)

    asyncio.run(run())
