"""Four streams of 9,000 watches end at once: how long until the node has forgotten all, and how long the loop stood.

python bench/watch_cancel.py
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from ratified.api.access import Access
from ratified.api.service import Service
from ratified.api.watch import watch
from ratified.kv import queries
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig, Reader
from ratified.wire.etcd.rpc_pb2 import WatchCreateRequest, WatchRequest

STREAMS = 4
WATCHES = 9_000


class _Client:
    def __init__(self) -> None:
        self.requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(self) -> bytes | None:
        return await self.requests.get()

    def reads_by(self, reader: Reader) -> None:
        pass

    async def send(self, message: bytes) -> None:
        await self.answers.put(message)


async def _open(service: Service) -> asyncio.Task[None]:
    client = _Client()
    serving = asyncio.ensure_future(watch(Access(service), client))
    for number in range(WATCHES):
        request = WatchRequest(create_request=WatchCreateRequest(key=b"k%d" % number))
        client.requests.put_nowait(request.SerializeToString())
    for _ in range(WATCHES):
        await client.answers.get()
    return serving


async def _measure(host: Host) -> None:
    service = Service(host, election_timeout_s=0.05, request_bytes_max=10_000, quota_bytes=1 << 30, lease_ttl_min_s=2)
    await service.query(queries.status())
    streams = [await _open(service) for _ in range(STREAMS)]
    began = last = time.perf_counter()
    longest = 0.0
    for stream in streams:
        stream.cancel()
    while host.status().node.open_requests:
        await asyncio.sleep(0)
        longest, last = max(longest, time.perf_counter() - last), time.perf_counter()
    took_s, stood_ms = last - began, longest * 1e3
    print(f"{STREAMS * WATCHES} watches cancelled in {took_s:.2f} s; the loop stood for at most {stood_ms:.0f} ms")


async def _main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        config = HostConfig(data_dir=Path(directory), heartbeat_us=10_000, election_timeout_us=50_000)
        async with await Host.start(config, lambda group, space: KvStore(space)) as host:
            await _measure(host)


if __name__ == "__main__":
    asyncio.run(_main())
