"""Faults of leaders under load: real processes, concurrent clients, signals, and what must hold afterwards.

For ``ratified demo`` and the fault tests. While clients write and read, the leader is killed and started again, or
paused for so long that another one is elected; then

- every acknowledged write is in the history of revisions, as each node tells it;
- the clients' history is linearizable, key by key (``check.linearizability``);
- it is measured how long no write went through after each fault.

Clients and faults draw from one seed. The moments at which things happen are the machine's, so a run cannot be
repeated; its verdict can be trusted all the same, since it is taken from what clients saw.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeAlias

import msgspec

from ratified.check.linearizability import Linearizable, NotLinearizable, Operation, linearize
from ratified.check.register import Call, Delete, Get, Held, Put, Register, Result, Swap
from ratified.cli.local import LocalCluster, LocalNode
from ratified.cli.table import own_words
from ratified.client import AsyncClient, ClientError, Do, KeyValue, OutcomeUnknown, Range, compare_version

KEYS = 48
PREFIX = "kills/"
CALM_S = (0.2, 1.0)
"""How long to let the clients run between the end of a fault and the next one: at least, at most."""
DOWN_S = (0.0, 0.5)
"""How long a killed node stays down."""
PAUSED_S = (2.2, 4.0)
"""How long a paused node stands still: with the default time-outs longer than an election takes."""
LEADER_TIMEOUT_S = 30.0
READ_BACK_TIMEOUT_S = 60.0
REPORT_TIMEOUT_S = 1.0
REVISION_OF_NOTHING = 1
"""The revision of a store that nobody has written to."""

Say: TypeAlias = Callable[[str], None]


class LostWrites(Exception):
    """Acknowledged writes are missing: says which."""


class Fault(NamedTuple):
    """What is done to a leader: a name for people, and the whole of it, until the node serves again."""

    name: str
    inflict: Callable[[LocalNode, random.Random], Awaitable[None]]


async def _kill(leader: LocalNode, draw: random.Random) -> None:
    leader.kill()
    await asyncio.sleep(draw.uniform(*DOWN_S))
    leader.start()
    await asyncio.to_thread(leader.wait_ready)


async def _pause(leader: LocalNode, draw: random.Random) -> None:
    leader.pause()
    try:
        await asyncio.sleep(draw.uniform(*PAUSED_S))
    finally:
        leader.go_on()


KILL = Fault("SIGKILL", _kill)
PAUSE = Fault("SIGSTOP", _pause)


class Blow(msgspec.Struct, frozen=True):
    """One fault: on whom, when after the start, and how long no write was acknowledged afterwards (seconds)."""

    node: str
    at_s: float
    without_write_s: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run showed. ``verdict`` is of the history check."""

    seed: int
    seconds: float
    fault: str
    blows: tuple[Blow, ...]
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


class Written(msgspec.Struct, frozen=True):
    """An acknowledged write: what it left under its key (None: a deletion)."""

    revision: int
    key: str
    value: bytes | None


class History:
    """What the clients saw."""

    def __init__(self) -> None:
        self.by_key: dict[str, list[Operation[Call, Result]]] = {}
        self.written: list[Written] = []
        self.acknowledged_at_s: list[float] = []
        self.reads = 0
        self.unknown = 0
        self._position = 0

    def position(self) -> int:
        """The next position in the one order of what happened."""
        self._position += 1
        return self._position

    def returned(self, client: int, key: str, call: Call, invoked: int, result: Result) -> None:
        """An operation was answered."""
        operation = Operation[Call, Result](client, call, invoked, self.position(), result)
        self.by_key.setdefault(key, []).append(operation)

    def open(self, client: int, key: str, call: Call, invoked: int) -> None:
        """Nobody knows whether this happened."""
        self.unknown += 1
        self.by_key.setdefault(key, []).append(Operation[Call, Result](client, call, invoked, None, None))

    def acknowledged(self, written: Written) -> None:
        """A write that changed something was acknowledged, now."""
        self.written.append(written)
        self.acknowledged_at_s.append(asyncio.get_running_loop().time())

    def verdict(self) -> str:
        """``linearizable``, or the first key that is not."""
        for key in sorted(self.by_key):
            found = linearize(self.by_key[key], Register())
            if isinstance(found, NotLinearizable):
                return f"NOT linearizable: {key}: {self.by_key[key][found.stuck]} fits nowhere"
            if not isinstance(found, Linearizable):
                return f"undecided: {key}: gave up after {found.steps} steps"
        return "linearizable"

    def longest_gap_s(self, first_s: float, last_s: float) -> float:
        """The longest time without an acknowledged write that touches this interval."""
        moments = [first_s, *(at for at in self.acknowledged_at_s if first_s <= at <= last_s), last_s]
        return max(then - before for before, then in itertools.pairwise(moments))


