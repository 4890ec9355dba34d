"""Real processes, on each engine: a cluster of an earlier version is upgraded member by member, and one goes back."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from ratified.client import Client
from ratified.consensus.engines import ENGINES
from ratified.testing.clients import Recording, run_client
from ratified.testing.leaders import missing
from ratified.testing.processes import LocalCluster, LocalNode

REPOSITORY = Path(__file__).parents[2]
EARLIER = "1945213^"
"""The last commit whose members speak version 5 to each other, and the first ones that this program's understand."""
CLIENTS = 4
WRITES_BETWEEN = 50
"""So many go through before the next member is stopped."""
WRITTEN_WITHIN_S = 30


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the earlier version."""
    found = subprocess.run(
        ["git", "-C", str(REPOSITORY), "archive", EARLIER, "src"], capture_output=True, check=False, timeout=60
    )
    if found.returncode != 0:
        pytest.skip(f"this copy of the repository does not go back to {EARLIER}: {found.stderr.decode().strip()}")
    path = tmp_path_factory.mktemp("earlier")
    subprocess.run(["tar", "-x", "-C", str(path)], input=found.stdout, check=True, timeout=60)
    return path / "src"


def restart(node: LocalNode, source: Path | None) -> None:
    """Stop this member in order, and start it with these sources; None: with the present ones, and with a way back."""
    node.terminate()
    node.wait_stopped()
    node.environment = {"RATIFIED_PUTS_TOGETHER": "false"} if source is None else {"PYTHONPATH": str(source)}
    node.start()
    node.wait_ready()


def says_its_engine(cluster: LocalCluster) -> list[bool]:
    """By node: is it of the present version? The earlier one's report has no such field."""
    with Client(cluster.endpoints) as client:
        return [client.report(node.endpoint).engine != "" for node in cluster.nodes]


@pytest.mark.parametrize("engine", ENGINES)
def test_members_are_upgraded_one_by_one_while_clients_write_and_one_goes_back(
    engine: str, earlier: Path, tmp_path: Path, seed: int
) -> None:
    recording, lost = asyncio.run(rolling(engine, earlier, tmp_path, seed))
    assert lost == ()
    assert recording.verdict() == "linearizable"
    assert len(recording.written) > 100, "the clients hardly wrote: this run shows nothing"


async def rolling(engine: str, earlier: Path, directory: Path, seed: int) -> tuple[Recording, tuple[str, ...]]:
    cluster = LocalCluster(directory, arguments=[f"--engine={engine}"])
    for node in cluster.nodes:
        node.environment = {"PYTHONPATH": str(earlier)}
    with cluster:
        recording, stop = Recording(), asyncio.Event()
        load = [
            asyncio.ensure_future(run_client(cluster.endpoints, seed, number, recording, stop))
            for number in range(CLIENTS)
        ]
        try:
            assert await asyncio.to_thread(says_its_engine, cluster) == [False] * len(cluster.nodes)
            for node, source in [*((node, None) for node in cluster.nodes), (cluster.nodes[0], earlier)]:
                before = len(recording.written)
                await asyncio.to_thread(restart, node, source)
                async with asyncio.timeout(WRITTEN_WITHIN_S):
                    while len(recording.written) < before + WRITES_BETWEEN:
                        await asyncio.sleep(0.01)
            assert await asyncio.to_thread(says_its_engine, cluster) == [False, True, True]
        finally:
            stop.set()
            await asyncio.gather(*load)
        lost = await missing(cluster, recording)
    return recording, lost
