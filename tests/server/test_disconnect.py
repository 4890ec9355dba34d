"""A client that is gone leaves nothing behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest

from ratified.api.methods import METHODS
from ratified.api.service import Service
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig
from ratified.server.grpc import GrpcListener
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
            listener = GrpcListener(METHODS, service, connections_max=10)
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
