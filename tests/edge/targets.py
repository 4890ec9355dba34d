"""What the fuzzer feeds the edge with: each target takes any bytes and fails only where the edge does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ratified.edge.connection import ConnectionLimits, Stream
from ratified.edge.frames import PREFACE, settings
from ratified.edge.grpc import Call, GrpcConnection, Room, Sink
from ratified.edge.hpack import Decoder, Header, Headers, HeadersTooLarge, HpackError

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


TARGETS: dict[str, Callable[[bytes], None]] = {"frames": frames, "calls": calls, "headers": headers}
