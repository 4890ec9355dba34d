"""Sets of slots as few disjoint ranges, and the ballots of slots as few runs."""

from __future__ import annotations

from bisect import bisect_right

from ratified.consensus.contract import Era


class Spans:
    """A set of slots. What is added usually continues the last range."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, first: int, last: int) -> None:
        """Put ``first`` to ``last`` into the set."""
        firsts, lasts = self._firsts, self._lasts
        begin = bisect_right(lasts, first - 2)
        end = bisect_right(firsts, last + 1)
        if begin < end:
            first = min(first, firsts[begin])
            last = max(last, lasts[end - 1])
        firsts[begin:end] = [first]
        lasts[begin:end] = [last]

    def reach(self, slot: int) -> int:
        """The last slot up to which the set has everything from ``slot`` on; ``slot - 1`` where it lacks ``slot``."""
        at = bisect_right(self._firsts, slot) - 1
        return max(self._lasts[at], slot - 1) if at >= 0 else slot - 1

    def forget(self, last: int) -> None:
        """Ranges that end at or before ``last`` are of no interest any more."""
        gone = bisect_right(self._lasts, last)
        del self._firsts[:gone], self._lasts[:gone]


class Runs:
    """Slots with a ballot each: neighbours with one ballot are one run. Any slot may be given a new ballot."""

    __slots__ = ("_eras", "_firsts", "_lasts")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._eras: list[Era] = []

    def __len__(self) -> int:
        return len(self._firsts)

    @property
    def last(self) -> int:
        """The highest slot; 0: there is none."""
        return self._lasts[-1] if self._lasts else 0

    def put(self, first: int, last: int, era: Era) -> None:
        """The slots ``first`` to ``last`` have the ballot ``era`` from now on."""
        firsts, lasts, eras = self._firsts, self._lasts, self._eras
        if not lasts or first > lasts[-1]:
            if lasts and first == lasts[-1] + 1 and era == eras[-1]:
                lasts[-1] = last
            else:
                firsts.append(first)
                lasts.append(last)
                eras.append(era)
            return
        # All runs that overlap or touch: what of them lies outside stays, the rest becomes one run.
        begin = bisect_right(lasts, first - 2)
        end = bisect_right(firsts, last + 1)
        before: list[tuple[int, int, Era]] = []
        after: list[tuple[int, int, Era]] = []
        for at in range(begin, end):
            if eras[at] == era:
                first, last = min(first, firsts[at]), max(last, lasts[at])
        for at in range(begin, end):
            if firsts[at] < first:
                before.append((firsts[at], min(lasts[at], first - 1), eras[at]))
            if lasts[at] > last:
                after.append((max(firsts[at], last + 1), lasts[at], eras[at]))
        runs = [*before, (first, last, era), *after]
        firsts[begin:end] = [run[0] for run in runs]
        lasts[begin:end] = [run[1] for run in runs]
        eras[begin:end] = [run[2] for run in runs]

    def era_at(self, slot: int) -> Era | None:
        """The ballot of ``slot``; None: it has none."""
        at = bisect_right(self._firsts, slot) - 1
        return self._eras[at] if at >= 0 and self._lasts[at] >= slot else None

    def run_end(self, slot: int) -> int:
        """The last slot of the run that ``slot`` is in."""
        at = bisect_right(self._firsts, slot) - 1
        assert at >= 0
        assert self._lasts[at] >= slot
        return self._lasts[at]

    def next_from(self, slot: int) -> int | None:
        """The lowest slot at or above ``slot`` that has a ballot."""
        at = bisect_right(self._lasts, slot - 1)
        return max(self._firsts[at], slot) if at < len(self._firsts) else None

    def contiguous_end(self, slot: int) -> int:
        """The last slot up to which every slot behind ``slot`` has a ballot."""
        at = bisect_right(self._lasts, slot)
        while at < len(self._firsts) and self._firsts[at] <= slot + 1:
            slot = self._lasts[at]
            at += 1
        return slot
