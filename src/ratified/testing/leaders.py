"""Leaders fail under load: real processes, concurrent clients, signals, and what must hold afterwards.

While clients write and read, the leader is killed and started again, or paused for so long that another one is elected;
then

- every acknowledged write is in the history of revisions, as each node tells it;
- the clients' history is linearizable, key by key (``check.linearizability``);
- it is measured how long no write went through after each fault.

Clients and faults draw from one seed.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ratified.client import AsyncClient, ClientError
from ratified.testing.clients import KEYS, PREFIX, Recording, run_client
from ratified.testing.faults import ProcessFault
from ratified.testing.processes import LocalCluster, LocalNode

BETWEEN_FAULTS_S = (0.2, 1.0)
"""How long to let the clients run between the end of a fault and the next one: at least, at most."""
LEADER_TIMEOUT_S = 30.0
READ_BACK_TIMEOUT_S = 60.0
REPORT_TIMEOUT_S = 1.0
REVISION_OF_NOTHING = 1
"""The revision of a store that nobody has written to."""

Say: TypeAlias = Callable[[str], None]


class Injected(msgspec.Struct, frozen=True):
    """One fault: on whom, when after the start, and how long no write was acknowledged afterwards (seconds)."""

    node: str
    at_s: float
    without_write_s: float


class FaultRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. ``verdict`` is of the history check."""

    seed: int
    seconds: float
    fault: str
    faults: tuple[Injected, ...]
    acknowledged_writes: int
    reads: int
    unknown: int
    keys: int
    lost: tuple[str, ...]
    verdict: str

    @property
    def correct(self) -> bool:
        """Nothing lost, and linearizable."""
        return not self.lost and self.verdict == "linearizable"


async def fail_leaders(
    cluster: LocalCluster, fault: ProcessFault, *, seed: int, times: int, clients: int, say: Say = lambda line: None
) -> FaultRun:
    """Run the load, inflict the fault on the leader so many times, and check. All nodes run before and afterwards."""
    loop = asyncio.get_running_loop()
    recording, stop, began_s = Recording(), asyncio.Event(), loop.time()
    load = [
        asyncio.ensure_future(run_client(cluster.endpoints, seed, number, recording, stop)) for number in range(clients)
    ]
    say(f"{clients} clients write and read {KEYS} keys on {len(cluster.nodes)} nodes (seed {seed})")
    try:
        moments = await _inject(cluster, fault, random.Random(f"faults {seed}"), times, recording, say)
    finally:
        stop.set()
        await asyncio.gather(*load)
    moments.append(("", loop.time()))
    done = tuple(
        Injected(name, at_s - began_s, recording.longest_gap_s(at_s, next_s))
        for (name, at_s), (_, next_s) in itertools.pairwise(moments)
    )
    say(f"{len(recording.written)} writes were acknowledged; reading the history of revisions from every node")
    lost = await missing(cluster, recording)
    say("checking the clients' history")
    return FaultRun(
        seed=seed,
        seconds=loop.time() - began_s,
        fault=fault.name,
        faults=done,
        acknowledged_writes=len(recording.written),
        reads=recording.reads,
        unknown=recording.unknown,
        keys=len(recording.by_key),
        lost=lost,
        verdict=recording.verdict(),
    )


async def _inject(
    cluster: LocalCluster, fault: ProcessFault, draw: random.Random, times: int, recording: Recording, say: Say
) -> list[tuple[str, float]]:
    """Whom, and when by the loop's clock."""
    loop = asyncio.get_running_loop()
    moments: list[tuple[str, float]] = []
    for number in range(1, times + 1):
        await asyncio.sleep(draw.uniform(*BETWEEN_FAULTS_S))
        leader = await find_leader(cluster)
        words = await _own_words(leader)
        moments.append((leader.name, loop.time()))
        say(f"{number} of {times}: {fault.name} to the leader, {', '.join([leader.name, *words])}")
        await fault.inflict(leader, draw)
        gap_s = recording.longest_gap_s(moments[-1][1], loop.time())
        say(f"  {leader.name} is back; no write went through for {gap_s:.2f} s")
    return moments


async def _own_words(node: LocalNode) -> list[str]:
    """Where the node stands, in its protocol's own words; nothing where it does not answer."""
    async with AsyncClient([node.endpoint], timeout_s=REPORT_TIMEOUT_S) as client:
        try:
            return (await client.report(node.endpoint)).own_words
        except ClientError:
            return []


async def find_leader(cluster: LocalCluster, timeout_s: float = LEADER_TIMEOUT_S) -> LocalNode:
    """The node that a majority holds for the leader. Raises ``TimeoutError``."""
    async with asyncio.timeout(timeout_s), AsyncClient(cluster.endpoints, timeout_s=REPORT_TIMEOUT_S) as client:
        while True:
            votes: dict[tuple[int, str], int] = {}
            for node in cluster.nodes:
                try:
                    report = await client.report(node.endpoint)
                except ClientError:
                    continue
                if report.leader:
                    votes[report.term, report.leader] = votes.get((report.term, report.leader), 0) + 1
            for (_, name), count in votes.items():
                if 2 * count > len(cluster.nodes):
                    return next(node for node in cluster.nodes if node.name == name)
            await asyncio.sleep(0.02)


async def missing(cluster: LocalCluster, recording: Recording) -> tuple[str, ...]:
    """The acknowledged writes that some node's history of revisions does not hold."""
    missing: list[str] = []
    for node in cluster.nodes:
        told = await read_back(node)
        missing.extend(
            f"{node.name}: revision {written.revision} should have set {written.key} to {written.value!r},"
            f" but there is {told.get(written.revision)}"
            for written in recording.written
            if told.get(written.revision) != (written.key, written.value)
        )
    return tuple(missing)


async def read_back(node: LocalNode) -> dict[int, tuple[str, bytes | None]]:
    """Every change by its revision, as this node's watch of all keys tells it from the beginning to the newest one."""
    told: dict[int, tuple[str, bytes | None]] = {}
    async with asyncio.timeout(READ_BACK_TIMEOUT_S), AsyncClient([node.endpoint]) as client:
        newest = (await client.range(PREFIX, prefix=True, limit=1)).revision
        async with client.watch("", prefix=True, revision=1) as events:
            while newest > REVISION_OF_NOTHING and newest not in told:
                event = await anext(events)
                told[event.revision] = (event.pair.key.decode(), None if event.kind == "delete" else event.pair.value)
    return told
