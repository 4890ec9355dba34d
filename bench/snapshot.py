"""A follower is down for many writes, and catches up by a snapshot while clients write.

Run ``python bench/snapshot.py [writes] [callers] [seconds]``. Three members, real processes. Some times over the
follower is killed, and so many puts are written that the logs are cut beyond it; then clients write for some seconds
without it, and while it comes back. Prints the puts a second in both, and how long it took to have everything.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Callable

from ratified.client import Client
from ratified.client.aio import AsyncClient
from ratified.testing.processes import LocalCluster, LocalNode, scratch_directory

WRITES = 200_000
CALLERS = 64
SECONDS = 10.0
ROUNDS = 3
VALUE = "v" * 256
CUTS = ("--checkpoint-log-bytes=16777216", "--snapshot-count=5000", "--snapshot-catchup-entries=1000")


async def write(endpoints: list[str], callers: int, over: Callable[[int], bool]) -> float:
    """Puts a second by so many callers at once, until ``over`` says so of the number of puts."""
    done = 0

    async def call(client: AsyncClient, caller: int) -> None:
        nonlocal done
        while not over(done):
            done += 1
            await client.put(f"key{done % 50_000:06}", f"{caller} {done} {VALUE}")

    began = time.monotonic()
    async with AsyncClient(endpoints, timeout_s=30) as client:
        await asyncio.gather(*(call(client, caller) for caller in range(callers)))
    return done / (time.monotonic() - began)


def for_seconds(seconds: float) -> Callable[[int], bool]:
    end = time.monotonic() + seconds
    return lambda done: time.monotonic() > end


def applied(client: Client, node: LocalNode) -> int:
    return client.report(node.endpoint).applied


async def come_back(away: LocalNode, here: list[LocalNode], callers: int, seconds: float) -> tuple[float, float]:
    """Puts a second while it catches up, and how long that took."""
    began = time.monotonic()
    away.start()
    caught_up: list[float] = []

    def watch() -> None:
        with Client([away.endpoint, here[0].endpoint], timeout_s=60) as client:
            away.wait_ready(timeout_s=300)
            while applied(client, away) + 1000 < applied(client, here[0]):
                time.sleep(0.05)
        caught_up.append(time.monotonic() - began)

    watching = asyncio.create_task(asyncio.to_thread(watch))
    end = began + seconds
    rate = await write(
        [node.endpoint for node in here], callers, lambda done: time.monotonic() > end and bool(caught_up)
    )
    await watching
    return rate, caught_up[0]


def main(writes: int = WRITES, callers: int = CALLERS, seconds: float = SECONDS) -> None:
    with scratch_directory("ratified-bench-") as directory, LocalCluster(directory, arguments=CUTS) as cluster:
        with Client(cluster.endpoints) as client:
            leader = client.report(cluster.nodes[0].endpoint).leader
        away = next(node for node in cluster.nodes if node.name != leader)
        here = [node for node in cluster.nodes if node is not away]
        endpoints = [node.endpoint for node in here]
        ratios: list[float] = []
        for number in range(1, ROUNDS + 1):
            away.kill()
            asyncio.run(write(endpoints, callers, lambda done: done >= writes))
            alone = asyncio.run(write(endpoints, callers, for_seconds(seconds)))
            beside, took = asyncio.run(come_back(away, here, callers, seconds))
            snapshots = away.log_file.read_text().count("goes on from the snapshot")
            print(
                f"{alone:.0f} puts a second without it, {beside:.0f} while it comes back, which takes {took:.1f} s "
                f"({snapshots} of {number} by a snapshot)",
                flush=True,
            )
            ratios.append(beside / alone)
        print(f"beside a snapshot {statistics.median(ratios):.2f} of the puts (median of {ROUNDS})")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *map(float, sys.argv[3:]))
