"""Sets of slots as few disjoint ranges."""

from __future__ import annotations

from bisect import bisect_right


class Spans:
    """A set of slots. What is added usually continues the last range."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._firsts)

    def add(self, first: int, last: int) -> None:
        firsts, lasts = self._firsts, self._lasts
        begin = bisect_right(lasts, first - 2)
        end = bisect_right(firsts, last + 1)
        if begin < end:
            first = min(first, firsts[begin])
            last = max(last, lasts[end - 1])
        firsts[begin:end] = [first]
        lasts[begin:end] = [last]

    def drop_to(self, slot: int) -> None:
        """Nothing at or below ``slot`` is in the set any more."""
        end = bisect_right(self._lasts, slot)
        del self._firsts[:end], self._lasts[:end]
        if self._firsts:
            self._firsts[0] = max(self._firsts[0], slot + 1)

    @property
    def last(self) -> int:
        """The highest slot in the set; 0: it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def reach(self, slot: int) -> int:
        """The last slot up to which the set has everything from ``slot`` on; ``slot - 1`` where it lacks ``slot``."""
        at = bisect_right(self._firsts, slot) - 1
        return max(self._lasts[at], slot - 1) if at >= 0 else slot - 1
