"""Keys below one name, each of its own lease, in the order in which they were made: whose turn it is, and waiting.

What the services Lock and Election have in common. The key is ``NAME/LEASE``, the lease in hexadecimal, as etcd's
clients make theirs: both may wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from ratified.api import lease as leases
from ratified.api.access import Access
from ratified.kv import commands, queries, requests
from ratified.kv.errors import EtcdError
from ratified.runtime import Outcome, Reply
from ratified.wire.etcd import kv_pb2, rpc_pb2

OWN_LEASE_TTL_S = 60
"""Of the lease that is made for who brings none; it is renewed while its owner waits, and then ends by itself."""
OWN_LEASE_RENEWED_EVERY_S = 20
_NO_STREAM = 0
"""No client's watch has this number."""


def prefix_of(name: bytes) -> bytes:
    return name + b"/"


def prefix_end(prefix: bytes) -> bytes:
    """Behind all that begins so; the prefix ends with ``/``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def first_of(prefix: bytes) -> rpc_pb2.RangeRequest:
    """Asks for the oldest key below the prefix: its owner has the turn."""
    return rpc_pb2.RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        sort_target=rpc_pb2.RangeRequest.CREATE,
        sort_order=rpc_pb2.RangeRequest.ASCEND,
        limit=1,
    )


def is_as_made(key: bytes, revision: int) -> rpc_pb2.Compare:
    """Was it made at this revision, and not again since? 0: it is not there."""
    return rpc_pb2.Compare(
        key=key, target=rpc_pb2.Compare.CREATE, result=rpc_pb2.Compare.EQUAL, create_revision=revision
    )


@asynccontextmanager
async def lease_of(access: Access, lease: int) -> AsyncIterator[int]:
    """The client's own, or one that is made for it and renewed for as long as this lasts."""
    if lease:
        yield lease
        return
    request = rpc_pb2.LeaseGrantRequest(TTL=OWN_LEASE_TTL_S)
    made = rpc_pb2.LeaseGrantResponse.FromString(await leases.grant(access, request, request.SerializeToString())).ID
    renewing = asyncio.ensure_future(_renew(access, made))
    try:
        yield made
    finally:
        renewing.cancel()


async def _renew(access: Access, lease: int) -> None:
    request = queries.keep_alive(rpc_pb2.LeaseKeepAliveRequest(ID=lease).SerializeToString())
    while True:
        await asyncio.sleep(OWN_LEASE_RENEWED_EVERY_S)
        try:
            await access.ask(request)
        except EtcdError:
            continue  # without a leader no lease ends


async def txn(access: Access, request: rpc_pb2.TxnRequest) -> rpc_pb2.TxnResponse:
    requests.check_txn(request)
    data = request.SerializeToString()
    access.service.check_size(data)
    await access.service.check_quota()
    return rpc_pb2.TxnResponse.FromString(await access.propose(commands.txn(data)))


async def read(access: Access, request: rpc_pb2.RangeRequest) -> rpc_pb2.RangeResponse:
    return rpc_pb2.RangeResponse.FromString(await access.query(queries.range_(request.SerializeToString())))


async def delete(access: Access, key: bytes) -> rpc_pb2.DeleteRangeResponse:
    request = rpc_pb2.DeleteRangeRequest(key=key)
    requests.check_delete_range(request)
    data = request.SerializeToString()
    access.service.check_size(data)
    return rpc_pb2.DeleteRangeResponse.FromString(await access.propose(commands.delete_range(data)))


async def have_turn(access: Access, prefix: bytes, key: bytes, revision: int) -> None:
    """Wait until all keys are gone that were made before this one, which was at this revision.

    The key goes with who waits no longer; where no majority can be reached, with its lease.
    """
    try:
        await _earlier_are_gone(access, prefix, revision)
    except (EtcdError, asyncio.CancelledError):
        access.service.later(delete(access, key))
        raise


async def _earlier_are_gone(access: Access, prefix: bytes, revision: int) -> None:
    last = first_of(prefix)
    last.sort_order = rpc_pb2.RangeRequest.DESCEND
    last.max_create_revision = revision - 1
    while True:
        found = await read(access, last)
        if not found.kvs:
            return
        async with aclosing(events(access, found.kvs[0].key, found.header.revision + 1)) as following:
            async for event in following:
                if event.type == kv_pb2.Event.DELETE:
                    break


async def events(
    access: Access, key: bytes, revision: int, range_end: bytes = b""
) -> AsyncGenerator[kv_pb2.Event, None]:
    """What happens to these keys from a revision on; to be closed. It ends where that was compacted meanwhile."""
    arrived: asyncio.Queue[Reply] = asyncio.Queue()
    request = rpc_pb2.WatchCreateRequest(key=key, range_end=range_end, start_revision=revision)
    query = queries.watch(_NO_STREAM, request.SerializeToString())
    token = access.begin_stream(query, arrived.put_nowait)
    try:
        while True:
            reply = await arrived.get()
            message = access.service.part(reply, b"")
            response = rpc_pb2.WatchResponse.FromString(message)
            for event in response.events:
                yield event
            if response.canceled or reply.outcome is Outcome.DONE:
                return
    finally:
        access.service.host.cancel(token)
