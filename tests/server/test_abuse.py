"""Strangers and clumsy clients on a real process: what they do costs little, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from ratified.api.methods import METHODS
from ratified.api.service import Service
from ratified.api.submission import Pending
from ratified.client import Client
from ratified.edge import frames
from ratified.edge.connection import Stream
from ratified.edge.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    PRIORITY,
    SETTINGS,
    WINDOW_MAX,
    ErrorCode,
    frame,
    rst_stream,
    settings,
    window_update,
)
from ratified.edge.grpc import Call
from ratified.edge.hpack import Decoder, encode
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig
from ratified.server.clients import CONNECTION_STREAMING_CALLS_MAX, ClientListener
from ratified.server.urls import Url
from ratified.testing.processes import LocalNode, free_ports
from ratified.wire.etcd import rpc_pb2
from tests.server.scraping import metrics
from tests.server.test_process import Place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")

PUT, RANGE, WATCH = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range", "/etcdserverpb.Watch/Watch"
LEASE_GRANT, SNAPSHOT = "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Maintenance/Snapshot"
LARGE = b"x" * (1 << 20)
HELD_MB_MAX = 120
"""64 MiB of requests or of answers, and what the allocator and the host need for them."""
LEFT_MB_MAX = 60
"""What may stay with the process when all of it is gone."""
SERVED_S_MAX = 8.0
TIMEOUT_S = 10.0

create_watch = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"k")).SerializeToString()
put_small = rpc_pb2.PutRequest(key=b"k", value=b"v").SerializeToString()
range_large = rpc_pb2.RangeRequest(key=b"large").SerializeToString()
PING_FRAME = frame(PING, 0, 0, bytes(8))


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


class Stranger:
    """A connection of HTTP/2 that sends what it is told to, and keeps no rule by itself."""

    def __init__(self, port: int, *told: tuple[int, int]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._read = b""
        self._decoder = Decoder(1 << 16)
        self.send(PREFACE, settings(*told), window_update(0, WINDOW_MAX - frames.DEFAULT_WINDOW))

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def next(self) -> Frame | None:
        """None: the server has closed the connection."""
        while True:
            if len(self._read) >= frames.HEAD_BYTES:
                high, low, kind, flags, stream = frames.read_head(self._read, 0)
                end = frames.HEAD_BYTES + (high << 16 | low)
                if len(self._read) >= end:
                    payload, self._read = self._read[frames.HEAD_BYTES : end], self._read[end:]
                    return Frame(kind, flags, stream, payload)
            data = self.socket.recv(1 << 18)
            if not data:
                return None
            self._read += data

    def until(self, is_it: Callable[[Frame], bool]) -> Frame:
        while (came := self.next()) is not None:
            if is_it(came):
                return came
        raise ConnectionError("the server has closed the connection")

    def status(self, stream: int) -> tuple[str, str]:
        """Code and text with which a call ends."""
        while True:
            came = self.until(lambda each: each.kind == HEADERS)
            fields = dict(self._decoder.decode(came.payload).fields)
            if came.stream == stream and came.flags & END_STREAM:
                return fields[b"grpc-status"].decode(), fields.get(b"grpc-message", b"").decode()

    def settle(self) -> None:
        """Return when the server has read all that was sent."""
        self.send(PING_FRAME)
        self.until(lambda came: came.kind == PING and came.flags == ACK)

    def last_words(self) -> ErrorCode | None:
        """The code of the GOAWAY with which the server closes; None: it was closed before that could be read."""
        try:
            return ErrorCode(int.from_bytes(self.until(lambda came: came.kind == GOAWAY).payload[4:8]))
        except ConnectionError:
            return None

    def close(self) -> None:
        self.socket.close()

    def kill(self) -> None:
        """Close with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def block(path: str, *more: tuple[bytes, bytes]) -> bytes:
    return encode(
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path.encode()),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
        *more,
    )


def opened(stream: int, path: str, *more: tuple[bytes, bytes]) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, block(path, *more))


def body(stream: int, data: bytes, *, ends: bool = True) -> bytes:
    pieces = [data[at : at + frames.FRAME_BYTES_MAX] for at in range(0, len(data), frames.FRAME_BYTES_MAX)]
    last = len(pieces) - 1
    return b"".join(frame(DATA, ends and at == last, stream, piece) for at, piece in enumerate(pieces))


