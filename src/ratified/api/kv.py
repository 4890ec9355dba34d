"""KV: Range, Put, DeleteRange, Txn, Compact.

What is wrong with a request by itself is found before it is proposed (``kv.commands``); a transaction that writes
nothing is a read, and never enters the log.
"""

from __future__ import annotations

from ratified.api.service import Service
from ratified.kv import commands, queries
from ratified.wire.etcd import rpc_pb2


async def range_(service: Service, request: bytes) -> bytes:
    """Linearizable, or with ``serializable`` from this member's own state."""
    serializable = commands.parse(rpc_pb2.RangeRequest, request).serializable
    return await service.query(queries.range_(request), linearizable=not serializable)


async def put(service: Service, request: bytes) -> bytes:
    """Write one key."""
    return await service.propose(commands.put(service.limited(request)))


async def delete_range(service: Service, request: bytes) -> bytes:
    """Delete a range."""
    return await service.propose(commands.delete_range(service.limited(request)))


async def txn(service: Service, request: bytes) -> bytes:
    """Compare and do, at one revision."""
    message = commands.parse(rpc_pb2.TxnRequest, service.limited(request))
    if commands.txn_is_read_only(message):
        serializable = commands.txn_is_serializable(message)
        return await service.query(queries.txn(request), linearizable=not serializable)
    return await service.propose(commands.txn(request))


async def compact(service: Service, request: bytes) -> bytes:
    """Forget old revisions."""
    return await service.propose(commands.compact(request))
