"""A client of the edge that says whatever a test wants, without a socket: bytes out, frames in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import hpack

from ratified.edge.connection import Connection, ConnectionLimits, Stream
from ratified.edge.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    GOAWAY,
    HEAD_BYTES,
    HEADERS,
    PREFACE,
    RST_STREAM,
    ErrorCode,
    frame,
    read_head,
    settings,
)
from ratified.edge.hpack import Header, encode
from ratified.edge.hpack import Headers as HeaderList

GET: tuple[Header, ...] = (
    (b":method", b"GET"),
    (b":scheme", b"http"),
    (b":path", b"/"),
    (b":authority", b"localhost"),
)
"""Answered when it is complete."""
POST: tuple[Header, ...] = ((b":method", b"POST"), *GET[1:])
HOLD = b"/hold"
"""The path of requests that are never answered, unless a test does it."""
HELD: tuple[Header, ...] = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", HOLD))
ANSWER = encode((b":status", b"200"))
TRAILERS = encode((b"x-end", b"1"))


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> ErrorCode:
        """Of a GOAWAY or RST_STREAM frame."""
        at = 4 if self.kind == GOAWAY else 0
        return ErrorCode(int.from_bytes(self.payload[at : at + 4]))


def read_frames(data: bytes, frame_bytes_max: int = FRAME_BYTES_MAX) -> list[Frame]:
    """All frames; fails where one is longer than a client takes, or the last one is not whole."""
    frames = []
    at = 0
    while at < len(data):
        assert len(data) - at >= HEAD_BYTES, "the last frame's head is not whole"
        high, low, kind, flags, stream = read_head(data, at)
        begin = at + HEAD_BYTES
        at = begin + (high << 16 | low)
        assert at - begin <= frame_bytes_max, "a frame is longer than the client takes"
        assert at <= len(data), "the last frame is not whole"
        frames.append(Frame(kind, flags, stream, data[begin:at]))
    return frames


def headers(stream: int, fields: Iterable[Header] = GET, flags: int = END_STREAM | END_HEADERS) -> bytes:
    """A HEADERS frame whose block no table remembers."""
    return frame(HEADERS, flags, stream, encode(*fields))


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, payload)


class Answering:
    """An ``Owner`` that answers each complete request with its own body, but those to ``HOLD``; and notes all."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.connection = Connection(self, limits)
        self.streams: dict[int, Stream] = {}
        """All that were ever asked for."""
        self.bodies: dict[int, bytes] = {}
        self.ended: list[int] = []
        self.gone: list[int] = []
        self.sent: list[int] = []
        self.passed: list[str] = []
        """The limits that the client has passed."""
        self.credits = True
        """Whether the client may send more for what has come."""
        self._held: set[int] = set()

    def on_request(self, stream: Stream, headers: HeaderList) -> None:
        self.streams[stream.number] = stream
        self.bodies[stream.number] = b""
        if (b":path", HOLD) in headers.fields:
            self._held.add(stream.number)

    def on_data(self, stream: Stream, data: bytes) -> None:
        assert data
        self.bodies[stream.number] += data
        if self.credits:
            self.connection.credit(stream, len(data))

    def on_end(self, stream: Stream) -> None:
        self.ended.append(stream.number)
        if stream.number not in self._held:
            self.connection.answer(stream, ANSWER, self.bodies[stream.number], TRAILERS)

    def on_gone(self, stream: Stream) -> None:
        self.gone.append(stream.number)

    def on_sent(self, stream: Stream) -> None:
        self.sent.append(stream.number)

    def on_limit(self, limit: str) -> None:
        self.passed.append(limit)


class FrameClient:
    """What it has taken is in ``frames``, all of it."""

    def __init__(self, limits: ConnectionLimits | None = None, *, first: bytes = PREFACE + settings()) -> None:
        self.owner = Answering(ConnectionLimits() if limits is None else limits)
        self.connection = self.owner.connection
        self.frames: list[Frame] = []
        self._encoder = hpack.Encoder()
        self._next = 1_000_001
        self.send(first)

    def send(self, *frames: bytes) -> None:
        self.connection.receive(b"".join(frames))

    def take(self) -> list[Frame]:
        """The frames that are new."""
        new = read_frames(take_all(self.connection))
        self.frames += new
        return new

    def is_over(self) -> bool:
        """Whether the socket is to be closed."""
        return self.connection.closing

    def is_served(self) -> bool:
        """Whether a new request is answered."""
        number = self._next
        self._next += 2
        block = self._encoder.encode(POST)
        self.send(frame(HEADERS, END_HEADERS, number, block), data(number, b"ping", END_STREAM))
        self.take()
        return self.answer_to(number) == b"ping"

    def answer_to(self, number: int) -> bytes | None:
        """The body of the whole answer; None: there is none."""
        found = [each for each in self.frames if each.stream == number]
        if not found or found[0].kind != HEADERS or not found[-1].flags & END_STREAM:
            return None
        return b"".join(each.payload for each in found if each.kind == DATA)

    def resets(self) -> list[tuple[int, ErrorCode]]:
        return [(each.stream, each.code) for each in self.frames if each.kind == RST_STREAM]

    def goaways(self) -> list[ErrorCode]:
        return [each.code for each in self.frames if each.kind == GOAWAY]


def take_all(connection: Connection) -> bytes:
    out = bytearray()
    while piece := connection.take():
        out += piece
    return bytes(out)
