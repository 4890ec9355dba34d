"""grpcio as the listener: every row of the table becomes a generic handler that passes bytes through.

grpcio costs most of a request's time (a bare handler takes 250 to 350 microseconds). Nothing outside this file
knows it, so a faster transport can stand in its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from typing_extensions import override

from ratified.api.leader import METADATA
from ratified.api.methods import Method, MethodKind
from ratified.api.service import Service
from ratified.api.stream import BidiStream
from ratified.kv.errors import EtcdError
from ratified.runtime.address import Address, bind
from ratified.server.urls import Url

log = logging.getLogger("ratified.server")

OVERHEAD_BYTES_MAX = 512 << 10
"""What a message may be larger than the largest request, so that the API and not the transport refuses it."""

PENDING_CALLS_MAX = 100_000
"""How many calls may wait in gRPC for the loop to take them; it ends more of them as CANCELLED, which says nothing. So
this is more than a node takes: what is too much is refused by the node, with etcd's text. gRPC's own default begins at
1,000, which a healthy cluster met."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class ListenError(Exception):
    """An address that cannot be listened on; one line."""


class NotBegun(Exception):
    """gRPC did not take an operation on a stream: a defect of ours. (grpcio ends no call by an error of its own.)"""


class GrpcListener:
    """The client API on one or more addresses, with at most ``connections_max`` connections on each."""

    def __init__(self, methods: Mapping[str, Method], service: Service, connections_max: int) -> None:
        self._server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 0),
                # Of each address; one connection too many is closed at once.
                ("grpc.max_allowed_incoming_connections", connections_max),
                # From the first number on gRPC ends some of them, from the second all.
                ("grpc.server.max_pending_requests", PENDING_CALLS_MAX),
                ("grpc.server.max_pending_requests_hard_limit", PENDING_CALLS_MAX),
                ("grpc.max_receive_message_length", service.request_bytes_max + OVERHEAD_BYTES_MAX),
                ("grpc.max_send_message_length", -1),
                # etcd's clients ping as often as every few seconds; gRPC's default answers that with a GOAWAY.
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        self._server.add_generic_rpc_handlers((_Table(methods, service),))

    def listen(self, url: Url) -> None:
        """Bind one address; raises ``ListenError``."""
        sockets_count(url)
        try:
            self._server.add_insecure_port(url.address)
        except RuntimeError as error:
            raise ListenError(f"cannot listen for clients on {url}: {error}") from error

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those that are open may end within ``grace_s``."""
        await self._server.stop(grace_s)


def sockets_count(url: Url) -> int:
    """How many sockets listen for this URL, which must be free; raises ``ListenError``.

    gRPC is content with some of a name's addresses and says little; so each is tried first.
    """
    try:
        bound = bind(Address(url.host, url.port))
    except OSError as error:
        raise ListenError(
            f"cannot listen for clients on {url}: {error.strerror or error}: stop what uses this address,"
            " or give another one with --listen-client-urls"
        ) from error
    for each in bound:
        each.close()
    return len(bound)


class _Table(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio has no types
    """gRPC's look-up of a method path; what is not in the table is UNIMPLEMENTED."""

    def __init__(self, methods: Mapping[str, Method], service: Service) -> None:
        self._handlers = {path: _handler(method, service) for path, method in methods.items()}
        self._with_leader = {path: _handler(_checking_leader(method), service) for path, method in methods.items()}

    def service(self, handler_call_details: Any) -> Any:
        """The handler of a path, or None."""
        wants_leader = METADATA in (handler_call_details.invocation_metadata or ())
        return (self._with_leader if wants_leader else self._handlers).get(handler_call_details.method)


def _checking_leader(method: Method) -> Method:
    """The same method, for calls that want a leader."""

    async def unary(service: Service, request: bytes) -> bytes:
        service.leader.check()
        answer: bytes = await method.handler(service, request)
        return answer

    async def stream(service: Service, messages: GrpcStream) -> None:
        service.leader.check()
        await service.leader.run(method.handler(service, messages))

    return method._replace(handler=unary if method.kind is MethodKind.UNARY else stream)


def _handler(method: Method, service: Service) -> Any:
    if method.kind is MethodKind.UNARY:
        return grpc.unary_unary_rpc_method_handler(_unary(method.handler, service))
    return grpc.stream_stream_rpc_method_handler(_streaming(method.handler, service))


def _unary(
    handler: Callable[[Service, bytes], Awaitable[bytes]], service: Service
) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def call(request: bytes, context: Any) -> bytes:
        try:
            return await handler(service, request)
        except EtcdError as error:
            await context.abort(_CODES[error.code], error.text)
            raise

    return call


def _streaming(
    handler: Callable[[Service, GrpcStream], Awaitable[None]], service: Service
) -> Callable[[Any, Any], Awaitable[None]]:
    async def call(_: Any, context: Any) -> None:
        try:
            await handler(service, GrpcStream(context))
        except EtcdError as error:
            await context.abort(_CODES[error.code], error.text)
        except grpc.aio.InternalError as error:
            if not _says_that_the_client_left(error):
                raise NotBegun(str(error)) from error
            log.debug("a client left its stream: %s", error)

    return call


def _says_that_the_client_left(error: grpc.aio.InternalError) -> bool:
    """Whether an operation on a stream was begun and then failed, which it does where the call is over.

    One that gRPC did not even begin, such as a second message while one is being sent, is a defect of ours. grpcio
    tells the two apart by nothing but the text.
    """
    return not str(error).startswith("Failed grpc_call_start_batch")


class GrpcStream(BidiStream):
    """A streaming call's messages. Many tasks may send; grpcio takes one message at a time."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._sending = asyncio.Lock()

    @override
    async def receive(self) -> bytes | None:
        message = await self._context.read()
        return None if message is grpc.aio.EOF else message

    @override
    async def send(self, message: bytes) -> None:
        async with self._sending:
            await self._context.write(message)