def message(data: bytes) -> bytes:
    return b"\0" + len(data).to_bytes(4) + data


def call(stream: int, path: str, request: bytes, *more: tuple[bytes, bytes]) -> bytes:
    return opened(stream, path, *more) + body(stream, message(request))


def numbers(count: int, first: int = 1) -> range:
    """Of streams."""
    return range(first, first + 2 * count, 2)


class Server:
    """A process, and a well-behaved client of it."""

    def __init__(self, node: LocalNode, client: Client) -> None:
        self.node = node
        self.client = client
        self._strangers: list[Stranger] = []

    def stranger(self, *told: tuple[int, int]) -> Stranger:
        self._strangers.append(Stranger(self.node.client_port, *told))
        return self._strangers[-1]

    def close_strangers(self) -> None:
        while self._strangers:
            self._strangers.pop().close()

    @property
    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.node.pid}/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) / 1024

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.node.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def sockets(self) -> int:
        directory = Path(f"/proc/{self.node.pid}/fd")
        return sum(os.readlink(each).startswith("socket:") for each in directory.iterdir())

    @property
    def open_requests(self) -> int:
        return self.client.report(self.node.endpoint).open_requests

    def passed(self, limit: str) -> float:
        """How often clients have passed it, as a scraper is told."""
        return metrics(self.node)["ratified_client_limit_passed_total", (("limit", limit),)]

    def serves(self) -> None:
        """Somebody else is served meanwhile."""
        began = time.monotonic()
        self.client.put("other", "v")
        assert self.client.get("other") is not None
        assert time.monotonic() - began < SERVED_S_MAX

    def becomes(self, is_so: Callable[[], bool]) -> bool:
        until = time.monotonic() + TIMEOUT_S
        while not is_so():
            if time.monotonic() > until:
                return False
            self.serves()
        return True


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = Place(Path(tmp_path_factory.mktemp("place")))
    with place.serving() as node, Client([node.endpoint]) as client:
        client.put("large", LARGE)
        yield Server(node, client)


@pytest.fixture
def server(process: Server) -> Iterator[Server]:
    yield process
    process.close_strangers()


# -- what a client leaves with the server ---------------------------------------------------------------------------


def test_answers_that_nobody_takes_are_bounded_however_small_those_before_them_were(server: Server) -> None:
    for _ in range(100):
        server.client.get("other")
    before = server.memory_mb
    for _ in range(2):
        # With a window of nothing no byte of an answer is taken, and nothing depends on buffers of the kernel.
        stranger = server.stranger((INITIAL_WINDOW_SIZE, 0))
        stranger.send(*(call(number, RANGE, range_large) for number in numbers(400)))
        stranger.settle()
        assert server.becomes(lambda: server.open_requests == 0)
        assert server.memory_mb - before < HELD_MB_MAX
        stranger.close()
        assert server.becomes(lambda: server.memory_mb - before < LEFT_MB_MAX)


def test_a_client_that_takes_no_answers_costs_no_time(server: Server) -> None:
    server.client.get("large")
    stranger = server.stranger((INITIAL_WINDOW_SIZE, 0))
    stranger.send(*(call(number, RANGE, range_large) for number in numbers(40)))
    stranger.settle()
    assert server.becomes(lambda: server.open_requests == 0)
    before = server.cpu_s
    time.sleep(0.5)  # the time in which it should do nothing
    assert server.cpu_s - before < 0.2


def test_a_read_that_waits_begins_when_those_before_it_are_taken_back(server: Server) -> None:
    server.client.get("large")
    stranger = server.stranger((INITIAL_WINDOW_SIZE, WINDOW_MAX))
    asked = numbers(20)
    stranger.send(
        *(call(number, RANGE, range_large) for number in asked),
        *(rst_stream(number, ErrorCode.CANCEL) for number in asked[:-1]),
    )
    assert stranger.status(asked[-1])[0] == "0"


