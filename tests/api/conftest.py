"""The handlers on a real single-member host, without a transport: streams are queues."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from ratified.api.access import Access
from ratified.api.methods import METHODS, MethodKind
from ratified.api.service import Service
from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig, Reader

TIMEOUT_S = 30


class QueueStream:
    """A client's side and the server's side of one stream."""

    def __init__(self) -> None:
        self.requests: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.answers: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive(self) -> bytes | None:
        return await self.requests.get()

    async def send(self, message: bytes) -> None:
        await self.answers.put(message)

    def reads_by(self, reader: Reader) -> None:
        pass


class Waiting:
    """A caller who waits for an answer."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.in_parts = False

    def answered(self, message: bytes) -> None:
        self.answer.set_result(message)

    def answered_in_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self.in_parts = True
        self.answer.set_result(b"".join(parts))

    def failed(self, error: EtcdError) -> None:
        self.answer.set_exception(error)


class Api:
    """Calls by method path, as a transport makes them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._serving: list[asyncio.Task[None]] = []

    async def call(self, path: str, request: bytes = b"") -> bytes:
        method = METHODS[path]
        if method.kind is MethodKind.SUBMISSION:
            return await self.wait(path, request).answer
        assert method.kind is MethodKind.UNARY
        answer: bytes = await method.handler(Access(self.service), request)
        return answer

    def wait(self, path: str, request: bytes) -> Waiting:
        """Submit what a method makes of a request."""
        caller = Waiting()
        self.service.submit(METHODS[path].handler(self.service, request), None, caller)
        return caller

    def open(self, path: str) -> tuple[QueueStream, asyncio.Task[None]]:
        method = METHODS[path]
        assert method.kind is MethodKind.STREAM
        stream = QueueStream()
        self._serving.append(asyncio.ensure_future(method.handler(Access(self.service), stream)))
        return stream, self._serving[-1]

    async def end(self) -> None:
        """End what still serves. How a stream ended that nobody asked about is asked for here: else asyncio reports
        it whenever the task is collected, perhaps to a later test."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


Act = Callable[[Api], Coroutine[Any, Any, None]]


@pytest.fixture
def with_api(tmp_path: Path) -> Callable[[Act], None]:
    """Run a coroutine with the API of a fresh host."""

    async def run(act: Act) -> None:
        config = HostConfig(data_dir=tmp_path, heartbeat_us=10_000, election_timeout_us=50_000)
        async with asyncio.timeout(TIMEOUT_S):
            async with await Host.start(config, lambda group, space: KvStore(space)) as host:
                service = Service(
                    host, election_timeout_s=0.05, request_bytes_max=10_000, quota_bytes=1_000_000, lease_ttl_min_s=2
                )
                await service.query(queries.status())
                api = Api(service)
                await act(api)
            await api.end()

    return lambda act: asyncio.run(run(act))
