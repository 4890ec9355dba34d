"""A host runs any engine of the table; its cluster and its data directory stay with the one that it began with."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from ratified.consensus.engines import ENGINES
from ratified.runtime import Host, StartRefused
from tests.runtime.cluster import Cluster, Journal, alone, running
from tests.runtime.loops import run, until

PAIRS = [(engine, other) for engine in ENGINES for other in ENGINES if engine != other]


@pytest.mark.parametrize("engine", ENGINES)
def test_three_hosts_agree_on_every_engine_also_after_their_leader_has_gone(tmp_path: Path, engine: str) -> None:
    async def main() -> None:
        async with running(tmp_path, engine=engine) as cluster:
            for name in cluster.hosts:
                await cluster.hosts[name].propose(name.encode())
            leader = await cluster.leader()
            await cluster.hosts.pop(leader).close()
            survivor = next(iter(cluster.hosts.values()))
            assert await survivor.propose(b"more") == b"4"
            back = await cluster.start(leader)
            assert (await back.query(b"")).split() == [b"a", b"b", b"c", b"more"]

    run(main())


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_acknowledged_is_there_after_a_restart_on_every_engine(tmp_path: Path, engine: str) -> None:
    async def main() -> None:
        config = msgspec.structs.replace(alone(tmp_path), engine=ENGINES[engine])
        for number in range(1, 4):
            host = await Host.start(config, Journal)
            assert await host.propose(b"line") == b"%d" % number
            assert host.status().node.groups[0].engine.words
            await host.close()

    run(main())


@pytest.mark.parametrize(("engine", "other"), PAIRS)
def test_a_directory_of_another_engine_is_refused_and_goes_on_with_its_own(
    tmp_path: Path, engine: str, other: str
) -> None:
    async def main() -> None:
        config = msgspec.structs.replace(alone(tmp_path), engine=ENGINES[engine])
        host = await Host.start(config, Journal)
        await host.propose(b"line")
        await host.close()
        with pytest.raises(StartRefused) as refused:
            await Host.start(msgspec.structs.replace(config, engine=ENGINES[other]), Journal)
        assert f"{tmp_path}: the data directory belongs to a cluster that runs engine {engine}, " in str(refused.value)
        assert f"configured for engine {other}" in str(refused.value)
        host = await Host.start(config, Journal)
        assert await host.query(b"") == b"line"
        await host.close()

    run(main())


@pytest.mark.parametrize(("engine", "other"), PAIRS)
def test_a_member_of_another_engine_is_refused_and_both_say_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, engine: str, other: str
) -> None:
    async def main() -> None:
        cluster = Cluster(tmp_path, engine=engine)
        try:
            await cluster.start("a", absent="c")
            await cluster.start("b", absent="c")
            await cluster.leader()
            cluster.engine = other
            await cluster.start("c")
            await until(
                lambda: said(f"engine {other} is not engine {engine}") and said(f"{engine} is not engine {other}")
            )
            assert await cluster.hosts["a"].propose(b"line") == b"1"
            assert cluster.hosts["c"].leader() is None
        finally:
            await cluster.close()

    def said(text: str) -> bool:
        return any(text in record.getMessage() for record in caplog.records)

    with caplog.at_level(logging.INFO):
        run(main())
