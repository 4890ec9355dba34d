"""gRPC calls on a connection: their messages however they come, their ends, and how much of them is held."""

from __future__ import annotations

import gzip
import random
import tracemalloc
import urllib.parse
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import hpack
import pytest

from ratified.edge.connection import ConnectionLimits, Stream
from ratified.edge.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    RST_STREAM,
    WINDOW_UPDATE,
    ErrorCode,
    rst_stream,
    settings,
    window_update,
)
from ratified.edge.grpc import UNREAD_BYTES_MAX, Call, Code, GrpcConnection, Room
from ratified.edge.hpack import Header, encode
from ratified.edge.hpack import Headers as HeaderList
from tests.edge.client import Frame, data, headers, read_frames, take_all

MESSAGE_BYTES_MAX = 100_000
CALL: tuple[Header, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/etcdserverpb.KV/Range"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
)
GZIP: Header = (b"grpc-encoding", b"gzip")
FULL = "there is no room"
NO_LIMIT = 1 << 40


class NotedCall:
    """A call and what its ``Sink`` was told; it deals with nothing."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.messages: list[bytes] = []
        self.told: list[str] = []
        """``end``, ``gone`` and ``sent``, in order."""

    def on_message(self, message: bytes) -> None:
        self.messages.append(message)

    def on_end(self) -> None:
        self.told.append("end")

    def on_gone(self) -> None:
        self.told.append("gone")

    def on_sent(self) -> None:
        self.told.append("sent")


class NotedCalls:
    """``Calls`` that keeps all of them."""

    def __init__(self) -> None:
        self.calls: list[NotedCall] = []
        self.others: list[tuple[Header, ...]] = []
        self.metadata: Sequence[Header] = ()
        """Of the last call."""

    def on_call(self, call: Call, metadata: Sequence[Header]) -> NotedCall | None:
        if call.head.path == b"/unknown":
            call.end(Code.UNIMPLEMENTED, "no such method")
            return None
        self.calls.append(NotedCall(call))
        self.metadata = metadata
        return self.calls[-1]

    def on_other(self, connection: GrpcConnection, stream: Stream, headers: HeaderList) -> None:
        self.others.append(headers.fields)
        connection.http.send_headers(stream, encode((b":status", b"404")), ends=True)


class Answer(NamedTuple):
    """What a client was sent of one call."""

    headers: dict[bytes, bytes]
    """With the trailers."""
    blocks: int
    messages: bytes
    is_whole: bool

    @property
    def status(self) -> tuple[int, str]:
        text = urllib.parse.unquote_to_bytes(self.headers.get(b"grpc-message", b"")).decode()
        return int(self.headers[b"grpc-status"]), text


class GrpcClient:
    """A connection and its calls, and all frames that it has sent."""

    def __init__(self, room: Room | None = None, limits: ConnectionLimits | None = None) -> None:
        self.calls = NotedCalls()
        self.room = Room(NO_LIMIT, FULL) if room is None else room
        self.grpc = GrpcConnection(
            self.calls, self.room, ConnectionLimits() if limits is None else limits, MESSAGE_BYTES_MAX
        )
        self.room.connections[self.grpc] = None
        self.frames: list[Frame] = []
        self.send(PREFACE, settings())

    def send(self, *frames: bytes) -> None:
        self.grpc.http.receive(b"".join(frames))

    def open(self, number: int = 1, *more: Header, flags: int = END_HEADERS) -> NotedCall:
        self.send(headers(number, (*CALL, *more), flags))
        return self.calls.calls[-1]

    def take(self) -> list[Frame]:
        new = read_frames(take_all(self.grpc.http))
        self.frames += new
        return new

    def answer(self, number: int = 1) -> Answer:
        self.take()
        of_call = [each for each in self.frames if each.stream == number]
        decoder = hpack.Decoder()  # no block of ours depends on another
        blocks = [each for each in of_call if each.kind == HEADERS]
        fields = {name: value for each in blocks for name, value in decoder.decode(each.payload, raw=True)}
        body = b"".join(each.payload for each in of_call if each.kind == DATA)
        return Answer(
            fields, len(blocks), body, any(each.flags & END_STREAM for each in of_call if each.kind in (DATA, HEADERS))
        )


def message(payload: bytes, *, flag: int = 0) -> bytes:
    return bytes([flag]) + len(payload).to_bytes(4) + payload


def frames_of(body: bytes, size: int, number: int = 1) -> bytes:
    """DATA frames of so many bytes each, the last of which ends the stream."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    return b"".join(data(number, each) for each in pieces[:-1]) + data(number, pieces[-1], END_STREAM)


