"""HTTP/1.1 on a client's connection: pages and calls as JSON (``gateway``), one after another, by ``h11``.

Requests have no body of more than ``BODY_BYTES_MAX``, calls none of more than two of the largest requests. One is
answered before the next is read, and has to come whole within ``UNFINISHED_S``. A client that ends its side may still
want a page; of a call it wants no more, since one may wait for ever (for a lock, for what a watch sees), and nothing
else tells that its client has gone. What has come of a call's request is held for the client until the call has ended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

import h11

from ratified.api.pages import Page
from ratified.api.translation import Route, route_of
from ratified.edge.frames import PREFACE
from ratified.edge.grpc import Sink
from ratified.edge.hpack import Header
from ratified.server.calls import UNFINISHED_S
from ratified.server.gateway import NO_ROOM, JsonCall, metadata_of
from ratified.server.web import Web

log = logging.getLogger("ratified.server")

_METHOD = b"PRI"
"""With which HTTP/2 begins; POST, PUT and PATCH do in part."""
BODY_BYTES_MAX = 64 << 10
WAITING_BYTES_MAX = 128 << 10
"""Of requests that were sent before earlier ones are answered, and of answers that the client does not take."""
BROKEN = Page(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", b"the server's log says why\n")
_NO_ROOM = Page(HTTPStatus.TOO_MANY_REQUESTS, "text/plain; charset=utf-8", f"{NO_ROOM}\n".encode())
_LATE = Page(HTTPStatus.REQUEST_TIMEOUT, "text/plain; charset=utf-8", b"the request has not come in time\n")
_TOO_LARGE = Page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain; charset=utf-8", b"the request is too large\n")
_BAD = Page(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", b"this is no request of HTTP/1.1, HTTP/2 or gRPC\n")


def is_http1(first: bytes) -> bool | None:
    """Is this how a connection of another protocol than HTTP/2 begins? None: more of it has to come."""
    if not PREFACE.startswith(first[: len(PREFACE)]):
        return True
    return None if len(first) < len(_METHOD) else False


class Client(Protocol):
    """Whose connection it is."""

    def write(self, data: bytes) -> None: ...

    @property
    def socket_bytes(self) -> int:
        """What the socket has not taken."""

    @property
    def is_paused(self) -> bool:
        """Has it taken so little that it should be written no more?"""

    def close(self) -> None:
        """Send what is left, then close."""

    def abort(self) -> None: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def holds(self, size_bytes: int) -> bool:
        """So much more has come of a request, or less. False: there is no room for it."""

    def on_limit(self, limit: str) -> None:
        """The client has passed it."""

    def on_json_call(self, call: JsonCall, metadata: Sequence[Header]) -> Sink | None:
        """Serve it; None: it has ended."""


class Http1:
    """One connection."""

    def __init__(self, web: Web, client: Client) -> None:
        self._web = web
        self._client = client
        self._parser = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._refusal: Page | None = None
        """What that request is answered, whatever it asks for."""
        self._for_origin: Sequence[Header] = ()
        """Headers of its answer."""
        self._route: Route | None = None
        """Of the request that is read, if it is a call."""
        self._body = bytearray()
        """Of a call; of other requests only ``_body_bytes`` is kept."""
        self._body_bytes = 0
        self._held_bytes = 0
        self._began_at: float | None = None
        """When the request began that has not come whole."""
        self._unparsed = b""
        self._task: asyncio.Task[None] | None = None
        """Makes a page."""
        self._call: JsonCall | None = None
        self._draining = False
        self._ended = False
        """The client sends no more."""
        self._is_over = False
        """The socket is gone, or the last answer was given: nothing is read any more."""

    def receive(self, data: bytes) -> None:
        """Bytes of the client's, in order."""
        if self._is_over:
            return
        if self.is_busy:
            self._unparsed += data
            if len(self._unparsed) > WAITING_BYTES_MAX:
                self._client.close()
            return
        if data:
            if self._began_at is None:
                self._began_at = self._client.loop.time()
            self._parser.receive_data(data)
        self._read_all()

    @property
    def is_busy(self) -> bool:
        """Is something being answered?"""
        return self._task is not None or self._call is not None

    def end(self) -> None:
        """The client sends no more."""
        self._ended = True
        if self._call is not None:
            self._call.gone()
            self._client.close()
        elif self._task is None:
            self._read_end()

    def on_second(self, now: float) -> None:
        """End what has not come whole in time."""
        if self._began_at is not None and now - self._began_at > UNFINISHED_S:
            self._refuse(_LATE)

    def drain(self) -> None:
        """Close when what was asked for is answered."""
        self._draining = True
        if not self.is_busy or (self._route is not None and self._route.stays_open):
            self._client.close()

    def lost(self) -> None:
        """The socket is gone."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
        if self._call is not None:
            self._call.gone()
        self.let_go()

    def resumed(self) -> None:
        """The client has taken what was written."""
        if self._call is not None and self._call.sink is not None:
            self._call.sink.on_sent()

    def give_up(self) -> None:
        """There is no room for what has come of its request."""
        self._client.on_limit("request_bytes")
        if self._call is not None:
            self._call.give_up()
        else:
            self._refuse(_NO_ROOM)

    # -- reading

    def _read_end(self) -> None:
        if self._parser.their_state is not h11.ERROR:
            self._parser.receive_data(b"")
            self._read_all()

    def _read_all(self) -> None:
        try:
            self._read()
        except h11.RemoteProtocolError:
            self._refuse(_BAD)

    def _read(self) -> None:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self._begin_request(event)
            elif isinstance(event, h11.Data):
                if not self._take_body(bytes(event.data)):
                    return
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None, "a message begins with its request"
                self._began_at = None
                if self._route is not None:
                    self._begin_call(self._request, self._route)
                else:
                    self._task = asyncio.ensure_future(self._serve(self._request))
                return
            elif isinstance(event, h11.ConnectionClosed):
                self._client.close()
                return
            else:  # it needs more, or is paused
                return

    def _begin_request(self, request: h11.Request) -> None:
        self._request = request
        self._body_bytes = 0
        named = dict(request.headers)
        self._refusal = self._web.refusal(request.method, request.target, named.get(b"host", b""))
        self._for_origin = self._web.headers(named.get(b"origin"))
        self._route = route_of(request.method, request.target) if self._refusal is None else None
        if self._route is not None and request.http_version >= b"1.1":
            expected = [value for name, value in request.headers if name == b"expect"]
            if expected and self._parser.they_are_waiting_for_100_continue:
                self._write(self._parser.send(h11.InformationalResponse(status_code=100, headers=[])))

    def _take_body(self, data: bytes) -> bool:
        """False: it is too much, and the request was refused."""
        self._body_bytes += len(data)
        most = BODY_BYTES_MAX if self._route is None else 2 * self._web.service.request_bytes_max
        if self._body_bytes > most:
            self._client.on_limit("message_bytes")
            self._refuse(_TOO_LARGE)
            return False
        if self._route is not None:
            self._body += data
            self._held_bytes += len(data)
            if not self._client.holds(len(data)):
                self.give_up()
                return False
        return True

    # -- pages

    async def _serve(self, request: h11.Request) -> None:
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        try:
            answer = self._refusal or await self._web.page(method, target)
        except Exception:
            log.exception("a request for %s ended by a defect", target)
            answer = BROKEN
        self._task = None
        self._answer(answer, method, closes=self._draining)
        self._go_on()

    def _refuse(self, answer: Page) -> None:
        """The last answer of this connection."""
        self._is_over = True
        self._began_at = None
        self.let_go()
        self._answer(answer, "GET", closes=True)
        if self._parser.our_state is not h11.DONE:
            self._client.close()

    def _answer(self, answer: Page, method: str, *, closes: bool) -> None:
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            *self._for_origin,
        ]
        if closes:
            headers.append((b"connection", b"close"))
        try:
            out = self._parser.send(_response(answer.status, headers)) or b""
            if method != "HEAD":
                out += self._parser.send(h11.Data(data=answer.body)) or b""
            out += self._parser.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:  # an answer was begun, or the client has broken off
            self._client.close()
            return
        self._write(out)

    def _write(self, out: bytes | None) -> None:
        if out:
            self._client.write(out)

    def _go_on(self) -> None:
        """An answer is complete: read the next request, or close."""
        if self._is_over:
            return
        if self._client.socket_bytes > WAITING_BYTES_MAX and self._call is None:  # it asks, and does not read
            self._client.abort()
            return
        self._call = None
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
            waiting, self._unparsed = self._unparsed, b""
            if self._parser.trailing_data[0]:
                self._began_at = self._client.loop.time()
            self.receive(waiting)
            if self._ended and not self.is_busy:
                self._read_end()
        elif self._parser.our_state is not h11.DONE:
            self._client.close()

    # -- calls

    def _begin_call(self, request: h11.Request, route: Route) -> None:
        call = self._call = JsonCall(route, self)
        metadata = metadata_of(request.headers)
        body, self._body = bytes(self._body), bytearray()
        call.begin(self._client.on_json_call(call, metadata), body)

    # (``gateway.Responder``)

    def let_go(self) -> None:
        self._client.holds(-self._held_bytes)
        self._held_bytes = 0
        self._body = bytearray()

    @property
    def waiting_bytes(self) -> int:
        return self._client.socket_bytes if self._client.is_paused else 0

    def begin(self, status: HTTPStatus, content_type: str, length: int | None) -> None:
        headers = [(b"content-type", content_type.encode()), *self._for_origin]
        headers.append((b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length))
        if self._draining:
            headers.append((b"connection", b"close"))
        self._write(self._parser.send(_response(status, headers)))

    def write(self, data: bytes) -> None:
        self._write(self._parser.send(h11.Data(data=data)))

    def finish(self) -> None:
        self._write(self._parser.send(h11.EndOfMessage()))
        # Not at once: it may have been answered while it was being read.
        asyncio.get_running_loop().call_soon(self._go_on)


def _response(status: HTTPStatus, headers: list[Header]) -> h11.Response:
    """With the reason: some clients show it, and nothing else of a failure."""
    return h11.Response(status_code=int(status), reason=status.phrase.encode(), headers=headers)
