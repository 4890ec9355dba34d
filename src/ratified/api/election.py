"""The service Election: whoever holds the lease of the oldest key below a name leads, and the key's value is what it
proclaims."""

from __future__ import annotations

from contextlib import aclosing

from ratified.api.access import Access
from ratified.api.stream import BidiStream
from ratified.api.turns import (
    events,
    first_of,
    have_turn,
    is_as_made,
    lease_of,
    prefix_end,
    prefix_of,
    read,
    txn,
)
from ratified.kv import requests
from ratified.kv.errors import EtcdError
from ratified.wire.etcd import errors, kv_pb2, rpc_pb2
from ratified.wire.etcd.election_pb2 import (
    CampaignRequest,
    CampaignResponse,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ProclaimResponse,
    ResignRequest,
    ResignResponse,
)

NOT_LEADER = "election: not leader"
NO_LEADER = "election: no leader"
MISSING_LEADER_KEY = '"leader" field must be provided'


async def campaign(access: Access, request: CampaignRequest, data: bytes) -> bytes:
    """Wait until the client leads, with its value. Who waits no longer leaves nothing behind."""
    prefix = prefix_of(request.name)
    async with lease_of(access, request.lease) as lease:
        key = prefix + b"%x" % lease
        put = rpc_pb2.PutRequest(key=key, value=request.value, lease=lease)
        get = rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key))
        made = await txn(
            access,
            rpc_pb2.TxnRequest(
                compare=[is_as_made(key, 0)], success=[rpc_pb2.RequestOp(request_put=put)], failure=[get]
            ),
        )
        leader = LeaderKey(name=request.name, key=key, rev=made.header.revision, lease=lease)
        if not made.succeeded:
            (found,) = made.responses[0].response_range.kvs
            leader.rev = found.create_revision
            if found.value != request.value:
                await _proclaim(access, leader, request.value)
        await have_turn(access, prefix, key, leader.rev)
        return CampaignResponse(header=made.header, leader=leader).SerializeToString()


async def proclaim(access: Access, request: ProclaimRequest, data: bytes) -> bytes:
    """Give the leader's key another value."""
    _check(request)
    return ProclaimResponse(header=await _proclaim(access, request.leader, request.value)).SerializeToString()


async def leader(access: Access, request: LeaderRequest, data: bytes) -> bytes:
    found = await read(access, first_of(prefix_of(request.name)))
    if not found.kvs:
        raise EtcdError(errors.UNKNOWN, NO_LEADER)
    return LeaderResponse(header=found.header, kv=found.kvs[0]).SerializeToString()


async def resign(access: Access, request: ResignRequest, data: bytes) -> bytes:
    """Lead no more; nothing where somebody else does."""
    _check(request)
    gone = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=request.leader.key))
    compare = is_as_made(request.leader.key, request.leader.rev)
    done = await txn(access, rpc_pb2.TxnRequest(compare=[compare], success=[gone]))
    return ResignResponse(header=done.header).SerializeToString()


async def observe(access: Access, stream: BidiStream) -> None:
    """Tell each leader, and each value that one proclaims."""
    data = await stream.receive()
    if data is None:
        return
    prefix = prefix_of(requests.decode(LeaderRequest, data).name)
    while True:
        found = await read(access, first_of(prefix))
        revision = found.header.revision
        led = found.kvs[0] if found.kvs else await _first_put(access, prefix, revision + 1)
        if led is None:
            continue
        header = found.header
        header.revision = max(revision, led.mod_revision)
        await stream.send(LeaderResponse(header=header, kv=led).SerializeToString())
        async with aclosing(events(access, led.key, header.revision + 1)) as following:
            async for event in following:
                if event.type == kv_pb2.Event.DELETE:
                    break
                header.revision = event.kv.mod_revision
                await stream.send(LeaderResponse(header=header, kv=event.kv).SerializeToString())


async def _first_put(access: Access, prefix: bytes, revision: int) -> kv_pb2.KeyValue | None:
    """Who leads first from this revision on; None: nobody can say any more."""
    async with aclosing(events(access, prefix, revision, prefix_end(prefix))) as following:
        async for event in following:
            if event.type == kv_pb2.Event.PUT:
                return event.kv
    return None


async def _proclaim(access: Access, leader: LeaderKey, value: bytes) -> rpc_pb2.ResponseHeader:
    put = rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=leader.key, value=value, lease=leader.lease))
    compare = is_as_made(leader.key, leader.rev)
    done = await txn(access, rpc_pb2.TxnRequest(compare=[compare], success=[put]))
    if not done.succeeded:
        raise EtcdError(errors.UNKNOWN, NOT_LEADER)
    return done.header


def _check(request: ProclaimRequest | ResignRequest) -> None:
    if not request.HasField("leader"):
        raise EtcdError(errors.UNKNOWN, MISSING_LEADER_KEY)
