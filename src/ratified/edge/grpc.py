"""gRPC over HTTP/2 for servers, without a socket: calls and their messages.

Rules

1. A call is made of one request of HTTP/2: ``POST``, a path, ``content-type: application/grpc``. Anything else is no
   call, and is answered as HTTP answers it (``on_other``).
2. A message is announced with its length before it comes. One that is longer than ``message_bytes_max`` ends the call
   as RESOURCE_EXHAUSTED before any of it is kept. A client may compress by gzip; what that gives is bounded likewise.
   What has come and is not answered is bounded for all connections together (``Room``): where it is too much, calls of
   the connection that holds most of it end.
3. A call ends once: with an answer, or with a code and a text. What the client sends afterwards is passed over.
4. A client that has gone, or has taken its call back, is told nothing; its handler is (``on_gone``).
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Protocol

import msgspec

from ratified.edge.connection import Connection, ConnectionLimits, Stream
from ratified.edge.hpack import Header, Headers, encode

PREFIX_BYTES = 5
UNREAD_BYTES_MAX = 64 << 10
"""Of a stream's messages that its handler has not dealt with; beyond it the client is not allowed to send more."""
_TIMEOUT_UNITS_US = {b"H": 3_600_000_000, b"M": 60_000_000, b"S": 1_000_000, b"m": 1_000, b"u": 1, b"n": 0.001}
_TIMEOUT_DIGITS_MAX = 8
_TEXT_MAX = 1_000
"""Characters of a ``grpc-message``; each may be twelve bytes, and together they fit into one frame."""
_QUOTED_MAX = 40
"""Characters of a header that a text of ours says again."""
_HEADERS = encode((b":status", b"200"), (b"content-type", b"application/grpc"))
_DONE = encode((b"grpc-status", b"0"))
_UNSUPPORTED_TYPE = encode((b":status", b"415"))
_GZIP = b"gzip"


class Code(IntEnum):
    """The codes that a transport gives; handlers give others."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


class CallHead(msgspec.Struct):
    """What a client says of a call before its messages; calls of one connection that say the same share it."""

    path: bytes
    timeout_us: int | None
    """None: it waits for as long as it takes."""
    encoding: bytes
    """Of messages that are compressed; b"": there are none."""
    owned: Any = None
    """That of whoever serves calls."""


class Sink(Protocol):
    """What a call's messages go to."""

    def on_message(self, message: bytes) -> None: ...

    def on_end(self) -> None:
        """The client sends no more messages."""

    def on_gone(self) -> None:
        """Nobody waits for the answer any more."""

    def on_sent(self) -> None:
        """What waited to be sent has been handed over to the connection."""


class Calls(Protocol):
    """Who serves calls."""

    def on_call(self, call: Call, metadata: Sequence[Header]) -> Sink | None:
        """Take a call; None: it has been ended at once. ``metadata`` are all headers, and are not kept."""

    def on_other(self, connection: GrpcConnection, stream: Stream, headers: Headers) -> None:
        """A request that is no call; nothing of its body is kept."""


class Holder(Protocol):
    """Whoever, in place of calls, holds what has come on a connection and counts for its ``Room``."""

    def give_up(self) -> None:
        """There is no room for it: let go of it."""


class Room:
    """What has come of requests and is not answered, of all connections: at most so many bytes.

    A call for which there is none ends with the text ``full``.
    """

    def __init__(self, bytes_max: int, full: str) -> None:
        self._bytes_max = bytes_max
        self.full = full
        self.held_bytes = 0
        self.connections: dict[GrpcConnection, None] = {}
        self.passed: Counter[str] = Counter()
        """How often clients have passed which limit: those of the connection, ``message_bytes``, ``request_bytes``."""

    def take(self, connection: GrpcConnection, size_bytes: int) -> bool:
        """More has come on this connection. False: it holds more than any other, and there is no room."""
        connection.held_bytes += size_bytes
        self.held_bytes += size_bytes
        while self.held_bytes > self._bytes_max:
            greediest = max(self.connections, key=_held_bytes)
            if greediest is connection:
                return False
            greediest.end_largest()
        return True

    def give_back(self, connection: GrpcConnection, size_bytes: int) -> None:
        connection.held_bytes -= size_bytes
        self.held_bytes -= size_bytes