# ---------------------------------------------------------------------------------------------------------------
# Messages


@pytest.mark.parametrize("size", [1, 4, 5, 6, 7, 100, 16_384])
@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([], id="none"),
        pytest.param([b"one"], id="one"),
        pytest.param([b""], id="an empty one"),
        pytest.param([b"one", b"", b"three" * 50, b"\0\0\0\0\1"], id="several"),
    ],
)
def test_messages_are_whole_however_they_are_cut_into_frames(messages: list[bytes], size: int) -> None:
    client = GrpcClient()
    noted = client.open()
    client.send(frames_of(b"".join(map(message, messages)), size))
    assert noted.messages == messages
    assert noted.told == ["end"]


def test_messages_are_handed_over_as_they_come() -> None:
    client = GrpcClient()
    noted = client.open()
    client.send(data(1, message(b"one") + message(b"two")[:-1]))
    assert (noted.messages, noted.told) == ([b"one"], [])
    client.send(data(1, b"o"))
    assert (noted.messages, noted.told) == ([b"one", b"two"], [])


def test_compressed_and_plain_messages_may_follow_each_other() -> None:
    client = GrpcClient()
    noted = client.open(1, GZIP)
    sent = message(gzip.compress(b"one"), flag=1) + message(b"two") + message(gzip.compress(b"three" * 99), flag=1)
    client.send(frames_of(sent, 10))
    assert noted.messages == [b"one", b"two", b"three" * 99]


def test_a_message_may_be_as_long_as_the_limit() -> None:
    client = GrpcClient()
    noted = client.open(1, GZIP)
    longest = bytes(MESSAGE_BYTES_MAX)
    client.send(frames_of(message(longest) + message(gzip.compress(longest), flag=1), 16_384))
    assert noted.messages == [longest, longest]


SQUEEZED = gzip.compress(b"message")
TOO_LONG = MESSAGE_BYTES_MAX + 1
BAD_MESSAGES = {
    "an unknown flag": (message(b"x", flag=2), Code.INTERNAL, "unknown flags"),
    "the end inside a message": (message(b"xyz")[:-1], Code.INTERNAL, "inside a message"),
    "the end inside a prefix": (message(b"xyz")[:4], Code.INTERNAL, "inside a message"),
    "too long": (message(bytes(TOO_LONG)), Code.RESOURCE_EXHAUSTED, "(100001 vs. 100000)"),
    "too long, all 2^32 - 1 bytes": (b"\0\xff\xff\xff\xff", Code.RESOURCE_EXHAUSTED, "(4294967295 vs. 100000)"),
    "too long when decompressed": (
        message(gzip.compress(bytes(TOO_LONG)), flag=1),
        Code.RESOURCE_EXHAUSTED,
        "when decompressed",
    ),
    "no gzip": (message(b"not gzip at all", flag=1), Code.INTERNAL, "decompress"),
    "gzip without its header": (message(zlib.compress(b"x"), flag=1), Code.INTERNAL, "decompress"),
    "gzip that is not whole": (message(SQUEEZED[:-1], flag=1), Code.INTERNAL, "not one whole"),
    "gzip of nothing": (message(b"", flag=1), Code.INTERNAL, "not one whole"),
    "gzip with a bad checksum": (message(SQUEEZED[:-8] + bytes(8), flag=1), Code.INTERNAL, "decompress"),
    "gzip with something behind it": (message(SQUEEZED + SQUEEZED, flag=1), Code.INTERNAL, "not one whole"),
}


