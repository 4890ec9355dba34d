"""Calls as JSON: ``POST /v3/kv/put`` and its like, as grpc-gateway translates them before etcd.

Rules

1. What is asked for goes through the same calls, limits and texts as by gRPC (``server.calls``): a ``JsonCall`` stands
   in for the call of a connection.
2. Bytes are base64, 64-bit numbers are strings; either is taken as a number too. Names are those of etcd's messages, or
   camelCase. Unknown names are passed over; so is what stands behind a request that takes one message.
3. A failure has the code of gRPC in its body, and the status of HTTP that belongs to it. In a stream each message is a
   line, ``{"result": ...}``, and a failure the last one, ``{"error": ...}``.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import NamedTuple, Protocol, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message

from ratified.edge.grpc import CallHead, Code, Sink
from ratified.wire.etcd import election_pb2, lock_pb2, rpc_pb2

JSON = "application/json"
PREFIXES = ("/v3", "/v3beta")
"""The second is what etcd 3.4 still answers to."""
METADATA_PREFIX = "grpc-metadata-"
"""How a header of HTTP begins that is metadata of the call."""
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2,3}=?=?)?")
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


class Route(NamedTuple):
    """A method of gRPC, and what it takes and gives."""

    path: str
    request: type[Message]
    answer: type[Message]
    is_stream: bool
    stays_open: bool
    """It goes on when the client has said all that it wants to say."""


def _routes() -> Mapping[str, Route]:
    found: dict[str, Route] = {}
    for file in (rpc_pb2, lock_pb2, election_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                name = f"{service.full_name}/{method.name}"
                request, answer = (getattr(file, kind.name) for kind in (method.input_type, method.output_type))
                stays_open = name in ("etcdserverpb.Watch/Watch", "v3electionpb.Election/Observe")
                route = Route(f"/{name}", request, answer, method.server_streaming, stays_open)
                found |= {f"{prefix}/{path}": route for prefix in PREFIXES for path in _PATHS[name]}
    return found


_PATHS = {
    "etcdserverpb.KV/Range": ("kv/range",),
    "etcdserverpb.KV/Put": ("kv/put",),
    "etcdserverpb.KV/DeleteRange": ("kv/deleterange",),
    "etcdserverpb.KV/Txn": ("kv/txn",),
    "etcdserverpb.KV/Compact": ("kv/compaction",),
    "etcdserverpb.Watch/Watch": ("watch",),
    "etcdserverpb.Lease/LeaseGrant": ("lease/grant",),
    "etcdserverpb.Lease/LeaseRevoke": ("lease/revoke", "kv/lease/revoke"),
    "etcdserverpb.Lease/LeaseKeepAlive": ("lease/keepalive",),
    "etcdserverpb.Lease/LeaseTimeToLive": ("lease/timetolive", "kv/lease/timetolive"),
    "etcdserverpb.Lease/LeaseLeases": ("lease/leases", "kv/lease/leases"),
    "etcdserverpb.Cluster/MemberAdd": ("cluster/member/add",),
    "etcdserverpb.Cluster/MemberRemove": ("cluster/member/remove",),
    "etcdserverpb.Cluster/MemberUpdate": ("cluster/member/update",),
    "etcdserverpb.Cluster/MemberList": ("cluster/member/list",),
    "etcdserverpb.Cluster/MemberPromote": ("cluster/member/promote",),
    "etcdserverpb.Maintenance/Alarm": ("maintenance/alarm",),
    "etcdserverpb.Maintenance/Status": ("maintenance/status",),
    "etcdserverpb.Maintenance/Defragment": ("maintenance/defragment",),
    "etcdserverpb.Maintenance/Hash": ("maintenance/hash",),
    "etcdserverpb.Maintenance/HashKV": ("maintenance/hashkv",),
    "etcdserverpb.Maintenance/Snapshot": ("maintenance/snapshot",),
    "etcdserverpb.Maintenance/MoveLeader": ("maintenance/transfer-leadership",),
    "etcdserverpb.Maintenance/Downgrade": ("maintenance/downgrade",),
    "v3lockpb.Lock/Lock": ("lock/lock",),
    "v3lockpb.Lock/Unlock": ("lock/unlock",),
    "v3electionpb.Election/Campaign": ("election/campaign",),
    "v3electionpb.Election/Proclaim": ("election/proclaim",),
    "v3electionpb.Election/Leader": ("election/leader",),
    "v3electionpb.Election/Observe": ("election/observe",),
    "v3electionpb.Election/Resign": ("election/resign",),
}
ROUTES = _routes()
"""By the path of HTTP."""


def route_of(method: bytes, target: bytes) -> Route | None:
    """None: it is no call."""
    return ROUTES.get(_path(target.decode("latin-1"))) if method == b"POST" else None


def is_call(target: str) -> bool:
    """Would it be one, by POST?"""
    return _path(target) in ROUTES


def _path(target: str) -> str:
    return target.partition("?")[0]


class Responder(Protocol):
    """Where the answer of one request goes."""

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken."""

    def begin(self, status: HTTPStatus, content_type: str, length: int | None) -> None:
        """``length`` in bytes; None: it is not known."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> None: ...


class BadRequest(Exception):
    """The body is no such request; says why."""


class JsonCall:
    """As ``edge.grpc.Call``, of a client that speaks JSON."""

    def __init__(self, route: Route, responder: Responder) -> None:
        self.head = CallHead(route.path.encode(), None, b"")
        self.codes: defaultdict[int, int] | None = None
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
            requests = [_encoded(self._route.request, each) for each in _values(body, self._route.is_stream)]
        except BadRequest as bad:
            self.end(int(Code.INVALID_ARGUMENT), str(bad))
            sink.on_gone()
            return
        for request in requests:
            if not self.ended:
                sink.on_message(request)
        if not self.ended and not self._route.stays_open:
            sink.on_end()

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
        self._respond(HTTPStatus.OK, self._json(message))

    def answer_parts(self, parts: Sequence[bytes | memoryview]) -> None:
        self.answer(b"".join(parts))

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        if self.ended:
            return
        self._begin_lines()
        self._responder.write(b'{"result":' + self._json(b"".join(parts)) + b"}\n")

    @property
    def waiting_bytes(self) -> int:
        return self._responder.waiting_bytes

    def end(self, code: int = Code.OK, text: str = "") -> None:
        if self.ended:
            return
        self._end(code)
        status = _STATUS.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)
        if not self._route.is_stream:
            self._respond(status, _dumped({"error": text, "code": code, "message": text}))
            return
        self._begin_lines()
        if code:
            error = {"grpc_code": code, "http_code": int(status), "message": text, "http_status": status.phrase}
            self._responder.write(_dumped({"error": error}) + b"\n")
        self._responder.finish()

    def done_with(self, message: bytes) -> None:
        """All of the request was there before the call began."""

    # -- inside

    def _end(self, code: int) -> None:
        self.ended = True
        self.sink = None
        if self.codes is not None:
            self.codes[code] += 1

    def _begin_lines(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._responder.begin(HTTPStatus.OK, JSON, None)

    def _respond(self, status: HTTPStatus, body: bytes) -> None:
        self._responder.begin(status, JSON, len(body))
        self._responder.write(body)
        self._responder.finish()

    def _json(self, message: bytes) -> bytes:
        return _dumped(MessageToDict(self._route.answer.FromString(message), preserving_proto_field_name=True))


def _values(body: bytes, is_stream: bool) -> Iterator[object]:
    """Of JSON, one behind another; only the first where the method takes one. Raises ``BadRequest``."""
    try:
        text = body.decode().strip()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is no UTF-8: {error}") from error
    if not text:
        yield {}
        return
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        try:
            value, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadRequest(f"the body is no JSON: {error}") from error
        yield value
        if not is_stream:
            return
        while at < len(text) and text[at].isspace():
            at += 1


def _encoded(kind: type[Message], value: object) -> bytes:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise BadRequest(f"the body is no object of JSON, but a {type(value).__name__}")
    try:
        _check(cast(Descriptor, kind.DESCRIPTOR), value)
        return ParseDict(value, kind(), ignore_unknown_fields=True).SerializeToString()
    except (ParseError, ValueError, TypeError, RecursionError) as error:
        raise BadRequest(str(error)) from error


def _check(kind: Descriptor, values: Mapping[str, object]) -> None:
    """The library passes over what is no base64, and over names that an enumeration does not have."""
    for name, value in values.items():
        field = kind.fields_by_name.get(name) or kind.fields_by_camelcase_name.get(name)
        if field is None:
            continue
        for each in value if isinstance(value, list) else [value]:
            if field.message_type is not None and isinstance(each, dict):
                _check(field.message_type, each)
            elif field.type == field.TYPE_BYTES and isinstance(each, str) and not _BASE64.fullmatch(each):
                raise BadRequest(f"{name}: illegal base64 data: {each:.40}")
            elif (enum := field.enum_type) is not None and isinstance(each, str) and each not in enum.values_by_name:
                raise BadRequest(f'{name}: unknown value "{each:.40}" for enum {enum.full_name}')


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
