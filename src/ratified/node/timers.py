"""Deadlines of many things, most of which end before theirs comes."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar


def earliest(one: int | None, other: int | None) -> int | None:
    """The earlier of two deadlines; None: never."""
    if one is None or (other is not None and other < one):
        return other
    return one


class Timed(Protocol):
    """Something with a deadline of its own, which may move."""

    @property
    def deadline(self) -> int | None:
        """Microseconds; None: never."""


T = TypeVar("T", bound=Timed)

_COMPACT_FROM = 256


class Deadlines(Generic[T]):
    """A heap of (deadline, key) over a mapping of what is alive.

    An entry counts while its key is in the mapping and the deadline is still the one that was added; everything else
    is left behind and dropped later, so that ending something costs nothing here.
    """

    def __init__(self, alive: Mapping[int, T]) -> None:
        self._alive = alive
        self._heap: list[tuple[int, int]] = []
        self._compact_at = _COMPACT_FROM

    def add(self, deadline: int, key: int) -> None:
        """Watch ``key`` until ``deadline``."""
        heapq.heappush(self._heap, (deadline, key))
        if len(self._heap) > self._compact_at:
            self._compact()

    def next(self) -> int | None:
        """The earliest deadline."""
        while self._heap:
            deadline, key = self._heap[0]
            if self._counts(deadline, key):
                return deadline
            heapq.heappop(self._heap)
        return None

    def due(self, now: int) -> list[T]:
        """Take out everything whose deadline has come."""
        found: list[T] = []
        while self._heap and self._heap[0][0] <= now:
            deadline, key = heapq.heappop(self._heap)
            if self._counts(deadline, key):
                found.append(self._alive[key])
        return found

    def _counts(self, deadline: int, key: int) -> bool:
        timed = self._alive.get(key)
        return timed is not None and timed.deadline == deadline

    def _compact(self) -> None:
        """Drop what no longer counts, once most of the heap may be of that kind: constant cost per ``add``."""
        self._heap = sorted({item for item in self._heap if self._counts(*item)})
        self._compact_at = max(_COMPACT_FROM, 2 * len(self._heap))