def _held_bytes(connection: GrpcConnection) -> int:
    return connection.held_bytes


class Tally(Protocol):
    """Who counts calls."""

    def ended(self, code: int, began_at: float) -> None:
        """A call has ended that began at this time."""


class Call:
    """One call of a client's."""

    __slots__ = (
        "_connection",
        "_partial",
        "_sent_headers",
        "_stream",
        "_uncredited",
        "_unread_bytes",
        "began_at",
        "ended",
        "head",
        "held_bytes",
        "sink",
        "tally",
    )

    def __init__(self, connection: GrpcConnection, stream: Stream, head: CallHead) -> None:
        self._connection = connection
        self._stream = stream
        self.head = head
        self.tally: Tally | None = None
        """Where it is counted how calls of its method end; None: nowhere."""
        self.began_at = 0.0
        """By the clock of ``tally``, in seconds."""
        self.sink: Sink | None = None
        self.ended = False
        self._sent_headers = False
        self._partial: bytearray | None = None
        """Of a message, its prefix included."""
        self._unread_bytes = 0
        """Of whole messages that the handler has not dealt with."""
        self._uncredited = 0
        """What has come while that was too much."""
        self.held_bytes = 0
        """What has come and was not dealt with."""

    # -- the handler ----------------------------------------------------------------------------------------------

    def answer(self, message: bytes) -> None:
        """End the call with its one answer."""
        if self.ended:
            return
        self._end(Code.OK)
        self._connection.http.answer(self._stream, _HEADERS, b"\0" + len(message).to_bytes(4) + message, _DONE)

    def answer_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        """As ``answer``, of a message in parts, which are never joined."""
        if not self.ended:
            self.send(parts)
            self.end()

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """One message of several; nothing where the call has ended."""
        if self.ended:
            return
        http = self._connection.http
        if not self._sent_headers:
            self._sent_headers = True
            http.send_headers(self._stream, _HEADERS)
        http.send_data(self._stream, (b"\0" + sum(map(len, parts)).to_bytes(4), *parts))

    @property
    def waiting_bytes(self) -> int:
        """What was sent and waits for the client."""
        return self._stream.waiting_bytes

    def end(self, code: int = Code.OK, text: str = "") -> None:
        """End the call behind what was sent."""
        if self.ended:
            return
        self._end(code)
        http = self._connection.http
        status = _DONE if not code else _status(code, text)
        if self._sent_headers:
            http.end(self._stream, status)
        else:  # "trailers only"
            http.send_headers(self._stream, _HEADERS + status, ends=True)

    def done_with(self, message: bytes) -> None:
        """A message of a stream has been dealt with: the client may send more."""
        if self.ended:
            return
        self._unread_bytes -= PREFIX_BYTES + len(message)
        self._give_back(PREFIX_BYTES + len(message))
        if self._uncredited and self._unread_bytes <= UNREAD_BYTES_MAX:
            self._connection.http.credit(self._stream, self._uncredited)
            self._uncredited = 0

    # -- the connection -------------------------------------------------------------------------------------------

    def on_data(self, data: bytes) -> None:
        """Part of the messages; hands over those that are whole."""
        sink = self.sink
        if sink is None:
            return
        size_bytes = len(data)
        self.held_bytes += size_bytes
        if not self._connection.room.take(self._connection, size_bytes):
            self.give_up()
            return
        length = size_bytes - PREFIX_BYTES
        if (
            self._partial is None
            and 0 <= length <= self._connection.message_bytes_max
            and not data[0]
            and int.from_bytes(data[1:PREFIX_BYTES]) == length
        ):
            self._hand_over(sink, data[PREFIX_BYTES:])
        else:
            self._gather(data)
        if self.ended:
            return
        if self._unread_bytes <= UNREAD_BYTES_MAX:
            self._connection.http.credit(self._stream, size_bytes)
        else:
            self._uncredited += size_bytes

    def _gather(self, data: bytes) -> None:
        partial = self._partial
        if partial is None:
            partial = self._partial = bytearray()
        partial += data
        while not self.ended and self._take_message(partial):
            pass
        if not partial:
            self._partial = None

    def _take_message(self, partial: bytearray) -> bool:
        """Hand over the next message, if it is whole."""
        if len(partial) < PREFIX_BYTES:
            return False
        is_compressed = partial[0]
        length = int.from_bytes(partial[1:PREFIX_BYTES])
        most = self._connection.message_bytes_max
        if is_compressed > 1:
            self._abort(Code.INTERNAL, "grpc: a message has unknown flags")
        elif length > most:
            self._connection.on_limit("message_bytes")
            self._abort(Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({length} vs. {most})")
        if self.ended or len(partial) < PREFIX_BYTES + length:
            return False
        message = bytes(memoryview(partial)[PREFIX_BYTES : PREFIX_BYTES + length])
        del partial[: PREFIX_BYTES + length]
        plain = self._decompressed(message) if is_compressed else message
        if plain is not None and self.sink is not None:
            self._hand_over(self.sink, plain)
        return True

    def _hand_over(self, sink: Sink, message: bytes) -> None:
        self._unread_bytes += PREFIX_BYTES + len(message)
        sink.on_message(message)

    def _decompressed(self, message: bytes) -> bytes | None:
        """None: the call has been ended."""
        if self.head.encoding != _GZIP:
            self._abort(Code.INTERNAL, "grpc: a message is compressed, and grpc-encoding does not say how")
            return None
        most = self._connection.message_bytes_max
        unzip = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            plain = unzip.decompress(message, most + 1)
        except zlib.error as error:
            self._abort(Code.INTERNAL, f"grpc: failed to decompress the message: {error}")
            return None
        if len(plain) > most:
            text = f"grpc: received message larger than max ({most} bytes) when decompressed"
            self._connection.on_limit("message_bytes")
            self._abort(Code.RESOURCE_EXHAUSTED, text)
            return None
        if not unzip.eof or unzip.unused_data:
            self._abort(Code.INTERNAL, "grpc: failed to decompress the message: it is not one whole")
            return None
        grown = len(plain) - len(message)
        self.held_bytes += grown
        if not self._connection.room.take(self._connection, grown):
            self.give_up()
            return None
        return plain

    def on_end(self) -> None:
        if self.sink is None:
            return
        if self._partial is not None:
            self._abort(Code.INTERNAL, "grpc: the request ends inside a message")
        else:
            self.sink.on_end()

    def on_gone(self) -> None:
        sink = self.sink
        if not self.ended:
            self._end(Code.CANCELLED)
            if sink is not None:
                sink.on_gone()

    def on_sent(self) -> None:
        if self.sink is not None:
            self.sink.on_sent()

    def give_up(self) -> None:
        """There is no room for what has come of it."""
        self._connection.on_limit("request_bytes")
        self._abort(Code.RESOURCE_EXHAUSTED, self._connection.room.full)

    def _abort(self, code: Code, text: str) -> None:
        """End the call, whose handler knows nothing of it."""
        sink = self.sink
        self.end(code, text)
        if sink is not None:
            sink.on_gone()

    def _end(self, code: int) -> None:
        self.ended = True
        if self.tally is not None:
            self.tally.ended(code, self.began_at)
        self.sink = None
        self._stream.owned = None  # neither waits for the collector to find the other
        self._partial = None
        self._give_back(self.held_bytes)

    def _give_back(self, size_bytes: int) -> None:
        size_bytes = min(size_bytes, self.held_bytes)
        self.held_bytes -= size_bytes
        self._connection.room.give_back(self._connection, size_bytes)


class GrpcConnection:
    """The ``Owner`` of one HTTP/2 connection: each of its requests is a call."""

    def __init__(self, calls: Calls, room: Room, limits: ConnectionLimits, message_bytes_max: int) -> None:
        self.http = Connection(self, limits)
        self.room = room
        self.held_bytes = 0
        self.message_bytes_max = message_bytes_max
        self.other: Holder | None = None
        """What holds ``held_bytes`` where the client speaks another protocol than HTTP/2."""
        self._calls = calls

    def on_request(self, stream: Stream, headers: Headers) -> None:
        head: CallHead | None = headers.user
        if head is None:
            head = headers.user = self._read_head(stream, headers)
        if head is None:
            return
        call = Call(self, stream, head)
        stream.owned = call
        call.sink = self._calls.on_call(call, headers.fields)

    def on_data(self, stream: Stream, data: bytes) -> None:
        call = stream.owned
        if call is not None:
            call.on_data(data)

    def on_end(self, stream: Stream) -> None:
        call = stream.owned
        if call is not None:
            call.on_end()

    def on_gone(self, stream: Stream) -> None:
        call = stream.owned
        if call is not None:
            call.on_gone()

    def on_sent(self, stream: Stream) -> None:
        call = stream.owned
        if call is not None:
            call.on_sent()

    def on_limit(self, limit: str) -> None:
        self.room.passed[limit] += 1

    def _read_head(self, stream: Stream, headers: Headers) -> CallHead | None:
        """None: it is no call, and was answered."""
        fields = dict(headers.fields)
        content_type = fields.get(b"content-type", b"")
        if fields[b":method"] != b"POST" or not content_type.startswith(b"application/grpc"):
            self._calls.on_other(self, stream, headers)
            return None
        if content_type[len(b"application/grpc") :][:1] not in (b"", b"+", b";"):
            self.http.send_headers(stream, _UNSUPPORTED_TYPE, ends=True)
            return None
        encoding = fields.get(b"grpc-encoding", b"identity")
        timeout = fields.get(b"grpc-timeout")
        timeout_us = None if timeout is None else _timeout_us(timeout)
        if timeout_us is not None and timeout_us < 0:
            self._refuse(stream, Code.INTERNAL, f"grpc: grpc-timeout {timeout!r:.{_QUOTED_MAX}} is no time")
            return None
        if encoding not in (b"identity", _GZIP):
            quoted = f"{encoding.decode('ascii', 'replace')!r:.{_QUOTED_MAX}}"
            text = f"grpc: Decompressor is not installed for grpc-encoding {quoted}"
            self._refuse(stream, Code.UNIMPLEMENTED, text)
            return None
        return CallHead(fields[b":path"], timeout_us, b"" if encoding == b"identity" else encoding)

    def _refuse(self, stream: Stream, code: Code, text: str) -> None:
        accepted = encode((b"grpc-accept-encoding", b"identity,gzip"))
        self.http.send_headers(stream, _HEADERS + accepted + _status(code, text), ends=True)

    def end_largest(self) -> None:
        """End the call that holds most; needs that one holds something."""
        if self.other is not None:
            self.other.give_up()
            return
        calls = (stream.owned for stream in self.http.streams.values() if stream.owned is not None)
        largest: Call = max(calls, key=_held_by_call)
        largest.give_up()


def _held_by_call(call: Call) -> int:
    return call.held_bytes


def _timeout_us(text: bytes) -> int:
    """Of the form ``1234m``; below zero: it is of no such form."""
    digits, unit = text[:-1], text[-1:]
    factor = _TIMEOUT_UNITS_US.get(unit)
    if factor is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
        return -1
    return int(int(digits) * factor)


def _status(code: int, text: str) -> bytes:
    # No value may begin or end with a space (RFC 9113, section 8.2.1).
    return encode((b"grpc-status", b"%d" % code), (b"grpc-message", _percent_encoded(text[:_TEXT_MAX].strip(" "))))


def _percent_encoded(text: str) -> bytes:
    """As gRPC writes ``grpc-message``."""
    return b"".join(
        bytes([byte]) if 0x20 <= byte < 0x7F and byte != 0x25 else b"%%%02X" % byte for byte in text.encode()
    )