@pytest.mark.parametrize(("sent", "code", "text"), BAD_MESSAGES.values(), ids=BAD_MESSAGES.keys())
@pytest.mark.parametrize("size", [7, 16_384])
def test_a_bad_message_ends_its_call_and_is_told_to_its_handler(sent: bytes, code: Code, text: str, size: int) -> None:
    client = GrpcClient()
    noted = client.open(1, GZIP)
    client.send(data(1, message(b"good")), frames_of(sent, size))
    status, said = client.answer().status
    assert (status, text in said) == (code, True)
    assert noted.messages == [b"good"]
    assert noted.told == ["gone"]
    assert client.room.held_bytes == 0
    noted.call.answer(b"too late")
    assert client.take() == []


@pytest.mark.parametrize("encoding", [None, b"identity"])
def test_a_compressed_message_needs_an_encoding(encoding: bytes | None) -> None:
    client = GrpcClient()
    client.open(1, *([] if encoding is None else [(b"grpc-encoding", encoding)]))
    client.send(data(1, message(SQUEEZED, flag=1)))
    assert client.answer().status[0] == Code.INTERNAL


def test_a_message_that_is_too_long_is_refused_before_it_has_come() -> None:
    client = GrpcClient()
    client.open()
    client.send(data(1, message(bytes(TOO_LONG))[:5]))
    assert client.answer().status[0] == Code.RESOURCE_EXHAUSTED
    assert (1, ErrorCode.NO_ERROR) in [(each.stream, each.code) for each in client.frames if each.kind == RST_STREAM]
    client.send(data(1, bytes(16_384)) * 6)
    assert client.take() == []
    assert client.room.held_bytes == 0


def test_a_message_in_one_frame_that_is_too_long_is_refused() -> None:
    client = GrpcClient()
    client.grpc.message_bytes_max = 10
    noted = client.open()
    client.send(data(1, message(bytes(11))))
    assert (client.answer().status[0], noted.messages) == (Code.RESOURCE_EXHAUSTED, [])


def test_a_gzip_bomb_takes_no_more_memory_than_a_message_may() -> None:
    client = GrpcClient()
    client.open(1, GZIP)
    bomb = gzip.compress(bytes(50 << 20))
    assert len(bomb) < MESSAGE_BYTES_MAX
    tracemalloc.start()
    try:
        client.send(frames_of(message(bomb, flag=1), 16_384))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert client.answer().status[0] == Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("seed", range(3))
def test_no_body_makes_a_call_raise_or_leaves_anything_held(seed: int) -> None:
    draw = random.Random(seed)
    client = GrpcClient()
    for number in range(1, 601, 2):
        body = b"".join(
            message(draw.choice((SQUEEZED, b"", draw.randbytes(5))), flag=draw.choice((0, 0, 0, 1, 2)))
            for _ in range(draw.randrange(5))
        )
        noted = client.open(number, *draw.choice(((), (GZIP,))))
        client.send(frames_of(body[: len(body) - draw.randrange(2)], draw.randrange(1, 30), number))
        if draw.random() < 0.5:
            noted.call.answer(b"done")
        else:
            client.send(rst_stream(number, ErrorCode.CANCEL))
        assert client.room.held_bytes == client.grpc.held_bytes == 0
        client.take()
    assert client.grpc.http.error is None


# ---------------------------------------------------------------------------------------------------------------
# What a call says of itself


@pytest.mark.parametrize(
    ("timeout", "microseconds"),
    [
        (b"1H", 3_600_000_000),
        (b"2M", 120_000_000),
        (b"3S", 3_000_000),
        (b"250m", 250_000),
        (b"7u", 7),
        (b"1500n", 1),
        (b"0n", 0),
        (b"99999999S", 99_999_999_000_000),
        (None, None),
    ],
)
def test_a_timeout_has_a_number_and_a_unit(timeout: bytes | None, microseconds: int | None) -> None:
    noted = GrpcClient().open(1, *([] if timeout is None else [(b"grpc-timeout", timeout)]))
    assert noted.call.head.timeout_us == microseconds


@pytest.mark.parametrize(
    "timeout", [b"", b"S", b"1", b"1s", b"-1S", b"+1S", b"1.5S", b"1 S", b"123456789S", b"1SS", b"\xb2S", b"x" * 9_000]
)
def test_a_timeout_of_another_form_ends_the_call(timeout: bytes) -> None:
    client = GrpcClient()
    client.send(headers(1, (*CALL, (b"grpc-timeout", timeout))))
    code, text = client.answer().status
    assert code == Code.INTERNAL
    assert "grpc-timeout" in text
    assert len(text) < 100
    assert client.calls.calls == []


