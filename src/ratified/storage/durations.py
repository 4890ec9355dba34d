"""How long something took, counted by classes: for people and metrics, and nothing decides by it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

UP_TO_S = tuple(0.001 * 2**power for power in range(14))
"""From 1 ms to 8.192 s, as etcd counts the durations of a disk; a last class has what took longer."""


class Durations:
    """Since the start of what is measured. One thread adds, any may read."""

    __slots__ = ("bounds_s", "counts", "sum_s")

    def __init__(self, bounds_s: Sequence[float] = UP_TO_S) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """It took so long once more."""
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """How many took no longer than each bound in seconds, infinity at the end."""
        total, found = 0, []
        for bound, count in zip((*self.bounds_s, float("inf")), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found
