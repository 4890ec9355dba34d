"""``hasleader``: refused without a leader, and a stream is ended once there has been none for long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from ratified.api.leader import LeaderWatch
from ratified.api.service import Service
from ratified.consensus.engines import ENGINES
from ratified.kv.errors import EtcdError
from ratified.kv.store import KvStore
from ratified.node.node import Node
from ratified.runtime import Host, HostConfig
from ratified.testing.processes import free_ports
from ratified.wire.etcd import rpc_pb2
from ratified.wire.etcd.errors import UNAVAILABLE
from tests.api.conftest import Api


async def host_of(tmp_path: Path, members: int) -> Host:
    """The first member of a cluster whose others do not run."""
    ports = free_ports(members)
    return await Host.start(
        HostConfig(
            data_dir=tmp_path,
            name="0",
            cluster={str(number): f"127.0.0.1:{port}" for number, port in enumerate(ports)},
            heartbeat_us=5_000,
            election_timeout_us=25_000,
        ),
        lambda group, space: KvStore(space),
    )


async def until_led(leader: LeaderWatch) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                leader.check()
                return
            except EtcdError:
                await asyncio.sleep(0.005)


async def serve_forever() -> None:
    await asyncio.Event().wait()


def test_a_member_that_is_cut_off_refuses_and_ends_streams(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), await host_of(tmp_path, members=3) as host:
            leader = LeaderWatch(host, election_timeout_s=0.01)
            with pytest.raises(EtcdError, match=r"^etcdserver: no leader$"):
                leader.check()
            with pytest.raises(EtcdError, match=r"^etcdserver: no leader$") as caught:
                await leader.run(serve_forever())
            assert caught.value.code == UNAVAILABLE

    asyncio.run(run())


class WithoutLeader:
    """A host that knows of no leader, as ``LeaderWatch`` sees it."""

    def __init__(self) -> None:
        self.looks = 0

    def leader(self) -> None:
        self.looks += 1


def test_every_stream_has_three_election_time_outs_though_earlier_ones_were_ended() -> None:
    async def run() -> None:
        host = WithoutLeader()
        leader = LeaderWatch(cast(Host, host), election_timeout_s=0.001)
        for streams in range(1, 4):
            with pytest.raises(EtcdError, match=r"^etcdserver: no leader$"):
                await leader.run(serve_forever())
            assert host.looks == 3 * streams

    asyncio.run(run())


def test_with_a_leader_a_stream_lives_until_it_ends_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), await host_of(tmp_path, members=1) as host:
            leader = LeaderWatch(host, election_timeout_s=0.002)
            await until_led(leader)
            await leader.run(asyncio.sleep(0.05))
            serving = asyncio.ensure_future(leader.run(serve_forever()))
            await asyncio.sleep(0.02)
            serving.cancel()
            await asyncio.wait((serving,))
            assert serving.cancelled()

    asyncio.run(run())


def test_a_handlers_error_is_the_streams(tmp_path: Path) -> None:
    async def failing() -> None:
        raise EtcdError(5, "etcdserver: requested lease not found")

    async def run() -> None:
        async with asyncio.timeout(20), await host_of(tmp_path, members=1) as host:
            leader = LeaderWatch(host, election_timeout_s=0.01)
            with pytest.raises(EtcdError, match="lease not found"):
                await leader.run(failing())

    asyncio.run(run())


def test_without_a_majority_every_request_ends_at_its_time_out_in_etcds_words(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), await host_of(tmp_path, members=3) as host:
            service = Service(
                host, election_timeout_s=0.025, request_bytes_max=1000, quota_bytes=1000, lease_ttl_min_s=1
            )
            assert service.timeout_s == pytest.approx(5.05)
            service.timeout_s = 0.1
            put = rpc_pb2.PutRequest(key=b"k", value=b"v").SerializeToString()
            for path, request in (
                ("/etcdserverpb.KV/Put", put),
                ("/etcdserverpb.KV/Range", rpc_pb2.RangeRequest(key=b"k").SerializeToString()),
                ("/etcdserverpb.Lease/LeaseTimeToLive", rpc_pb2.LeaseTimeToLiveRequest(ID=1).SerializeToString()),
            ):
                with pytest.raises(EtcdError) as caught:
                    await Api(service).call(path, request)
                assert caught.value.code == UNAVAILABLE
                assert caught.value.text in ("etcdserver: no leader", "etcdserver: request timed out")
            serializable = rpc_pb2.RangeRequest(key=b"k", serializable=True).SerializeToString()
            answer = rpc_pb2.RangeResponse.FromString(await Api(service).call("/etcdserverpb.KV/Range", serializable))
            assert answer.header.revision == 1
            status = rpc_pb2.StatusResponse.FromString(await Api(service).call("/etcdserverpb.Maintenance/Status"))
            assert list(status.errors) == ["etcdserver: no leader"]

    asyncio.run(run())


@pytest.mark.parametrize("engine", ENGINES)
def test_leader_and_term_are_the_engines_and_no_request_builds_a_status(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        config = HostConfig(data_dir=tmp_path, engine=ENGINES[engine], heartbeat_us=5_000, election_timeout_us=25_000)
        async with asyncio.timeout(20), await Host.start(config, lambda group, space: KvStore(space)) as host:
            fresh = host.status().node.groups[0].engine
            assert (host.leader(), host.raft_term()) == (fresh.leader, fresh.raft_term)
            service = Service(
                host, election_timeout_s=0.025, request_bytes_max=1000, quota_bytes=1000, lease_ttl_min_s=1
            )
            await until_led(service.leader)
            led = host.status().node.groups[0].engine
            assert (host.leader(), host.raft_term()) == (led.leader, led.raft_term) == (host.member, led.era[0])
            monkeypatch.setattr(Node, "status", lambda node: pytest.fail("a request has built the node's status"))
            service.leader.check()
            for path, request in (
                ("/etcdserverpb.KV/Put", rpc_pb2.PutRequest(key=b"k", value=b"v")),
                ("/etcdserverpb.KV/Range", rpc_pb2.RangeRequest(key=b"k")),
            ):
                answer = await Api(service).call(path, request.SerializeToString())
                assert rpc_pb2.PutResponse.FromString(answer).header.raft_term == host.raft_term()
            monkeypatch.undo()

    asyncio.run(run())
