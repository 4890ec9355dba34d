"""A client's connection from inside: its clock is moved by hand, and what it holds is looked at."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ratified.api.methods import METHODS
from ratified.api.service import Service
from ratified.edge import frames
from ratified.edge.answers import Share
from ratified.edge.frames import PREFACE, ErrorCode, frame, rst_stream, settings
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig, TlsFiles
from ratified.runtime.tls import Certificates
from ratified.server import clients
from ratified.server.calls import UNFINISHED_S, Unary
from ratified.server.certificates import self_signed
from ratified.server.clients import (
    HELLO_S,
    LIGHT_CALLS_MAX,
    SILENCE_S,
    ClientConnection,
    ClientListener,
    ListenerOptions,
)
from ratified.server.urls import Url
from ratified.server.web import Web
from ratified.testing.processes import free_ports
from ratified.wire.etcd import rpc_pb2
from tests.server.test_abuse import PUT, RANGE, WATCH, body, call, message, numbers, opened

LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant"
cancel_unknown = rpc_pb2.WatchRequest(cancel_request=rpc_pb2.WatchCancelRequest(watch_id=7)).SerializeToString()
range_one = rpc_pb2.RangeRequest(key=b"k").SerializeToString()


class Peer:
    """A client's end of a connection, and the server's."""

    def __init__(self, listener: ClientListener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (self.connection,) = listener.connections
        self.listener = listener
        self.port = writer.get_extra_info("peername")[1]
        self._reader = reader
        self._writer = writer

    def send(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))

    async def next(self, kind: int, stream: int | None = None) -> bytes:
        """The payload of the next frame of this kind, on this stream or any."""
        while True:
            high, low, found, _, number = frames.read_head(await self._reader.readexactly(frames.HEAD_BYTES), 0)
            payload = await self._reader.readexactly(high << 16 | low)
            if found == kind and stream in (None, number):
                return payload

    async def ends(self) -> None:
        while await self._reader.read(65536):
            pass

    def after(self, seconds: float) -> None:
        """The server looks at its connections as if so much time had passed."""
        self.connection.on_second(self.connection.loop.time() + seconds)

    @property
    def is_kept(self) -> bool:
        transport = self.connection._transport
        return transport is not None and not transport.is_closing()


Act = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def listening(
    path: Path, tls: Certificates | None = None, options: ListenerOptions | None = None
) -> AsyncIterator[tuple[ClientListener, int]]:
    config = HostConfig(data_dir=path / "data", heartbeat_us=10_000, election_timeout_us=50_000)
    async with asyncio.timeout(30), await Host.start(config, lambda group, space: KvStore(space)) as host:
        service = Service(host, election_timeout_s=0.05, request_bytes_max=2000, quota_bytes=1 << 20, lease_ttl_min_s=1)
        listener = ClientListener(METHODS, service, 10, tls, options)
        port = free_ports(1)[0]
        listener.listen(Url("127.0.0.1", port, tls is not None))
        await listener.start()
        assert listener._timer is not None
        listener._timer.cancel()  # time passes by hand
        while host.leader() is None:
            await asyncio.sleep(0.005)
        try:
            yield listener, port
        finally:
            await listener.stop(0)


def with_peer(path: Path, act: Act, tls: Certificates | None = None, options: ListenerOptions | None = None) -> None:
    async def run() -> None:
        async with listening(path, tls, options) as (listener, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while not listener.connections:
                await asyncio.sleep(0.001)
            try:
                await act(Peer(listener, reader, writer))
            finally:
                writer.close()

    asyncio.run(run())


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


def test_the_kernel_asks_whether_a_clients_machine_is_there(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        assert peer.connection._transport is not None
        connected = peer.connection._transport.get_extra_info("socket")
        assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30

    with_peer(tmp_path, act)


def test_who_says_nothing_is_closed(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.after(HELLO_S - 1)
        assert peer.is_kept
        peer.after(HELLO_S + 1)
        await peer.ends()
        assert peer.listener.passed["silence_seconds"] == 1

    with_peer(tmp_path, act)


def test_a_handshake_that_goes_on_for_ever_is_closed(tmp_path: Path) -> None:
    pair = self_signed(["127.0.0.1"], 10)
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_bytes(pair.certificate)
    key.write_bytes(pair.key)

    async def act(peer: Peer) -> None:
        heard_at = peer.connection._heard_at
        peer.send(b"\x16\x03\x01\x02")  # a record begins
        await until(lambda: peer.connection._heard_at > heard_at)
        peer.connection._heard_at += HELLO_S  # and goes on, byte by byte
        peer.after(HELLO_S + 1)
        await peer.ends()

    with_peer(tmp_path, act, Certificates(TlsFiles(cert_file=cert, key_file=key)))


def test_who_is_silent_is_asked_once_and_then_closed(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        await peer.next(frames.SETTINGS)
        peer.after(SILENCE_S / 2 - 1)
        assert not peer.connection._is_asked
        peer.after(SILENCE_S / 2 + 1)
        asked = await peer.next(frames.PING)
        peer.send(frame(frames.PING, frames.ACK, 0, asked))
        await until(lambda: not peer.connection._is_asked)
        peer.after(SILENCE_S - 1)
        assert peer.is_kept
        peer.after(SILENCE_S + 1)
        await peer.ends()

    with_peer(tmp_path, act)


@pytest.mark.parametrize(("metadata", "lasts_s"), [((), UNFINISHED_S), (((b"grpc-timeout", b"5S"),), 5)])
def test_a_request_that_does_not_come_ends_its_call(
    tmp_path: Path, metadata: tuple[tuple[bytes, bytes], ...], lasts_s: float
) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings(), opened(1, PUT, *metadata), body(1, message(range_one)[:4], ends=False))
        await until(lambda: bool(peer.connection.grpc.http.streams))
        peer.after(lasts_s - 1)
        assert peer.connection.grpc.http.streams
        peer.after(lasts_s + 1)
        assert b"grpc-status\x014" in await peer.next(frames.HEADERS)
        assert not peer.connection.grpc.http.streams

    with_peer(tmp_path, act)


def test_while_the_host_is_crowded_who_has_much_under_way_is_refused_and_others_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(peer: Peer) -> None:
        monkeypatch.setattr(Host, "is_crowded", property(lambda host: True))
        watches = numbers(LIGHT_CALLS_MAX + 1)
        waiting = numbers(LIGHT_CALLS_MAX - 1, watches[-1] + 2)
        peer.send(PREFACE, settings(), *(opened(number, WATCH) for number in watches))
        peer.send(*(opened(number, PUT) for number in waiting))
        fits, last = waiting[-1] + 2, waiting[-1] + 4
        peer.send(call(fits, RANGE, range_one))
        await peer.next(frames.DATA, fits)  # ten are not much, and watches do not count
        peer.send(opened(last, PUT), call(last + 2, RANGE, range_one))
        assert b"grpc-status\x018" in await peer.next(frames.HEADERS, last + 2)
        assert peer.listener.passed["open_requests"] == 1
        reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
        writer.write(PREFACE + settings() + call(1, RANGE, range_one))
        await asyncio.wait_for(reader.readuntil(b"grpc-status\x010"), 5)
        writer.close()
        peer.after(1)  # a second later it may have a little again
        peer.send(*(rst_stream(number, ErrorCode.CANCEL) for number in (*waiting, last)))
        peer.send(call(last + 4, RANGE, range_one))
        await peer.next(frames.DATA, last + 4)

    with_peer(tmp_path, act)


def test_an_answer_that_a_full_socket_holds_up_is_sent_before_a_drained_connection_is_closed(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        await peer.next(frames.SETTINGS)
        peer.connection.pause_writing()
        peer.send(call(1, RANGE, range_one))
        await until(lambda: peer.connection.grpc.http.unsent_bytes > 0)
        peer.connection.drain()
        assert peer.is_kept
        peer.connection.resume_writing()
        await peer.next(frames.DATA, 1)
        await peer.ends()

    with_peer(tmp_path, act)


def test_what_a_connection_that_closes_has_not_read_is_dropped_and_keeps_nobody(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        await peer.next(frames.SETTINGS)
        peer.connection._arrived = b"more"
        peer.connection.close()
        peer.connection.data_received(b"and more")
        assert not peer.connection.waits

    with_peer(tmp_path, act)


def test_who_waits_to_be_read_is_not_taken_for_one_that_takes_no_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(peer: Peer) -> None:
        looked_at: list[list[Share]] = []

        def stalled(shares: Iterable[Share], before_s: float) -> None:
            looked_at.append(list(shares))

        monkeypatch.setattr(peer.listener.answers, "stalled", stalled)
        peer.listener._on_second()
        peer.connection._arrived = b"more"
        peer.listener._on_second()
        assert looked_at == [[peer.connection.share], []]
        assert peer.listener._timer is not None
        peer.listener._timer.cancel()

    with_peer(tmp_path, act)


@pytest.mark.parametrize("has_spoken", [False, True])
def test_who_waits_to_be_read_is_not_silent(tmp_path: Path, has_spoken: bool) -> None:
    async def act(peer: Peer) -> None:
        if has_spoken:
            peer.send(PREFACE, settings())
            await peer.next(frames.SETTINGS)
        peer.connection._arrived = PREFACE
        peer.after(SILENCE_S + 1)
        assert peer.is_kept
        peer.connection._arrived = b""
        peer.connection._heard_at = peer.connection._began_at = peer.connection.loop.time()
        peer.after(SILENCE_S + 1)
        assert not peer.is_kept

    with_peer(tmp_path, act)


def test_who_is_silent_is_asked_and_closed_when_the_operator_says(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        await peer.next(frames.SETTINGS)
        peer.after(4)
        assert not peer.connection._is_asked
        peer.after(6)
        await peer.next(frames.PING)
        peer.after(7)
        assert peer.listener.passed["silence_seconds"] == 0
        peer.after(9)
        assert peer.listener.passed["silence_seconds"] == 1
        assert not peer.is_kept

    with_peer(tmp_path, act, options=ListenerOptions(asks_after_s=5, answers_within_s=3))


def test_who_is_silent_may_be_let_alone(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        await peer.next(frames.SETTINGS)
        peer.after(1e6)
        assert peer.is_kept
        assert not peer.connection._is_asked

    with_peer(tmp_path, act, options=ListenerOptions(asks_after_s=0))


@pytest.mark.parametrize(("given", "said"), [(3, 3), (4096, 4096), (2**32 - 1, 20_000)])
def test_a_client_is_told_how_many_calls_it_may_have_open(tmp_path: Path, given: int, said: int) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        payload = await peer.next(frames.SETTINGS)
        values = dict(struct.iter_unpack("!HI", payload))
        assert values[frames.MAX_CONCURRENT_STREAMS] == said
        assert peer.listener.limits_of_each.resets_max == max(said, 4096)

    with_peer(tmp_path, act, options=ListenerOptions(streams_max=given))


def test_one_connection_that_fails_ends_alone_and_time_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(peer: Peer) -> None:
        peer.send(PREFACE, settings())
        await peer.next(frames.SETTINGS)
        other = ClientConnection(peer.listener, Web(peer.listener.service), None)
        flushed: list[ClientConnection] = []
        monkeypatch.setattr(other, "flush", lambda: flushed.append(other))

        def fail(*_: object) -> None:
            raise ValueError("a defect")

        monkeypatch.setattr(peer.connection, "flush", fail)
        monkeypatch.setattr(peer.connection, "on_second", fail)
        peer.listener.flush_soon(peer.connection)
        peer.listener.flush_soon(other)
        await until(lambda: bool(flushed))
        await peer.ends()
        peer.listener.connections[peer.connection] = None
        peer.listener._on_second()
        del peer.listener.connections[peer.connection]
        assert peer.listener._timer is not None
        assert not peer.listener._timer.cancelled()

    with_peer(tmp_path, act)
    assert [record.getMessage() for record in caplog.records] == ["a client's connection ended by a defect"] * 2


def test_a_call_that_is_taken_back_before_it_begins_leaves_nothing(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        grant = rpc_pb2.LeaseGrantRequest(TTL=60).SerializeToString()
        for number in numbers(20):
            asked = call(number, LEASE_GRANT, grant, (b"grpc-timeout", b"9999H"))
            peer.send(*([PREFACE, settings()] if number == 1 else []), asked, rst_stream(number, ErrorCode.CANCEL))
        peer.send(call(101, RANGE, range_one))
        await peer.next(frames.DATA)
        await asyncio.sleep(0)
        gc.collect()
        assert not [each for each in gc.get_objects() if isinstance(each, Unary)]

    with_peer(tmp_path, act)


def test_many_calls_that_come_at_once_are_read_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "RECEIVE_S", 0.0)

    async def act(peer: Peer) -> None:
        asked = b"".join(opened(number, WATCH) for number in numbers(200))
        peer.connection.data_received(PREFACE + settings() + asked)
        begun = len(peer.connection.grpc.http.streams)
        assert 0 < begun < 100
        await asyncio.sleep(0)
        assert begun < len(peer.connection.grpc.http.streams) < 200
        await until(lambda: len(peer.connection.grpc.http.streams) == 200)
        peer.send(call(1001, RANGE, range_one))
        await peer.next(frames.DATA)

    with_peer(tmp_path, act)


def test_a_stream_whose_handler_answers_nothing_is_allowed_to_go_on(tmp_path: Path) -> None:
    async def act(peer: Peer) -> None:
        window = peer.listener.limits_of_each.stream_window_bytes
        peer.send(PREFACE, settings(), opened(1, WATCH))
        piece = message(cancel_unknown) * 1000
        for _ in range(window // 2 // len(piece) + 1):
            peer.send(body(1, piece, ends=False))
        assert int.from_bytes(await peer.next(frames.WINDOW_UPDATE, stream=1)) >= window // 2

    with_peer(tmp_path, act)