@pytest.mark.parametrize("encoding", [b"deflate", b"snappy", b"", b"GZIP", b"\xff" * 9_000])
def test_an_encoding_that_is_not_known_ends_the_call_and_those_that_are_are_named(encoding: bytes) -> None:
    client = GrpcClient()
    client.send(headers(1, (*CALL, (b"grpc-encoding", encoding))))
    answer = client.answer()
    assert answer.status[0] == Code.UNIMPLEMENTED
    assert len(answer.status[1]) < 150
    assert answer.headers[b"grpc-accept-encoding"] == b"identity,gzip"
    assert client.calls.calls == []


@pytest.mark.parametrize("content_type", [b"application/grpc", b"application/grpc+proto", b"application/grpc;x=y"])
def test_content_types_of_grpc_make_a_call(content_type: bytes) -> None:
    client = GrpcClient()
    client.send(headers(1, (*CALL[:-1], (b"content-type", content_type))))
    assert len(client.calls.calls) == 1


def test_a_content_type_that_only_begins_as_grpcs_is_not_supported() -> None:
    client = GrpcClient()
    client.send(headers(1, (*CALL[:-1], (b"content-type", b"application/grpc-web"))))
    answer = client.answer()
    assert (answer.headers, answer.is_whole) == ({b":status": b"415"}, True)
    assert not client.calls.calls
    assert not client.calls.others


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((*CALL[:-1], (b"content-type", b"application/json")), id="another content-type"),
        pytest.param(CALL[:-1], id="no content-type"),
        pytest.param(((b":method", b"GET"), *CALL[1:]), id="GET"),
    ],
)
def test_any_other_request_is_no_call_and_its_body_is_passed_over(fields: tuple[Header, ...]) -> None:
    client = GrpcClient()
    client.send(headers(1, fields, END_HEADERS), data(1, b"body", END_STREAM))
    assert client.calls.others == [fields]
    assert client.answer().headers == {b":status": b"404"}
    assert client.room.held_bytes == 0


def test_a_call_knows_its_path_and_all_its_headers() -> None:
    client = GrpcClient()
    head = client.open(1, (b"x-mine", b"1"), GZIP).call.head
    assert (head.path, head.encoding) == (b"/etcdserverpb.KV/Range", b"gzip")
    assert client.calls.metadata == (*CALL, (b"x-mine", b"1"), GZIP)


def test_a_call_that_is_ended_as_it_begins_takes_no_messages() -> None:
    client = GrpcClient()
    fields = tuple((name, b"/unknown" if name == b":path" else value) for name, value in CALL)
    client.send(headers(1, fields, END_HEADERS), data(1, message(b"x"), END_STREAM))
    assert client.answer().status == (Code.UNIMPLEMENTED, "no such method")
    assert client.room.held_bytes == 0


# ---------------------------------------------------------------------------------------------------------------
# Answers

RESPONSE = {b":status": b"200", b"content-type": b"application/grpc"}
DONE = {**RESPONSE, b"grpc-status": b"0"}


def test_an_answer_is_headers_a_message_and_trailers() -> None:
    client = GrpcClient()
    client.open(flags=END_STREAM | END_HEADERS).call.answer(b"hello")
    assert client.answer() == Answer(DONE, 2, message(b"hello"), True)


def test_an_answer_in_parts_is_one_message() -> None:
    client = GrpcClient()
    client.open(flags=END_STREAM | END_HEADERS).call.answer_parts((b"he", memoryview(b"ll"), b"", b"o"))
    assert client.answer() == Answer(DONE, 2, message(b"hello"), True)


def test_messages_that_are_sent_come_before_the_end() -> None:
    client = GrpcClient()
    call = client.open().call
    call.send((b"one",))
    call.send((b"",))
    assert client.answer() == Answer(RESPONSE, 1, message(b"one") + message(b""), False)
    call.send((b"three",))
    call.end(14, "enough")
    answer = client.answer()
    assert answer.messages == message(b"one") + message(b"") + message(b"three")
    assert (answer.blocks, answer.status) == (2, (14, "enough"))


