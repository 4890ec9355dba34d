"""A client that is gone leaves nothing behind, and is told from what goes wrong here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from ratified.api.methods import METHODS, Method, MethodKind
from ratified.api.service import Service
from ratified.api.stream import BidiStream
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig
from ratified.server.clients import ClientListener
from ratified.server.urls import Url
from ratified.testing.processes import free_ports
from ratified.wire.etcd import rpc_pb2

WATCHES = 20


async def watch_and_leave(host: Host, target: str, metadata: tuple[tuple[str, str], ...]) -> None:
    """Open watches on one stream, and drop the connection."""
    channel = grpc.aio.insecure_channel(target)
    stream = channel.stream_stream("/etcdserverpb.Watch/Watch")(metadata=metadata)
    create = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"k"))
    for _ in range(WATCHES):
        await stream.write(create.SerializeToString())
    for _ in range(WATCHES):
        await stream.read()
    assert host.status().open_requests == WATCHES
    await channel.close()


@pytest.mark.parametrize("metadata", [(), (("hasleader", "true"),)])
def test_the_watches_of_a_lost_connection_are_cancelled(tmp_path: Path, metadata: tuple[tuple[str, str], ...]) -> None:
    async def run() -> None:
        config = HostConfig(data_dir=tmp_path, heartbeat_us=10_000, election_timeout_us=50_000)
        async with asyncio.timeout(30), await Host.start(config, lambda group, space: KvStore(space)) as host:
            service = Service(
                host, election_timeout_s=0.05, request_bytes_max=1000, quota_bytes=1000, lease_ttl_min_s=1
            )
            listener = ClientListener(METHODS, service, connections_max=10)
            url = Url("127.0.0.1", free_ports(1)[0])
            listener.listen(url)
            await listener.start()
            while host.status().node.groups[0].engine.leader is None:
                await asyncio.sleep(0.005)
            await watch_and_leave(host, url.address, metadata)
            while host.status().open_requests:
                await asyncio.sleep(0.005)
            await listener.stop(0)

    asyncio.run(run())


LARGE = bytes(1 << 20)


class Defect(Exception):
    pass


async def fail(service: Service, stream: BidiStream) -> None:
    await stream.send(b"first")
    raise Defect


async def send_until_the_client_has_left(service: Service, stream: BidiStream) -> None:
    await stream.send(LARGE)
    await stream.receive()
    for _ in range(100):
        await stream.send(LARGE)


STREAMS = {
    "/test/Defect": Method(None, MethodKind.STREAM, fail),
    "/test/Left": Method(None, MethodKind.STREAM, send_until_the_client_has_left),
}


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[grpc.aio.Channel]:
    config = HostConfig(data_dir=path, heartbeat_us=10_000, election_timeout_us=50_000)
    async with asyncio.timeout(30), await Host.start(config, lambda group, space: KvStore(space)) as host:
        service = Service(host, election_timeout_s=0.05, request_bytes_max=1000, quota_bytes=1000, lease_ttl_min_s=1)
        listener = ClientListener(STREAMS, service, connections_max=10)
        url = Url("127.0.0.1", free_ports(1)[0])
        listener.listen(url)
        await listener.start()
        try:
            async with grpc.aio.insecure_channel(url.address) as channel:
                yield channel
        finally:
            await listener.stop(0)


def test_a_defect_of_ours_is_not_taken_for_a_client_that_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with listening(tmp_path) as channel:
            call = channel.stream_stream("/test/Defect")()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                _ = [message async for message in call]
            assert caught.value.code() is grpc.StatusCode.UNKNOWN, "the client learns that its stream has failed"

    asyncio.run(run())
    assert any("/test/Defect" in record.getMessage() for record in caplog.records), "and so do we"


def test_a_client_that_left_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with listening(tmp_path) as channel:
            call = channel.stream_stream("/test/Left")()
            await call.read()
            await call.write(b"")
            call.cancel()

    asyncio.run(run())
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
