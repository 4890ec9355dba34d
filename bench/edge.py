"""What the client edge costs a unary call: HEADERS and DATA in, an answer out, without a socket or a host.

    python bench/edge.py [--batches 40]

Prints microseconds of processor time a call, the best of the batches: headers as h2load and grpc-go send them again and
again, and with a header that changes with every call, as ``grpc-timeout`` may; and what the ``hpack`` library takes to
read the same headers alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import hpack

from ratified.edge.connection import ConnectionLimits, Stream
from ratified.edge.frames import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, frame, settings, window_update
from ratified.edge.grpc import Call, GrpcConnection, Room, Sink
from ratified.edge.hpack import Header, Headers

CALLS = 500
FRAMES_A_READ = 16
MESSAGE_BYTES = 280
ANSWER = b"x" * 40
CLIENT = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/etcdserverpb.KV/Put"),
    (":authority", "127.0.0.1:2379"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-go/1.26.0"),
    ("te", "trailers"),
]


class Answering:
    """A call that is answered when its request is there."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def on_message(self, message: bytes) -> None:
        pass

    def on_end(self) -> None:
        self._call.answer(ANSWER)

    def on_gone(self) -> None:
        pass

    def on_sent(self) -> None:
        pass


class Calls:
    def on_call(self, call: Call, metadata: Sequence[Header]) -> Sink | None:
        return Answering(call)

    def on_other(self, connection: GrpcConnection, stream: Stream, headers: Headers) -> None:
        raise AssertionError("all requests are calls")


def reads(encoder: hpack.Encoder, first: int, *, changing: bool) -> Sequence[bytes]:
    """What the socket gives, read by read."""
    message = b"\0" + MESSAGE_BYTES.to_bytes(4) + bytes(MESSAGE_BYTES)
    frames: list[bytes] = []
    for stream in range(first, first + 2 * CALLS, 2):
        headers = [*CLIENT, ("grpc-timeout", f"{stream}u")] if changing else CLIENT
        frames.append(frame(HEADERS, END_HEADERS, stream, encoder.encode(headers)))
        frames.append(frame(DATA, END_STREAM, stream, message))
    return [b"".join(frames[at : at + FRAMES_A_READ]) for at in range(0, len(frames), FRAMES_A_READ)]


def measure(batches: int, *, changing: bool) -> float:
    room = Room(1 << 26, "there is no room")
    connection = GrpcConnection(Calls(), room, ConnectionLimits(), 1 << 21)
    room.connections[connection] = None
    http, encoder = connection.http, hpack.Encoder()
    http.receive(PREFACE + settings() + window_update(0, 1 << 30))
    best_us = float("inf")
    for batch in range(batches):
        data = reads(encoder, 1 + 2 * CALLS * batch, changing=changing)
        began = time.process_time()
        for read in data:
            http.receive(read)
            while http.take():
                pass
        best_us = min(best_us, (time.process_time() - began) / CALLS * 1e6)
    return best_us


def measure_library(batches: int) -> float:
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    best_us = float("inf")
    for _ in range(batches):
        blocks = [encoder.encode(CLIENT) for _ in range(CALLS)]
        began = time.process_time()
        for block in blocks:
            decoder.decode(block, raw=True)
        best_us = min(best_us, (time.process_time() - began) / CALLS * 1e6)
    return best_us


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=40)
    batches = parser.parse_args().batches
    print(f"the same headers:     {measure(batches, changing=False):6.2f} us a call")
    print(f"one header changes:   {measure(batches, changing=True):6.2f} us a call")
    print(f"hpack, headers alone: {measure_library(batches):6.2f} us a call")


if __name__ == "__main__":
    main()
