"""Connections of clients: sockets around ``edge``, and calls around ``api``.

Rules

1. Frames of a connection are read for some milliseconds at a time, and of all connections as ``edge.pace`` says. What
   one pass of the loop answers on a connection is one write. While the host is crowded, calls of connections that have
   much under way are refused before anything is made of them.
2. What is a call is served by ``calls``. What is none is a page (``api.pages``), by HTTP/2 or, where a connection does
   not begin as HTTP/2 does, by HTTP/1.1 (``Http1``).
3. An exception out of one connection ends that one, is logged, and ends nothing else.
4. By TLS the same bytes come and go (``runtime.tls``). Who fails at the handshake is closed; the log says so at the
   level of debug, since anybody may.
5. Of connections there are ``connections_max``; one too many is closed at once. Who says nothing within ``HELLO_S``, or
   later answers no PING in time, is closed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import NamedTuple, Protocol, cast

import msgspec
from typing_extensions import override

from ratified.api.errors import refusal
from ratified.api.leader import METADATA
from ratified.api.methods import Method, MethodKind
from ratified.api.pages import Page
from ratified.api.service import Service
from ratified.api.sessions import Credentials
from ratified.api.translation import route_of
from ratified.edge.answers import Answers, Share
from ratified.edge.connection import ConnectionLimits, Stream
from ratified.edge.grpc import Call, Code, GrpcConnection, Room, Sink, Tally
from ratified.edge.hpack import Header, Headers, encode
from ratified.edge.pace import Pace
from ratified.runtime import Reason
from ratified.runtime.address import Address, bind, why_not_bound
from ratified.runtime.tls import Certificates, TlsFailed, TlsSession, common_name
from ratified.runtime.transport import Listener
from ratified.server.calls import DEFECT, Streaming, Unary
from ratified.server.client_metrics import ClientMetrics, Served
from ratified.server.debug import DebugPages
from ratified.server.gateway import JsonCall
from ratified.server.http1 import BROKEN, Http1, is_http1
from ratified.server.http2 import JsonStream
from ratified.server.slow_calls import SlowCalls
from ratified.server.unix_sockets import UnixSocket
from ratified.server.urls import Url
from ratified.server.web import Serves, Web, WebOptions

log = logging.getLogger("ratified.server")

OVERHEAD_BYTES_MAX = 512 << 10
"""What a message may be larger than the largest request, so that the API and not the transport refuses it."""
REQUESTS_HELD_BYTES_MAX = 64 << 20
"""What has come of requests and is not answered, of all connections."""
ANSWERS_HELD_BYTES_MAX = 64 << 20
"""What may be held of answers that clients have not taken, of all connections."""
CONNECTION_ANSWERS_HELD_BYTES_MAX = 8 << 20
"""The same of one connection."""
STALLED_S = 1
"""How long a client may take next to nothing, where answers that are not taken fill more than their room."""
STREAMING_CALLS_MAX = 20_000
"""Watches' and keep-alives' streams of all connections."""
CONNECTION_STREAMING_CALLS_MAX = 1_000
"""The same of one connection."""
READER_BYTES_MIN = 64 << 10
"""What may wait for one of them at the least, and one message more."""
CONNECTION_STREAMING_CALLS_MIN = 10
"""What each may have, however many the others have."""
LIGHT_CALLS_MAX = 10
"""Where there is too much to do, connections with no more calls under way are served before others."""
PAGES_MAX = 16
"""How many are made at once for a connection of HTTP/2."""
SOCKET_BYTES_MAX = 256 << 10
"""What may wait in a socket's buffer here, beside the kernel's."""
RECEIVE_S = 0.002
"""How long frames of one connection are read before others are served."""
PIECE_BYTES = 2 << 10
"""Of frames, what is read before the time is looked at."""
HELLO_S = 10
SILENCE_S = 60
"""By HTTP/1.1: so long without a byte and without anything to answer, and the client is taken for gone."""
KEEP_ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""By the options' names, in seconds and times: a machine that is gone is found out after a minute."""
BACKLOG = 1024
_TOKENS = (b"token", b"authorization")
"""Metadata with a token, as etcd's clients name it, and those of its gateway; where both are there the first counts."""
_WANTS_LEADER = tuple(each.encode() for each in METADATA)
BROKEN_CONNECTION = "a client's connection ended by a defect"
TOO_MANY_REQUESTS = refusal(Reason.OVERLOADED).text
_TOO_MANY_PAGES = encode((b":status", b"429"))
_QUOTED_MAX = 100
"""Characters of a client's that are said back to it."""


