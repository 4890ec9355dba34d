"""One HTTP/2 connection of a server (RFC 9113), without a socket.

Bytes that came go into ``receive``; what is to be written comes out of ``take``. What a client asks for goes to an
``Owner``, who answers by the methods of the same object.

Rules

1. What a client may not do ends its connection (GOAWAY) or its stream (RST_STREAM) with the RFC's code, and nothing
   else: no other connection, and no exception to the caller.
2. A stream is here from its HEADERS until both sides have ended it or one has reset it. Of those that are gone nothing
   is kept but the highest number; of those that we reset, a few, since their frames may still be on the way.
3. DATA is sent as far as both windows reach, a frame of each stream in turn, and no more than ``ready_bytes_max`` is
   made ready for the socket: what waits for a window or for the socket waits as whole messages, in its stream.
4. What came is credited as the owner says that it has done with it (``credit``); the connection's window at once, so
   that one stream that is not read never stops the others.
5. Frames that do nothing, answers that a client does not take, and requests that it takes back are counted: beyond the
   limits it is told to be calm, and its connection ends. ``on_second`` forgives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ratified.edge.frames import (
    ACK,
    CONTINUATION,
    DATA,
    DEFAULT_WINDOW,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_MAX,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PREFACE,
    SETTING,
    SETTINGS,
    WINDOW_MAX,
    WITH_PRIORITY,
    ErrorCode,
    frame,
    goaway,
    head,
    read_head,
    rst_stream,
    settings,
    window_update,
)
from ratified.edge.hpack import Decoder, Headers, HeadersTooLarge, HpackError
from ratified.edge.requests import Malformed, check_trailers, read_request


class ConnectionLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What one connection may have."""

    streams_max: int = 4096
    """Open at a time; one more is refused. A stream is open to the client until it has taken the end of the answer."""
    header_bytes_max: int = 16 << 10
    """Of a header block as it comes, and of the list of headers (32 bytes added to each)."""
    header_frames_max: int = 32
    """HEADERS and CONTINUATION frames of one block."""
    stream_window_bytes: int = 1 << 20
    """What a client may send on a stream before anybody has read it."""
    connection_window_bytes: int = 16 << 20
    """More than 65,535, with which every connection begins."""
    ready_bytes_max: int = 256 << 10
    """What is made ready for the socket at a time."""
    answers_waiting_max: int = 1_000
    """Answers to PING and SETTINGS, and resets, that the client has not taken."""
    idle_frames_max: int = 10_000
    """Frames that do nothing; as many are forgiven in ten seconds."""
    resets_max: int = 4_096
    """Requests that the client has taken back: all that are open may time out together. Each that is answered, and 30
    a second, are forgiven."""


_FORGIVEN_FRAMES = 1_000
_FORGIVEN_RESETS = 30
_RESET_KEPT_MAX = 1_024
_SKIPPED_KEPT_MAX = 16
_SENT_FRAME_BYTES_MAX = 64 << 10
_FLAG_OF_TRAILERS = END_STREAM | END_HEADERS


