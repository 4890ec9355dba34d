"""Clients that write and read a few keys, one operation at a time each, and what they saw."""

from __future__ import annotations

import asyncio
import itertools
import random

import msgspec

from ratified.check.linearizability import Linearizable, NotLinearizable, Operation, linearize
from ratified.check.register import Call, Delete, Get, Held, Put, Register, Result, Swap
from ratified.client import AsyncClient, CallOutcomeUnknown, ClientError, Do, KeyValue, Range, compare_version

KEYS = 48
PREFIX = "kills/"


class Written(msgspec.Struct, frozen=True):
    """An acknowledged write: what it left under its key (None: a deletion)."""

    revision: int
    key: str
    value: bytes | None


class Recording:
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


async def run_client(endpoints: list[str], seed: int, number: int, recording: Recording, stop: asyncio.Event) -> None:
    """One client: an operation at a time, until ``stop``."""
    draw = random.Random(f"client {seed} {number}")
    first = number % len(endpoints)
    async with AsyncClient([*endpoints[first:], *endpoints[:first]]) as client:
        count = 0
        while not stop.is_set():
            count += 1
            key = f"{PREFIX}{draw.randrange(KEYS):03}"
            call = _draw_call(draw, f"{number}.{count}".encode())
            invoked = recording.position()
            try:
                await _carry_out(client, number, key, call, invoked, recording)
            except CallOutcomeUnknown:
                recording.open(number, key, call, invoked)
            except ClientError:
                # Refused or not reached: it has not happened, and does not belong into the recording.
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


async def _carry_out(
    client: AsyncClient, number: int, key: str, call: Call, invoked: int, recording: Recording
) -> None:
    match call:
        case Put(value):
            put = await client.put(key, value, previous=True)
            recording.returned(number, key, call, invoked, _held(put.previous))
            recording.acknowledged(Written(put.revision, key, value))
        case Get():
            recording.returned(number, key, call, invoked, _held(await client.get(key)))
            recording.reads += 1
        case Swap(version, value):
            txn = await client.txn([compare_version(key, "==", version)], [Do.put(key, value)], [Do.get(key)])
            recording.returned(number, key, call, invoked, True if txn.succeeded else _read(txn.results[0]))
            if txn.succeeded:
                recording.acknowledged(Written(txn.revision, key, value))
        case Delete():
            gone = await client.delete(key, previous=True)
            recording.returned(number, key, call, invoked, _held(gone.previous[0] if gone.previous else None))
            if gone.deleted:
                recording.acknowledged(Written(gone.revision, key, None))


def _read(found: object) -> Held:
    """What the read in a transaction's branch found."""
    assert isinstance(found, Range)
    return _held(found.pairs[0] if found.pairs else None)


def _held(pair: KeyValue | None) -> Held:
    return None if pair is None else (pair.value, pair.version)
