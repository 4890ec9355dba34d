"""Watch: many watches on one stream.

Rules, as etcd keeps them:

1. A client creates and cancels watches and asks for progress by requests; every answer carries the watch's id, its own
   choice or the lowest that is free. The first answer of a watch says ``created``, its last one ``canceled``.
2. Each watch is a continuation of the store, and one task here that passes on what it yields; answers of one watch
   stay in order.
3. Progress, asked for, is answered under id -1 once every watch of the stream has been sent everything up to the
   header's revision. The store knows; it is told which watches share a stream.
4. A watch that the server cannot go on with ends the whole stream as UNAVAILABLE: clients then open it again, from the
   revision that they have come to.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine

from ratified.api.service import Service
from ratified.api.stream import BidiStream
from ratified.kv import queries, requests
from ratified.kv.encoding import varint
from ratified.kv.errors import EtcdError
from ratified.wire.etcd import errors, rpc_pb2

NO_WATCH_ID = -1
WATCHES_PER_STREAM_MAX = 10_000

_streams = itertools.count(1)


async def watch(service: Service, stream: BidiStream) -> None:
    """Serve one stream until the client cancels it."""
    watches = _Watches(service, stream)
    receiving = asyncio.ensure_future(watches.receive())
    try:
        # A client that sends no more may still want to be sent events, so the end of its requests ends nothing.
        await asyncio.wait((receiving, watches.failed), return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            receiving.result()
        await watches.failed
    finally:
        receiving.cancel()
        watches.end()


class _Watches:
    """The watches of one stream, by id; ``failed`` ends the stream with its exception."""

    def __init__(self, service: Service, stream: BidiStream) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._service = service
        self._stream = stream
        self._number = next(_streams)
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._progress_requests: set[asyncio.Task[None]] = set()
        self._next_id = 0
        self._reader = service.host.reader()

    async def receive(self) -> None:
        """Carry out the client's requests, until it sends no more."""
        while (message := await self._stream.receive()) is not None:
            request = requests.decode(rpc_pb2.WatchRequest, message)
            match request.WhichOneof("request_union"):
                case "create_request":
                    await self._create(request.create_request)
                case "cancel_request":
                    await self._cancel(request.cancel_request.watch_id)
                case "progress_request":
                    self._ask_progress()

    def end(self) -> None:
        for task in (*self._pumps.values(), *self._progress_requests):
            task.cancel()
        self.failed.cancel()

    async def _create(self, request: rpc_pb2.WatchCreateRequest) -> None:
        watch_id = request.watch_id or self._free_id()
        if watch_id in self._pumps:
            refusal = rpc_pb2.WatchResponse(
                watch_id=NO_WATCH_ID, created=True, canceled=True, cancel_reason=errors.DUPLICATE_WATCH_ID_TEXT
            )
            await self._stream.send(refusal.SerializeToString() + self._service.header())
            return
        if len(self._pumps) >= WATCHES_PER_STREAM_MAX:
            raise EtcdError(errors.UNAVAILABLE, f"more than {WATCHES_PER_STREAM_MAX} watches on one stream")
        query = queries.watch(self._number, request.SerializeToString())
        self._pumps[watch_id] = self._start(self._pump(watch_id, query))

    def _free_id(self) -> int:
        while self._next_id in self._pumps:
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    async def _cancel(self, watch_id: int) -> None:
        pump = self._pumps.pop(watch_id, None)
        if pump is None:
            return
        pump.cancel()
        await asyncio.wait((pump,))
        answer = await self._service.query(queries.status(), linearizable=False)
        header = rpc_pb2.StatusResponse.FromString(answer).header
        canceled = rpc_pb2.WatchResponse(header=header, watch_id=watch_id, canceled=True)
        await self._stream.send(canceled.SerializeToString())

    def _ask_progress(self) -> None:
        task = self._start(self._pass_on(b"", queries.progress(self._number)))
        self._progress_requests.add(task)
        task.add_done_callback(self._progress_requests.discard)

    def _start(self, coroutine: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(coroutine)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _pump(self, watch_id: int, query: bytes) -> None:
        """Pass on one watch, until the store ends it."""
        await self._pass_on(b"\x10" + varint(watch_id) if watch_id else b"", query)
        self._pumps.pop(watch_id, None)

    async def _pass_on(self, fields: bytes, query: bytes) -> None:
        async with contextlib.aclosing(self._service.stream(query, self._reader)) as answers:
            async for answer in answers:
                await self._stream.send(answer + fields)
