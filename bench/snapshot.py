"""A follower is down for many writes, and catches up by a snapshot while clients write.

Run ``python bench/snapshot.py [writes] [callers] [seconds]``. Three members, real processes. Some times over the
follower is killed, and so many puts are written that the logs are cut beyond it; then clients write for some seconds
without it, while it comes back, and with it. Prints the puts a second in each, and how long it took to have everything.
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
COMPACT_EVERY = 50_000
CUTS = ("--checkpoint-log-bytes=16777216", "--snapshot-count=50000", "--snapshot-catchup-entries=1000")


async def write(endpoints: list[str], callers: int, over: Callable[[int], bool]) -> float:
    """Puts a second by so many callers at once, until ``over`` says so of the number of puts."""
    done = 0

    async def call(client: AsyncClient, caller: int) -> None:
        nonlocal done
        while not over(done):
            done += 1
            compacts = done % COMPACT_EVERY == 0
            put = await client.put(f"key{done % 50_000:06}", f"{caller} {done} {VALUE}")
            if compacts:
                await client.compact(put.revision)

    began = time.monotonic()
    async with AsyncClient(endpoints, timeout_s=30) as client:
        await asyncio.gather(*(call(client, caller) for caller in range(callers)))
    return done / (time.monotonic() - began)


def for_seconds(seconds: float) -> Callable[[int], bool]:
    end = time.monotonic() + seconds
    return lambda done: time.monotonic() > end


def applied(client: Client, node: LocalNode) -> int:
    return client.report(node.endpoint).applied


async def come_back(away: LocalNode, here: list[LocalNode], callers: int) -> tuple[float, float]:
    """Puts a second until it has caught up, and how long that took."""
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
    rate = await write([node.endpoint for node in here], callers, lambda done: bool(caught_up))
    await watching
    return rate, caught_up[0]


def main(writes: int = WRITES, callers: int = CALLERS, seconds: float = SECONDS) -> None:
    with scratch_directory("ratified-bench-") as directory, LocalCluster(directory, arguments=CUTS) as cluster:
        with Client(cluster.endpoints) as client:
            led = client.report(cluster.nodes[0].endpoint)
        away = next(node for node in cluster.nodes if node.name != led.leader)
        here = [node for node in cluster.nodes if node is not away]
        endpoints = [node.endpoint for node in here]
        ratios: list[tuple[float, float]] = []
        for number in range(1, ROUNDS + 1):
            away.kill()
            asyncio.run(write(endpoints, callers, lambda done: done >= writes))
            alone = asyncio.run(write(endpoints, callers, for_seconds(seconds)))
            beside, took = asyncio.run(come_back(away, here, callers))
            after = asyncio.run(write(endpoints, callers, for_seconds(seconds)))
            snapshots = away.log_file.read_text().count("goes on from the snapshot")
            print(
                f"{alone:.0f} puts a second without it, {beside:.0f} while it comes back, which takes {took:.1f} s, "
                f"{after:.0f} with it ({snapshots} of {number} by a snapshot)",
                flush=True,
            )
            ratios.append((beside / alone, beside / after))
        with Client(endpoints) as client:
            leads = client.report(here[0].endpoint)
        changes = "has not changed" if leads.term == led.term else "HAS CHANGED"
        of_alone, of_after = map(statistics.median, zip(*ratios, strict=True))
        print(
            f"while it comes back {of_alone:.2f} of the puts without it, and {of_after:.2f} of those with it "
            f"(medians of {ROUNDS}); the leader {changes}"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), *map(float, sys.argv[3:]))
