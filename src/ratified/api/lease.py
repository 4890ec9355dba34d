"""Lease: Grant, Revoke, KeepAlive, TimeToLive, Leases.

A lease's id is chosen here where the client leaves it open: what is applied must be the same everywhere, so nothing is
drawn while applying. Keep-alive and time-to-live are questions to the leader, who alone knows when a lease ends.
"""

from __future__ import annotations

import os

from ratified.api.access import Access
from ratified.api.stream import BidiStream
from ratified.api.submission import Submission
from ratified.kv import commands, queries, requests
from ratified.kv.errors import EtcdError
from ratified.runtime import Work
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
)


async def grant(access: Access, request: LeaseGrantRequest, data: bytes) -> bytes:
    requests.check_lease_grant(request)
    await access.service.check_quota()
    while True:
        try:
            return await access.propose(commands.lease_grant(request, _draw_id(), access.service.lease_ttl_min_s))
        except EtcdError as error:
            if request.ID or error.text != errors.LEASE_EXISTS.text:
                raise


def _draw_id() -> int:
    """A positive int64. Two members may draw at the same time, so there is nothing to count from."""
    return int.from_bytes(os.urandom(8)) >> 1 or 1


def revoke(request: LeaseRevokeRequest, data: bytes) -> Submission:
    """End a lease and delete its keys."""
    return Submission(Work.PROPOSE, commands.lease_revoke(data))


async def keep_alive(access: Access, stream: BidiStream) -> None:
    """Renew leases, one after another, as the client asks; a TTL of 0 answers that a lease is gone."""
    while (data := await stream.receive()) is not None:
        requests.decode(LeaseKeepAliveRequest, data)
        await stream.send(await access.ask(queries.keep_alive(data)))


def time_to_live(request: LeaseTimeToLiveRequest, data: bytes) -> Submission:
    return Submission(Work.ASK, queries.time_to_live(data))


def leases(request: LeaseLeasesRequest, data: bytes) -> Submission:
    return Submission(Work.READ, queries.leases())