def _keep_alive(connected: socket.socket) -> None:
    """Have the kernel ask whether a client's machine is still there: who waits by HTTP/1.1 says nothing itself."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEP_ALIVE.items():
        if hasattr(socket, option):  # macOS has other names for some
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class ListenerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose about connections of clients."""

    streams_max: int = ConnectionLimits().streams_max
    """Calls that are open at a time on one connection. Not more than the host takes requests."""
    asks_after_s: float = 30
    """Of silence by HTTP/2, before the client is sent a PING; 0: it is not."""
    answers_within_s: float = 30
    """How long it then has before its connection is closed."""
    reuse_port: bool = False
    slow_s: float = math.inf
    """Calls that take longer are logged."""
    web: WebOptions = WebOptions()

    @property
    def silence_s(self) -> float:
        """After so long a connection is closed."""
        return self.asks_after_s + self.answers_within_s if self.asks_after_s else math.inf


class Tracing(Protocol):
    """``tracing.Tracing``, which needs OpenTelemetry."""

    def tally(self, tally: Tally, path: bytes, headers: Sequence[Header]) -> Tally:
        """Who is to be told how this call ends, which begins now."""


class _Asked(NamedTuple):
    """What the headers of a call say."""

    served: Served
    wants_leader: bool
    credentials: Credentials | None


class ListenError(Exception):
    """An address that cannot be listened on; one line."""