@pytest.mark.parametrize("size", [0, 10, 16_379, 16_380, 65_530, 200_000])
def test_an_answer_that_waits_for_windows_arrives_whole(size: int) -> None:
    client = GrpcClient()
    body = random.Random(size).randbytes(size)
    client.send(settings((INITIAL_WINDOW_SIZE, 7)))
    noted = client.open(flags=END_STREAM | END_HEADERS)
    noted.call.answer(body)
    client.take()
    assert noted.call.waiting_bytes == max(size + 5 - 7, 0)
    client.send(window_update(0, 1 << 20), window_update(1, 1 << 20))
    assert client.answer() == Answer(DONE, 2, message(body), True)


def test_an_end_without_a_message_is_trailers_only() -> None:
    client = GrpcClient()
    client.open().call.end(3, "no key")
    answer = client.answer()
    assert (answer.blocks, answer.status, answer.is_whole) == (1, (3, "no key"), True)
    assert answer.headers.items() >= RESPONSE.items()


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("plain, with a ~ and a space", b"plain, with a ~ and a space"),
        ("100%", b"100%25"),
        ("line\r\nfeed\t\0\x7f", b"line%0D%0Afeed%09%00%7F"),
        ("grün ☃", b"gr%C3%BCn %E2%98%83"),
        ("", b""),
        ("  spaces around ", b"spaces around"),
        ("☃" * 20_000, b"%E2%98%83" * 1_000),
    ],
)
def test_a_text_is_percent_encoded_and_fits_into_a_frame(text: str, encoded: bytes) -> None:
    client = GrpcClient()
    client.open().call.end(Code.UNKNOWN, text)
    assert client.answer().headers[b"grpc-message"] == encoded


def test_a_call_ends_once() -> None:
    client = GrpcClient()
    call = client.open(flags=END_STREAM | END_HEADERS).call
    call.answer(b"first")
    client.take()
    call.answer(b"second")
    call.answer_parts((b"third",))
    call.send((b"fourth",))
    call.end(Code.INTERNAL, "fifth")
    call.done_with(b"")
    assert client.take() == []


@pytest.mark.parametrize("how", ["reset", "lost", "connection error"])
def test_a_client_that_has_gone_is_told_nothing_and_its_handler_is_told_once(how: str) -> None:
    client = GrpcClient()
    noted = client.open()
    client.send(data(1, message(b"x")))
    noted.call.send((b"one",))
    client.take()
    if how == "reset":
        client.send(rst_stream(1, ErrorCode.CANCEL))
    elif how == "lost":
        client.grpc.http.lost()
    else:
        client.send(data(0, b"x"))
    client.take()
    noted.call.send((b"two",))
    noted.call.answer(b"three")
    noted.call.end(Code.INTERNAL, "four")
    client.grpc.http.lost()
    assert client.take() == []
    assert noted.told == ["sent", "gone"]
    assert client.room.held_bytes == 0


def test_a_handler_is_told_when_what_it_sent_has_left() -> None:
    client = GrpcClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 7)))
    noted = client.open()
    noted.call.send((b"one",))
    client.take()
    assert (noted.call.waiting_bytes, noted.told) == (1, [])
    client.send(window_update(1, 1))
    client.take()
    assert (noted.call.waiting_bytes, noted.told) == (0, ["sent"])


# ---------------------------------------------------------------------------------------------------------------
# How much is held


def credited(frames: list[Frame], number: int = 1) -> int:
    return sum(int.from_bytes(each.payload) for each in frames if each.kind == WINDOW_UPDATE and each.stream == number)


def test_a_client_whose_handler_does_not_read_may_send_no_more_until_it_does() -> None:
    window = 1 << 20
    client = GrpcClient(limits=ConnectionLimits(stream_window_bytes=window))
    noted = client.open()
    piece = message(bytes(16_000))
    sent = 0
    while sent + len(piece) <= window:
        client.send(data(1, piece))
        sent += len(piece)
    assert credited(client.take()) == 0
    assert client.room.held_bytes == sent
    for each in noted.messages:
        noted.call.done_with(each)
    assert client.room.held_bytes == 0
    assert sent - UNREAD_BYTES_MAX - 2 * len(piece) <= credited(client.take()) <= sent


