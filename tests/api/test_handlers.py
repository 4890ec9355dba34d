"""Unary methods and keep-alive on a real host: headers, limits, errors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from ratified.api.methods import METHODS, MethodKind
from ratified.api.service import SIZE_AGE_S_MAX, Service
from ratified.kv import queries
from ratified.kv.errors import EtcdError
from ratified.kv.leases import LEASE_BYTES
from ratified.kv.store import KvStore
from ratified.runtime import Host, HostConfig
from ratified.testing.processes import free_ports
from ratified.wire.etcd import errors, rpc_pb2
from ratified.wire.etcd.errors import UNAVAILABLE
from tests.api.conftest import Act, Api

WithApi = Callable[[Act], None]

RANGE, PUT, TXN = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Txn"
GRANT, KEEP_ALIVE = "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Lease/LeaseKeepAlive"


async def put(api: Api, key: bytes, value: bytes) -> rpc_pb2.PutResponse:
    return rpc_pb2.PutResponse.FromString(
        await api.call(PUT, rpc_pb2.PutRequest(key=key, value=value).SerializeToString())
    )


def test_every_header_names_cluster_member_revision_and_term(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        host = api.service.host
        header = (await put(api, b"k", b"v")).header
        assert (header.cluster_id, header.member_id) == (host.cluster, host.member)
        assert header.revision == 2
        assert header.raft_term >= 1
        answer = await api.call(RANGE, rpc_pb2.RangeRequest(key=b"k").SerializeToString())
        assert rpc_pb2.RangeResponse.FromString(answer).header == header

    with_api(act)


def test_a_transaction_that_only_reads_does_not_enter_the_log(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        await put(api, b"k", b"v")
        last = api.service.host.status().node.groups[0].engine.last
        request = rpc_pb2.TxnRequest()
        request.success.add().request_range.key = b"k"
        answer = rpc_pb2.TxnResponse.FromString(await api.call(TXN, request.SerializeToString()))
        assert answer.responses[0].response_range.kvs[0].value == b"v"
        assert api.service.host.status().node.groups[0].engine.last == last

    with_api(act)


GARBAGE = b"\xff\xff\xff"
DECODED = [path for path, method in METHODS.items() if method.kind is MethodKind.UNARY and method.request is not None]


def test_garbage_gets_an_error_and_nothing_else(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        for path in DECODED:
            with pytest.raises(EtcdError, match="grpc: error unmarshalling request"):
                await api.call(path, GARBAGE)
        _, keeping = await send(api, KEEP_ALIVE, GARBAGE)
        with pytest.raises(EtcdError, match="grpc: error unmarshalling request"):
            await keeping
        await put(api, b"k", b"v")

    with_api(act)


def test_what_is_wrong_by_itself_never_enters_the_log(with_api: WithApi) -> None:
    """What each check finds is in ``tests/kv/test_errors.py``; here, that every handler makes its check."""
    twice = rpc_pb2.TxnRequest()
    for _ in range(2):
        twice.success.add().request_put.key = b"k"
    wrong: list[tuple[str, Message, errors.Error]] = [
        (RANGE, rpc_pb2.RangeRequest(), errors.EMPTY_KEY),
        (RANGE, rpc_pb2.RangeRequest(key=b"k", sort_order=7), errors.INVALID_SORT_OPTION),  # type: ignore[arg-type]
        (PUT, rpc_pb2.PutRequest(value=b"v"), errors.EMPTY_KEY),
        ("/etcdserverpb.KV/DeleteRange", rpc_pb2.DeleteRangeRequest(), errors.EMPTY_KEY),
        (TXN, twice, errors.DUPLICATE_KEY),
        (TXN, rpc_pb2.TxnRequest(success=[rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest())]), errors.EMPTY_KEY),
        (GRANT, rpc_pb2.LeaseGrantRequest(TTL=9_000_000_001), errors.LEASE_TTL_TOO_LARGE),
    ]

    async def act(api: Api) -> None:
        last = api.service.host.status().node.groups[0].engine.last
        for path, request, error in wrong:
            with pytest.raises(EtcdError) as caught:
                await api.call(path, request.SerializeToString())
            assert (caught.value.code, caught.value.text) == error
        assert api.service.host.status().node.groups[0].engine.last == last

    with_api(act)


def test_the_quota_refuses_what_makes_the_store_grow_and_nothing_else(with_api: WithApi) -> None:
    put_below = rpc_pb2.TxnRequest()
    put_below.failure.add().request_txn.success.add().request_put.key = b"k"
    delete_only = rpc_pb2.TxnRequest()
    delete_only.success.add().request_delete_range.key = b"k"

    async def act(api: Api) -> None:
        await api.call(GRANT, rpc_pb2.LeaseGrantRequest(TTL=60, ID=7).SerializeToString())
        await put(api, b"k", b"v")
        api.service.quota_bytes = 0
        async with asyncio.timeout(10):
            with pytest.raises(EtcdError, match="etcdserver: mvcc: database space exceeded"):
                await put_until_refused(api)
        grows: list[tuple[str, Message]] = [(TXN, put_below), (GRANT, rpc_pb2.LeaseGrantRequest(TTL=60))]
        for path, request in grows:
            with pytest.raises(EtcdError) as caught:
                await api.call(path, request.SerializeToString())
            assert (caught.value.code, caught.value.text) == errors.NO_SPACE
        shrinks: list[tuple[str, Message]] = [
            (TXN, delete_only),
            ("/etcdserverpb.KV/DeleteRange", rpc_pb2.DeleteRangeRequest(key=b"k")),
            ("/etcdserverpb.KV/Compact", rpc_pb2.CompactionRequest(revision=2)),
            ("/etcdserverpb.Lease/LeaseRevoke", rpc_pb2.LeaseRevokeRequest(ID=7)),
        ]
        for path, request in shrinks:
            await api.call(path, request.SerializeToString())

    with_api(act)


async def send(api: Api, path: str, *requests: bytes) -> tuple[asyncio.Queue[bytes], asyncio.Task[None]]:
    stream, task = api.open(path)
    for request in requests:
        await stream.requests.put(request)
    await stream.requests.put(None)
    return stream.answers, task


async def grant_until_refused(api: Api) -> None:
    while True:
        await api.call(GRANT, rpc_pb2.LeaseGrantRequest(TTL=60).SerializeToString())


async def put_until_refused(api: Api) -> None:
    """The size that the quota looks at is a moment old, so a few more may get through."""
    while True:
        await put(api, b"k", b"v")


def test_limits_are_refused_in_etcds_words(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        with pytest.raises(EtcdError, match="etcdserver: request is too large"):
            await put(api, b"k", b"v" * 10_000)
        with pytest.raises(EtcdError, match="etcdserver: key is not provided"):
            await put(api, b"", b"v")
        api.service.quota_bytes = 0
        await put(api, b"first", b"is measured before it is there")
        async with asyncio.timeout(10):
            with pytest.raises(EtcdError, match="etcdserver: mvcc: database space exceeded"):
                await put_until_refused(api)

    with_api(act)


def test_lease_ids_are_drawn_here_and_kept_alive_by_the_leader(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        granted = [
            rpc_pb2.LeaseGrantResponse.FromString(
                await api.call(GRANT, rpc_pb2.LeaseGrantRequest(TTL=1).SerializeToString())
            )
            for _ in range(3)
        ]
        assert len({lease.ID for lease in granted}) == 3
        assert all(lease.ID > 0 and lease.TTL == 2 for lease in granted)
        ask = rpc_pb2.LeaseKeepAliveRequest(ID=granted[0].ID).SerializeToString()
        gone = rpc_pb2.LeaseKeepAliveRequest(ID=1).SerializeToString()
        answers, task = await send(api, KEEP_ALIVE, ask, gone)
        await task
        kept = [rpc_pb2.LeaseKeepAliveResponse.FromString(answers.get_nowait()) for _ in range(2)]
        assert [(answer.ID, answer.TTL) for answer in kept] == [(granted[0].ID, 2), (1, 0)]
        assert all(answer.header.member_id for answer in kept)

    with_api(act)


def test_an_id_that_the_client_chose_twice_exists(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        request = rpc_pb2.LeaseGrantRequest(TTL=60, ID=7).SerializeToString()
        await api.call(GRANT, request)
        with pytest.raises(EtcdError, match="etcdserver: lease already exists") as caught:
            await api.call(GRANT, request)
        assert caught.value.code == 9

    with_api(act)


ALARM = "/etcdserverpb.Maintenance/Alarm"


async def alarms(api: Api, **asked: Any) -> list[tuple[int, int]]:
    """Members and kinds."""
    answer = await api.call(ALARM, rpc_pb2.AlarmRequest(**asked).SerializeToString())
    return [(each.memberID, each.alarm) for each in rpc_pb2.AlarmResponse.FromString(answer).alarms]


def test_a_full_member_raises_an_alarm_once_and_it_stands_until_it_is_taken_back(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        own = (api.service.host.member, rpc_pb2.NOSPACE)
        assert await alarms(api) == []
        api.service.quota_bytes = 0
        async with asyncio.timeout(10):
            with pytest.raises(EtcdError, match="etcdserver: mvcc: database space exceeded"):
                await put_until_refused(api)
            while await alarms(api) != [own]:
                await asyncio.sleep(0)
        last = api.service.host.status().node.groups[0].engine.last
        for _ in range(3):
            await asyncio.sleep(SIZE_AGE_S_MAX)
            with pytest.raises(EtcdError, match="etcdserver: mvcc: database space exceeded"):
                await put(api, b"k", b"v")
        assert api.service.host.status().node.groups[0].engine.last == last, "nothing more was proposed"
        api.service.quota_bytes = 1 << 30
        with pytest.raises(EtcdError, match="etcdserver: mvcc: database space exceeded"):
            await put(api, b"k", b"v")
        assert await alarms(api, action=rpc_pb2.AlarmRequest.DEACTIVATE, memberID=own[0], alarm=own[1]) == [own]
        await put(api, b"k", b"v")

    with_api(act)


def test_a_storm_of_grants_uses_up_the_quota(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        api.service.quota_bytes = 20 * LEASE_BYTES
        async with asyncio.timeout(20):
            with pytest.raises(EtcdError, match="etcdserver: mvcc: database space exceeded"):
                await grant_until_refused(api)
        while await alarms(api) != [(api.service.host.member, rpc_pb2.NOSPACE)]:
            await asyncio.sleep(0)

    with_api(act)


def test_an_alarm_is_raised_by_who_asks_and_none_that_is_unknown(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        for wrong in ({"action": 7}, {"alarm": 7}, {"action": rpc_pb2.AlarmRequest.ACTIVATE, "alarm": 3}):
            with pytest.raises(EtcdError) as caught:
                await alarms(api, **wrong)
            assert (caught.value.code, caught.value.text) == errors.UNKNOWN_ALARM
        assert await alarms(api, action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=5) == []
        assert await alarms(api, action=rpc_pb2.AlarmRequest.ACTIVATE, memberID=5, alarm=rpc_pb2.CORRUPT) == [(5, 2)]
        assert await alarms(api) == [(5, 2)]

    with_api(act)


def test_the_lead_goes_to_voters_only(with_api: WithApi) -> None:
    async def act(api: Api) -> None:
        path = "/etcdserverpb.Maintenance/MoveLeader"
        own = rpc_pb2.MoveLeaderRequest(targetID=api.service.host.member)
        rpc_pb2.MoveLeaderResponse.FromString(await api.call(path, own.SerializeToString()))
        with pytest.raises(EtcdError, match="bad leader transferee"):
            await api.call(path, rpc_pb2.MoveLeaderRequest(targetID=1).SerializeToString())

    with_api(act)


def test_reads_that_a_dying_host_leaves_open_end_as_server_stopped(tmp_path: Path) -> None:
    async def act() -> None:
        here, elsewhere = free_ports(2)
        cluster = {"a": f"127.0.0.1:{here}", "b": f"127.0.0.1:{elsewhere}"}
        host = await Host.start(
            HostConfig(data_dir=tmp_path, name="a", cluster=cluster), lambda group, space: KvStore(space)
        )
        service = Service(
            host, election_timeout_s=1, request_bytes_max=10_000, quota_bytes=1_000_000, lease_ttl_min_s=2
        )
        waiting = asyncio.ensure_future(service.query(queries.status()))
        while not host.status().open_requests:
            await asyncio.sleep(0)
        await host.abort()
        with pytest.raises(EtcdError) as error:
            await waiting
        assert (error.value.code, error.value.text) == (UNAVAILABLE, "etcdserver: server stopped")

    asyncio.run(act())


@pytest.mark.parametrize(("pairs", "in_parts"), [(1, False), (200, True)])
def test_a_large_answer_is_never_joined(with_api: WithApi, pairs: int, in_parts: bool) -> None:
    async def act(api: Api) -> None:
        api.service.quota_bytes = 1 << 30
        value = bytes(9000)
        for number in range(pairs):
            await put(api, b"%03d" % number, value)
        everything = rpc_pb2.RangeRequest(key=b"\x00", range_end=b"\x00").SerializeToString()
        caller = api.wait(RANGE, everything)
        response = rpc_pb2.RangeResponse.FromString(await caller.answer)
        assert [pair.key for pair in response.kvs] == [b"%03d" % number for number in range(pairs)]
        assert response.header.member_id == api.service.host.member
        assert caller.in_parts == in_parts

    with_api(act)