class ClientListener:
    """The client API on one or more addresses, with at most ``connections_max`` connections in all."""

    def __init__(
        self,
        methods: Mapping[str, Method],
        service: Service,
        connections_max: int,
        tls: Certificates | None = None,
        options: ListenerOptions | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """``tls``: what https URLs are served by. ``tracing``: who is told of calls that are to be traced."""
        self.tracing = tracing
        self._loop = loop = asyncio.get_running_loop()
        self.service = service
        self.options = options or ListenerOptions()
        slow_calls = SlowCalls(service.host, self.options.slow_s)
        self.methods = {
            path: Served(path, method, loop.time, slow_calls)
            for path, method in ((name.encode(), method) for name, method in methods.items())
        }
        self.limits_of_each = _limits_of_each(self.options, service)
        self.message_bytes_max = service.request_bytes_max + OVERHEAD_BYTES_MAX
        self.room = Room(REQUESTS_HELD_BYTES_MAX, TOO_MANY_REQUESTS)
        self.answers = Answers(ANSWERS_HELD_BYTES_MAX, CONNECTION_ANSWERS_HELD_BYTES_MAX)
        self.connections: dict[ClientConnection, None] = {}
        self.connections_max = connections_max
        self.received_bytes = 0
        self.sent_bytes = 0
        """As they go over the wire, by TLS too."""
        self.passed = self.room.passed
        service.metrics.add(ClientMetrics(self))
        self._tls = tls
        self._debug = DebugPages() if self.options.web.has_debug else None
        self._bound: list[tuple[Listener, Serves]] = []
        self._files: list[tuple[UnixSocket, Serves]] = []
        self._servers: list[asyncio.Server] = []
        self._to_flush: dict[ClientConnection, None] = {}
        self.streaming_calls = 0
        self._all_gone = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._pace: Pace[ClientConnection] = Pace()
        self._reading: asyncio.Handle | None = None
        """What goes on with those that wait to be read."""
        self._pass_ends = False

    def limits(self) -> Mapping[str, tuple[float, float | None]]:
        """Each limit of what clients may have, and what of it is in use; None: it is one of each connection or call."""
        each = self.limits_of_each
        return {
            "connections": (self.connections_max, len(self.connections)),
            "open_requests": self.service.open_requests,
            "streaming_calls": (STREAMING_CALLS_MAX, self.streaming_calls),
            "request_bytes": (REQUESTS_HELD_BYTES_MAX, self.room.held_bytes),
            "answer_bytes": (ANSWERS_HELD_BYTES_MAX, self.answers.held_bytes),
            "streams": (each.streams_max, None),
            "header_bytes": (each.header_bytes_max, None),
            "header_frames": (each.header_frames_max, None),
            "message_bytes": (self.message_bytes_max, None),
            "resets": (each.resets_max, None),
            "idle_frames": (each.idle_frames_max, None),
            "answers_waiting": (each.answers_waiting_max, None),
            "pages": (PAGES_MAX, None),
            "silence_seconds": (self.options.silence_s, None),
        }

    def listen(self, url: Url, serves: Serves = Serves.ALL) -> None:
        """Bind one address; raises ``ListenError``."""
        try:
            if url.path:
                self._files.append((UnixSocket(url.path, BACKLOG), serves))
                return
            for each in bind(Address(url.host, url.port), reuse_port=self.options.reuse_port):
                self._bound.append((Listener(each, url.tls), serves))
        except OSError as error:
            raise ListenError(
                f"cannot listen for clients on {url}: {why_not_bound(error)}, with --{serves.option}"
            ) from error

    async def start(self) -> None:
        for bound, serves in self._bound:
            web = self._web(serves, names_itself=bound.tls)
            accepted = partial(self._accepted_by_tls if bound.tls else self._accepted, web)
            self._servers.append(await self._loop.create_server(accepted, sock=bound.socket, backlog=BACKLOG))
        for file, serves in self._files:
            accepted = partial(self._accepted, self._web(serves, names_itself=True))
            self._servers.append(await self._loop.create_unix_server(accepted, sock=file.socket, backlog=BACKLOG))
        self._on_second()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those that are open may end within ``grace_s``."""
        for file, _ in self._files:  # while it is still served, no other server takes its path
            file.remove()
        for server in self._servers:
            server.close()
        if self._timer is not None:
            self._timer.cancel()
        self._all_gone.clear()
        for connection in [*self.connections]:
            connection.drain()
        if self.connections:
            try:
                await asyncio.wait_for(self._all_gone.wait(), grace_s)
            except TimeoutError:
                for connection in [*self.connections]:
                    connection.abort()
        for bound, _ in self._bound:
            bound.socket.close()
        for file, _ in self._files:
            file.socket.close()

    def _web(self, serves: Serves, *, names_itself: bool) -> Web:
        return Web(self.service, serves, self.options.web, names_itself=names_itself, debug=self._debug)

    def _accepted(self, web: Web) -> ClientConnection:
        return ClientConnection(self, web, None)

    def _accepted_by_tls(self, web: Web) -> ClientConnection:
        assert self._tls is not None, "no https URL is served without certificates"
        return ClientConnection(self, web, TlsSession(self._tls.server))

    # -- for connections ------------------------------------------------------------------------------------------

    def flush_soon(self, connection: ClientConnection) -> None:
        """Something was answered on it outside its own reading."""
        if not self._to_flush:
            self._loop.call_soon(self._flush)
        self._to_flush[connection] = None

    @property
    def is_crowded(self) -> bool:
        return self.service.is_crowded

    def may_read(self, connection: ClientConnection) -> bool:
        """May it read what has come on it, at once?"""
        return self._pace.may_read(perf_counter(), is_light=connection.is_light)

    def has_read(self, connection: ClientConnection, began_s: float) -> None:
        """It has read something since then."""
        now = perf_counter()
        self._pace.has_read(now, now - began_s, is_light=connection.is_light, is_crowded=self.is_crowded)
        if not self._pass_ends:
            self._pass_ends = True
            self._loop.call_soon(self._end_pass)

    def read_later(self, connection: ClientConnection) -> None:
        """Let it go on reading in its turn."""
        self._pace.wait(connection, is_light=connection.is_light)
        self._read_soon()

    def reclassify(self, connection: ClientConnection) -> None:
        """It may be light by now, or heavy."""
        self._pace.reclassify(connection, is_light=connection.is_light)

    def start_waiting_soon(self) -> None:
        """There may be room for reads that wait."""
        if self.answers.are_waiting:
            self._loop.call_soon(self.answers.start_waiting)

    def forget(self, connection: ClientConnection) -> None:
        self.connections.pop(connection, None)
        self.room.connections.pop(connection.grpc, None)
        self._to_flush.pop(connection, None)
        self._pace.forget(connection)
        if not self.connections:
            self._all_gone.set()

    def _end_pass(self) -> None:
        self._pass_ends = False
        self._pace.end_pass()

    def _read_soon(self) -> None:
        rests_s = self._pace.rests_s(perf_counter())
        if rests_s is None:
            return
        if self._reading is not None:
            self._reading.cancel()
        loop = self._loop
        # Less than a millisecond uvloop does not wait at all.
        self._reading = (
            loop.call_later(max(rests_s, 0.001), self._read_on) if rests_s else loop.call_soon(self._read_on)
        )

    def _read_on(self) -> None:
        self._reading = None
        for connection in self._pace.turns(perf_counter):
            try:
                connection.go_on()
            except Exception:
                log.exception(BROKEN_CONNECTION)
                connection.abort()
        self._read_soon()

    def _flush(self) -> None:
        connections, self._to_flush = self._to_flush, {}
        for connection in connections:
            try:
                connection.flush()
            except Exception:  # the others' answers are not to be lost with it
                log.exception(BROKEN_CONNECTION)
                connection.abort()
        if self.answers.are_waiting:
            self.answers.start_waiting()

    def refuses(self, session: TlsSession) -> str | None:
        """Why this client is not let in; None: it is."""
        return None if self._tls is None else self._tls.refuses(session.certificate)

    def shown_by(self, session: TlsSession) -> Credentials | None:
        """Whom a client's certificate names; None: nobody, or it does not count."""
        certificate = session.certificate if self.service.certificates_name_users else None
        name = common_name(certificate) if certificate else ""
        return Credentials("", name) if name else None

    def _on_second(self) -> None:
        self._timer = self._loop.call_later(1, self._on_second)
        now = self._loop.time()
        if self._tls is not None and (wrong := self._tls.refresh()) is not None:
            log.warning("certificates have changed, and what was there before is used: %s", wrong)
        for connection in [*self.connections]:
            try:
                connection.on_second(now)
            except Exception:
                log.exception(BROKEN_CONNECTION)
                connection.abort()
        # Who waits to be read may have taken what it is held to have left.
        shares = {each.share: each for each in self.connections if not each.waits}
        while (stalled := self.answers.stalled(shares, now - STALLED_S)) is not None:
            self.passed["answer_bytes"] += 1
            shares.pop(stalled).abort()
            self.answers.left(stalled, now)


def _limits_of_each(options: ListenerOptions, service: Service) -> ConnectionLimits:
    requests_max, _ = service.host.open_requests
    streams_max = min(options.streams_max, requests_max)
    # All that are open may time out together, and are then taken back together.
    return ConnectionLimits(streams_max=streams_max, resets_max=max(ConnectionLimits().resets_max, streams_max))


class ClientConnection(asyncio.Protocol):
    """One socket, and the calls on it."""

    def __init__(self, listener: ClientListener, web: Web, tls: TlsSession | None) -> None:
        self.listener = listener
        self._web = web
        self._tls = tls
        self.service = listener.service
        self.grpc = GrpcConnection(self, listener.room, listener.limits_of_each, listener.message_bytes_max)
        self.loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.is_paused = False
        self._unread = b""
        """What waits until others have run."""
        self._first = b""
        """The first bytes, while they tell no protocol."""
        self._arrived = b""
        """What has come behind them, as it came."""
        self._began_at = self._heard_at = self.loop.time()
        self._has_spoken = False
        self._is_asked = False
        self._asks_too_much = False
        self._is_crowded = False
        """Was the host, when the piece was begun that is being read?"""
        self.answers = listener.answers
        self.share = Share(self._heard_at)
        self._by_certificate: Credentials | None = None
        self._http1: Http1 | None = None
        self._pages: set[asyncio.Task[None]] = set()
        self._streaming: dict[Streaming, None] = {}
        self._readers_bytes = 0
        """What waited in the readers of streaming calls, a second ago at most."""

    # -- asyncio --------------------------------------------------------------------------------------------------

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        listener = self.listener
        if len(listener.connections) >= listener.connections_max:
            listener.passed["connections"] += 1
            self._transport.abort()
            return
        listener.connections[self] = None
        listener.room.connections[self.grpc] = None
        self._transport.set_write_buffer_limits(high=SOCKET_BYTES_MAX)
        socket_of = transport.get_extra_info("socket")
        if socket_of.family != socket.AF_UNIX:
            socket_of.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(socket_of)

    @override
    def data_received(self, data: bytes) -> None:
        self._heard_at = self.loop.time()
        self.listener.received_bytes += len(data)
        self._is_asked = False
        if self.waits or not self.listener.may_read(self):
            self._arrived += data
        else:
            began = perf_counter()
            self._read(data)
            self.listener.has_read(self, began)
        if self.waits:
            self._wait()

    def go_on(self) -> None:
        """It is this connection's turn to be read."""
        began = perf_counter()
        if self._unread:
            self._receive(self._unread)
        else:
            arrived, self._arrived = self._arrived, b""
            self._read(arrived)
        self.listener.has_read(self, began)
        transport = self._transport
        if self.waits:
            self._wait()
        elif transport is not None and not transport.is_closing():
            transport.resume_reading()

    @property
    def waits(self) -> bool:
        """Has more come than was read?"""
        return bool(self._unread or self._arrived)

    def _wait(self) -> None:
        """Take no more from the socket until there is a turn."""
        if self._transport is None or self._transport.is_closing():
            self._unread = self._arrived = b""  # nobody reads it
        else:
            self._transport.pause_reading()
            self.listener.read_later(self)

    def _read(self, data: bytes) -> None:
        """What came, by whatever protocol the client speaks."""
        if self._tls is not None:
            data = self._decrypted(self._tls, data)
        if not data:
            return
        if not self._has_spoken:
            data, self._first = self._first + data, b""
            other = is_http1(data)
            if other is None:
                self._first = data
                return
            self._has_spoken = True
            if other:
                self._http1 = self.grpc.other = Http1(self._web, self)
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        """Read for about ``RECEIVE_S``, and let others run before the rest."""
        protocol = self.grpc.http if self._http1 is None else self._http1
        self._unread = b""
        began = perf_counter()
        for at in range(0, len(data), PIECE_BYTES):
            if at and perf_counter() - began > RECEIVE_S:
                self._unread = data[at:]
                break
            self._is_crowded = self.listener.is_crowded
            protocol.receive(data[at : at + PIECE_BYTES])
        self.flush()

    def _decrypted(self, tls: TlsSession, data: bytes) -> bytes:
        was_ready = tls.ready
        try:
            plain = tls.receive(data)
        except TlsFailed as failed:
            self._close_for(str(failed))
            return b""
        if tls.ready and not was_ready:
            if (refusal := self.listener.refuses(tls)) is not None:
                self._close_for(refusal)
                return b""
            self._by_certificate = self.listener.shown_by(tls)
        self._write_encrypted(tls)
        if tls.ended:
            self.close()
        return plain

    def _close_for(self, reason: str) -> None:
        """Nobody who may connect is at the other end."""
        assert self._tls is not None, "TLS has found that"
        log.debug("closing a client's connection: TLS: %s", reason)
        self.close()

    def _write_encrypted(self, tls: TlsSession) -> None:
        if self._transport is not None and (data := tls.take()):
            self.listener.sent_bytes += len(data)
            self._transport.write(data)

    @override
    def eof_received(self) -> bool:
        """The client sends no more. By HTTP/1.1 it may want its answers all the same."""
        if self._http1 is None or self._tls is not None:
            return False
        self._http1.end()
        return True

    @override
    def pause_writing(self) -> None:
        self.is_paused = True

    @override
    def resume_writing(self) -> None:
        self.is_paused = False
        if self._http1 is not None:
            self._http1.resumed()
        self.flush()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.grpc.http.lost()
        if self._http1 is not None:
            self._http1.lost()
        for task in self._pages:
            task.cancel()
        self.answers.left(self.share, self.loop.time())
        self.listener.forget(self)
        self.listener.start_waiting_soon()

    # -- writing --------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what there is, as far as the socket takes it."""
        transport = self._transport
        if transport is None:
            return
        http, is_http2 = self.grpc.http, self._http1 is None
        while is_http2 and not self.is_paused and not transport.is_closing() and (data := http.take()):
            self.write(data)
        unsent_bytes = (http.unsent_bytes if is_http2 else 0) + transport.get_write_buffer_size() + self._readers_bytes
        if unsent_bytes or self.share.unsent_bytes:
            has_taken = unsent_bytes < self.share.unsent_bytes
            self.answers.unsent(self.share, unsent_bytes, self.loop.time())
            if has_taken and self.answers.are_waiting:
                self.listener.flush_soon(self)
        is_over = http.closing and (http.error is not None or not http.unsent_bytes)
        if is_over and not transport.is_closing():
            if http.error is not None:
                log.debug("closing a client's connection: %s", http.error)
            self.close()

    def write(self, data: bytes | memoryview) -> None:
        """To the socket, by TLS where that is spoken."""
        if self._tls is not None:
            self._tls.write(data)
            self._write_encrypted(self._tls)
        elif self._transport is not None:
            self.listener.sent_bytes += len(data)
            self._transport.write(data)

    def close(self) -> None:
        """Send what is left, then close."""
        if self._tls is not None:
            self._tls.finish()
            self._write_encrypted(self._tls)
        if self._transport is not None:
            self._transport.close()

    @property
    def socket_bytes(self) -> int:
        """What the socket has not taken."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def flush_soon(self) -> None:
        self.listener.flush_soon(self)

    def drain(self) -> None:
        if self._http1 is not None:
            self._http1.drain()
            return
        self.grpc.http.drain()
        self.flush()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def on_second(self, now: float) -> None:
        """Forgive some, write what there is, and close who says nothing (rule 5)."""
        http, options = self.grpc.http, self.listener.options
        http.on_second()
        self._asks_too_much = False
        for stream in [*http.streams.values()]:
            if isinstance(stream.owned, JsonStream):
                stream.owned.on_second(now)
            elif stream.owned is not None and isinstance(stream.owned.sink, Unary):
                stream.owned.sink.on_second(now)
        if self._http1 is not None:
            self._http1.on_second(now)
        self._readers_bytes = sum(streaming.waiting_bytes for streaming in self._streaming)
        if self._has_spoken:  # the client speaks first: what is made ready for it is of HTTP/2
            self.flush()
        self.listener.reclassify(self)
        if self.waits:
            self._heard_at = self._began_at = now  # it has said more than was read
        if self._is_gone(now):
            self.listener.passed["silence_seconds"] += 1
            self.abort()
        elif self._http1 is None and not self._is_asked and 0 < options.asks_after_s < now - self._heard_at:
            self._is_asked = True
            http.ping()
            self.flush()

    def _is_gone(self, now: float) -> bool:
        """Has the client been silent for too long?"""
        silent_s = now - self._heard_at
        if not self._has_spoken and now - self._began_at > HELLO_S:
            return True
        if self._http1 is not None:
            return silent_s > SILENCE_S and not self._http1.is_busy
        return silent_s > self.listener.options.silence_s

    # -- calls (``edge.grpc.Calls``) ------------------------------------------------------------------------------

    def on_call(self, call: Call, metadata: Sequence[Header]) -> Sink | None:
        if not self._web.takes_calls:
            call.end(Code.UNIMPLEMENTED, self._unknown(call.head.path))
            return None
        return self._served(call, metadata)

    def _served(self, call: Call | JsonCall, metadata: Sequence[Header]) -> Sink | None:
        asked: _Asked | None = call.head.owned
        if asked is None:
            found = self.listener.methods.get(call.head.path)
            if found is None:
                call.end(Code.UNIMPLEMENTED, self._unknown(call.head.path))
                return None
            credentials = None if found.method.is_for_anybody else self._credentials(metadata)
            asked = call.head.owned = _Asked(found, _WANTS_LEADER in metadata, credentials)
        served, wants_leader, credentials = asked
        served.started += 1
        call.tally, call.began_at = served, self.loop.time()
        if self.listener.tracing is not None:
            call.tally = self.listener.tracing.tally(served, call.head.path, metadata)
        method = served.method
        if self._is_crowded and not self.is_light:
            self._asks_too_much = True
            self.listener.passed["open_requests"] += 1
            call.end(Code.RESOURCE_EXHAUSTED, TOO_MANY_REQUESTS)
            return None
        if method.kind is MethodKind.STREAM:
            if not self._may_stream():
                self.listener.passed["streaming_calls"] += 1
                call.end(Code.RESOURCE_EXHAUSTED, TOO_MANY_REQUESTS)
                return None
            return Streaming(self, call, method, wants_leader, credentials)
        return Unary(self, call, method, wants_leader, credentials)

    def _unknown(self, path: bytes) -> str:
        """What etcd's gRPC library says of a method that there is not."""
        service, slash, method = path.removeprefix(b"/").rpartition(b"/")
        service_said, method_said = (part.decode("ascii", "replace")[:_QUOTED_MAX] for part in (service, method))
        if not slash:
            return f'malformed method name: "/{method_said}"'
        if any(known.startswith(b"/%b/" % service) for known in self.listener.methods):
            return f"unknown method {method_said} for service {service_said}"
        return f"unknown service {service_said}"

    def _credentials(self, metadata: Sequence[Header]) -> Credentials | None:
        """What the client shows of itself; None: nothing."""
        for wanted in _TOKENS:
            for name, value in metadata:
                if name == wanted:
                    return Credentials(value.decode("latin-1"), "")
        return self._by_certificate

    def on_json_call(self, call: JsonCall, metadata: Sequence[Header]) -> Sink | None:
        return self._served(call, metadata)

    def holds(self, size_bytes: int) -> bool:
        """So much more, or less, has come of a request that is no call of gRPC. False: there is no room for it."""
        if size_bytes < 0:
            self.listener.room.give_back(self.grpc, -size_bytes)
            return True
        return self.listener.room.take(self.grpc, size_bytes)

    def on_limit(self, limit: str) -> None:
        self.grpc.on_limit(limit)

    @property
    def is_light(self) -> bool:
        """Has it little under way, and has it not asked for too much within the last second?"""
        under_way = len(self.grpc.http.streams) - len(self._streaming)
        return not self._asks_too_much and under_way <= LIGHT_CALLS_MAX

    def _may_stream(self) -> bool:
        count = len(self._streaming)
        most = CONNECTION_STREAMING_CALLS_MAX
        if self.listener.streaming_calls >= STREAMING_CALLS_MAX:
            most = CONNECTION_STREAMING_CALLS_MIN
        return count < most

    @property
    def reader_bytes_max(self) -> int:
        """A share of what one connection may hold: the more streams it has, the less each further one may."""
        return max(CONNECTION_ANSWERS_HELD_BYTES_MAX // max(len(self._streaming), 1), READER_BYTES_MIN)

    def streaming_begins(self, streaming: Streaming) -> None:
        self._streaming[streaming] = None
        self.listener.streaming_calls += 1

    def streaming_ends(self, streaming: Streaming) -> None:
        if streaming in self._streaming:
            del self._streaming[streaming]
            self.listener.streaming_calls -= 1

    def on_other(self, connection: GrpcConnection, stream: Stream, headers: Headers) -> None:
        fields = dict(headers.fields)
        method, path = fields[b":method"], fields[b":path"]
        for_origin = self._web.headers(fields.get(b"origin"))
        refusal = self._web.refusal(method, path, fields.get(b":authority", fields.get(b"host", b"")))
        route = route_of(method, path)
        if route is not None:
            stream.owned = JsonStream(self, stream, route, headers.fields, for_origin)
            if refusal is not None:
                stream.owned.refuse(refusal.status, refusal.body)
            return
        if len(self._pages) >= PAGES_MAX or self.grpc.http.waiting_bytes > CONNECTION_ANSWERS_HELD_BYTES_MAX:
            self.on_limit("pages")
            self.grpc.http.send_headers(stream, _TOO_MANY_PAGES, ends=True)
            return
        task = asyncio.ensure_future(self._answer_page(stream, method, path, refusal, for_origin))
        self._pages.add(task)
        task.add_done_callback(self._pages.discard)

    async def _page(self, method: bytes, target: bytes) -> Page:
        try:
            return await self._web.page(method.decode("latin-1"), target.decode("latin-1"))
        except Exception:
            log.exception(DEFECT, target)
            return BROKEN

    async def _answer_page(
        self, stream: Stream, method: bytes, target: bytes, refusal: Page | None, for_origin: Sequence[Header]
    ) -> None:
        answer = refusal or await self._page(method, target)
        block = encode(
            (b":status", b"%d" % answer.status),
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *for_origin,
        )
        http = self.grpc.http
        if http.streams.get(stream.number) is stream:
            is_head = method == b"HEAD"
            http.send_headers(stream, block, ends=is_head)
            if not is_head:
                http.send_data(stream, (answer.body,))
                http.end(stream, b"")
            self.flush_soon()