def test_halves_of_requests_are_bounded_and_those_who_lose_theirs_are_told(server: Server) -> None:
    half = message(rpc_pb2.PutRequest(key=b"k", value=bytes(1_500_000)).SerializeToString())[:750_000]
    before = server.memory_mb
    quiet = server.stranger()
    for number in numbers(80):
        quiet.send(opened(number, PUT), body(number, half, ends=False))
    quiet.settle()
    server.serves()
    more = server.stranger()
    for number in numbers(15):
        more.send(opened(number, PUT), body(number, half, ends=False))
    more.settle()
    server.serves()
    assert server.memory_mb - before < HELD_MB_MAX
    assert quiet.status(1) == ("8", "etcdserver: too many requests")
    quiet.close()
    more.close()
    assert server.becomes(lambda: server.memory_mb - before < LEFT_MB_MAX)


def test_a_call_that_is_answered_leaves_nothing_to_the_garbage_collector(tmp_path: Path) -> None:
    # A put may have a megabyte, and the collector counts objects.
    def ask(port: int) -> None:
        with closing(Stranger(port)) as stranger:
            for number in numbers(10):
                stranger.send(call(number, PUT, put_small))
                assert stranger.status(number)[0] == "0"

    async def run() -> None:
        config = HostConfig(data_dir=tmp_path, heartbeat_us=10_000, election_timeout_us=50_000)
        async with asyncio.timeout(30), await Host.start(config, lambda group, space: KvStore(space)) as host:
            service = Service(
                host, election_timeout_s=0.05, request_bytes_max=1000, quota_bytes=1 << 30, lease_ttl_min_s=1
            )
            listener = ClientListener(METHODS, service, connections_max=10)
            url = Url("127.0.0.1", free_ports(1)[0])
            listener.listen(url)
            await listener.start()
            gc.collect()
            gc.disable()
            try:
                await asyncio.to_thread(ask, url.port)
                left = [type(each).__name__ for each in gc.get_objects() if type(each) in (Call, Pending, Stream)]
            finally:
                gc.enable()
                await listener.stop(0)
            assert left == []

    asyncio.run(run())


def test_a_connection_that_is_killed_in_the_middle_of_everything_leaves_nothing(server: Server) -> None:
    server.serves()
    sockets, requests = server.sockets, server.open_requests
    put_large = rpc_pb2.PutRequest(key=b"k", value=bytes(200_000)).SerializeToString()
    everything = (
        opened(1, WATCH, (b"hasleader", b"true")) + body(1, message(create_watch), ends=False),
        call(3, PUT, put_large),
        call(5, RANGE, range_large),
        call(7, LEASE_GRANT, rpc_pb2.LeaseGrantRequest(TTL=60).SerializeToString()),
        call(9, SNAPSHOT, b""),
        opened(11, PUT) + body(11, message(put_large)[:100_000], ends=False),
    )
    for number in range(40):
        stranger = server.stranger()
        stranger.send(*everything)
        if number % 2:
            stranger.settle()
        stranger.kill()
    assert server.becomes(lambda: server.sockets <= sockets and server.open_requests <= requests)


def test_watches_that_nobody_reads_hold_little_and_their_connection_ends(server: Server) -> None:
    stranger = server.stranger()
    asked = numbers(150)
    stranger.send(*(opened(number, WATCH) + body(number, message(create_watch), ends=False) for number in asked))
    assert server.becomes(lambda: server.open_requests == len(asked))
    held = 0.0
    while server.open_requests:
        server.client.put("k", "x" * 1_000_000)
        held = max(held, server.memory_mb)
    assert held < HELD_MB_MAX + 2 * len(asked), "of each stream one message, and one that is being sent"


def test_a_connection_may_have_a_limited_number_of_streaming_calls(server: Server) -> None:
    stranger = server.stranger()
    asked = numbers(CONNECTION_STREAMING_CALLS_MAX + 1)
    stranger.send(*(opened(number, WATCH) + body(number, message(create_watch), ends=False) for number in asked))
    assert stranger.status(asked[-1]) == ("8", "etcdserver: too many requests")
    stranger.send(*(rst_stream(number, ErrorCode.CANCEL) for number in asked[:-1]))
    stranger.send(opened(asked[-1] + 2, WATCH, (b"grpc-timeout", b"1m")))
    assert stranger.status(asked[-1] + 2)[0] == "4", "there is room again"
    assert server.becomes(lambda: not server.open_requests)


