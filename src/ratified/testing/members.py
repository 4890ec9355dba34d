"""Members come and go under load: real processes, concurrent clients, and what must hold afterwards.

One member becomes three, then five; each of the five is replaced by a new one; the leader is removed, and one more, so
that three are left. Meanwhile clients write and read. Then what ``leaders`` checks must hold, and it is known how long
no write went through.

Clients draw from a seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from ratified.client import AsyncClient, CallRefused
from ratified.testing.clients import Recording, run_client
from ratified.testing.leaders import Say, find_leader, missing
from ratified.testing.processes import LocalCluster, LocalNode, free_ports, joining_node

FIRST = 1
GROWN = 5
LEFT = 3
STEP_TIMEOUT_S = 60.0
RETRY_S = 0.05
T = TypeVar("T")


class Step(msgspec.Struct, frozen=True):
    """What was done, how long it took, and the longest time without an acknowledged write meanwhile (seconds)."""

    what: str
    took_s: float
    without_write_s: float


class MembersRun(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. ``verdict`` is of the history check."""

    seed: int
    steps: tuple[Step, ...]
    acknowledged_writes: int
    reads: int
    unknown: int
    lost: tuple[str, ...]
    verdict: str

    @property
    def without_write_s(self) -> float:
        return max(step.without_write_s for step in self.steps)


async def change_members(
    directory: Path, arguments: Sequence[str], *, seed: int, clients: int, say: Say = lambda line: None
) -> MembersRun:
    """Run the load, change the members as said above, and check. Call it on the main thread."""
    with LocalCluster(directory, nodes=FIRST, arguments=arguments) as cluster:
        recording, stop = Recording(), asyncio.Event()
        changing = _Changing(cluster, arguments, recording, say)
        load = [
            asyncio.ensure_future(run_client(changing.endpoints, seed, number, recording, stop))
            for number in range(clients)
        ]
        try:
            await changing.run()
        finally:
            stop.set()
            await asyncio.gather(*load)
        lost = await missing(cluster, recording)
    return MembersRun(
        seed=seed,
        steps=tuple(changing.steps),
        acknowledged_writes=len(recording.written),
        reads=recording.reads,
        unknown=recording.unknown,
        lost=lost,
        verdict=recording.verdict(),
    )


class _Changing:
    """The cluster, and what is done with it."""

    def __init__(self, cluster: LocalCluster, arguments: Sequence[str], recording: Recording, say: Say) -> None:
        self.steps: list[Step] = []
        self._cluster = cluster
        self._arguments = arguments
        self._recording = recording
        self._say = say
        ports = free_ports(2 * (2 * GROWN - FIRST))
        self._ports = list(zip(ports[::2], ports[1::2], strict=True))
        """Of those that join, in their order: for clients, for peers."""
        self.endpoints = [*cluster.endpoints, *(f"127.0.0.1:{client_port}" for client_port, _ in self._ports)]
        """Of all that there will ever be."""

    async def run(self) -> None:
        for size in range(FIRST + 1, GROWN + 1):
            await self._step(f"a member joins, {size} now", self._add)
        for node in list(self._cluster.nodes):
            await self._step(f"{node.name} is replaced: another one joins", self._add)
            await self._step(f"{node.name} is replaced: it is removed", partial(self._remove, node))
        leader = await find_leader(self._cluster)
        await self._step(f"{leader.name}, which leads, is removed", partial(self._remove, leader))
        while len(self._cluster.nodes) > LEFT:
            node = self._cluster.nodes[0]
            await self._step(f"{node.name} is removed", partial(self._remove, node))

    async def _step(self, what: str, do: Callable[[], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        async with asyncio.timeout(STEP_TIMEOUT_S):
            await do()
        ended_s = loop.time()
        self.steps.append(Step(what, ended_s - began_s, self._recording.longest_gap_s(began_s, ended_s)))
        self._say(f"{what}: {ended_s - began_s:.2f} s, no write for {self.steps[-1].without_write_s:.2f} s")

    async def _add(self) -> None:
        """Returns when the new one votes and serves."""
        client_port, peer_port = self._ports.pop(0)
        url = f"http://127.0.0.1:{peer_port}"
        async with AsyncClient(self._cluster.endpoints) as client:
            added = await _until_taken(lambda: client.add_member([url]))
            members = await client.members()
        known = [f"{member.name}={member.peer_urls[0]}" for member in members if member.name]
        data_dir = self._cluster.directory / f"node{2 * GROWN - len(self._ports)}"
        node = joining_node(data_dir, url, client_port, known, self._arguments)
        self._cluster.nodes.append(node)
        node.start()
        await asyncio.to_thread(node.wait_ready)
        async with AsyncClient([node.endpoint]) as client:
            while any(member.is_learner for member in await client.members() if member.id == added.id):
                await asyncio.sleep(RETRY_S)

    async def _remove(self, node: LocalNode) -> None:
        """Returns when its process has ended by itself."""
        others = [each.endpoint for each in self._cluster.nodes if each is not node]
        async with AsyncClient(others) as client:
            (member,) = [member.id for member in await client.members() if member.name == node.name]
            await _until_taken(lambda: client.remove_member(member))
        await asyncio.to_thread(node.wait_stopped, STEP_TIMEOUT_S)
        self._cluster.nodes.remove(node)


async def _until_taken(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until it is not refused: a change may be under way, or who has joined not yet be connected with all."""
    while True:
        try:
            return await ask()
        except CallRefused:
            await asyncio.sleep(RETRY_S)
