"""What clients see of a leader's death, by what reads rest on: a quorum's round, a clock lease, a lease in the log.

    python bench/leader_death.py [--engine raft] [--deaths 10] [--lease-ms 300] [--json]

Three members, real processes. Writers and readers ask the two that stay, of 10,000 keys drawn alike; the third one,
which leads, is killed, and started again afterwards. Prints medians over the deaths: the longest time around one in
which no write was acknowledged, and that in which no read was answered; and, of the reads that were asked between the
end of the latter and that of the former, the share that was answered before the former ended.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ratified.client import Client, ClientError
from ratified.client.aio import AsyncClient
from ratified.consensus.draws import mix
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.testing.processes import LocalCluster, LocalNode, scratch_directory

KEYS = 10_000
WRITERS = 8
READS_A_SECOND = 200
"""Asked whether earlier ones were answered or not."""
BEFORE_S = 1.0
AFTER_S = 1.5
SETTLES_S = 3.0
SHORTLY_S = 0.1
LAST_S = 0.02
"""What was asked less than this before the first write has had no time to be answered before it."""


class Read(NamedTuple):
    asked: float
    answered: float | None


class Death(NamedTuple):
    no_write_s: float
    no_read_s: float
    served: int
    asked: int


class Load:
    """Writers and readers at the members that stay, for one death."""

    def __init__(self, endpoints: Sequence[str], seed: int) -> None:
        self._endpoints = endpoints
        self._seed = seed
        self._keys = 0
        self._ends_at = 0.0
        self.writes: list[float] = []
        """When each was acknowledged."""
        self.reads: list[Read] = []

    async def run(self, seconds: float) -> None:
        self._ends_at = time.monotonic() + seconds
        clients = [AsyncClient([endpoint], timeout_s=10) for endpoint in self._endpoints]
        writers = [self._write(clients[number % len(clients)]) for number in range(WRITERS)]
        await asyncio.gather(*writers, self._ask_again_and_again(clients))
        for client in clients:
            await client.close()

    def _key(self) -> str:
        self._keys += 1
        return f"key{mix(self._seed, self._keys) % KEYS:05}"

    async def _write(self, client: AsyncClient) -> None:
        while time.monotonic() < self._ends_at:
            try:
                await client.put(self._key(), "v" * 100)
            except ClientError:
                continue
            self.writes.append(time.monotonic())

    async def _ask_again_and_again(self, clients: Sequence[AsyncClient]) -> None:
        asked: list[asyncio.Task[None]] = []
        while time.monotonic() < self._ends_at:
            asked.append(asyncio.create_task(self._read(clients[len(asked) % len(clients)])))
            await asyncio.sleep(1 / READS_A_SECOND)
        await asyncio.gather(*asked)

    async def _read(self, client: AsyncClient) -> None:
        asked = time.monotonic()
        try:
            await client.get(self._key())
        except ClientError:
            self.reads.append(Read(asked, None))
        else:
            self.reads.append(Read(asked, time.monotonic()))


def seen(load: Load, died: float) -> Death:
    no_write, wrote = longest_gap(load.writes, died)
    no_read, first = longest_gap([read.answered for read in load.reads if read.answered is not None], died)
    asked = [read for read in load.reads if first <= read.asked < wrote - LAST_S]
    served = [read for read in asked if read.answered is not None and read.answered < wrote]
    return Death(no_write, no_read, len(served), len(asked))


def longest_gap(events: Sequence[float], around: float) -> tuple[float, float]:
    """Between two events that come one after the other, from shortly before that time on: how long, and its end."""
    times = sorted(event for event in events if event > around - SHORTLY_S)
    return max((end - begin, end) for begin, end in pairwise(times))


async def die(leader: LocalNode, load: Load) -> float:
    """When it died."""
    loading = asyncio.create_task(load.run(BEFORE_S + AFTER_S))
    await asyncio.sleep(BEFORE_S)
    died = time.monotonic()
    await asyncio.to_thread(leader.kill)
    await loading
    return died


def leader_of(cluster: LocalCluster) -> LocalNode:
    with Client(cluster.endpoints, timeout_s=30) as client:
        client.put("leads", "somebody")
        name = client.report(cluster.endpoints[0]).leader
    return next(node for node in cluster.nodes if node.name == name)


def measure(directory: Path, engine: str, deaths: int, arguments: Sequence[str]) -> list[Death]:
    found: list[Death] = []
    with LocalCluster(directory, arguments=(f"--engine={engine}", *arguments)) as cluster:
        for seed in range(deaths):
            leader = leader_of(cluster)
            load = Load([node.endpoint for node in cluster.nodes if node is not leader], seed)
            died = asyncio.run(die(leader, load))
            found.append(seen(load, died))
            leader.start()
            leader.wait_ready()
            time.sleep(SETTLES_S)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    parser.add_argument("--deaths", type=int, default=10)
    parser.add_argument("--lease-ms", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args()
    lease = f"--read-lease={wanted.lease_ms}"
    for name, arguments in (
        ("a round", ()),
        ("a clock lease", (lease,)),
        ("a lease in the log", (lease, "--read-lease-kind=log")),
    ):
        with scratch_directory("ratified-bench-") as directory:
            deaths = measure(directory, wanted.engine, wanted.deaths, arguments)
        asked, served = sum(death.asked for death in deaths), sum(death.served for death in deaths)
        row = {
            "engine": wanted.engine,
            "reads by": name,
            "deaths": len(deaths),
            "no_write_s": round(statistics.median(death.no_write_s for death in deaths), 3),
            "no_read_s": round(statistics.median(death.no_read_s for death in deaths), 3),
            "asked_while_writes_wait": asked,
            "served": served,
        }
        share = f"{100 * served / asked:.1f}% of {asked}" if asked else "none were asked"
        gaps = f"no write for {row['no_write_s']} s, no read for {row['no_read_s']} s"
        print(
            json.dumps(row)
            if wanted.json
            else f"{wanted.engine}, reads by {name}: {gaps}; reads while writes waited: {share}",
            flush=True,
        )


if __name__ == "__main__":
    main()