def test_streams_of_watches_that_are_dropped_leave_nothing(server: Server) -> None:
    requests = server.open_requests
    stranger = server.stranger()
    asked = numbers(900)
    stranger.send(*(opened(number, WATCH) + body(number, message(create_watch), ends=False) for number in asked))
    assert server.becomes(lambda: server.open_requests >= requests + len(asked))
    stranger.send(*(rst_stream(number, ErrorCode.CANCEL) for number in asked))
    assert server.becomes(lambda: server.open_requests <= requests)


# -- floods ---------------------------------------------------------------------------------------------------------

FLOODS = {
    "PING": PING_FRAME,
    "PING, answered": frame(PING, ACK, 0, bytes(8)),
    "SETTINGS": settings(),
    "SETTINGS, answered": frame(SETTINGS, ACK, 0, b""),
    "PRIORITY": frame(PRIORITY, 0, 1, bytes(5)),
    "unknown frames": frame(77, 0, 1, b""),
    "empty DATA": frame(DATA, 0, 1, b""),
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_client_that_floods_with_frames_that_do_nothing_is_told_to_be_calm(server: Server, name: str) -> None:
    stranger = server.stranger()
    stranger.send(opened(1, PUT))
    assert flooded(stranger, FLOODS[name] * 1_000, 100)
    server.serves()


def test_a_header_block_has_an_end(server: Server) -> None:
    stranger = server.stranger()
    stranger.send(frame(HEADERS, 0, 1, block(PUT)))
    assert flooded(stranger, frame(CONTINUATION, 0, 1, b""), 100)


def test_a_client_that_takes_back_all_that_it_asks_for_is_told_to_be_calm(server: Server) -> None:
    stranger = server.stranger()
    for first in range(1, 40_000, 2_000):
        asked = numbers(1_000, first)
        try:
            stranger.send(*(call(each, RANGE, range_large) + rst_stream(each, ErrorCode.CANCEL) for each in asked))
        except ConnectionError:
            break
    assert stranger.last_words() in (None, ErrorCode.ENHANCE_YOUR_CALM)
    server.serves()


LONG_BLOCK = block(PUT, (b"a", b"x" * (17 << 10)))
PASSES: dict[str, Callable[[Stranger], None]] = {
    "answers_waiting": lambda stranger: stranger.send(PING_FRAME * 12_000),
    "header_bytes": lambda stranger: stranger.send(
        frame(HEADERS, 0, 1, LONG_BLOCK[:16_000]), frame(CONTINUATION, END_HEADERS, 1, LONG_BLOCK[16_000:])
    ),
    "header_frames": lambda stranger: stranger.send(
        frame(HEADERS, 0, 1, block(PUT)), frame(CONTINUATION, 0, 1, b"") * 100
    ),
    "idle_frames": lambda stranger: stranger.send(frame(77, 0, 1, b"") * 12_000),
    "message_bytes": lambda stranger: stranger.send(opened(1, PUT), body(1, b"\0\xff\xff\xff\xff")),
    "resets": lambda stranger: stranger.send(
        *(opened(number, PUT) + rst_stream(number, ErrorCode.CANCEL) for number in numbers(6_000))
    ),
    "streaming_calls": lambda stranger: stranger.send(
        *(opened(number, WATCH) for number in numbers(CONNECTION_STREAMING_CALLS_MAX + 1))
    ),
    "streams": lambda stranger: stranger.send(*(opened(number, PUT) for number in numbers(4_097))),
}


@pytest.mark.parametrize("limit", PASSES)
def test_it_is_counted_that_a_limit_was_passed(server: Server, limit: str) -> None:
    before = server.passed(limit)
    with suppress(ConnectionError):
        PASSES[limit](server.stranger())
    assert server.becomes(lambda: server.passed(limit) > before)


def test_windows_of_many_streams_may_be_changed_often(server: Server) -> None:
    stranger = server.stranger()
    stranger.send(*(opened(number, PUT) for number in numbers(4_000)))
    changes = settings(*((INITIAL_WINDOW_SIZE, frames.DEFAULT_WINDOW + at % 2) for at in range(2_700)))
    before = server.cpu_s
    for _ in range(10):
        stranger.send(changes)
        server.serves()
    stranger.settle()
    assert server.cpu_s - before < 1


def test_a_short_block_that_stands_for_long_headers_costs_little(server: Server) -> None:
    kept = b"\x40\x01a\x7f" + bytes([(3_900 - 127) & 0x7F | 0x80, (3_900 - 127) >> 7]) + bytes(b"x" * 3_900)
    stranger = server.stranger()
    stranger.settle()
    before = server.cpu_s
    for number in numbers(100):
        try:
            indexes = b"\xbe" * (12_000 if number == 1 else 16_000)
            stranger.send(frame(HEADERS, END_HEADERS | END_STREAM, number, (kept if number == 1 else b"") + indexes))
        except ConnectionError:
            break
    server.serves()
    assert server.cpu_s - before < 0.4


def test_an_answer_that_is_taken_byte_by_byte_comes_whole(server: Server) -> None:
    stranger = server.stranger((INITIAL_WINDOW_SIZE, 0))
    stranger.send(call(1, PUT, put_small))
    stranger.until(lambda came: came.kind == HEADERS)
    came = bytearray()
    while len(came) < 5 or len(came) < 5 + int.from_bytes(came[1:5]):
        stranger.send(window_update(1, 1))
        came += stranger.until(lambda each: each.kind == DATA).payload
    assert rpc_pb2.PutResponse.FromString(bytes(came[5:])).header.revision > 0


def flooded(stranger: Stranger, data: bytes, times: int) -> bool:
    """Does the server close the connection, and tell why, where that can still be read?"""
    try:
        for _ in range(times):
            stranger.send(data)
    except ConnectionError:
        pass
    return stranger.last_words() in (None, ErrorCode.ENHANCE_YOUR_CALM)


# -- strangers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        bytes.fromhex("16030100c8010000c40303") + bytes(190),
        bytes(range(256)) * 40,
    ],
    ids=["TLS", "noise"],
)
def test_who_speaks_no_http_is_closed(server: Server, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.node.client_port), timeout=TIMEOUT_S) as stranger:
        stranger.sendall(said)
        try:
            while stranger.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
    server.serves()


