"""What calls as JSON, and pages, may hold of a member, by HTTP/1.1 and HTTP/2; that they leave nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ratified.api.service import Service
from ratified.edge import frames
from ratified.edge.frames import END_HEADERS, END_STREAM, PREFACE, frame, settings
from ratified.edge.grpc import Sink
from ratified.edge.hpack import Header, encode
from ratified.server import clients
from ratified.server.calls import UNFINISHED_S
from ratified.server.clients import PAGES_MAX, PIECE_BYTES
from ratified.server.gateway import JsonCall
from ratified.server.http1 import Http1
from ratified.server.web import Web
from tests.server.test_clients import Peer, until, with_peer
from tests.server.test_http1 import UnreadSocket, get

LOCK = b'{"name": "bG9jaw=="}'
"""The second one that asks waits, for as long as the first one's lease lasts."""


def post(path: str, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path.encode(), size) + body


def asked(stream: int, method: bytes, path: bytes, body: bytes | None, *, ends: bool = True) -> bytes:
    """A request by HTTP/2 that is no call of gRPC."""
    block = encode((b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"))
    if body is None:
        return frame(frames.HEADERS, END_HEADERS | END_STREAM, stream, block)
    data = frame(frames.DATA, END_STREAM if ends else 0, stream, body)
    return frame(frames.HEADERS, END_HEADERS, stream, block) + data


def by_http2(body: bytes, *, ends: bool = True) -> bytes:
    return PREFACE + settings() + asked(1, b"POST", b"/v3/lock/lock", body, ends=ends)


def held(peer: Peer) -> int:
    return peer.listener.room.held_bytes


@pytest.mark.parametrize("waits", [post("/v3/lock/lock", LOCK), by_http2(LOCK)], ids=["by HTTP/1.1", "by HTTP/2"])
def test_a_request_is_counted_until_its_call_has_ended(tmp_path: Path, waits: bytes) -> None:
    async def act(peer: Peer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
        writer.write(post("/v3/lock/lock", LOCK))
        await asyncio.wait_for(reader.readuntil(b'"key"'), 10)
        await until(lambda: held(peer) == 0)
        peer.send(waits)
        await until(lambda: held(peer) == len(LOCK))
        peer.connection.abort()
        await until(lambda: held(peer) == 0)
        writer.close()

    with_peer(tmp_path, act)


@pytest.mark.parametrize("waits", [post("/v3/lock/lock", LOCK), by_http2(LOCK)], ids=["by HTTP/1.1", "by HTTP/2"])
def test_a_call_that_waits_ends_where_there_is_no_room_for_what_it_holds(tmp_path: Path, waits: bytes) -> None:
    async def act(peer: Peer) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
        writer.write(post("/v3/lock/lock", LOCK))
        await asyncio.wait_for(reader.readuntil(b'"key"'), 10)
        await until(lambda: held(peer) == 0)
        peer.send(waits)
        await until(lambda: held(peer) == len(LOCK))
        peer.listener.room._bytes_max = len(LOCK)
        writer.write(post("/v3/kv/put", b'{"key"', 100))
        await asyncio.wait_for(peer._reader.readuntil(b"etcdserver: too many requests"), 10)
        assert held(peer) == len(b'{"key"')
        assert peer.listener.passed["request_bytes"] == 1
        writer.close()

    with_peer(tmp_path, act)


@pytest.mark.parametrize(
    ("half", "answer"),
    [
        (post("/v3/kv/put", b'{"key"', 100), b"HTTP/1.1 408"),
        (b"GET /health HTTP/1.1\r\nHo", b"HTTP/1.1 408"),
        (by_http2(b'{"name"', ends=False), b"the request has not come in time"),
    ],
    ids=["a body", "a head", "by HTTP/2"],
)
def test_a_request_that_does_not_come_whole_is_ended(tmp_path: Path, half: bytes, answer: bytes) -> None:
    async def act(peer: Peer) -> None:
        peer.send(half)
        await until(lambda: peer.connection._has_spoken)
        heard_at = peer.connection._heard_at
        await until(lambda: peer.connection._heard_at >= heard_at)
        peer.connection._heard_at += UNFINISHED_S  # byte by byte it goes on
        peer.after(UNFINISHED_S - 5)
        assert peer.is_kept
        peer.after(UNFINISHED_S + 1)
        await asyncio.wait_for(peer._reader.readuntil(answer), 10)
        assert held(peer) == 0

    with_peer(tmp_path, act)


def test_a_first_byte_that_protocols_share_decides_nothing(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(b"P")
        await until(lambda: peer.connection._first == b"P")
        peer.send(post("/v3/kv/range", b'{"key": "YQ=="}')[1:])
        await asyncio.wait_for(peer._reader.readuntil(b"HTTP/1.1 200"), 10)

    with_peer(tmp_path, act)


def test_http_1_is_read_piece_by_piece_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RECEIVE_S", 0.0)
    sizes: list[int] = []
    receive: Callable[[Http1, bytes], None] = Http1.receive

    def noted(connection: Http1, data: bytes) -> None:
        sizes.append(len(data))
        receive(connection, data)

    monkeypatch.setattr(Http1, "receive", noted)

    async def act(peer: Peer) -> None:
        chunks = b"1\r\n \r\n" * 3_000
        peer.send(b"POST /v3/kv/range HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        peer.send(chunks, b"f\r\n", b'{"key": "YQ=="}', b"\r\n0\r\n\r\n")
        await asyncio.wait_for(peer._reader.readuntil(b"HTTP/1.1 200"), 10)
        assert max(sizes) <= PIECE_BYTES
        assert len(sizes) > len(chunks) // PIECE_BYTES

    with_peer(tmp_path, act)


def test_a_request_that_is_too_large_is_counted(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(post("/v3/kv/put", bytes(5_000)))
        await asyncio.wait_for(peer._reader.readuntil(b"HTTP/1.1 413"), 10)
        assert peer.listener.passed["message_bytes"] == 1

    with_peer(tmp_path, act)


def test_pages_of_one_connection_are_few_at_a_time(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        count = 4 * PAGES_MAX
        pages = [asked(number, b"GET", b"/metrics", None) for number in range(1, 2 * count, 2)]
        peer.send(PREFACE, settings(), *pages)
        await until(lambda: peer.listener.passed["pages"] > 0)
        await until(lambda: not peer.connection._pages)
        assert peer.listener.passed["pages"] <= count - PAGES_MAX

    with_peer(tmp_path, act)


class Answered(UnreadSocket):
    """Answers calls at once, and counts them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def on_json_call(self, call: JsonCall, metadata: Sequence[Header]) -> Sink | None:
        self.calls += 1
        call.answer(b"")
        return None


def test_no_call_is_begun_for_a_connection_that_is_lost() -> None:
    """It was lost between an answer and the request behind it: nobody would have ended that call."""

    async def run() -> None:
        client = Answered()
        connection = Http1(Web(cast(Service, SimpleNamespace(request_bytes_max=2_000))), client)
        connection.receive(post("/v3/kv/put", b"{}") * 2)
        assert client.calls == 1
        connection.lost()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert client.calls == 1

    asyncio.run(run())


def test_a_watch_whose_request_is_wrong_is_no_streaming_call_any_more(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(post("/v3/watch", b'{"create_request": {"key": "\\ud800"}}'))
        line = await asyncio.wait_for(peer._reader.readuntil(b"}}\n"), 10)
        assert json.loads(line[line.index(b"{") :])["error"]["grpc_code"] == 3
        await until(lambda: peer.listener.streaming_calls == 0)
        peer.send(get("/livez"))
        await asyncio.wait_for(peer._reader.readuntil(b"ok\n"), 10)

    with_peer(tmp_path, act)
