"""The service Lock: whoever holds the lease of the oldest key below a name holds the lock."""

from __future__ import annotations

from ratified.api.access import Access
from ratified.api.turns import (
    delete,
    first_of,
    have_turn,
    is_as_made,
    lease_of,
    prefix_of,
    read,
    txn,
)
from ratified.kv.errors import EtcdError
from ratified.wire.etcd import errors, rpc_pb2
from ratified.wire.etcd.lock_pb2 import LockRequest, LockResponse, UnlockRequest, UnlockResponse

EXPIRED = "mutex: session is expired"


async def lock(access: Access, request: LockRequest, data: bytes) -> bytes:
    """Wait for the lock; its key is what unlocks it. Who waits no longer leaves nothing behind."""
    prefix = prefix_of(request.name)
    async with lease_of(access, request.lease) as lease:
        key = prefix + b"%x" % lease
        put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, lease=lease))
        get = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))
        first = rpc_pb2.RequestOp(request_range=first_of(prefix))
        made = await txn(
            access, rpc_pb2.TxnRequest(compare=[is_as_made(key, 0)], success=[put, first], failure=[get, first])
        )
        revision = made.header.revision
        if not made.succeeded:
            revision = made.responses[0].response_range.kvs[0].create_revision
        (owner,) = made.responses[1].response_range.kvs
        if owner.create_revision == revision:
            return LockResponse(header=made.header, key=key).SerializeToString()
        await have_turn(access, prefix, key, revision)
        held = await read(access, rpc_pb2.RangeRequest(key=key))
        if not held.kvs:
            raise EtcdError(errors.UNKNOWN, EXPIRED)
        return LockResponse(header=held.header, key=key).SerializeToString()


async def unlock(access: Access, request: UnlockRequest, data: bytes) -> bytes:
    deleted = await delete(access, request.key)
    return UnlockResponse(header=deleted.header).SerializeToString()
