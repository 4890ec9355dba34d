"""HTTP/1.1 on a client's connection: pages, one after another, by ``h11``.

Requests have no body of more than ``BODY_BYTES_MAX``. One is answered before the next is read.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Protocol

import h11

from ratified.api.pages import Page, page
from ratified.api.service import Service
from ratified.edge.frames import PREFACE

log = logging.getLogger("ratified.server")

BODY_BYTES_MAX = 64 << 10
WAITING_BYTES_MAX = 128 << 10
"""Of requests that were sent before earlier ones are answered, and of answers that the client does not take."""
BROKEN = Page(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain; charset=utf-8", b"the server's log says why\n")
_TOO_LARGE = Page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain; charset=utf-8", b"the request is too large\n")
_BAD = Page(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", b"this is no request of HTTP/1.1, HTTP/2 or gRPC\n")


def is_http1(first: bytes) -> bool:
    """Is this how a connection of another protocol than HTTP/2 begins?"""
    return not PREFACE.startswith(first[: len(PREFACE)])


class Socket(Protocol):
    def write(self, data: bytes) -> None: ...

    @property
    def socket_bytes(self) -> int:
        """What the socket has not taken."""

    def close(self) -> None:
        """Send what is left, then close."""

    def abort(self) -> None: ...


class Http1:
    """One connection."""

    def __init__(self, service: Service, socket: Socket) -> None:
        self._service = service
        self._socket = socket
        self._parser = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body_bytes = 0
        self._unparsed = b""
        self._task: asyncio.Task[None] | None = None
        self._draining = False
        self._ended = False
        """The client sends no more."""

    def receive(self, data: bytes) -> None:
        """Bytes of the client's, in order."""
        if self._task is not None:
            self._unparsed += data
            if len(self._unparsed) > WAITING_BYTES_MAX:
                self._socket.close()
            return
        if data:
            self._parser.receive_data(data)
        self._read_all()

    def end(self) -> None:
        """The client sends no more; what it has asked for is answered."""
        self._ended = True
        if self._task is None:
            self._read_end()

    def drain(self) -> None:
        """Close when what was asked for is answered."""
        self._draining = True
        if self._task is None:
            self._socket.close()

    def lost(self) -> None:
        """The socket is gone."""
        if self._task is not None:
            self._task.cancel()

    def _read_end(self) -> None:
        if self._parser.their_state is not h11.ERROR:
            self._parser.receive_data(b"")
            self._read_all()

    def _read_all(self) -> None:
        try:
            self._read()
        except h11.RemoteProtocolError:
            self._answer(_BAD, "GET", closes=True)

    def _read(self) -> None:
        while True:
            event = self._parser.next_event()
            if isinstance(event, h11.Request):
                self._request, self._body_bytes = event, 0
            elif isinstance(event, h11.Data):
                self._body_bytes += len(event.data)
                if self._body_bytes > BODY_BYTES_MAX:
                    self._answer(_TOO_LARGE, "GET", closes=True)
                    return
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None, "a message begins with its request"
                self._task = asyncio.ensure_future(self._serve(self._request))
                return
            elif isinstance(event, h11.ConnectionClosed):
                self._socket.close()
                return
            else:  # it needs more, or is paused
                return

    async def _serve(self, request: h11.Request) -> None:
        method, target = request.method.decode("ascii"), request.target.decode("latin-1")
        try:
            answer = await page(self._service, method, target)
        except Exception:
            log.exception("a request for %s ended by a defect", target)
            answer = BROKEN
        self._task = None
        self._answer(answer, method, closes=self._draining)
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE:
            self._parser.start_next_cycle()
            waiting, self._unparsed = self._unparsed, b""
            self.receive(waiting)
            if self._ended and self._task is None:
                self._read_end()

    def _answer(self, answer: Page, method: str, *, closes: bool) -> None:
        headers = [("content-type", answer.content_type), ("content-length", str(len(answer.body)))]
        if closes:
            headers.append(("connection", "close"))
        try:
            out = self._parser.send(h11.Response(status_code=int(answer.status), headers=headers)) or b""
            if method != "HEAD":
                out += self._parser.send(h11.Data(data=answer.body)) or b""
            out += self._parser.send(h11.EndOfMessage()) or b""
        except h11.LocalProtocolError:  # an answer was begun, or the client has broken off
            self._socket.close()
            return
        self._socket.write(out)
        if self._socket.socket_bytes > WAITING_BYTES_MAX:  # it asks, and does not read
            self._socket.abort()
            return
        if self._parser.our_state is not h11.DONE:
            self._socket.close()
