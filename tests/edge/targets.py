"""What the fuzzer feeds the edge with: each target takes any bytes and fails only where the edge does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import cast
from unittest.mock import patch

from ratified.api.pages import Page
from ratified.api.service import Service
from ratified.api.translation import ROUTES
from ratified.edge.connection import ConnectionLimits, Stream
from ratified.edge.frames import PREFACE, settings
from ratified.edge.grpc import Call, GrpcConnection, Room, Sink
from ratified.edge.hpack import Decoder, Header, Headers, HeadersTooLarge, HpackError
from ratified.server.gateway import JsonCall
from ratified.server.http1 import Http1
from ratified.server.web import Web

LIMITS = ConnectionLimits(
    streams_max=20,
    header_bytes_max=2000,
    header_frames_max=5,
    stream_window_bytes=70_000,
    connection_window_bytes=100_000,
    ready_bytes_max=5_000,
    answers_waiting_max=50,
    idle_frames_max=200,
    resets_max=20,
)
MESSAGE_BYTES_MAX = 10_000
ROOM_BYTES = 50_000
UNSENT_BYTES_MAX = 2_000_000
CORPUS = Path(__file__).parent / "corpus"
"""Inputs of interest, by target."""


class Echo:
    """A call that answers each message with the same, and ends when the client does."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def on_message(self, message: bytes) -> None:
        self.call.send((message, message))
        self.call.done_with(message)

    def on_end(self) -> None:
        self.call.end()

    def on_gone(self) -> None:
        pass

    def on_sent(self) -> None:
        pass


class Calls:
    def on_call(self, call: Call, metadata: Sequence[Header]) -> Sink | None:
        if call.head.path == b"/unknown":
            call.end(12, "unknown")
            return None
        return Echo(call)

    def on_other(self, connection: GrpcConnection, stream: Stream, headers: Headers) -> None:
        connection.http.send_headers(stream, b"\x8d", ends=True)


def connection(data: bytes, *, settings_first: bool) -> None:
    """Feed it in pieces; the first byte says how large, and how often what is ready is taken."""
    room = Room(ROOM_BYTES, "there is no room")
    grpc = GrpcConnection(Calls(), room, LIMITS, MESSAGE_BYTES_MAX)
    room.connections[grpc] = None
    how = data[0] if data else 0
    piece, takes_every = (how & 0x0F) * 7 + 1 if how & 0x80 else len(data) + 1, (how >> 4 & 7) + 1
    grpc.http.receive(PREFACE + (settings() if settings_first else b""))
    for number, at in enumerate(range(1, len(data), piece)):
        grpc.http.receive(data[at : at + piece])
        assert grpc.http.unsent_bytes <= UNSENT_BYTES_MAX
        if number % takes_every == 0:
            while grpc.http.take():
                pass
        if grpc.http.closing:
            break
    grpc.http.lost()
    assert room.held_bytes == 0
    assert grpc.http.waiting_bytes == 0


def frames(data: bytes) -> None:
    connection(data, settings_first=True)


def calls(data: bytes) -> None:
    """A call is open already, so that the bytes are mostly its messages'."""
    headers = b"\x83\x86\x04\x02/a\x01\x01a\x0f\x10\x10application/grpc"
    length = len(headers).to_bytes(3)
    begun = length + b"\x01\x04\x00\x00\x00\x01" + headers
    body = data[1:]
    framed = b"".join(
        len(part).to_bytes(3) + b"\x00\x00\x00\x00\x00\x01" + part
        for at in range(0, len(body), 97)
        if (part := body[at : at + 97])
    )
    connection(data[:1] + begun + framed, settings_first=True)


def headers(data: bytes) -> None:
    decoder = Decoder(2000)
    for block in data.split(b"\xff\xff"):
        try:
            decoder.decode(block)
        except HpackError:
            return
        except HeadersTooLarge:
            continue


class Client:
    """The other end of a connection of HTTP/1.1."""

    def __init__(self) -> None:
        self.closed = False
        self.held_bytes = 0

    @property
    def socket_bytes(self) -> int:
        return 0

    @property
    def is_paused(self) -> bool:
        return False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return LOOP

    def on_limit(self, limit: str) -> None:
        pass

    def holds(self, size_bytes: int) -> bool:
        self.held_bytes += size_bytes
        assert self.held_bytes >= 0
        return self.held_bytes < ROOM_BYTES

    def on_json_call(self, call: JsonCall, metadata: Sequence[Header]) -> Sink | None:
        return JsonEcho(call)

    def write(self, data: bytes) -> None:
        assert not self.closed, "it is written to after its end"

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class JsonEcho:
    """Answers each message of a stream, and any other call when all of it is there."""

    def __init__(self, call: JsonCall) -> None:
        self._call = call
        self._is_stream = any(route.is_stream for route in ROUTES.values() if route.path.encode() == call.head.path)

    def on_message(self, message: bytes) -> None:
        if self._is_stream:
            self._call.send((b"",))

    def on_end(self) -> None:
        if self._is_stream:
            self._call.end()
        else:
            self._call.answer(b"")

    def on_gone(self) -> None:
        pass

    def on_sent(self) -> None:
        pass


async def _page(service: Service, method: str, target: str) -> Page:
    await asyncio.sleep(0)
    return Page(HTTPStatus.OK, "text/plain", f"{method} {target}".encode())


SERVICE = SimpleNamespace(request_bytes_max=MESSAGE_BYTES_MAX)
LOOP = asyncio.new_event_loop()


def http1(data: bytes) -> None:
    """Feed it in pieces, whose size the first byte says; every page is answered a turn of the loop later."""
    piece = data[0] + 1 if data else 1

    async def feed() -> None:
        client = Client()
        connection = Http1(Web(cast(Service, SERVICE)), client)
        for at in range(1, len(data), piece):
            if client.closed:
                return
            connection.receive(data[at : at + piece])
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)
        if not client.closed:
            connection.end()
        client.closed = True
        connection.lost()
        assert not client.held_bytes

    with patch("ratified.server.web.page", _page):
        LOOP.run_until_complete(feed())


TARGETS: dict[str, Callable[[bytes], None]] = {"frames": frames, "calls": calls, "headers": headers, "http1": http1}