def test_a_client_whose_handler_reads_may_send_for_ever() -> None:
    client = GrpcClient()
    noted = client.open(1, GZIP)
    body = message(gzip.compress(bytes(20)), flag=1) + message(bytes(10_000)) + message(gzip.compress(b""), flag=1)
    for _ in range(500):
        client.send(data(1, body))
        while noted.messages:
            noted.call.done_with(noted.messages.pop())
        assert client.room.held_bytes == 0
        client.take()
    assert client.grpc.http.error is None
    assert noted.told == []


def test_a_large_message_may_come_whole_before_anybody_reads() -> None:
    client = GrpcClient(limits=ConnectionLimits(stream_window_bytes=65_535))
    noted = client.open()
    client.grpc.message_bytes_max = 1 << 20
    body = message(bytes(1 << 20))
    allowed = 65_535
    for at in range(0, len(body), 10_000):
        piece = body[at : at + 10_000]
        allowed += credited(client.take()) - len(piece)
        assert allowed >= 0
        client.send(data(1, piece))
    assert list(map(len, noted.messages)) == [1 << 20]


def test_where_there_is_no_room_the_connection_that_holds_most_loses_its_largest_call_and_others_go_on() -> None:
    room = Room(50_000, FULL)
    greedy, modest = GrpcClient(room), GrpcClient(room)
    small, large = greedy.open(1), greedy.open(3)
    greedy.send(data(1, message(bytes(10_000))), data(3, message(bytes(15_000))), data(3, message(bytes(5_000))))
    noted = modest.open(1)
    modest.send(data(1, message(bytes(15_000))))
    assert (small.told, large.told) == ([], [])
    modest.send(data(1, message(bytes(5_000))))
    assert (small.told, large.told, noted.told) == ([], ["gone"], [])
    assert greedy.answer(3).status == (Code.RESOURCE_EXHAUSTED, FULL)
    assert list(map(len, noted.messages)) == [15_000, 5_000]
    assert (greedy.grpc.held_bytes, modest.grpc.held_bytes, room.held_bytes) == (10_005, 20_010, 30_015)
    small.call.answer(b"still here")
    assert greedy.answer(1).messages == message(b"still here")


def test_where_there_is_no_room_for_what_comes_on_the_connection_that_holds_most_that_call_ends() -> None:
    room = Room(20_000, FULL)
    client = GrpcClient(room)
    first, second = client.open(1), client.open(3)
    client.send(data(1, message(bytes(15_000))), data(3, message(bytes(10_000))[:-1]))
    assert (first.told, second.told) == ([], ["gone"])
    assert client.answer(3).status == (Code.RESOURCE_EXHAUSTED, FULL)
    assert room.held_bytes == 15_005


def test_what_a_message_grows_by_when_it_is_decompressed_needs_room() -> None:
    room = Room(20_000, FULL)
    client = GrpcClient(room)
    noted = client.open(1, GZIP)
    client.send(data(1, message(gzip.compress(bytes(30_000)), flag=1)))
    assert (noted.messages, noted.told, room.held_bytes) == ([], ["gone"], 0)
    assert client.answer().status == (Code.RESOURCE_EXHAUSTED, FULL)


def test_a_call_that_is_answered_gives_its_room_back() -> None:
    client = GrpcClient()
    noted = client.open()
    client.send(data(1, message(bytes(1_000)) + b"\0\0"))
    assert client.room.held_bytes == 1_007
    noted.call.answer(b"")
    assert client.room.held_bytes == 0


def test_calls_that_the_client_makes_us_reset_give_their_room_back_though_the_connection_ends() -> None:
    client = GrpcClient(limits=ConnectionLimits(resets_max=3))
    for number in (1, 3, 5, 7, 9):
        client.send(headers(number, CALL, END_HEADERS), data(number, message(b"x")), window_update(number, 0))
    assert client.grpc.http.error is not None
    assert [each.told for each in client.calls.calls] == [["gone"]] * 4
    assert client.room.held_bytes == 0
