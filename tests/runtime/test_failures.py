"""What goes wrong in or around a running host, and how far it reaches."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from ratified import Host, HostFailed, OutcomeUnknown, RequestRefused
from ratified.machine import StateMachineStore, Store
from ratified.runtime import Reason, host
from ratified.storage.files import Directory
from ratified.storage.space import Space
from tests.runtime.cluster import Cluster, Journal, alone, running
from tests.runtime.loops import run, until


def notices(records: Sequence[logging.LogRecord], words: str) -> list[str]:
    return [each.getMessage() for each in records if words in each.getMessage()]


# ---------------------------------------------------------------------------------------------------------------
# A user's code that raises


class Picky(Journal):
    """Cannot apply one command, and cannot answer one request."""

    def apply(self, command: bytes) -> bytes:
        if command == b"poison":
            raise ValueError("cannot digest this")
        return super().apply(command)

    def query(self, request: bytes) -> bytes:
        if request == b"poison":
            raise KeyError("nothing like it")
        return super().query(request)


def test_an_exception_in_apply_stops_that_group_where_it_is_met_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def open_store(group: int, space: Space) -> Store:
        return StateMachineStore(Picky() if group == 1 else Journal())

    async def main() -> None:
        async with running(tmp_path, open_store, groups=2) as cluster:
            await cluster.hosts["a"].propose(b"fine", group=1)
            with pytest.raises((RequestRefused, OutcomeUnknown)):
                await cluster.hosts["a"].propose(b"poison", group=1, timeout_s=2)
            # The leader meets it when it commits it, the next leader when it does. So does the third, where two disks
            # were faster than a leader's own: that leader tells of the commit before it applies.
            await until(lambda: len(stops()) >= 2)
            for host in cluster.hosts.values():
                if host.name in {notice.split(":")[0] for notice in stops()}:
                    with pytest.raises(RequestRefused, match="stopped") as refusal:
                        await host.propose(b"more", group=1)
                    assert refusal.value.reason is Reason.GROUP_STOPPED
                await host.propose(host.name.encode(), group=0)
            assert sorted((await cluster.hosts["b"].query(b"", group=0)).split(b"\n")) == [b"a", b"b", b"c"]

    def stops() -> list[str]:
        return notices(caplog.records, "cannot digest this")

    with caplog.at_level(logging.WARNING, "ratified"):
        run(main())
    for notice in stops():
        assert "group 1" in notice
        assert "entry with index 3" in notice
        assert "ValueError" in notice


def test_an_exception_in_a_query_is_told_to_who_asked_and_stops_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with await Host.start(alone(tmp_path), Picky) as host:
            await host.propose(b"fine")
            with pytest.raises(RequestRefused, match="nothing like it"):
                await host.query(b"poison")
            assert await host.query(b"") == b"fine"

    run(main())


# ---------------------------------------------------------------------------------------------------------------
# A disk that fails


def test_a_failing_sync_ends_the_host_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        host = await Host.start(alone(tmp_path), Journal)
        await host.propose(b"durable")

        def fail(self: Directory, file: str) -> None:
            raise OSError(5, os.strerror(5))

        with monkeypatch.context() as broken:
            broken.setattr(Directory, "sync_data", fail)
            with pytest.raises((OutcomeUnknown, RequestRefused)):
                await host.propose(b"not durable")
            with pytest.raises(HostFailed, match="Input/output error"):
                await host.ended()
            await host.close()
        async with await Host.start(alone(tmp_path), Journal) as again:
            assert (await again.query(b"")).startswith(b"durable")

    run(main())


# ---------------------------------------------------------------------------------------------------------------
# A defect


class Broken(StateMachineStore):
    """A store with a defect: it raises what no store may raise."""

    def read(self, now: int, request: bytes) -> bytes:
        raise RuntimeError("a defect")


def test_an_exception_out_of_a_turn_ends_the_host_and_says_so(tmp_path: Path) -> None:
    async def main() -> None:
        reported: list[object] = []
        host = await Host.start(alone(tmp_path), lambda group, space: Broken(Journal()))
        await host.propose(b"one")
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
        with pytest.raises(OutcomeUnknown):
            await host.query(b"", linearizable=False)
        with pytest.raises(HostFailed, match="RuntimeError: a defect"):
            await host.ended()
        await host.close()
        assert [str(each) for each in reported] == ["a defect"]
        async with await Host.start(alone(tmp_path), lambda group, space: StateMachineStore(Journal())) as again:
            assert await again.query(b"") == b"one"

    run(main())


# ---------------------------------------------------------------------------------------------------------------
# Peers that are none


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"RfPr" + struct.pack("<HHII", 1, 0, 2 << 30, 0)])
def test_garbage_on_the_peer_port_ends_its_connection_and_nothing_else(
    tmp_path: Path, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await cluster.leader()
            for address in cluster.cluster.values():
                host, _, port = address.partition(":")
                with socket.create_connection((host, int(port))) as stranger:
                    stranger.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_sendall(stranger, garbage)
                    while await loop.sock_recv(stranger, 4096):  # the hello comes first
                        pass
            for running_host in cluster.hosts.values():
                await running_host.propose(b"served")
                assert running_host.status().peers.bad_frames == 1

    with caplog.at_level(logging.WARNING, "ratified.peers"):
        run(main())
    assert len([each for each in caplog.records if each.name == "ratified.peers"]) == 3


def test_a_peer_of_another_cluster_is_refused_on_both_sides_with_the_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        cluster = Cluster(tmp_path, names="ab")
        try:
            for name, token in (("a", "one"), ("b", "another")):
                cluster.hosts[name] = await Host.start(cluster.config(name, token), Journal)
            await until(lambda: len(notices(caplog.records, "is not cluster")) >= 2)
            with pytest.raises(RequestRefused) as refusal:
                await cluster.hosts["a"].propose(b"one", timeout_s=0.2)
            assert refusal.value.reason is Reason.NO_LEADER
        finally:
            await cluster.close()

    with caplog.at_level(logging.WARNING, "ratified"):
        run(main())
    said = notices(caplog.records, "is not cluster")
    assert all("check --initial-cluster and its token" in each for each in said)
    assert {each.split(":")[0] for each in said} == {"a", "b"}


def test_a_disk_that_does_not_say_how_full_it_is_is_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def statvfs(path: Path) -> os.statvfs_result:
        nonlocal asked
        asked += 1
        if asked in (2, 3):
            raise OSError(5, "Input/output error")
        return os.statvfs_result((4096, 4096, *[0 if asked > 3 else 1 << 30] * 6, 0, 255))

    async def main() -> None:
        async with await Host.start(alone(tmp_path), Journal):
            await until(lambda: bool(notices(caplog.records, "has less than")))
        assert len(notices(caplog.records, "cannot tell how much room is left")) == 2

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr(host, "SPACE_EVERY_S", 0.01)
    run(main())
