"""Which era an index has, as few runs: neighbours of one era are one run.

Rules of this file:

1. The three lists are one table, ascending and without overlaps; there may be gaps between runs.
2. Any index may be given a new era. What usually happens, an addition behind the last run, costs no search.
"""

from __future__ import annotations

from bisect import bisect_right

from ratified.consensus.contract import Era


class Runs:
    """Index -> era. Readers may look into the lists; only this class changes them."""

    __slots__ = ("eras", "firsts", "lasts")

    def __init__(self) -> None:
        self.firsts: list[int] = []
        self.lasts: list[int] = []
        self.eras: list[Era] = []

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def last(self) -> int:
        """The highest index; 0: there is none."""
        return self.lasts[-1] if self.lasts else 0

    def put(self, first: int, last: int, era: Era) -> None:
        """The indexes ``first`` to ``last`` have the era ``era`` from now on."""
        firsts, lasts, eras = self.firsts, self.lasts, self.eras
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

    def truncate(self, first: int) -> None:
        while self.firsts and self.firsts[-1] >= first:
            self.firsts.pop()
            self.lasts.pop()
            self.eras.pop()
        if self.lasts and self.lasts[-1] >= first:
            self.lasts[-1] = first - 1

    def forget(self, last: int) -> None:
        gone = bisect_right(self.lasts, last)
        del self.firsts[:gone], self.lasts[:gone], self.eras[:gone]
        if self.firsts and self.firsts[0] <= last:
            self.firsts[0] = last + 1

    def era_at(self, index: int) -> Era | None:
        """The era of ``index``; None: it has none."""
        at = bisect_right(self.firsts, index) - 1
        return self.eras[at] if at >= 0 and self.lasts[at] >= index else None

    def run_end(self, index: int) -> int:
        """The last index of the run that ``index`` is in."""
        at = bisect_right(self.firsts, index) - 1
        assert at >= 0
        assert self.lasts[at] >= index
        return self.lasts[at]

    def next_from(self, index: int) -> int | None:
        """The lowest index at or above ``index`` that has an era."""
        at = bisect_right(self.lasts, index - 1)
        return max(self.firsts[at], index) if at < len(self.firsts) else None

    def contiguous_end(self, index: int) -> int:
        """The last index up to which every one behind ``index`` has an era."""
        at = bisect_right(self.lasts, index)
        while at < len(self.firsts) and self.firsts[at] <= index + 1:
            index = self.lasts[at]
            at += 1
        return index