class ConnectionEnds(Exception):
    """A connection error of RFC 9113, section 5.4.1; ``limit`` names that of ours which was passed, if it was one."""

    def __init__(self, code: ErrorCode, text: str, limit: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.limit = limit


class Stream:
    """One request and its answer."""

    __slots__ = (
        "content_left",
        "credited",
        "ended_here",
        "ended_there",
        "number",
        "owned",
        "send_window",
        "trailers",
        "waiting",
        "waiting_bytes",
        "window",
    )

    def __init__(self, number: int, send_window: int, window: int) -> None:
        self.number = number
        self.send_window = send_window
        self.window = window
        """What the client may still send."""
        self.credited = 0
        """What was done with and is not yet told."""
        self.ended_there = False
        self.ended_here = False
        self.content_left: int | None = None
        """What the request says that is still to come of it."""
        self.waiting: deque[bytes | memoryview] | None = None
        self.waiting_bytes = 0
        self.trailers: bytes | None = None
        """The block that ends the answer, behind what waits; b"": an empty DATA frame does."""
        self.owned: Any = None
        """The owner's."""


class Owner(Protocol):
    """Who answers requests."""

    def on_request(self, stream: Stream, headers: Headers) -> None: ...

    def on_data(self, stream: Stream, data: bytes) -> None:
        """Part of the request's body, never empty."""

    def on_end(self, stream: Stream) -> None:
        """The request is complete."""

    def on_gone(self, stream: Stream) -> None:
        """The stream was reset, or its connection has ended, before the answer was complete."""

    def on_sent(self, stream: Stream) -> None:
        """Nothing waits to be sent on this stream any more, and it goes on."""

    def on_limit(self, limit: str) -> None:
        """The client has passed it: one of ``ConnectionLimits``, without its ``_max``."""


class Connection:
    """The server's side of a connection."""

    def __init__(self, owner: Owner, limits: ConnectionLimits) -> None:
        self._owner = owner
        self._limits = limits
        self.streams: dict[int, Stream] = {}
        self.closing = False
        """What is there to take is the last: then the socket is to be closed."""
        self.error: str | None = None
        """What the client did that ended the connection."""
        self.waiting_bytes = 0
        """Of answers: what waits in streams for a window or for the socket."""
        self._partial = b""
        self._has_preface = False
        self._has_settings = False
        self._highest = 0
        self._skipped: list[tuple[int, int]] = []
        """Ranges of numbers that were passed over, the last few."""
        self._reset: dict[int, None] = {}
        """Streams that we have reset, the last few."""
        self._decoder = Decoder(limits.header_bytes_max)
        self._block: _Block | None = None
        """Of which CONTINUATION frames are to come."""
        self._blocked: dict[Stream, None] = {}
        """Those in which something waits."""
        self._send_window = DEFAULT_WINDOW
        self._first_send_window = DEFAULT_WINDOW
        self._told_send_window = DEFAULT_WINDOW
        """What the SETTINGS that are being read say that it is to be."""
        self._frame_bytes_max = FRAME_BYTES_MAX
        self._credited = 0
        self._window = limits.connection_window_bytes
        self._idle_frames = 0
        self._resets = 0
        self._answers_waiting = 0
        self._ends_waiting = 0
        """Answers that are complete, whose ends the client has not taken."""
        self._draining = False
        self._out: list[bytes | memoryview] = [
            settings(
                (MAX_CONCURRENT_STREAMS, limits.streams_max),
                (INITIAL_WINDOW_SIZE, limits.stream_window_bytes),
                (MAX_HEADER_LIST_SIZE, limits.header_bytes_max),
            ),
            window_update(0, limits.connection_window_bytes - DEFAULT_WINDOW),
        ]
        self._out_bytes = sum(map(len, self._out))
        self._handlers: tuple[Callable[[int, int, bytes], None], ...] = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_rst_stream,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )

    # -- the port -------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes of the client's, in order."""
        if self.closing:
            return
        if self._partial:
            data = self._partial + data
        try:
            at = self._read_frames(data) if self._has_preface else self._read_preface(data)
        except ConnectionEnds as end:
            self._fail(end)
            return
        self._partial = data[at:]

    def lost(self) -> None:
        """The socket is gone."""
        self.closing = True
        self._draining = False
        streams, self.streams = self.streams, {}
        self._blocked.clear()
        self.waiting_bytes = 0
        for stream in streams.values():
            stream.waiting, stream.waiting_bytes = None, 0
            self._owner.on_gone(stream)

    def take(self) -> bytes | memoryview:
        """What is to be written next; empty: nothing. To be asked again while the socket takes it."""
        if self._blocked and self._out_bytes < self._limits.ready_bytes_max:
            self._send_waiting()
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_bytes = 0
        self._answers_waiting = 0
        self._ends_waiting = 0
        return data

    @property
    def unsent_bytes(self) -> int:
        """All that is made and not taken."""
        return self.waiting_bytes + self._out_bytes

    def on_second(self) -> None:
        """A second has passed: some is forgiven."""
        if self._idle_frames > 0:
            self._idle_frames = max(self._idle_frames - _FORGIVEN_FRAMES, 0)
        self._resets = max(self._resets - _FORGIVEN_RESETS, 0)

    def ping(self) -> None:
        """Ask whether anybody is there; whatever comes answers it."""
        self._write(frame(PING, 0, 0, bytes(8)))

    def drain(self) -> None:
        """Take no more requests; those that are open may end, and then ``closing`` is true."""
        if not self.closing and not self._draining:
            self._draining = True
            self._write(goaway(self._highest, ErrorCode.NO_ERROR))
            self._close_when_drained()

    # -- the owner ------------------------------------------------------------------------------------------------

    def send_headers(self, stream: Stream, block: bytes, *, ends: bool = False) -> None:
        """A header block, whole, that does not wait for a window."""
        self._write(frame(HEADERS, END_HEADERS | ends, stream.number, block))
        if ends:
            self._end_here(stream)

    def send_data(self, stream: Stream, parts: Sequence[bytes | memoryview]) -> None:
        """Part of the answer."""
        if stream.ended_here:
            return
        waiting = stream.waiting
        if waiting is None:
            waiting = stream.waiting = deque()
        for part in parts:
            if part:
                waiting.append(part)
                stream.waiting_bytes += len(part)
                self.waiting_bytes += len(part)
        if stream.waiting_bytes:
            self._blocked[stream] = None

    def end(self, stream: Stream, trailers: bytes) -> None:
        """The answer is complete, but for this block (b"": there is none)."""
        if stream.ended_here or stream.trailers is not None:
            return
        if stream.waiting_bytes:
            stream.trailers = trailers
        else:
            self._send_end(stream, trailers)

    def answer(self, stream: Stream, block: bytes, body: bytes, trailers: bytes) -> None:
        """A whole answer. Where nothing waits and the windows reach, it is one string of three frames."""
        length = len(body)
        if (
            self._blocked
            or self._out_bytes > self._limits.ready_bytes_max
            or length > self._send_window
            or length > stream.send_window
            or length > self._frame_bytes_max
        ):
            self._write(frame(HEADERS, END_HEADERS, stream.number, block))
            self.send_data(stream, (body,))
            self.end(stream, trailers)
            return
        number = stream.number
        self._send_window -= length
        if length:
            self._forgive_updates()
        self._write(
            head(len(block), HEADERS, END_HEADERS, number)
            + block
            + head(length, DATA, 0, number)
            + body
            + head(len(trailers), HEADERS, _FLAG_OF_TRAILERS, number)
            + trailers
        )
        self._end_here(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream at once."""
        if self.streams.get(stream.number) is stream:
            self._forget(stream)
            self._write_reset(stream.number, code)

    def credit(self, stream: Stream, size_bytes: int) -> None:
        """So much of what came on the stream is done with, so the client may send more."""
        if stream.ended_there:
            return
        stream.credited += size_bytes
        if stream.credited >= self._limits.stream_window_bytes // 2:
            stream.window += stream.credited
            self._write(window_update(stream.number, stream.credited))
            stream.credited = 0

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self, data: bytes | memoryview) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    def _write_answer(self, data: bytes) -> None:
        """What a client makes us write, whether it reads or not."""
        self._answers_waiting += 1
        if self._answers_waiting > self._limits.answers_waiting_max:
            raise ConnectionEnds(
                ErrorCode.ENHANCE_YOUR_CALM, "answers to PING, SETTINGS and bad frames are not read", "answers_waiting"
            )
        self._write(data)

    def _write_reset(self, number: int, code: ErrorCode) -> None:
        self._note_reset(number)
        self._write(rst_stream(number, code))

    def _note_reset(self, number: int) -> None:
        self._reset[number] = None
        if len(self._reset) > _RESET_KEPT_MAX:
            del self._reset[next(iter(self._reset))]

    def _send_waiting(self) -> None:
        """A frame of each stream in turn, as far as windows and ``ready_bytes_max`` reach."""
        room = self._limits.ready_bytes_max
        sent = True
        while sent and self._blocked and self._send_window > 0:
            sent = False
            for stream in list(self._blocked):
                if self._send_window <= 0 or self._out_bytes >= room:
                    return
                # The owner may have reset it, as another was sent.
                if stream.send_window > 0 and stream in self._blocked:
                    sent = True
                    self._send_frame(stream)

    def _send_frame(self, stream: Stream) -> None:
        waiting = stream.waiting
        assert waiting, "a stream that is blocked has something that waits"
        size = min(stream.waiting_bytes, stream.send_window, self._send_window, self._frame_bytes_max)
        stream.send_window -= size
        self._send_window -= size
        stream.waiting_bytes -= size
        self.waiting_bytes -= size
        self._forgive_updates()
        self._write(head(size, DATA, 0, stream.number))
        while size:
            part = waiting.popleft()
            if len(part) > size:
                view = memoryview(part)
                waiting.appendleft(view[size:])
                part = view[:size]
            self._write(part)
            size -= len(part)
        if stream.waiting_bytes:
            # The next time it is another's turn first.
            del self._blocked[stream]
            self._blocked[stream] = None
            return
        del self._blocked[stream]
        if stream.trailers is not None:
            self._send_end(stream, stream.trailers)
        else:
            self._owner.on_sent(stream)

    def _send_end(self, stream: Stream, trailers: bytes) -> None:
        if trailers:
            self._write(frame(HEADERS, _FLAG_OF_TRAILERS, stream.number, trailers))
        else:
            self._write(head(0, DATA, END_STREAM, stream.number))
        self._end_here(stream)

    def _end_here(self, stream: Stream) -> None:
        is_read = stream.ended_there
        self._ends_waiting += 1
        if self._resets:
            self._resets -= 1
        self._forget(stream)
        if not is_read:
            # Section 8.1: the answer is whole, so the rest of the request may be left unsent.
            self._write_reset(stream.number, ErrorCode.NO_ERROR)

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.number, None)
        stream.ended_here = stream.ended_there = True
        if stream.waiting_bytes:
            self.waiting_bytes -= stream.waiting_bytes
            stream.waiting_bytes = 0
            stream.waiting = None
            self._blocked.pop(stream, None)
        if self._draining:
            self._close_when_drained()

    def _close_when_drained(self) -> None:
        if not self.streams:
            self.closing = True

    def _fail(self, end: ConnectionEnds) -> None:
        if end.limit:
            self._owner.on_limit(end.limit)
        self.error = str(end)
        self.closing = True
        self._draining = False
        self._partial = b""
        self._write(goaway(self._highest, end.code, self.error))
        streams, self.streams = self.streams, {}
        self._blocked.clear()
        self.waiting_bytes = 0
        for stream in streams.values():
            stream.ended_here = stream.ended_there = True
            stream.waiting, stream.waiting_bytes = None, 0
            self._owner.on_gone(stream)

    # -- reading --------------------------------------------------------------------------------------------------

    def _read_preface(self, data: bytes) -> int:
        if not PREFACE.startswith(data[: len(PREFACE)]):
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "the connection does not begin as HTTP/2 does")
        if len(data) < len(PREFACE):
            return 0
        self._has_preface = True
        return self._read_frames(data, len(PREFACE))

    def _read_frames(self, data: bytes, at: int = 0) -> int:
        """All that are whole; where the rest begins."""
        handlers = self._handlers
        end = len(data)
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, number = read_head(data, at)
            length = high << 16 | low
            if length > FRAME_BYTES_MAX:
                raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"a frame has {length} bytes")
            begin = at + HEAD_BYTES
            if end - begin < length:
                break
            at = begin + length
            if not self._has_settings and kind != SETTINGS:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "the first frame is no SETTINGS")
            if self._block is not None and kind != CONTINUATION:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "a frame stands inside a header block")
            if kind < len(handlers):
                handlers[kind](flags, number & 0x7FFF_FFFF, data[begin:at])
            else:
                self._count_idle()
            if self.closing:
                break
        return at

    def _count_idle(self) -> None:
        self._idle_frames += 1
        if self._idle_frames > self._limits.idle_frames_max:
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that do nothing", "idle_frames")

    def _forgive_updates(self) -> None:
        """A client answers DATA with a WINDOW_UPDATE of the stream, and one of the connection, now or later."""
        if self._idle_frames > -self._limits.idle_frames_max:
            self._idle_frames -= 2

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        length = len(payload)
        stream = self.streams.get(number)
        self._window -= length
        if self._window < 0:
            raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        self._credited += length
        if self._credited >= self._limits.connection_window_bytes // 2:
            self._window += self._credited
            self._write(window_update(0, self._credited))
            self._credited = 0
        if stream is None or stream.ended_there:
            if flags & END_STREAM and number in self._reset:
                del self._reset[number]  # the rest of a request that was refused
            else:
                self._on_closed(number, DATA, stream)
            return
        if flags & PADDED:
            payload = _without_padding(payload)
        stream.window -= length
        if stream.window < 0:
            self._stream_fails(stream, ErrorCode.FLOW_CONTROL_ERROR)
            return
        if length > len(payload):
            self.credit(stream, length - len(payload))
        if stream.content_left is not None:
            stream.content_left -= len(payload)
            if stream.content_left < 0 or (flags & END_STREAM and stream.content_left):
                self._stream_fails(stream, ErrorCode.PROTOCOL_ERROR)
                return
        if payload:
            self._owner.on_data(stream, payload)
        elif not flags & END_STREAM:
            self._count_idle()
        if flags & END_STREAM and not stream.ended_there:
            stream.ended_there = True
            self._owner.on_end(stream)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a client opens stream {number}")
        if flags & PADDED:
            payload = _without_padding(payload)
        depends_on_itself = False
        if flags & WITH_PRIORITY:
            if len(payload) < 5:
                raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "HEADERS is too short for its priority")
            depends_on_itself = int.from_bytes(payload[:4]) & 0x7FFF_FFFF == number
            payload = payload[5:]
        if flags & END_HEADERS:
            self._on_block(number, payload, flags, depends_on_itself)
        else:
            self._block = _Block(number, flags, depends_on_itself, payload)

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None or block.number != number:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without its HEADERS")
        block.parts.append(payload)
        block.length += len(payload)
        has_many = len(block.parts) > self._limits.header_frames_max
        if has_many or block.length > self._limits.header_bytes_max:
            limit = "header_frames" if has_many else "header_bytes"
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "a header block is too long", limit)
        if flags & END_HEADERS:
            self._block = None
            self._on_block(number, b"".join(block.parts), block.flags, block.depends_on_itself)

    def _on_block(self, number: int, data: bytes, flags: int, depends_on_itself: bool) -> None:
        headers: Headers | None
        try:
            headers = self._decoder.decode(data)
        except HpackError as error:
            raise ConnectionEnds(ErrorCode.COMPRESSION_ERROR, str(error)) from error
        except HeadersTooLarge:
            headers = None
        ends = bool(flags & END_STREAM)
        if number > self._highest:
            if depends_on_itself and not self._draining:
                self._pass_over(number)
                self._highest = number
                self._refuse(number, ErrorCode.PROTOCOL_ERROR)
            else:
                self._on_new(number, headers, ends)
            return
        stream = self.streams.get(number)
        if stream is None or stream.ended_there:
            self._on_closed(number, HEADERS, stream)
        elif depends_on_itself or headers is None or not ends or not _are_trailers(headers) or stream.content_left:
            self._stream_fails(stream, ErrorCode.PROTOCOL_ERROR)
        else:
            stream.ended_there = True
            self._owner.on_end(stream)

    def _on_new(self, number: int, headers: Headers | None, ends: bool) -> None:
        if self._draining:
            self._count_idle()
            return
        self._pass_over(number)
        self._highest = number
        if len(self.streams) + self._ends_waiting >= self._limits.streams_max:
            self._owner.on_limit("streams")
            self._refuse(number, ErrorCode.REFUSED_STREAM)
            return
        if headers is None:
            self._owner.on_limit("header_bytes")
            self._refuse(number, ErrorCode.ENHANCE_YOUR_CALM)
            return
        stream = Stream(number, self._first_send_window, self._limits.stream_window_bytes)
        try:
            stream.content_left = read_request(headers).length
        except Malformed:
            self._refuse(number, ErrorCode.PROTOCOL_ERROR)
            return
        if ends and stream.content_left:
            self._refuse(number, ErrorCode.PROTOCOL_ERROR)
            return
        self.streams[number] = stream
        stream.ended_there = ends
        self._owner.on_request(stream, headers)
        if ends and not stream.ended_here:
            self._owner.on_end(stream)

    def _refuse(self, number: int, code: ErrorCode) -> None:
        """A request that never was one."""
        self._note_reset(number)
        self._count_reset()
        self._write_answer(rst_stream(number, code))

    def _pass_over(self, number: int) -> None:
        if number > self._highest + 2:
            self._skipped.append((self._highest + 1, number))
            del self._skipped[:-_SKIPPED_KEPT_MAX]

    def _on_closed(self, number: int, kind: int, stream: Stream | None) -> None:
        """Section 5.1: DATA or HEADERS on a stream that takes none."""
        self._count_idle()
        if number in self._reset or self._comes_late(number):
            return
        if stream is not None:
            self._stream_fails(stream, ErrorCode.STREAM_CLOSED)
            return
        if self._is_idle(number) or any(first <= number < end for first, end in self._skipped):
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"a frame on stream {number}, which was never opened")
        if kind == HEADERS:
            raise ConnectionEnds(ErrorCode.STREAM_CLOSED, f"a frame on stream {number}, which has ended")
        self._write_answer(rst_stream(number, ErrorCode.STREAM_CLOSED))

    def _is_idle(self, number: int) -> bool:
        """Section 5.1: was this stream never opened? 0 is none, and even ones are ours to open."""
        return not number & 1 or number > self._highest

    def _comes_late(self, number: int) -> bool:
        """Section 6.8: is it of a stream that the client has opened before it knew that we drain?"""
        return self._draining and number & 1 == 1 and number > self._highest

    def _stream_fails(self, stream: Stream, code: ErrorCode) -> None:
        """Section 5.4.2."""
        self._forget(stream)
        self._write_reset(stream.number, code)
        self._owner.on_gone(stream)
        self._count_reset()

    def _count_reset(self) -> None:
        self._resets += 1
        if self._resets > self._limits.resets_max:
            raise ConnectionEnds(ErrorCode.ENHANCE_YOUR_CALM, "too many requests are taken back", "resets")

    def _on_priority(self, flags: int, number: int, payload: bytes) -> None:
        """Section 5.3.2: priorities are read and do nothing."""
        if not number:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
        self._count_idle()
        stream = self.streams.get(number)
        is_sized = len(payload) == 5
        if is_sized and int.from_bytes(payload[:4]) & 0x7FFF_FFFF != number:
            return
        code = ErrorCode.PROTOCOL_ERROR if is_sized else ErrorCode.FRAME_SIZE_ERROR
        if stream is not None:
            self._stream_fails(stream, code)
        elif self._is_idle(number):
            raise ConnectionEnds(code, f"a bad PRIORITY of stream {number}")
        else:
            self._write_answer(rst_stream(number, code))

    def _on_rst_stream(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM has {len(payload)} bytes")
        if self._is_idle(number) and not self._comes_late(number):
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM of stream {number}, which was never opened")
        stream = self.streams.get(number)
        if stream is None:
            self._count_idle()
            return
        self._forget(stream)
        self._owner.on_gone(stream)
        self._count_reset()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"SETTINGS of stream {number}")
        self._count_idle()
        if flags & ACK:
            if payload:
                raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS that acknowledge say something")
            self._has_settings_first()
            return
        if len(payload) % SETTING.size:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS have {len(payload)} bytes")
        self._has_settings = True
        for identifier, value in SETTING.iter_unpack(payload):
            self._set(identifier, value)
        self._move_windows()
        self._write_answer(frame(SETTINGS, ACK, 0, b""))

    def _has_settings_first(self) -> None:
        if not self._has_settings:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "the first frame acknowledges SETTINGS")

    def _set(self, identifier: int, value: int) -> None:
        if identifier == ENABLE_PUSH:
            if value > 1:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"ENABLE_PUSH is {value}")
        elif identifier == INITIAL_WINDOW_SIZE:
            if value > WINDOW_MAX:
                raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE is {value}")
            self._told_send_window = value
        elif identifier == MAX_FRAME_SIZE:
            if not FRAME_BYTES_MAX <= value < 1 << 24:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"MAX_FRAME_SIZE is {value}")
            self._frame_bytes_max = min(value, _SENT_FRAME_BYTES_MAX)

    def _move_windows(self) -> None:
        """Section 6.9.2; once for all values of one frame, since there may be many streams."""
        change = self._told_send_window - self._first_send_window
        self._first_send_window = self._told_send_window
        if not change:
            return
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > WINDOW_MAX:
                raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS make a window too large")

    def _on_push_promise(self, flags: int, number: int, payload: bytes) -> None:
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"PING of stream {number}")
        if len(payload) != 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"PING has {len(payload)} bytes")
        self._count_idle()
        if not flags & ACK:
            self._write_answer(frame(PING, ACK, 0, payload))

    def _on_goaway(self, flags: int, number: int, payload: bytes) -> None:
        """The client asks for nothing more; what it has asked for is answered."""
        if number:
            raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"GOAWAY of stream {number}")
        if len(payload) < 8:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY has {len(payload)} bytes")
        self._count_idle()

    def _on_window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionEnds(ErrorCode.FRAME_SIZE_ERROR, f"WINDOW_UPDATE has {len(payload)} bytes")
        self._count_idle()  # what was sent forgives it
        increment = int.from_bytes(payload) & 0x7FFF_FFFF
        if not number:
            if not increment:
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self._send_window += increment
            if self._send_window > WINDOW_MAX:
                raise ConnectionEnds(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is too large")
            return
        stream = self.streams.get(number)
        if stream is None:
            if self._is_idle(number) and not self._comes_late(number):
                raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE of stream {number}, which is not open")
            return  # it may have crossed the end of our answer
        stream.send_window += increment
        if not increment:
            self._stream_fails(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.send_window > WINDOW_MAX:
            self._stream_fails(stream, ErrorCode.FLOW_CONTROL_ERROR)


class _Block:
    """A header block that goes on in CONTINUATION frames."""

    __slots__ = ("depends_on_itself", "flags", "length", "number", "parts")

    def __init__(self, number: int, flags: int, depends_on_itself: bool, first: bytes) -> None:
        self.number = number
        self.flags = flags
        self.depends_on_itself = depends_on_itself
        self.parts = [first]
        self.length = len(first)


def _without_padding(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionEnds(ErrorCode.PROTOCOL_ERROR, "a frame is shorter than its padding")
    return payload[1 : len(payload) - payload[0]]


def _are_trailers(headers: Headers) -> bool:
    try:
        check_trailers(headers)
    except Malformed:
        return False
    return True
