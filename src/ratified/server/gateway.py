"""Calls as JSON: ``POST /v3/kv/put`` and its like, as grpc-gateway translates them before etcd.

Rules

1. What is asked for goes through the same calls, limits and texts as by gRPC (``server.calls``): a ``JsonCall`` stands
   in for the call of a connection. ``api.translation`` says which path is which method, and translates.
2. A failure has the code of gRPC in its body, and the status of HTTP that belongs to it. In a stream each message is a
   line, ``{"result": ...}``, and a failure the last one, ``{"error": ...}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Protocol

from ratified.api.translation import BadRequest, Route, answer_of, dumped, requests_of
from ratified.edge.grpc import CallHead, Code, Sink, Tally
from ratified.edge.hpack import Header

JSON = "application/json"
TEXT_MAX = 1_000
"""Characters of what is wrong with a body."""
NO_ROOM = "etcdserver: too many requests"
"""Where what all clients have sent fills its room: the text of calls by gRPC."""
_METADATA_PREFIX = b"grpc-metadata-"
_METADATA = (b"authorization", b"traceparent", b"tracestate")
_STATUS = {
    0: HTTPStatus.OK,
    1: HTTPStatus.REQUEST_TIMEOUT,
    3: HTTPStatus.BAD_REQUEST,
    4: HTTPStatus.GATEWAY_TIMEOUT,
    5: HTTPStatus.NOT_FOUND,
    6: HTTPStatus.CONFLICT,
    7: HTTPStatus.FORBIDDEN,
    8: HTTPStatus.TOO_MANY_REQUESTS,
    9: HTTPStatus.BAD_REQUEST,
    10: HTTPStatus.CONFLICT,
    11: HTTPStatus.BAD_REQUEST,
    12: HTTPStatus.NOT_IMPLEMENTED,
    14: HTTPStatus.SERVICE_UNAVAILABLE,
    16: HTTPStatus.UNAUTHORIZED,
}
"""By the code of gRPC; every other one is an internal error."""


def metadata_of(headers: Iterable[Header]) -> Sequence[Header]:
    """The metadata of a call, of the headers of a request by HTTP, whose names are in lower case."""
    return [
        (name.removeprefix(_METADATA_PREFIX), value)
        for name, value in headers
        if name.startswith(_METADATA_PREFIX) or name in _METADATA
    ]


class Responder(Protocol):
    """Where the answer of one request goes."""

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken."""

    def begin(self, status: HTTPStatus, content_type: str, length: int | None) -> None:
        """``length`` in bytes; None: it is not known."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None:
        """The answer is complete."""

    def let_go(self) -> None:
        """The call has ended: what has come of its request is held no more."""


class JsonCall:
    """As ``edge.grpc.Call``, of a client that speaks JSON."""

    def __init__(self, route: Route, responder: Responder) -> None:
        self.head = CallHead(route.path.encode(), None, b"")
        self.tally: Tally | None = None
        self.began_at = 0.0
        self.ended = False
        self.sink: Sink | None = None
        self._route = route
        self._responder = responder
        self._has_begun = False

    def begin(self, sink: Sink | None, body: bytes) -> None:
        """Hand over what the client asks for; without a sink the call has been refused."""
        if sink is None:
            return
        self.sink = sink
        try:
            requests = requests_of(self._route, body)
        except BadRequest as bad:
            sink.on_gone()
            self.end(int(Code.INVALID_ARGUMENT), str(bad)[:TEXT_MAX])
            return
        for request in requests:
            if not self.ended:
                sink.on_message(request)
        if not self.ended and not self._route.stays_open:
            sink.on_end()

    def give_up(self) -> None:
        """There is no room for what has come of it."""
        sink = self.sink
        self.end(int(Code.RESOURCE_EXHAUSTED), NO_ROOM)
        if sink is not None:
            sink.on_gone()

    def gone(self) -> None:
        """Nobody waits for the answer any more."""
        if not self.ended:
            sink = self.sink
            self._end(Code.CANCELLED)
            if sink is not None:
                sink.on_gone()

    # -- the handler

    def answer(self, message: bytes) -> None:
        if self.ended:
            return
        self._end(Code.OK)
        self._respond(HTTPStatus.OK, answer_of(self._route, message))

    def answer_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self.answer(b"".join(parts))

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        if self.ended:
            return
        self._begin_lines()
        self._responder.write(b'{"result":' + answer_of(self._route, b"".join(parts)) + b"}\n")

    @property
    def waiting_bytes(self) -> int:
        return self._responder.waiting_bytes

    def end(self, code: int = Code.OK, text: str = "") -> None:
        if self.ended:
            return
        self._end(code)
        status = _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
        if not self._route.is_stream:
            self._respond(status, dumped({"error": text, "code": code, "message": text}))
            return
        self._begin_lines()
        if code:
            error = {"grpc_code": code, "http_code": int(status), "message": text, "http_status": status.phrase}
            self._responder.write(dumped({"error": error}) + b"\n")
        self._responder.finish()

    def done_with(self, message: bytes) -> None:
        """All of the request was there before the call began."""

    # -- inside

    def _end(self, code: int) -> None:
        self.ended = True
        self.sink = None
        if self.tally is not None:
            self.tally.ended(code, self.began_at)
        self._responder.let_go()

    def _begin_lines(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._responder.begin(HTTPStatus.OK, JSON, None)

    def _respond(self, status: HTTPStatus, body: bytes) -> None:
        self._responder.begin(status, JSON, len(body))
        self._responder.write(body)
        self._responder.finish()