async def trouble_leaders(
    cluster: LocalCluster, fault: Fault, *, seed: int, times: int, clients: int, say: Say = lambda line: None
) -> Outcome:
    """Run the load, inflict the fault on the leader so many times, and check. All nodes run before and afterwards."""
    loop = asyncio.get_running_loop()
    history, stop, began_s = History(), asyncio.Event(), loop.time()
    load = [asyncio.ensure_future(_client(cluster.endpoints, seed, number, history, stop)) for number in range(clients)]
    say(f"{clients} clients write and read {KEYS} keys on {len(cluster.nodes)} nodes (seed {seed})")
    try:
        moments = await _again_and_again(cluster, fault, random.Random(f"faults {seed}"), times, history, say)
    finally:
        stop.set()
        await asyncio.gather(*load)
    moments.append(("", loop.time()))
    done = tuple(
        Blow(name, at_s - began_s, history.longest_gap_s(at_s, next_s))
        for (name, at_s), (_, next_s) in itertools.pairwise(moments)
    )
    say(f"{len(history.written)} writes were acknowledged; reading the history of revisions from every node")
    lost = await _missing(cluster, history)
    say("checking the clients' history")
    return Outcome(
        seed=seed,
        seconds=loop.time() - began_s,
        fault=fault.name,
        blows=done,
        acknowledged_writes=len(history.written),
        reads=history.reads,
        unknown=history.unknown,
        keys=len(history.by_key),
        lost=lost,
        verdict=history.verdict(),
    )


async def _again_and_again(
    cluster: LocalCluster, fault: Fault, draw: random.Random, times: int, history: History, say: Say
) -> list[tuple[str, float]]:
    """Whom, and when by the loop's clock."""
    loop = asyncio.get_running_loop()
    moments: list[tuple[str, float]] = []
    for number in range(1, times + 1):
        await asyncio.sleep(draw.uniform(*CALM_S))
        leader = await find_leader(cluster)
        words = await _own_words(leader)
        moments.append((leader.name, loop.time()))
        say(f"{number} of {times}: {fault.name} to the leader, {', '.join([leader.name, *words])}")
        await fault.inflict(leader, draw)
        gap_s = history.longest_gap_s(moments[-1][1], loop.time())
        say(f"  {leader.name} is back; no write went through for {gap_s:.2f} s")
    return moments


async def _own_words(node: LocalNode) -> list[str]:
    """Where the node stands, in its protocol's own words; nothing where it does not answer."""
    async with AsyncClient([node.endpoint], timeout_s=REPORT_TIMEOUT_S) as client:
        try:
            return own_words(await client.report(node.endpoint))
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


async def _client(endpoints: list[str], seed: int, number: int, history: History, stop: asyncio.Event) -> None:
    """One client: an operation at a time, until ``stop``."""
    draw = random.Random(f"client {seed} {number}")
    first = number % len(endpoints)
    async with AsyncClient([*endpoints[first:], *endpoints[:first]]) as client:
        count = 0
        while not stop.is_set():
            count += 1
            key = f"{PREFIX}{draw.randrange(KEYS):03}"
            call = _draw_call(draw, f"{number}.{count}".encode())
            invoked = history.position()
            try:
                await _carry_out(client, number, key, call, invoked, history)
            except OutcomeUnknown:
                history.open(number, key, call, invoked)
            except ClientError:
                # Refused or not reached: it has not happened, and does not belong into the history.
                await asyncio.sleep(0.01)


def _draw_call(draw: random.Random, value: bytes) -> Call:
    kind = draw.random()
    if kind < 0.6:
        return Put(value)
    if kind < 0.9:
        return Get()
    if kind < 0.95:
        return Swap(draw.randrange(4), value)
    return Delete()


async def _carry_out(client: AsyncClient, number: int, key: str, call: Call, invoked: int, history: History) -> None:
    match call:
        case Put(value):
            put = await client.put(key, value, previous=True)
            history.returned(number, key, call, invoked, _held(put.previous))
            history.acknowledged(Written(put.revision, key, value))
        case Get():
            history.returned(number, key, call, invoked, _held(await client.get(key)))
            history.reads += 1
        case Swap(version, value):
            txn = await client.txn([compare_version(key, "==", version)], [Do.put(key, value)], [Do.get(key)])
            history.returned(number, key, call, invoked, True if txn.succeeded else _read(txn.results[0]))
            if txn.succeeded:
                history.acknowledged(Written(txn.revision, key, value))
        case Delete():
            gone = await client.delete(key, previous=True)
            history.returned(number, key, call, invoked, _held(gone.previous[0] if gone.previous else None))
            if gone.deleted:
                history.acknowledged(Written(gone.revision, key, None))


def _read(found: object) -> Held:
    """What the read in a transaction's branch found."""
    assert isinstance(found, Range)
    return _held(found.pairs[0] if found.pairs else None)


def _held(pair: KeyValue | None) -> Held:
    return None if pair is None else (pair.value, pair.version)


async def _missing(cluster: LocalCluster, history: History) -> tuple[str, ...]:
    """The acknowledged writes that some node's history of revisions does not hold."""
    missing: list[str] = []
    for node in cluster.nodes:
        told = await read_back(node)
        missing.extend(
            f"{node.name}: revision {written.revision} should have set {written.key} to {written.value!r},"
            f" but there is {told.get(written.revision)}"
            for written in history.written
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
