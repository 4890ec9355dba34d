"""Real hosts whose data directories are lost or copied, and strangers at their peers' port."""

from __future__ import annotations

import asyncio
import shutil
import socket
from pathlib import Path

import msgspec
import pytest

from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.runtime import Host
from ratified.runtime.address import parse_address
from ratified.storage import identity
from ratified.storage.files import Directory
from ratified.wire.codec import PeerCodec
from ratified.wire.peer import PROTOCOL_VERSION, Hello
from tests.runtime.cluster import Cluster, Journal, running
from tests.runtime.loops import run, until


def said(caplog: pytest.LogCaptureFixture, text: str) -> bool:
    return any(text in record.getMessage() for record in caplog.records)


async def strangers(cluster: Cluster, target: str, claimed: str) -> None:
    """Six processes reach the target and claim to be this member, in the last start that there can be."""
    host = cluster.hosts[target]
    held = identity.read(Directory(cluster.directory / claimed))
    assert held is not None
    address = parse_address(cluster.cluster[target])
    version = PROTOCOL_VERSION
    for start in range(6):
        hello = Hello(
            held.cluster,
            held.member,
            held.directory,
            2**64 - 1,
            start,
            (),
            held.engine,
            version,
            version,
            claimed,
            (),
            True,
        )
        known = host.status().peers.connections
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(PeerCodec(ENGINES[DEFAULT_ENGINE].message).encode(hello))
        await until(lambda known=known: host.status().peers.connections > known)  # type: ignore[misc]
        assert await reader.read(1), "it is answered like anybody else"
        writer.close()


async def answers_everywhere(cluster: Cluster) -> None:
    for host in cluster.hosts.values():
        await host.propose(host.name.encode())


def test_a_wiped_host_is_refused_and_the_others_serve_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await answers_everywhere(cluster)
            await cluster.hosts.pop("b").close()
            shutil.rmtree(tmp_path / "b")
            for _ in range(2):
                wiped = await cluster.start("b")
                await until(
                    lambda: said(caplog, "comes with another data directory than the one that the cluster counts")
                )
                await until(lambda: said(caplog, "b: member a"))
                assert wiped.leader() is None
                assert wiped.status().node.waits_for
                await cluster.hosts.pop("b").close()
                caplog.clear()
            await answers_everywhere(cluster)

    run(main())


def test_a_copy_of_a_directory_beside_its_original_is_refused_and_the_original_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await answers_everywhere(cluster)
            name = min(cluster.cluster, key=lambda each: cluster.cluster[each])  # who dials both others
            shutil.copytree(tmp_path / name, tmp_path / "copy", ignore=shutil.ignore_patterns("lock"))
            elsewhere = socket.create_server(("127.0.0.1", 0))
            config = cluster.config(name)
            for listener in config.listen or ():
                assert isinstance(listener, socket.socket)
                listener.close()
            config = msgspec.structs.replace(config, data_dir=tmp_path / "copy", listen=[elsewhere])
            copy = await Host.start(config, Journal)
            try:
                await until(lambda: said(caplog, f"another process answers at the address of member {name}"))
                for _ in range(5):
                    await answers_everywhere(cluster)
            finally:
                await copy.abort()

    run(main())


def test_forged_claims_of_the_last_incarnation_delay_at_most(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await answers_everywhere(cluster)
            for target in "abc":
                for claimed in "abc".replace(target, ""):
                    await strangers(cluster, target, claimed)
            await answers_everywhere(cluster)
            await cluster.hosts.pop("c").close()
            for target in "ab":
                await strangers(cluster, target, "c")
            await cluster.start("c")
            await answers_everywhere(cluster)

    run(main())


def test_idle_connections_take_no_members_place(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as cluster:
            await answers_everywhere(cluster)
            await cluster.hosts.pop("c").close()
            held = [
                await asyncio.open_connection(*parse_address(cluster.cluster[target])[:2])
                for target in "ab"
                for _ in range(128)
            ]
            await cluster.start("c")
            await answers_everywhere(cluster)
            for _, writer in held:
                writer.close()

    run(main())
