"""gRPC's health service, as etcd has it: the server as a whole is served as long as it answers; of each of its services
nothing is known. Whether a member has a leader says ``/health``."""

from __future__ import annotations

import asyncio

from ratified.api.access import Access
from ratified.api.stream import BidiStream
from ratified.kv.errors import EtcdError
from ratified.kv.requests import decode
from ratified.wire.etcd import errors
from ratified.wire.etcd.health_pb2 import HealthCheckRequest, HealthCheckResponse

_WHOLE_SERVER = ""


async def check(access: Access, request: HealthCheckRequest, data: bytes) -> bytes:
    if request.service != _WHOLE_SERVER:
        raise EtcdError(*errors.UNKNOWN_SERVICE)
    return HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()


async def watch(access: Access, stream: BidiStream) -> None:
    """Say it once, for it never changes, and stay until the client goes."""
    message = await stream.receive()
    if message is None:
        return
    is_known = decode(HealthCheckRequest, message).service == _WHOLE_SERVER
    status = HealthCheckResponse.SERVING if is_known else HealthCheckResponse.SERVICE_UNKNOWN
    await stream.send(HealthCheckResponse(status=status).SerializeToString())
    await asyncio.get_running_loop().create_future()
