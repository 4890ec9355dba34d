"""A call as JSON (``gateway``) on a stream of HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

from ratified.api.service import Service
from ratified.api.translation import Route
from ratified.edge.connection import Stream
from ratified.edge.grpc import GrpcConnection, Sink
from ratified.edge.hpack import Header, encode
from ratified.server.calls import UNFINISHED_S
from ratified.server.gateway import NO_ROOM, JsonCall, metadata_of


class Client(Protocol):
    """Whose connection it is."""

    @property
    def service(self) -> Service: ...

    @property
    def grpc(self) -> GrpcConnection: ...

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def holds(self, size_bytes: int) -> bool:
        """So much more has come of a request, or less. False: there is no room for it."""

    def on_json_call(self, call: JsonCall, metadata: Sequence[Header]) -> Sink | None:
        """Serve it; None: it has ended."""

    def flush_soon(self) -> None:
        """Something is to be written."""


class JsonStream:
    """Gathers the request, and is where its answer goes; owned by its stream as calls of gRPC are."""

    def __init__(
        self,
        client: Client,
        stream: Stream,
        route: Route,
        headers: Sequence[Header],
        for_origin: Sequence[Header] = (),
    ) -> None:
        """``for_origin``: headers of the answer."""
        self._client = client
        self._stream = stream
        self._for_origin = for_origin
        self._metadata = metadata_of(headers)
        self._call = JsonCall(route, self)
        self._body = bytearray()
        self.held_bytes = 0
        """Of the body, until the call has ended."""
        self._began_at = client.loop.time()
        self._is_whole = False
        """All of the request has come."""
        self._refusal: tuple[HTTPStatus, bytes] | None = None
        """Why nothing more of the body is kept, and the call will not be served."""

    @property
    def sink(self) -> Sink | None:
        return self._call.sink

    # -- the connection

    def on_data(self, data: bytes) -> None:
        self._client.grpc.http.credit(self._stream, len(data))
        if self._refusal is not None:
            return
        self._body += data
        self.held_bytes += len(data)
        if not self._client.holds(len(data)):
            self.give_up()
        elif len(self._body) > 2 * self._client.service.request_bytes_max:
            self._client.grpc.on_limit("message_bytes")
            self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"the request is too large\n")

    def on_end(self) -> None:
        self._is_whole = True
        if self._refusal is not None:
            self._answer(*self._refusal)
            return
        body, self._body = bytes(self._body), bytearray()
        self._call.begin(self._client.on_json_call(self._call, self._metadata), body)

    def on_gone(self) -> None:
        self.let_go()
        self._stream.owned = None
        self._call.gone()

    def on_sent(self) -> None:
        if self._call.sink is not None:
            self._call.sink.on_sent()

    def give_up(self) -> None:
        """There is no room for what has come of it."""
        self._client.grpc.on_limit("request_bytes")
        if self._is_whole:
            self._call.give_up()
        else:
            self.refuse(HTTPStatus.TOO_MANY_REQUESTS, f"{NO_ROOM}\n".encode())

    def on_second(self, now: float) -> None:
        """End what has not come whole in time."""
        if not self._is_whole and now - self._began_at > UNFINISHED_S:
            self._is_whole = True
            self._answer(HTTPStatus.REQUEST_TIMEOUT, b"the request has not come in time\n")

    def refuse(self, status: HTTPStatus, text: bytes) -> None:
        """When all has come: curl takes an answer that comes before for a failure of the stream."""
        self._refusal = status, text
        self.let_go()

    def _answer(self, status: HTTPStatus, text: bytes) -> None:
        self.let_go()
        self.begin(status, "text/plain; charset=utf-8", len(text))
        self.write(text)
        self.finish()

    # -- ``gateway.Responder``

    def let_go(self) -> None:
        self._client.holds(-self.held_bytes)
        self.held_bytes = 0
        self._body = bytearray()

    @property
    def waiting_bytes(self) -> int:
        return self._stream.waiting_bytes

    def begin(self, status: HTTPStatus, content_type: str, length: int | None) -> None:
        fields = [(b":status", b"%d" % status), (b"content-type", content_type.encode()), *self._for_origin]
        if length is not None:
            fields.append((b"content-length", b"%d" % length))
        self._client.grpc.http.send_headers(self._stream, encode(*fields))

    def write(self, data: bytes) -> None:
        self._client.grpc.http.send_data(self._stream, (data,))

    def finish(self) -> None:
        self._stream.owned = None
        self._client.grpc.http.end(self._stream, b"")
        self._client.flush_soon()
