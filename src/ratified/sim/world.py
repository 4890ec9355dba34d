"""Virtual time and chance: one heap of events, keyed draws, and what is told of a run while it goes on.

Rules:

1. Events run in the order (time, tie, sender, sequence). The tie is 0 in an orderly world (the lab's), and otherwise
   drawn, keyed by sender, receiver and time: events of one link at one time keep their order (they share a tie), events
   of different links meet in every order.
2. An event is a function and its arguments. It may schedule others at the present time or later, never earlier.
3. ``Draws`` are one key's sequence: ``mix(seed, concern, from, to, n)`` for n = 1, 2, ...
4. Counters count what happened, by name. A trace only looks: with it and without it a run is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from typing import IO, Any

import msgspec

from ratified.consensus.draws import mix, splitmix64

_MASK = 2**64 - 1


class Concern(IntEnum):
    """What a draw is for: the second part of its key."""

    TIE = 1
    LATENCY = 2
    LOSS = 3
    DUPLICATE = 4
    BREAK = 5
    DIAL = 6
    TURN = 7
    DISK = 8
    LIMIT = 9
    FAULT = 10
    CLIENT = 11
    START = 12
    MACHINE_LOSS = 13
    NODE = 14
    OPTIONS = 15
    STRANGER = 16
    CHECKPOINT = 17
    CLOCK = 18


class Draws:
    """The draws on one key, in order."""

    __slots__ = ("_count", "_prefix")

    def __init__(self, seed: int, concern: Concern, source: int = 0, target: int = 0) -> None:
        self._prefix = mix(seed, concern, source, target)
        self._count = 0

    def draw(self) -> int:
        """The next u64."""
        self._count += 1
        return splitmix64(self._prefix ^ self._count)

    def below(self, bound: int) -> int:
        """The next draw, from 0 to ``bound`` - 1."""
        return self.draw() % bound

    def between(self, least: int, most: int) -> int:
        """The next draw, from ``least`` to ``most``, both included."""
        return least + self.draw() % (most - least + 1)

    def chance(self, per_million: int) -> bool:
        """True with this probability, in millionths; 0 draws nothing."""
        return per_million > 0 and self.draw() % 1_000_000 < per_million

    def pick(self, choices: tuple[int, ...]) -> int:
        return choices[self.draw() % len(choices)]


class World:
    """The clock, the heap, and what is told of them."""

    def __init__(self, seed: int, *, orderly: bool = False, trace: IO[bytes] | None = None) -> None:
        self.seed = seed
        self.now = 0
        self.executed = 0
        """Events that ran so far: the one total order of what happens in this world."""
        self.fingerprint = 0
        """Changes with the time and place of every event: two runs that differ anywhere differ here."""
        self.counters: Counter[str] = Counter()
        self.traced = trace is not None
        """Is anybody reading? Asked before work is done for a line."""
        self._trace = trace
        self._encode = msgspec.json.Encoder().encode
        self._orderly = orderly
        self._sequence = 0
        self._heap: list[tuple[int, int, int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._ties: dict[tuple[int, int], int] = {}

    def at(self, time: int, sender: int, receiver: int, action: Callable[..., None], *arguments: Any) -> None:
        """Run ``action(*arguments)`` at ``time``, as something that ``sender`` does to ``receiver``."""
        assert time >= self.now, "nothing happens in the past"
        self._sequence += 1
        tie = 0
        if not self._orderly:
            prefix = self._ties.get((sender, receiver))
            if prefix is None:
                prefix = self._ties[sender, receiver] = mix(self.seed, Concern.TIE, sender, receiver)
            tie = splitmix64(prefix ^ time)
        heappush(self._heap, (time, tie, sender, self._sequence, action, arguments))

    def run(self, until: int) -> None:
        """Run every event up to and including time ``until``, and set the clock there."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.step()
        self.now = max(self.now, until)

    def step(self) -> None:
        time, _, sender, sequence, action, arguments = heappop(self._heap)
        self.now = time
        self.executed += 1
        self.fingerprint = (self.fingerprint * 0x5851F42D4C957F2D + (time << 20) + (sequence << 4) + sender) & _MASK
        action(*arguments)

    def trace(self, member: int, what: str, **details: object) -> None:
        """One JSON object on a line: ``t`` (virtual microseconds), ``m`` (the member, 0 for the world), ``what``, and
        details that depend on it."""
        if self._trace is not None:
            self._trace.write(self._encode({"t": self.now, "m": member, "what": what, **details}) + b"\n")