def test_what_is_no_call_of_ours_is_answered_as_http_and_grpc_answer_it(server: Server) -> None:
    stranger = server.stranger()
    plain = encode((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"content-type", b"text/html"))
    stranger.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, plain))
    came = stranger.until(lambda each: each.kind == HEADERS)
    assert (b":status", b"404") in Decoder(4096).decode(came.payload).fields
    stranger.send(call(3, "/etcdserverpb.KV/Nothing", b""))
    assert stranger.status(3) == ("12", "unknown method Nothing for service etcdserverpb.KV")
    stranger.send(opened(5, PUT), body(5, message(put_small) * 2))
    assert stranger.status(5)[0] == "13"
    stranger.send(opened(7, PUT), frame(DATA, END_STREAM, 7, b""))
    assert stranger.status(7)[0] == "13"


# -- deadlines, and the end -----------------------------------------------------------------------------------------


def test_a_call_ends_by_its_deadline(server: Server) -> None:
    stranger = server.stranger()
    stranger.send(call(1, PUT, put_small, (b"grpc-timeout", b"0n")))
    assert stranger.status(1) == ("14", "etcdserver: request timed out")
    watching = body(3, message(create_watch), ends=False)
    stranger.send(opened(3, WATCH, (b"grpc-timeout", b"50m")), watching)
    assert stranger.status(3) == ("4", "context deadline exceeded")


def test_a_call_that_crosses_our_goaway_harms_none_that_is_open(tmp_path: Path) -> None:
    with Place(tmp_path).serving() as node, closing(Stranger(node.client_port)) as stranger:
        stranger.send(opened(1, PUT))
        stranger.settle()
        assert node.pid is not None
        os.kill(node.pid, signal.SIGTERM)
        assert stranger.until(lambda came: came.kind == GOAWAY).payload[:8] == bytes([0, 0, 0, 1, 0, 0, 0, 0])
        stranger.send(call(3, PUT, put_small), window_update(3, 1), rst_stream(3, ErrorCode.CANCEL))
        stranger.send(body(1, message(put_small)))
        assert stranger.status(1)[0] == "0"
        assert node.wait_stopped() == 0
