"""What a server must do with whatever a client sends, section by section of RFC 9113.

The cases hold all that the tool h2spec tries (its names of sections, of RFC 7540, are those of RFC 9113 but for 8.1.2,
which became 8.2 and 8.3), and more. Where the RFC leaves a choice, a case says what this edge has chosen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from ratified.edge.connection import Connection, ConnectionLimits
from ratified.edge.frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_MAX,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ErrorCode,
    frame,
    goaway,
    head,
    rst_stream,
    settings,
    window_update,
)
from ratified.edge.hpack import Header, encode
from tests.edge.client import (
    ANSWER,
    GET,
    HELD,
    POST,
    TRAILERS,
    Answering,
    Frame,
    FrameClient,
    data,
    headers,
    read_frames,
    take_all,
)

START = PREFACE + settings()
OPENED = headers(1, POST, END_HEADERS)
"""Stream 1 is open, and goes on."""
HELD_1 = headers(1, HELD)
"""Stream 1 is half-closed (remote): the client has ended it, and the server not yet."""
ANSWERED = headers(1)
"""Stream 1 is closed: both have ended it."""
RESET = headers(1, HELD, END_HEADERS) + rst_stream(1, ErrorCode.CANCEL)
"""Stream 1 is closed: the client has reset it."""
LAST = END_STREAM | END_HEADERS


@dataclass(frozen=True)
class Served:
    """Nothing is wrong: these streams are answered, with these bodies; and so is a request afterwards."""

    answers: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True)
class StreamFails:
    """Section 5.4.2: the stream is reset, and a request afterwards is answered."""

    code: ErrorCode
    stream: int = 1


@dataclass(frozen=True)
class ConnectionFails:
    """Section 5.4.1: a last GOAWAY, and then the socket is to be closed."""

    code: ErrorCode


GOES_ON = Served()
STREAM_1 = Served(((1, b""),))
CONNECTION_PROTOCOL_ERROR = ConnectionFails(ErrorCode.PROTOCOL_ERROR)
CONNECTION_SIZE_ERROR = ConnectionFails(ErrorCode.FRAME_SIZE_ERROR)
CONNECTION_FLOW_ERROR = ConnectionFails(ErrorCode.FLOW_CONTROL_ERROR)
MALFORMED = StreamFails(ErrorCode.PROTOCOL_ERROR)
Outcome = Served | StreamFails | ConnectionFails


def padded(kind: int, stream: int, payload: bytes, padding: int, flags: int = 0) -> bytes:
    return frame(kind, flags | PADDED, stream, bytes([padding]) + payload + bytes(padding))


def priority(stream: int, depends_on: int = 0, *, exclusive: bool = False, weight: int = 15) -> bytes:
    return frame(PRIORITY, 0, stream, priority_fields(depends_on, exclusive=exclusive, weight=weight))


def priority_fields(depends_on: int, *, exclusive: bool = False, weight: int = 15) -> bytes:
    return (depends_on | exclusive << 31).to_bytes(4) + bytes([weight])


def continuation(stream: int, block: bytes, flags: int = END_HEADERS) -> bytes:
    return frame(CONTINUATION, flags, stream, block)


def without(name: bytes, fields: tuple[Header, ...] = GET) -> tuple[Header, ...]:
    return tuple(each for each in fields if each[0] != name)


def with_value(name: bytes, value: bytes) -> tuple[Header, ...]:
    return tuple((each[0], value) if each[0] == name else each for each in GET)


def asks(*fields: tuple[bytes, bytes]) -> bytes:
    """GET with these fields behind its own."""
    return headers(1, (*GET, *fields))


def posts(length: bytes, *bodies: bytes) -> bytes:
    """POST with this content-length, and a DATA frame of each body."""
    frames = [data(1, body) for body in bodies[:-1]] + [data(1, bodies[-1], END_STREAM)]
    return headers(1, (*POST, (b"content-length", length)), END_HEADERS) + b"".join(frames)


BLOCK = encode(*GET)
CASES: dict[str, tuple[bytes, Outcome]] = {
    # -- 3.4: connection preface (3.5 of RFC 7540) ----------------------------------------------------------------
    "3.4 a request is answered": (ANSWERED, STREAM_1),
    "3.4 GET, then HEAD, then POST, then POST with trailers": (
        headers(1)
        + headers(3, with_value(b":method", b"HEAD"))
        + headers(5, POST, END_HEADERS)
        + data(5, b"body", END_STREAM)
        + headers(7, POST, END_HEADERS)
        + data(7, b"body")
        + headers(7, [(b"x-trailer", b"1")]),
        Served(((1, b""), (3, b""), (5, b"body"), (7, b"body"))),
    ),
    # -- 4.1: frame format ----------------------------------------------------------------------------------------
    "4.1 a frame of unknown type is ignored": (frame(0x16, 0xFF, 0, b"12345678"), GOES_ON),
    "4.1 a frame of unknown type on an idle stream is ignored": (frame(0xFF, 0, 9, b""), GOES_ON),
    "4.1 flags that are not defined are ignored": (frame(PING, 0xFE, 0, bytes(8)), GOES_ON),
    "4.1 END_HEADERS and PADDED mean nothing on SETTINGS": (frame(SETTINGS, END_HEADERS | PADDED, 0, b""), GOES_ON),
    "4.1 the reserved bit of the stream is ignored": (frame(PING, 0, 1 << 31, bytes(8)), GOES_ON),
    "4.1 the reserved bit of a request's stream is ignored": (frame(HEADERS, LAST, 1 | 1 << 31, BLOCK), STREAM_1),
    # -- 4.2: frame size ------------------------------------------------------------------------------------------
    "4.2 DATA of 2^14 bytes": (
        OPENED + data(1, bytes(FRAME_BYTES_MAX), END_STREAM),
        Served(((1, bytes(FRAME_BYTES_MAX)),)),
    ),
    "4.2 DATA longer than MAX_FRAME_SIZE": (OPENED + data(1, bytes(FRAME_BYTES_MAX + 1)), CONNECTION_SIZE_ERROR),
    "4.2 HEADERS longer than MAX_FRAME_SIZE": (
        headers(1, (*GET, *[(b"x", bytes(1000))] * 17)),
        CONNECTION_SIZE_ERROR,
    ),
    "4.2 the head of a frame of 2^24 - 1 bytes": (head(2**24 - 1, DATA, 0, 1), CONNECTION_SIZE_ERROR),
    # -- 4.3: header compression ----------------------------------------------------------------------------------
    "4.3 a header block that does not read": (
        frame(HEADERS, LAST, 1, b"\x80"),
        ConnectionFails(ErrorCode.COMPRESSION_ERROR),
    ),
    "4.3 a header block that ends too soon": (
        frame(HEADERS, LAST, 1, BLOCK[:-1]),
        ConnectionFails(ErrorCode.COMPRESSION_ERROR),
    ),
    "4.3 trailers that do not read": (
        OPENED + frame(HEADERS, LAST, 1, b"\xff\xff\xff\xff\xff"),
        ConnectionFails(ErrorCode.COMPRESSION_ERROR),
    ),
    "4.3 PRIORITY inside a header block": (
        headers(1, POST, 0) + priority(1) + continuation(1, b""),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "4.3 HEADERS of another stream inside a header block": (
        headers(1, POST, 0) + headers(3, POST),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "4.3 the blocks of streams that are refused are read": (
        headers(1, HELD, END_HEADERS)
        + rst_stream(1, ErrorCode.CANCEL)
        # A malformed request puts x: y into the table, and the next one names it.
        + frame(HEADERS, LAST, 3, b"\x40\x01x\x01y")
        + frame(HEADERS, LAST, 5, BLOCK + b"\xbe"),
        Served(((5, b""),)),
    ),
    # -- 5.1: stream states ---------------------------------------------------------------------------------------
    "5.1 idle: DATA": (data(1, b"x", END_STREAM), CONNECTION_PROTOCOL_ERROR),
    "5.1 idle: RST_STREAM": (rst_stream(1, ErrorCode.CANCEL), CONNECTION_PROTOCOL_ERROR),
    "5.1 idle: WINDOW_UPDATE": (window_update(1, 100), CONNECTION_PROTOCOL_ERROR),
    "5.1 idle: CONTINUATION": (continuation(1, BLOCK), CONNECTION_PROTOCOL_ERROR),
    "5.1 idle: PRIORITY is taken": (priority(1) + ANSWERED, STREAM_1),
    "5.1 idle: DATA of a stream of ours": (ANSWERED + data(2, b"x"), CONNECTION_PROTOCOL_ERROR),
    "5.1 idle: RST_STREAM of a stream of ours": (
        headers(3) + rst_stream(2, ErrorCode.CANCEL),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "5.1 idle: WINDOW_UPDATE of a stream of ours": (headers(3) + window_update(2, 1), CONNECTION_PROTOCOL_ERROR),
    "5.1 half-closed (remote): DATA": (HELD_1 + data(1, b"x", END_STREAM), StreamFails(ErrorCode.STREAM_CLOSED)),
    "5.1 half-closed (remote): HEADERS": (HELD_1 + ANSWERED, StreamFails(ErrorCode.STREAM_CLOSED)),
    "5.1 half-closed (remote): CONTINUATION": (HELD_1 + continuation(1, BLOCK), CONNECTION_PROTOCOL_ERROR),
    "5.1 half-closed (remote): WINDOW_UPDATE is taken": (HELD_1 + window_update(1, 1), GOES_ON),
    "5.1 half-closed (remote): PRIORITY is taken": (HELD_1 + priority(1), GOES_ON),
    "5.1 half-closed (remote): RST_STREAM is taken": (HELD_1 + rst_stream(1, ErrorCode.CANCEL), GOES_ON),
    "5.1 closed by RST_STREAM: DATA": (RESET + data(1, b"x"), StreamFails(ErrorCode.STREAM_CLOSED)),
    "5.1 closed by RST_STREAM: HEADERS": (RESET + headers(1), ConnectionFails(ErrorCode.STREAM_CLOSED)),
    "5.1 closed by RST_STREAM: CONTINUATION": (RESET + continuation(1, BLOCK), CONNECTION_PROTOCOL_ERROR),
    "5.1 closed by RST_STREAM: PRIORITY is taken": (RESET + priority(1), GOES_ON),
    "5.1 closed: DATA": (ANSWERED + data(1, b"x"), StreamFails(ErrorCode.STREAM_CLOSED)),
    "5.1 closed: HEADERS": (ANSWERED + headers(1), ConnectionFails(ErrorCode.STREAM_CLOSED)),
    "5.1 closed: CONTINUATION": (ANSWERED + continuation(1, BLOCK), CONNECTION_PROTOCOL_ERROR),
    "5.1 closed: PRIORITY is taken": (ANSWERED + priority(1), STREAM_1),
    "5.1 closed: WINDOW_UPDATE and RST_STREAM have crossed the answer": (
        ANSWERED + window_update(1, 1) + rst_stream(1, ErrorCode.CANCEL),
        STREAM_1,
    ),
    "5.1 closed by us: what was on the way is ignored": (
        headers(1, (*POST, (b"te", b"gzip")), END_HEADERS)
        + data(1, b"x")
        + window_update(1, 1)
        + priority(1)
        + headers(1, [(b"x", b"y")])
        + rst_stream(1, ErrorCode.CANCEL),
        MALFORMED,
    ),
    # -- 5.1.1: stream identifiers --------------------------------------------------------------------------------
    "5.1.1 an even number": (headers(2), CONNECTION_PROTOCOL_ERROR),
    "5.1.1 a number below the last": (headers(5) + headers(3), CONNECTION_PROTOCOL_ERROR),
    "5.1.1 the first number is passed over": (headers(5) + headers(1), CONNECTION_PROTOCOL_ERROR),
    "5.1.1 DATA of a stream that was passed over": (headers(5) + data(3, b"x"), CONNECTION_PROTOCOL_ERROR),
    "5.1.1 numbers may be passed over": (headers(1) + headers(77), Served(((1, b""), (77, b"")))),
    # -- 5.3: prioritization --------------------------------------------------------------------------------------
    "5.3.1 HEADERS of a stream that depends on itself": (
        frame(HEADERS, LAST | WITH_PRIORITY, 1, priority_fields(1) + BLOCK),
        MALFORMED,
    ),
    "5.3.1 trailers of a stream that depends on itself": (
        OPENED + frame(HEADERS, LAST | WITH_PRIORITY, 1, priority_fields(1) + encode((b"x", b"y"))),
        MALFORMED,
    ),
    "5.3.1 PRIORITY of an open stream that depends on itself": (OPENED + priority(1, 1), MALFORMED),
    "5.3.1 PRIORITY of a closed stream that depends on itself": (ANSWERED + priority(1, 1), MALFORMED),
    "5.3.1 PRIORITY of an idle stream that depends on itself": (priority(1, 1), CONNECTION_PROTOCOL_ERROR),
    # -- 5.5: extending HTTP/2 ------------------------------------------------------------------------------------
    "5.5 an unknown frame inside a header block": (
        headers(1, GET, END_STREAM) + frame(0x16, 0, 1, bytes(8)) + continuation(1, b""),
        CONNECTION_PROTOCOL_ERROR,
    ),
    # -- 6.1: DATA ------------------------------------------------------------------------------------------------
    "6.1 DATA of stream 0": (data(0, b"x"), CONNECTION_PROTOCOL_ERROR),
    "6.1 several, padded and empty": (
        OPENED
        + data(1, b"one ")
        + data(1)
        + padded(DATA, 1, b"two ", 255)
        + padded(DATA, 1, b"", 0)
        + padded(DATA, 1, b"three", 1, END_STREAM),
        Served(((1, b"one two three"),)),
    ),
    "6.1 padding as long as the payload": (
        OPENED + frame(DATA, PADDED, 1, b"\x06" + b"12345"),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "6.1 padded, and no length of the padding": (OPENED + frame(DATA, PADDED, 1, b""), CONNECTION_PROTOCOL_ERROR),
    # -- 6.2: HEADERS ---------------------------------------------------------------------------------------------
    "6.2 HEADERS of stream 0": (headers(0), CONNECTION_PROTOCOL_ERROR),
    "6.2 padded": (padded(HEADERS, 1, BLOCK, 200, LAST), STREAM_1),
    "6.2 with priority": (frame(HEADERS, LAST | WITH_PRIORITY, 1, priority_fields(0) + BLOCK), STREAM_1),
    "6.2 with priority and padded": (
        padded(HEADERS, 1, priority_fields(99, exclusive=True, weight=255) + BLOCK, 7, LAST | WITH_PRIORITY),
        STREAM_1,
    ),
    "6.2 padding longer than the payload": (
        frame(HEADERS, LAST | PADDED, 1, bytes([len(BLOCK) + 1]) + BLOCK),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "6.2 shorter than its priority": (frame(HEADERS, LAST | WITH_PRIORITY, 1, bytes(4)), CONNECTION_SIZE_ERROR),
    "6.2 DATA inside a header block": (headers(1, POST, 0) + data(1, b"x"), CONNECTION_PROTOCOL_ERROR),
    "6.2 another HEADERS inside a header block": (headers(1, POST, 0) + headers(1, POST), CONNECTION_PROTOCOL_ERROR),
    # -- 6.3: PRIORITY --------------------------------------------------------------------------------------------
    "6.3 PRIORITY of stream 0": (priority(0), CONNECTION_PROTOCOL_ERROR),
    "6.3 PRIORITY of four bytes": (OPENED + frame(PRIORITY, 0, 1, bytes(4)), StreamFails(ErrorCode.FRAME_SIZE_ERROR)),
    "6.3 PRIORITY of six bytes of an idle stream": (frame(PRIORITY, 0, 1, bytes(6)), CONNECTION_SIZE_ERROR),
    "6.3 every weight, dependency and exclusive flag": (
        priority(1, weight=0) + priority(1, weight=255) + priority(1, 3) + priority(1, 3, exclusive=True) + ANSWERED,
        STREAM_1,
    ),
    "6.3 PRIORITY of an idle stream, then HEADERS of a lower one": (priority(5) + headers(3), Served(((3, b""),))),
    # -- 6.4: RST_STREAM ------------------------------------------------------------------------------------------
    "6.4 RST_STREAM of stream 0": (rst_stream(0, ErrorCode.CANCEL), CONNECTION_PROTOCOL_ERROR),
    "6.4 RST_STREAM of three bytes": (OPENED + frame(RST_STREAM, 0, 1, bytes(3)), CONNECTION_SIZE_ERROR),
    "6.4 RST_STREAM of five bytes": (OPENED + frame(RST_STREAM, 0, 1, bytes(5)), CONNECTION_SIZE_ERROR),
    "6.4 RST_STREAM of an open stream": (OPENED + rst_stream(1, ErrorCode.CANCEL), GOES_ON),
    "6.4 RST_STREAM of a stream that is closed": (RESET + rst_stream(1, ErrorCode.CANCEL), GOES_ON),
    # -- 6.5: SETTINGS --------------------------------------------------------------------------------------------
    "6.5 ACK that says something": (frame(SETTINGS, ACK, 0, bytes(6)), CONNECTION_SIZE_ERROR),
    "6.5 ACK": (frame(SETTINGS, ACK, 0, b""), GOES_ON),
    "6.5 SETTINGS of stream 1": (frame(SETTINGS, 0, 1, b""), CONNECTION_PROTOCOL_ERROR),
    "6.5 SETTINGS of three bytes": (frame(SETTINGS, 0, 0, bytes(3)), CONNECTION_SIZE_ERROR),
    "6.5.2 ENABLE_PUSH is 2": (settings((ENABLE_PUSH, 2)), CONNECTION_PROTOCOL_ERROR),
    "6.5.2 ENABLE_PUSH is 0, then 1": (settings((ENABLE_PUSH, 0), (ENABLE_PUSH, 1)), GOES_ON),
    "6.5.2 INITIAL_WINDOW_SIZE is 2^31": (settings((INITIAL_WINDOW_SIZE, 1 << 31)), CONNECTION_FLOW_ERROR),
    "6.5.2 INITIAL_WINDOW_SIZE is 2^31 - 1": (settings((INITIAL_WINDOW_SIZE, WINDOW_MAX)), GOES_ON),
    "6.5.2 MAX_FRAME_SIZE is 2^14 - 1": (settings((MAX_FRAME_SIZE, (1 << 14) - 1)), CONNECTION_PROTOCOL_ERROR),
    "6.5.2 MAX_FRAME_SIZE is 2^24": (settings((MAX_FRAME_SIZE, 1 << 24)), CONNECTION_PROTOCOL_ERROR),
    "6.5.2 MAX_FRAME_SIZE is 2^24 - 1": (settings((MAX_FRAME_SIZE, (1 << 24) - 1)), GOES_ON),
    "6.5.2 a setting that nobody knows": (settings((0xFF, 1), (0, 0)), GOES_ON),
    "6.5.2 the others may be anything": (
        settings((HEADER_TABLE_SIZE, 0), (MAX_CONCURRENT_STREAMS, 0), (MAX_HEADER_LIST_SIZE, 0)) + ANSWERED,
        STREAM_1,
    ),
    # -- 6.6, 8.4: PUSH_PROMISE -----------------------------------------------------------------------------------
    "8.4 PUSH_PROMISE": (
        OPENED + frame(PUSH_PROMISE, END_HEADERS, 1, (2).to_bytes(4) + BLOCK),
        CONNECTION_PROTOCOL_ERROR,
    ),
    # -- 6.7: PING ------------------------------------------------------------------------------------------------
    "6.7 PING of stream 1": (frame(PING, 0, 1, bytes(8)), CONNECTION_PROTOCOL_ERROR),
    "6.7 PING of seven bytes": (frame(PING, 0, 0, bytes(7)), CONNECTION_SIZE_ERROR),
    "6.7 PING of no bytes": (frame(PING, 0, 0, b""), CONNECTION_SIZE_ERROR),
    # -- 6.8: GOAWAY ----------------------------------------------------------------------------------------------
    "6.8 GOAWAY of stream 1": (frame(GOAWAY, 0, 1, bytes(8)), CONNECTION_PROTOCOL_ERROR),
    "6.8 GOAWAY of seven bytes": (frame(GOAWAY, 0, 0, bytes(7)), CONNECTION_SIZE_ERROR),
    "6.8 GOAWAY, behind which open streams go on": (
        OPENED + goaway(0, ErrorCode.NO_ERROR, "bye") + data(1, b"x", END_STREAM),
        Served(((1, b"x"),)),
    ),
    # -- 6.9: WINDOW_UPDATE ---------------------------------------------------------------------------------------
    "6.9 of the connection by 0": (window_update(0, 0), CONNECTION_PROTOCOL_ERROR),
    "6.9 of a stream by 0": (OPENED + window_update(1, 0), MALFORMED),
    "6.9 of three bytes": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), CONNECTION_SIZE_ERROR),
    "6.9 of a stream, of five bytes": (OPENED + frame(WINDOW_UPDATE, 0, 1, bytes(5)), CONNECTION_SIZE_ERROR),
    "6.9 the reserved bit of the increment is ignored": (window_update(0, 1 | 1 << 31), GOES_ON),
    "6.9.1 the connection's window is larger than 2^31 - 1": (
        window_update(0, WINDOW_MAX) * 2,
        CONNECTION_FLOW_ERROR,
    ),
    "6.9.1 a stream's window is larger than 2^31 - 1": (
        OPENED + window_update(1, WINDOW_MAX) * 2,
        StreamFails(ErrorCode.FLOW_CONTROL_ERROR),
    ),
    "6.9.1 windows may be 2^31 - 1": (
        OPENED + window_update(1, WINDOW_MAX - 65_535) + window_update(0, WINDOW_MAX - 65_535),
        GOES_ON,
    ),
    "6.9.2 SETTINGS make a stream's window larger than 2^31 - 1": (
        OPENED + window_update(1, WINDOW_MAX - 65_535) + settings((INITIAL_WINDOW_SIZE, 65_536)),
        CONNECTION_FLOW_ERROR,
    ),
    # -- 6.10: CONTINUATION ---------------------------------------------------------------------------------------
    "6.10 in several": (
        headers(1, POST, END_STREAM)
        + continuation(1, encode((b"x", b"y")), 0)
        + continuation(1, b"", 0)
        + continuation(1, encode((b"x", b"y"))),
        STREAM_1,
    ),
    "6.10 the block is cut anywhere": (
        frame(HEADERS, END_STREAM, 1, BLOCK[:1]) + continuation(1, BLOCK[1:10], 0) + continuation(1, BLOCK[10:]),
        STREAM_1,
    ),
    "6.10 trailers": (
        OPENED + headers(1, [], END_STREAM) + continuation(1, encode((b"x", b"y"))),
        STREAM_1,
    ),
    "6.10 a frame between": (
        headers(1, POST, END_STREAM) + continuation(1, b"", 0) + data(1, b"x"),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "6.10 of stream 0": (headers(1, POST, END_STREAM) + continuation(0, b""), CONNECTION_PROTOCOL_ERROR),
    "6.10 of another stream": (headers(1, POST, END_STREAM) + continuation(3, b""), CONNECTION_PROTOCOL_ERROR),
    "6.10 behind HEADERS that were whole": (OPENED + continuation(1, b""), CONNECTION_PROTOCOL_ERROR),
    "6.10 behind a CONTINUATION that was the last": (
        headers(1, POST, 0) + continuation(1, b"") + continuation(1, b""),
        CONNECTION_PROTOCOL_ERROR,
    ),
    "6.10 behind DATA": (OPENED + data(1, b"x") + continuation(1, b""), CONNECTION_PROTOCOL_ERROR),
    # -- 7: error codes -------------------------------------------------------------------------------------------
    "7 GOAWAY of an unknown code": (frame(GOAWAY, 0, 0, bytes(4) + b"\0\0\0\xff"), GOES_ON),
    "7 RST_STREAM of an unknown code": (OPENED + frame(RST_STREAM, 0, 1, b"\0\0\0\xff"), GOES_ON),
    # -- 8.1: message framing -------------------------------------------------------------------------------------
    "8.1 trailers that do not end the stream": (OPENED + data(1, b"x") + headers(1, POST, END_HEADERS), MALFORMED),
    "8.1 fields behind the trailers": (
        headers(1, HELD, END_HEADERS) + headers(1, [(b"x", b"y")]) * 2,
        StreamFails(ErrorCode.STREAM_CLOSED),
    ),
    "8.1.1 content-length of less than its one DATA": (posts(b"1", b"test"), MALFORMED),
    "8.1.1 content-length of more than its one DATA": (posts(b"5", b"test"), MALFORMED),
    "8.1.1 content-length of less than all DATA": (posts(b"7", b"test", b"test"), MALFORMED),
    "8.1.1 content-length of more than all DATA": (posts(b"9", b"test", b"test"), MALFORMED),
    "8.1.1 content-length of more than all DATA before the trailers": (
        headers(1, (*POST, (b"content-length", b"5")), END_HEADERS) + data(1, b"test") + headers(1, [(b"x", b"y")]),
        MALFORMED,
    ),
    "8.1.1 content-length of a request without DATA": (asks((b"content-length", b"1")), MALFORMED),
    "8.1.1 content-length that is no number": (asks((b"content-length", b"+0")), MALFORMED),
    "8.1.1 two content-lengths that differ": (asks((b"content-length", b"0"), (b"content-length", b"1")), MALFORMED),
    "8.1.1 content-length of all DATA, its padding not counted": (
        headers(1, (*POST, (b"content-length", b"8")), END_HEADERS)
        + padded(DATA, 1, b"test", 9)
        + data(1, b"test", END_STREAM),
        Served(((1, b"testtest"),)),
    ),
    "8.1.1 content-length of 0": (asks((b"content-length", b"0")), STREAM_1),
    # -- 8.2: fields (8.1.2 of RFC 7540) --------------------------------------------------------------------------
    "8.2.1 a name in uppercase": (asks((b"X-Test", b"ok")), MALFORMED),
    "8.2.1 a name in uppercase in trailers": (OPENED + headers(1, [(b"X-Test", b"ok")]), MALFORMED),
    "8.2.1 an empty name": (asks((b"", b"ok")), MALFORMED),
    "8.2.1 a name with a space": (asks((b"x y", b"ok")), MALFORMED),
    "8.2.1 a name with a byte above 127": (asks((b"x\x80", b"ok")), MALFORMED),
    "8.2.1 a name with a colon": (asks((b"x:y", b"ok")), MALFORMED),
    "8.2.1 a value with a line feed": (asks((b"x", b"a\nb")), MALFORMED),
    "8.2.1 a value with a carriage return": (asks((b"x", b"a\rb")), MALFORMED),
    "8.2.1 a value with a zero byte": (asks((b"x", b"a\0b")), MALFORMED),
    "8.2.1 a value that begins with a space": (asks((b"x", b" a")), MALFORMED),
    "8.2.1 a value that ends with a tab": (asks((b"x", b"a\t")), MALFORMED),
    "8.2.1 a path with a line feed": (headers(1, with_value(b":path", b"/\n")), MALFORMED),
    "8.2.1 an empty value, and bytes above 127": (asks((b"x", b""), (b"y", b"\x80\xff")), STREAM_1),
    "8.2.2 connection": (asks((b"connection", b"keep-alive")), MALFORMED),
    "8.2.2 keep-alive": (asks((b"keep-alive", b"1")), MALFORMED),
    "8.2.2 proxy-connection": (asks((b"proxy-connection", b"keep-alive")), MALFORMED),
    "8.2.2 transfer-encoding": (asks((b"transfer-encoding", b"chunked")), MALFORMED),
    "8.2.2 upgrade": (asks((b"upgrade", b"h2c")), MALFORMED),
    "8.2.2 te of anything but trailers": (asks((b"te", b"trailers, deflate;q=0.5")), MALFORMED),
    "8.2.2 te of trailers": (asks((b"te", b"trailers")), STREAM_1),
    "8.2.3 cookie in crumbs": (asks((b"cookie", b"a=b"), (b"cookie", b"c=d")), STREAM_1),
    # -- 8.3: pseudo-header fields --------------------------------------------------------------------------------
    "8.3 an unknown one": (headers(1, (*GET, (b":test", b"ok"))), MALFORMED),
    "8.3 one of responses": (headers(1, (*GET, (b":status", b"200"))), MALFORMED),
    "8.3 one in the trailers": (OPENED + data(1, b"x") + headers(1, [(b":method", b"GET")]), MALFORMED),
    "8.3 one behind a field": (headers(1, (*GET[:2], (b"x", b"y"), *GET[2:])), MALFORMED),
    "8.3.1 an empty :path": (headers(1, with_value(b":path", b"")), MALFORMED),
    "8.3.1 no :method": (headers(1, without(b":method")), MALFORMED),
    "8.3.1 no :scheme": (headers(1, without(b":scheme")), MALFORMED),
    "8.3.1 no :path": (headers(1, without(b":path")), MALFORMED),
    "8.3.1 :method twice": (headers(1, (GET[0], *GET)), MALFORMED),
    "8.3.1 :scheme twice": (headers(1, (GET[1], *GET)), MALFORMED),
    "8.3.1 :path twice": (headers(1, (GET[2], *GET)), MALFORMED),
    "8.3.1 :authority twice": (headers(1, (GET[3], *GET)), MALFORMED),
    "8.3.1 no field at all": (headers(1, []), MALFORMED),
    "8.3.1 no :authority, and a host": (headers(1, (*without(b":authority"), (b"host", b"localhost"))), STREAM_1),
    "8.5 CONNECT, which is not served": (
        headers(1, [(b":method", b"CONNECT"), (b":authority", b"localhost:1")]),
        MALFORMED,
    ),
}


@pytest.mark.parametrize(("sent", "outcome"), CASES.values(), ids=CASES.keys())
def test_a_client_is_answered_as_the_rfc_says(sent: bytes, outcome: Outcome) -> None:
    client = FrameClient()
    client.send(sent)
    client.take()
    match outcome:
        case Served(answers):
            assert [(number, client.answer_to(number)) for number, _ in answers] == list(answers)
            assert all(code is ErrorCode.NO_ERROR for number, code in client.resets() if (number, b"") in answers)
            assert client.is_served()
        case StreamFails(code, stream):
            assert client.resets() == [(stream, code)]
            assert client.goaways() == []
            assert client.is_served()
        case ConnectionFails(code):
            assert client.frames[-1].kind == GOAWAY
            assert client.goaways() == [code]
            assert client.is_over()
            assert client.connection.error
            assert not client.is_served()


def test_a_stream_that_fails_is_told_to_its_owner_once() -> None:
    for sent, outcome in CASES.values():
        client = FrameClient()
        client.send(sent)
        client.connection.lost()
        owner = client.owner
        if isinstance(outcome, StreamFails) and sent.startswith((OPENED, HELD_1)):
            assert owner.gone == [1]
        assert len(owner.gone) == len(set(owner.gone))


# ---------------------------------------------------------------------------------------------------------------
# 3.4: the preface


@pytest.mark.parametrize(
    ("first", "code"),
    [
        pytest.param(b"GET / HTTP/1.1\r\n", ErrorCode.PROTOCOL_ERROR, id="HTTP/1.1"),
        pytest.param(b"INVALID CONNECTION PREFACE\r\n\r\n", ErrorCode.PROTOCOL_ERROR, id="anything"),
        pytest.param(PREFACE[:-1] + b"x", ErrorCode.PROTOCOL_ERROR, id="almost the preface"),
        pytest.param(PREFACE + frame(PING, 0, 0, bytes(8)), ErrorCode.PROTOCOL_ERROR, id="no SETTINGS"),
        pytest.param(PREFACE + frame(0x16, 0, 0, b""), ErrorCode.PROTOCOL_ERROR, id="an unknown frame before SETTINGS"),
        pytest.param(PREFACE + frame(SETTINGS, ACK, 0, b""), ErrorCode.PROTOCOL_ERROR, id="ACK before SETTINGS"),
        pytest.param(PREFACE + head(FRAME_BYTES_MAX + 6, SETTINGS, 0, 0), ErrorCode.FRAME_SIZE_ERROR, id="too long"),
    ],
)
def test_a_connection_begins_with_the_preface_and_settings(first: bytes, code: ErrorCode) -> None:
    client = FrameClient(first=first)
    assert client.take()[-1].code is code
    assert client.is_over()


def test_the_server_begins_with_settings_and_does_not_wait_for_the_client() -> None:
    client = FrameClient(first=b"")
    limits = ConnectionLimits()
    first, second = client.take()
    assert first.kind == SETTINGS
    assert dict(SETTING.iter_unpack(first.payload)) == {
        MAX_CONCURRENT_STREAMS: limits.streams_max,
        INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
        MAX_HEADER_LIST_SIZE: limits.header_bytes_max,
    }
    assert second == Frame(WINDOW_UPDATE, 0, 0, (limits.connection_window_bytes - 65_535).to_bytes(4))


# ---------------------------------------------------------------------------------------------------------------
# Answers to single frames


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        pytest.param(settings(), [Frame(SETTINGS, ACK, 0, b"")], id="6.5.3 SETTINGS are acknowledged"),
        pytest.param(frame(SETTINGS, ACK, 0, b""), [], id="6.5.3 their ACK is not"),
        pytest.param(frame(PING, 0, 0, b"12345678"), [Frame(PING, ACK, 0, b"12345678")], id="6.7 PING is answered"),
        pytest.param(frame(PING, ACK, 0, b"12345678"), [], id="6.7 its ACK is not"),
        pytest.param(priority(1) + window_update(0, 1) + frame(0x16, 0, 0, b""), [], id="others are not"),
    ],
)
def test_settings_and_ping_alone_are_acknowledged(sent: bytes, answers: list[Frame]) -> None:
    client = FrameClient()
    client.take()
    client.send(sent)
    assert client.take() == answers


def test_goaway_names_the_last_stream_that_was_taken() -> None:
    client = FrameClient()
    client.send(headers(1), headers(7), data(0))
    client.take()
    assert int.from_bytes(client.frames[-1].payload[:4]) == 7


def test_what_follows_an_error_of_the_connection_is_not_read() -> None:
    client = FrameClient()
    client.send(headers(1, HELD), data(0), headers(3))
    client.send(headers(5))
    assert list(client.owner.streams) == [1]
    assert client.owner.gone == [1]


# ---------------------------------------------------------------------------------------------------------------
# 5.1.2: how many streams


def test_one_stream_more_than_was_announced_is_refused_until_another_ends() -> None:
    client = FrameClient(ConnectionLimits(streams_max=2))
    client.send(headers(1, HELD), headers(3, HELD), headers(5, HELD))
    client.take()
    assert client.resets() == [(5, ErrorCode.REFUSED_STREAM)]
    client.send(rst_stream(1, ErrorCode.CANCEL))
    assert client.is_served()


def test_a_stream_counts_until_the_client_has_taken_the_end_of_its_answer() -> None:
    client = FrameClient(ConnectionLimits(streams_max=2))
    client.send(headers(1), headers(3), headers(5))
    client.take()
    assert client.resets() == [(5, ErrorCode.REFUSED_STREAM)]
    assert client.is_served()


# ---------------------------------------------------------------------------------------------------------------
# 6.8: the server goes away


def test_a_server_that_drains_ends_the_streams_that_are_open_and_takes_no_more() -> None:
    client = FrameClient()
    client.send(headers(1, POST, END_HEADERS))
    client.connection.drain()
    client.send(headers(3), data(1, b"x"))
    assert not client.is_over()
    client.send(data(1, b"y", END_STREAM))
    assert client.is_over()
    client.take()
    assert client.goaways() == [ErrorCode.NO_ERROR]
    assert client.answer_to(1) == b"xy"
    assert list(client.owner.streams) == [1]


@pytest.mark.parametrize(
    "late",
    [
        pytest.param(data(3, b"x"), id="DATA"),
        pytest.param(headers(3, [(b"x", b"y")]), id="trailers"),
        pytest.param(rst_stream(3, ErrorCode.CANCEL), id="RST_STREAM"),
        pytest.param(window_update(3, 1), id="WINDOW_UPDATE"),
        pytest.param(priority(3), id="PRIORITY"),
        pytest.param(
            frame(HEADERS, LAST | WITH_PRIORITY, 5, priority_fields(5) + BLOCK), id="HEADERS that depend on themselves"
        ),
    ],
)
def test_frames_of_a_stream_that_was_opened_as_the_server_went_away_end_nothing(late: bytes) -> None:
    client = FrameClient()
    client.send(headers(1, POST, END_HEADERS))
    client.connection.drain()
    client.send(headers(3, POST, END_HEADERS), late, data(1, b"x", END_STREAM))
    client.take()
    assert client.goaways() == [ErrorCode.NO_ERROR]
    assert client.resets() == []
    assert client.answer_to(1) == b"x"


def test_a_server_that_drains_and_has_no_stream_closes_at_once() -> None:
    client = FrameClient()
    client.connection.drain()
    assert client.is_over()
    assert client.take()[-1].code is ErrorCode.NO_ERROR


# ---------------------------------------------------------------------------------------------------------------
# 6.9: flow control of what the server sends


def sizes(frames: list[Frame], number: int = 1) -> list[int]:
    """Of the DATA frames of a stream, the last and empty one aside."""
    return [len(each.payload) for each in frames if each.kind == DATA and each.stream == number and each.payload]


def held(client: FrameClient, number: int, body: bytes) -> None:
    """Ask for something, and let the server answer with this body."""
    client.send(headers(number, HELD))
    client.connection.answer(client.owner.streams[number], ANSWER, body, b"")


def test_6_9_1_an_answer_goes_out_as_far_as_the_window_of_its_stream_reaches() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 1)))
    held(client, 1, b"abc")
    assert sizes(client.take()) == [1]
    client.send(window_update(1, 1))
    assert sizes(client.take()) == [1]
    client.send(window_update(1, 100))
    assert sizes(client.take()) == [1]
    assert client.answer_to(1) == b"abc"


def test_6_9_2_settings_open_the_windows_of_streams_that_are_there() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 0)))
    held(client, 1, b"abc")
    assert sizes(client.take()) == []
    client.send(settings((INITIAL_WINDOW_SIZE, 1)))
    assert sizes(client.take()) == [1]


def test_6_9_2_a_window_may_be_negative_and_opens_when_it_is_above_zero() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 3)))
    held(client, 1, b"abcdefgh")
    assert sizes(client.take()) == [3]
    client.send(settings((INITIAL_WINDOW_SIZE, 1)))
    assert sizes(client.take()) == []
    client.send(window_update(1, 2))  # to 0
    assert sizes(client.take()) == []
    client.send(window_update(1, 1))
    assert sizes(client.take()) == [1]


def test_6_5_3_the_last_of_several_values_holds() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)))
    held(client, 1, b"abc")
    assert sizes(client.take()) == [1]


def test_6_9_1_an_empty_answer_needs_no_window() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 0)))
    client.send(headers(1))
    client.take()
    assert client.answer_to(1) == b""


def test_a_frame_is_as_long_as_the_client_takes() -> None:
    client = FrameClient()
    client.send(window_update(0, 1 << 20), settings((INITIAL_WINDOW_SIZE, 1 << 20)))
    held(client, 1, bytes(40_000))
    assert sizes(client.take()) == [16_384, 16_384, 7_232]
    client.send(settings((MAX_FRAME_SIZE, 20_000)))
    held(client, 3, bytes(40_000))
    assert sizes(read_frames(take_all(client.connection), 20_000), 3) == [20_000, 20_000]


def test_the_connections_window_is_shared_by_a_frame_of_each_stream_in_turn() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 1 << 20)))
    for number in (1, 3, 5):
        held(client, number, bytes(100_000))
    assert [each.stream for each in client.take() if each.kind == DATA] == [1, 3, 5, 1]
    client.send(window_update(0, 1 << 20))
    assert [each.stream for each in client.take() if each.kind == DATA][:5] == [3, 5, 1, 3, 5]


def test_a_stream_whose_window_is_full_does_not_stop_the_others() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 10)))
    held(client, 1, bytes(11))
    held(client, 3, bytes(10))
    client.take()
    assert client.answer_to(1) is None
    assert client.answer_to(3) == bytes(10)


def test_what_is_made_ready_for_the_socket_is_bounded() -> None:
    limits = ConnectionLimits(ready_bytes_max=50_000)
    client = FrameClient(limits)
    client.send(window_update(0, 1 << 20), settings((INITIAL_WINDOW_SIZE, 1 << 20)))
    held(client, 1, bytes(500_000))
    largest = 0
    while piece := client.connection.take():
        largest = max(largest, len(piece))
    assert limits.ready_bytes_max <= largest <= limits.ready_bytes_max + FRAME_BYTES_MAX + 100
    assert client.connection.unsent_bytes == 0


@pytest.mark.parametrize("seed", range(5))
def test_answers_keep_within_both_windows_and_arrive_whole_however_the_windows_open(seed: int) -> None:
    draw = random.Random(seed)
    client = FrameClient()
    numbers = range(1, 13, 2)
    first_window = draw.choice((0, 1, 100, 70_000))
    client.send(settings((INITIAL_WINDOW_SIZE, first_window)))
    windows = {0: 65_535, **dict.fromkeys(numbers, first_window)}
    bodies = {number: draw.randbytes(draw.choice((0, 10, 5_000, 60_000))) for number in numbers}
    for number in numbers:
        client.send(headers(number, HELD))
        stream = client.owner.streams[number]
        client.connection.send_headers(stream, ANSWER)
        at = 0
        while at < len(bodies[number]):
            size = draw.randrange(1, 20_000)
            client.connection.send_data(stream, (bodies[number][at : at + size], b""))
            at += size
        client.connection.end(stream, draw.choice((b"", encode((b"x", b"y")))))
    for _ in range(2_000):
        for each in client.take():
            if each.kind == DATA:
                windows[0] -= len(each.payload)
                windows[each.stream] -= len(each.payload)
                assert not each.payload or min(windows[0], windows[each.stream]) >= 0
        if draw.random() < 0.05:
            changed = draw.choice((0, 1, 100, 70_000))
            for number in numbers:
                windows[number] += changed - first_window
            first_window = changed
            client.send(settings((INITIAL_WINDOW_SIZE, changed)))
            continue
        number = draw.choice((0, *numbers))
        increment = draw.choice((1, 10, 5_000, 50_000))
        windows[number] += increment
        client.send(window_update(number, increment))
    assert {number: client.answer_to(number) for number in numbers} == bodies
    assert client.connection.unsent_bytes == 0


def test_an_owner_is_told_when_nothing_waits_any_more() -> None:
    client = FrameClient()
    client.send(settings((INITIAL_WINDOW_SIZE, 2)), headers(1, HELD))
    stream = client.owner.streams[1]
    client.connection.send_headers(stream, b"")
    client.connection.send_data(stream, (b"abc",))
    client.take()
    assert (stream.waiting_bytes, client.owner.sent) == (1, [])
    client.send(window_update(1, 1))
    client.take()
    assert (stream.waiting_bytes, client.owner.sent) == (0, [1])


def test_an_owner_may_reset_another_stream_as_it_is_told_that_one_was_sent() -> None:
    class Resetting(Answering):
        def on_sent(self, stream: object) -> None:
            self.connection.reset(self.streams[3], ErrorCode.CANCEL)

    owner = Resetting(ConnectionLimits())
    owner.connection.receive(START + headers(1, HELD) + headers(3, HELD))
    for number in (1, 3):
        owner.connection.send_headers(owner.streams[number], b"")
        owner.connection.send_data(owner.streams[number], (b"abc",))
    frames = read_frames(take_all(owner.connection))
    assert [(each.stream, each.kind) for each in frames[-2:]] == [(1, DATA), (3, RST_STREAM)]


def test_what_waits_of_a_stream_that_is_reset_is_dropped() -> None:
    client = FrameClient()
    held(client, 1, bytes(100_000))
    client.take()
    client.send(rst_stream(1, ErrorCode.CANCEL), window_update(0, 100_000))
    assert client.take() == []
    assert client.connection.unsent_bytes == 0
    assert client.owner.gone == [1]


def test_8_1_an_answer_before_the_request_is_whole_asks_for_no_more_of_it() -> None:
    client = FrameClient()
    client.send(headers(1, HELD, END_HEADERS))
    client.connection.send_headers(client.owner.streams[1], encode((b":status", b"404")), ends=True)
    client.send(data(1, b"x"), data(1, b"y", END_STREAM))
    client.take()
    assert client.resets() == [(1, ErrorCode.NO_ERROR)]
    assert client.is_served()


# ---------------------------------------------------------------------------------------------------------------
# 6.9: flow control of what the server takes

SMALL = ConnectionLimits(stream_window_bytes=65_535, connection_window_bytes=100_000)


def test_more_data_than_the_streams_window_ends_the_stream() -> None:
    client = FrameClient(SMALL)
    client.owner.credits = False
    client.send(headers(1, HELD, END_HEADERS), data(1, bytes(16_383)) * 4, data(1, bytes(3)))
    client.take()
    assert client.resets() == []
    client.send(data(1, b"x"))
    client.take()
    assert client.resets() == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    assert client.is_served()


def test_padding_counts_as_data_and_is_credited() -> None:
    client = FrameClient(SMALL)
    client.owner.credits = False
    client.take()
    client.send(headers(1, HELD, END_HEADERS), padded(DATA, 1, b"", 255) * 300)
    credited = sum(int.from_bytes(each.payload) for each in client.take() if each.stream == 1)
    assert credited == 256 * 256
    client.send(padded(DATA, 1, b"x" * 9_744, 255) * 8)
    client.take()
    assert client.resets() == [(1, ErrorCode.FLOW_CONTROL_ERROR)]


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(headers(1, POST, END_HEADERS), id="that is read"),
        pytest.param(RESET, id="that the client has reset"),
        pytest.param(headers(1, (*POST, (b"te", b"x")), END_HEADERS), id="that we have reset"),
        pytest.param(ANSWERED, id="that is closed"),
    ],
)
def test_the_connections_window_is_credited_for_data_of_a_stream(before: bytes) -> None:
    client = FrameClient(SMALL)
    client.take()
    client.send(before)
    for _ in range(20):
        client.send(data(1, bytes(10_000)))
    client.take()
    assert client.goaways() == []
    credited = sum(int.from_bytes(each.payload) for each in client.frames[2:] if each[0::2] == (WINDOW_UPDATE, 0))
    assert 150_000 <= credited <= 200_000


def test_a_stream_that_is_not_read_does_not_stop_the_others() -> None:
    client = FrameClient(SMALL)
    client.owner.credits = False
    for number in range(1, 21, 2):
        client.send(headers(number, HELD, END_HEADERS), data(number, bytes(16_000)) * 4)
        client.take()
    assert client.goaways() == []
    assert not [each for each in client.frames if each.kind == WINDOW_UPDATE and each.stream]


# ---------------------------------------------------------------------------------------------------------------
# 10.5: denial of service

CALM = ErrorCode.ENHANCE_YOUR_CALM
FLOODS = {
    "PING whose answers are not taken": (frame(PING, 0, 0, bytes(8)), 1_001, False, CALM),
    "SETTINGS whose answers are not taken": (settings((INITIAL_WINDOW_SIZE, 1)), 1_001, False, CALM),
    "DATA of a closed stream, whose answers are not taken": (data(1), 1_001, False, CALM),
    "bad PRIORITY, whose answers are not taken": (priority(1, 1), 1_001, False, CALM),
    "PING": (frame(PING, 0, 0, bytes(8)), 10_001, True, CALM),
    "PING that acknowledges": (frame(PING, ACK, 0, bytes(8)), 10_001, True, CALM),
    "SETTINGS": (settings(), 10_001, True, CALM),
    "SETTINGS that acknowledge": (frame(SETTINGS, ACK, 0, b""), 10_001, True, CALM),
    "PRIORITY": (priority(1, 3), 10_001, True, CALM),
    "DATA of a closed stream": (data(1), 10_001, True, CALM),
    "empty DATA": (data(3), 10_001, True, CALM),
    "DATA of nothing but padding": (padded(DATA, 3, b"", 200), 10_001, True, CALM),
    "unknown frames": (frame(0x16, 0, 0, b""), 10_001, True, CALM),
    "GOAWAY": (goaway(0, ErrorCode.NO_ERROR), 10_001, True, CALM),
    "RST_STREAM of a closed stream": (rst_stream(1, ErrorCode.CANCEL), 10_001, True, CALM),
    "WINDOW_UPDATE": (window_update(0, 1), 10_001, True, CALM),
    "WINDOW_UPDATE of a stream": (window_update(3, 1), 10_001, True, CALM),
    "WINDOW_UPDATE of a closed stream": (window_update(1, 1), 10_001, True, CALM),
    "WINDOW_UPDATE until it is too much": (window_update(0, WINDOW_MAX // 10), 11, True, ErrorCode.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize(("each", "times", "taken", "code"), FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_of_frames_ends_the_connection_and_is_not_kept(
    each: bytes, times: int, taken: bool, code: ErrorCode
) -> None:
    client = FrameClient()
    client.send(headers(1), headers(3, POST, END_HEADERS))
    client.take()
    for _ in range(times):
        assert not client.is_over()
        client.send(each)
        if taken:
            client.connection.take()
        assert client.connection.unsent_bytes < 32 << 10
        if client.is_over():
            break
    assert client.connection.error is not None
    assert client.is_over()
    if not taken:
        client.take()
        assert client.goaways() == [code]


def test_frames_that_do_nothing_are_forgiven_in_time() -> None:
    client = FrameClient()
    for _ in range(30):
        client.send(*[frame(PING, ACK, 0, bytes(8))] * 1_000)
        client.connection.on_second()
    assert client.is_served()


def test_a_client_that_returns_every_window_at_once_is_served_for_as_long_as_it_likes() -> None:
    client = FrameClient(ConnectionLimits(idle_frames_max=20))
    for number in range(1, 201, 2):
        client.send(headers(number, POST, END_HEADERS), data(number, b"ping", END_STREAM))
        client.take()
        client.send(window_update(0, 4), window_update(number, 4))
    client.send(headers(201, HELD, END_HEADERS))
    stream = client.connection.streams[201]
    for _ in range(200):
        client.connection.send_data(stream, [bytes(16_000)])
        client.take()
        client.send(window_update(0, 16_000), window_update(201, 16_000))
    assert not client.is_over()


def test_windows_may_be_returned_all_together() -> None:
    client = FrameClient(ConnectionLimits(idle_frames_max=400))
    client.send(headers(1, HELD, END_HEADERS), window_update(0, 1 << 20), window_update(1, 1 << 20))
    for _ in range(200):
        client.connection.send_data(client.connection.streams[1], [bytes(100)])
        client.take()
    client.connection.on_second()
    client.send(*[window_update(0, 100), window_update(1, 100)] * 200)
    assert not client.is_over()


def test_the_rest_of_requests_that_were_refused_is_no_flood() -> None:
    client = FrameClient(ConnectionLimits(idle_frames_max=20))
    for number in range(1, 2_001, 2):
        client.send(headers(number, HELD, END_HEADERS))
        client.connection.send_headers(client.connection.streams[number], TRAILERS, ends=True)
        client.send(data(number, b"rest", END_STREAM))
        client.take()
    assert not client.is_over()
    client.send(*[data(1_999, b"again", END_STREAM)] * 21)
    assert client.is_over()


def requests(count: int) -> range:
    return range(1, 2 * count, 2)


@pytest.mark.parametrize(
    "takes_back",
    [
        pytest.param(lambda number: rst_stream(number, ErrorCode.CANCEL), id="by the client"),
        pytest.param(lambda number: window_update(number, 0), id="for a fault of the client's"),
    ],
)
def test_requests_that_are_taken_back_at_once_end_the_connection_and_are_all_told_to_the_owner(
    takes_back: Callable[[int], bytes],
) -> None:
    client = FrameClient()
    for number in requests(4_097):
        client.send(headers(number, HELD), takes_back(number))
    client.take()
    assert client.goaways() == [CALM]
    assert client.owner.gone == [*requests(4_097)]


def test_malformed_requests_end_the_connection() -> None:
    client = FrameClient()
    for number in requests(4_097):
        client.send(headers(number, []))
        client.take()
    assert client.goaways() == [CALM]


def test_requests_that_are_taken_back_now_and_then_are_forgiven() -> None:
    client = FrameClient()
    for number in requests(3_000):
        client.send(headers(number, HELD), rst_stream(number, ErrorCode.CANCEL))
        if not number % 60:
            client.connection.on_second()
        client.connection.on_second()
    assert client.is_served()


def test_answers_that_are_not_taken_are_bounded_by_the_streams_a_client_may_have() -> None:
    client = FrameClient(ConnectionLimits(streams_max=100))
    block = encode(*GET)
    for number in requests(10_000):
        client.send(frame(HEADERS, LAST, number, block))
    assert client.connection.unsent_bytes < 32 << 10
    client.take()
    assert client.goaways() == [CALM]


@pytest.mark.parametrize(
    "fragment", [pytest.param(b"", id="empty"), pytest.param(bytes(1000), id="short"), pytest.param(bytes(16_384))]
)
def test_a_header_block_without_end_ends_the_connection(fragment: bytes) -> None:
    client = FrameClient()
    client.send(headers(1, GET, END_STREAM))
    for _ in range(32):
        client.send(continuation(1, fragment, 0))
    client.take()
    assert client.goaways() == [CALM]


def test_a_list_of_headers_that_is_too_long_ends_its_stream() -> None:
    client = FrameClient()
    large = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000
    client.send(frame(HEADERS, LAST, 1, BLOCK + large + b"\xbe" * 5))
    client.take()
    assert client.resets() == [(1, CALM)]
    assert client.is_served()


def test_trailers_that_are_too_long_end_their_stream() -> None:
    client = FrameClient()
    client.send(OPENED, frame(HEADERS, LAST, 1, (b"\x00\x01x" + b"\x00") * 600))
    client.take()
    assert client.resets() == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert client.is_served()


def test_many_settings_in_one_frame_move_the_windows_of_all_streams_once() -> None:
    client = FrameClient()
    block = encode(*HELD)
    client.send(*(frame(HEADERS, LAST, number, block) for number in requests(4_000)))
    values = [(INITIAL_WINDOW_SIZE, value % 2) for value in range(2_730)]
    moved = 0

    class Counted(dict[int, object]):
        def values(self):  # type: ignore[no-untyped-def]
            nonlocal moved
            moved += len(self)
            return super().values()

    client.connection.streams = Counted(client.connection.streams)  # type: ignore[assignment]
    client.send(settings(*values))
    assert moved == 4_000
    assert client.owner.streams[1].send_window == 1


# ---------------------------------------------------------------------------------------------------------------
# However the bytes come


def output(chunks: list[bytes]) -> bytes:
    connection: Connection = Answering(ConnectionLimits()).connection
    for chunk in chunks:
        connection.receive(chunk)
    return take_all(connection)


def chunks(sent: bytes, draw: random.Random) -> list[bytes]:
    found = []
    at = 0
    while at < len(sent):
        size = draw.choice((1, 2, 8, 9, 10, 30, 1_000))
        found.append(sent[at : at + size])
        at += size
    return found


@pytest.mark.parametrize(("sent", "outcome"), CASES.values(), ids=CASES.keys())
def test_any_split_of_what_comes_gives_the_same_answers(sent: bytes, outcome: Outcome) -> None:
    draw = random.Random(len(sent))
    whole = output([START + sent])
    if len(sent) < 1_000:
        assert output([bytes([byte]) for byte in START + sent]) == whole
    for _ in range(3):
        assert output(chunks(START + sent, draw)) == whole


# ---------------------------------------------------------------------------------------------------------------
# Whatever comes


def drawn_frame(draw: random.Random) -> bytes:
    """Any type, flags, stream and payload."""
    kind = draw.choice((*range(10), 0x16))
    flags = draw.choice((0, END_STREAM, END_HEADERS, LAST, PADDED | LAST, WITH_PRIORITY | LAST, 0xFF))
    size = draw.choice((0, 1, 4, 5, 6, 8, 40))
    return frame(kind, flags, draw.choice((0, 1, 2, 3, 5)), draw.randbytes(size))


def likely_frame(draw: random.Random, newest: int) -> bytes:
    """What a client might send that has opened the streams up to this one."""
    number = draw.randrange(1, newest + 1, 2)
    match draw.randrange(8):
        case 0 | 1 | 2:
            body = draw.randbytes(draw.choice((0, 3, 500)))
            return padded(DATA, number, body, draw.randrange(9), draw.choice((0, END_STREAM)))
        case 3:
            return window_update(draw.choice((0, number)), draw.choice((1, 100, 1 << 20)))
        case 4:
            return settings((INITIAL_WINDOW_SIZE, draw.choice((0, 1, 100, 70_000))), (draw.randrange(8, 99), 0))
        case 5:
            return rst_stream(number, ErrorCode.CANCEL)
        case 6:
            return headers(newest, [(b"x", b"y")])
        case _:
            return draw.choice((frame(PING, 0, 0, bytes(8)), priority(number, 99), frame(0x16, 0xFF, number, b"x")))


@pytest.mark.parametrize("seed", range(4))
def test_no_frames_make_the_edge_raise_or_write_what_is_no_frame(seed: int) -> None:
    draw = random.Random(seed)
    ends = {True: 0, False: 0}
    for _ in range(150):
        client = FrameClient()
        connection = client.connection
        for newest in range(1, 2 * draw.randrange(1, 40), 2):
            client.send(headers(newest, draw.choice((POST, HELD)), END_HEADERS))
            for _ in range(draw.randrange(4)):
                client.send(drawn_frame(draw) if draw.random() < 0.02 else likely_frame(draw, newest))
            if connection.streams and draw.random() < 0.2:
                stream = draw.choice([*connection.streams.values()])
                connection.answer(stream, ANSWER, draw.randbytes(200), TRAILERS)
            if draw.random() < 0.3:
                client.take()
        ends[connection.closing] += 1
        client.take()
        connection.lost()
        assert connection.unsent_bytes == 0
        assert len(client.owner.gone) == len(set(client.owner.gone))
    assert min(ends.values()) > 10


@pytest.mark.parametrize("seed", range(2))
def test_no_bytes_make_the_edge_raise(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(300):
        client = FrameClient()
        client.send(draw.randbytes(draw.randrange(200)))
        read_frames(take_all(client.connection))
