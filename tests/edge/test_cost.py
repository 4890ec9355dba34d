"""What a call costs the edge, in steps of Python: headers that come again, and headers that change with each call."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import hpack
import pytest

from ratified.edge.connection import ConnectionLimits, Stream
from ratified.edge.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, settings, window_update
from ratified.edge.grpc import Call, GrpcConnection, Room, Sink
from ratified.edge.hpack import Header, Headers
from tests.steps import steps

CALLS = 100
MESSAGE = b"\0" + (280).to_bytes(4) + bytes(280)
MARGIN, SLACK = 1.1, 0.75
CLIENT = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/etcdserverpb.KV/Put"),
    (":authority", "127.0.0.1:2379"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-go/1.26.0"),
    ("te", "trailers"),
]

pytestmark = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="another version takes other steps")


class Answering:
    """Answers a call when its request is there."""

    answered = 0

    def __init__(self, call: Call) -> None:
        self._call = call

    def on_message(self, message: bytes) -> None:
        pass

    def on_end(self) -> None:
        Answering.answered += 1
        self._call.answer(b"x" * 40)

    def on_gone(self) -> None:
        pass

    def on_sent(self) -> None:
        pass


class Calls:
    def on_call(self, call: Call, metadata: Sequence[Header]) -> Sink | None:
        return Answering(call)

    def on_other(self, connection: GrpcConnection, stream: Stream, headers: Headers) -> None:
        raise AssertionError("all requests are calls")


def frames(encoder: hpack.Encoder, first: int, *, changing: bool) -> bytes:
    made = b""
    for stream in range(first, first + 2 * CALLS, 2):
        headers = [*CLIENT, ("grpc-timeout", f"{stream}u")] if changing else CLIENT
        made += frame(HEADERS, END_HEADERS, stream, encoder.encode(headers)) + frame(DATA, END_STREAM, stream, MESSAGE)
    return made


def cost(*, changing: bool) -> float:
    """Steps a call, of many in one read."""
    room = Room(1 << 26, "there is no room")
    connection = GrpcConnection(Calls(), room, ConnectionLimits(), 1 << 21)
    room.connections[connection] = None
    http, encoder = connection.http, hpack.Encoder()
    http.receive(PREFACE + settings() + window_update(0, 1 << 30) + frames(encoder, 1, changing=changing))
    data = frames(encoder, 1 + 2 * CALLS, changing=changing)

    def serve() -> None:
        http.receive(data)
        while http.take():
            """All that is to be sent is taken."""

    before = Answering.answered
    taken = steps(serve)
    assert Answering.answered - before == CALLS
    return taken / CALLS


@pytest.mark.parametrize(("changing", "counted"), [(False, 267), (True, 617)])
def test_it_costs_no_more(changing: bool, counted: int) -> None:
    taken = cost(changing=changing)
    assert taken <= counted * MARGIN
    assert taken >= counted * SLACK, "it has become cheaper: say so here"
