"""KV: Range, Put, DeleteRange, Txn, Compact.

What is wrong with a request by itself is found before it is proposed; a transaction that writes nothing is a read, and
never enters the log. What may make the store grow is held against the quota.
"""

from __future__ import annotations

from ratified.api.service import Service
from ratified.kv import commands, queries, requests
from ratified.wire.etcd.rpc_pb2 import CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest


async def range_(service: Service, request: RangeRequest, data: bytes) -> bytes:
    """Linearizable, or with ``serializable`` from this member's own state."""
    requests.check_range(request)
    return await service.query(queries.range_(data), linearizable=not request.serializable)


async def put(service: Service, request: PutRequest, data: bytes) -> bytes:
    requests.check_put(request)
    await service.check_quota()
    return await service.propose(commands.put(data))


async def delete_range(service: Service, request: DeleteRangeRequest, data: bytes) -> bytes:
    requests.check_delete_range(request)
    return await service.propose(commands.delete_range(data))


async def txn(service: Service, request: TxnRequest, data: bytes) -> bytes:
    requests.check_txn(request)
    if requests.is_read_only(request):
        return await service.query(queries.txn(data), linearizable=not requests.is_serializable(request))
    if requests.has_put(request):
        await service.check_quota()
    return await service.propose(commands.txn(data))


async def compact(service: Service, request: CompactionRequest, data: bytes) -> bytes:
    return await service.propose(commands.compact(data))
