"""The history as this member has it (paper: h), whether or not the disk has it too.

Rules of this file (rule 10 of the contract):

1. Which epoch an index has is known for every index above the base, as runs: ``(first index, epoch)``.
2. The entries themselves are in memory for a suffix only, ``first_in_memory`` to ``last``. What the disk does not
   have is always in that suffix; of the rest, as much as ``tail_bytes_max`` allows.
3. Running totals of encoded bytes stand beside the entries, so that "how many fit" is one bisection.

Epochs never decrease along a history.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ratified.consensus.contract import Durable, Entry


class Log:
    """Epochs of all entries above the base, bytes of the latest ones."""

    __slots__ = ("_ends", "_entries", "_evicted_end", "_run_epochs", "_run_firsts", "base", "first_in_memory", "last")

    def __init__(self, durable: Durable) -> None:
        self.base = durable.base.index
        # The base stands in front as a run of its own: the epoch of the entry at ``base`` is known too.
        self._run_firsts = [durable.base.index]
        self._run_epochs = [durable.base.era[0]]
        self.last = durable.base.index
        for run in durable.runs:
            assert run.first == self.last + 1, f"runs leave a gap after index {self.last}"
            assert run.era[0] >= self.last_epoch, f"epochs decrease at index {run.first}"
            self._start_run(run.first, run.era[0])
            self.last = run.last
        tail = durable.tail
        self.first_in_memory = tail[0].index if tail else self.last + 1
        assert not tail or tail[-1].index == self.last, "the tail is no suffix of the log"
        self._entries: list[Entry] = []
        self._ends: list[int] = []
        self._evicted_end = 0
        self._store(tail)

    @property
    def last_epoch(self) -> int:
        """The epoch of the last entry."""
        return self._run_epochs[-1]

    def epoch_at(self, index: int) -> int | None:
        """The epoch of the entry at ``index``; None where this log has no such entry, or no longer knows."""
        if index > self.last or index < self.base:
            return None
        if index >= self._run_firsts[-1]:
            return self._run_epochs[-1]
        return self._run_epochs[bisect_right(self._run_firsts, index) - 1]

    def origin_of(self, epoch: int) -> int | None:
        """Behind which index ``epoch`` begins; None where that is below the base, or it has no entries here."""
        position = bisect_left(self._run_epochs, epoch)
        if position == len(self._run_epochs) or self._run_epochs[position] != epoch:
            return None
        return self._run_firsts[position] - 1 if position or not self.base else None

    @property
    def last_origin(self) -> int:
        """Behind which index the last epoch begins; the base where that is below it."""
        return self._run_firsts[-1] - 1 if len(self._run_firsts) > 1 else self.base

    def meet(self, epoch: int, origin: int, last: int) -> int:
        """Up to where this history, a leader's, and a follower's are equal.

        The follower's ends with the entries ``origin + 1`` to ``last`` of ``epoch``, of which this one holds a prefix,
        perhaps none. Below them the two are equal: every leader of a later epoch has that epoch's initial history
        (``docs/zab.md``, phase 2).
        """
        position = bisect_left(self._run_epochs, epoch)
        if position == len(self._run_epochs) or self._run_epochs[position] != epoch:
            return origin
        end = self._run_firsts[position + 1] - 1 if position + 1 < len(self._run_firsts) else self.last
        return min(last, end)

    def append(self, entries: Sequence[Entry]) -> None:
        """Put ``entries`` behind the last one."""
        assert entries[0].index == self.last + 1, f"entry {entries[0].index} does not follow {self.last}"
        assert entries[-1].index == self.last + len(entries), "entries are not contiguous"
        if entries[-1].era[0] != self._run_epochs[-1]:
            for entry in entries:
                assert entry.era[0] >= self._run_epochs[-1], f"epochs decrease at index {entry.index}"
                self._start_run(entry.index, entry.era[0])
        self.last = entries[-1].index
        self._store(entries)

    def truncate(self, first: int) -> None:
        """Forget the entries from ``first`` on."""
        assert self.base < first <= self.last
        while self._run_firsts[-1] >= first:
            self._run_firsts.pop()
            self._run_epochs.pop()
        self.last = first - 1
        if first > self.first_in_memory:
            del self._entries[first - self.first_in_memory :]
            del self._ends[first - self.first_in_memory :]
        else:
            self._entries.clear()
            self._ends.clear()
            self.first_in_memory = first

    def entries(self, first: int, last: int) -> list[Entry]:
        """The entries from ``first`` to ``last``, all of them in memory."""
        assert first >= self.first_in_memory, f"entry {first} is no longer in memory"
        return self._entries[first - self.first_in_memory : last - self.first_in_memory + 1]

    def bytes_between(self, first: int, last: int) -> int:
        """Encoded bytes of the entries from ``first`` to ``last``, all of them in memory."""
        return self._end(last) - self._end(first - 1)

    def fit(self, first: int, last: int, bytes_max: int) -> int:
        """The last index up to which the entries from ``first`` fit into ``bytes_max``; ``first - 1`` for none."""
        limit = bisect_right(self._ends, self._end(first - 1) + bytes_max) + self.first_in_memory - 1
        return min(last, limit)

    def evict(self, durable: int, tail_bytes_max: int) -> None:
        """Let go of the oldest durable entries where the durable ones in memory hold more than ``tail_bytes_max``.

        An eighth of the room is freed in one go, so that the cost of closing the gap is shared by many entries; the
        last entry stays.
        """
        durable = min(durable, self.last - 1)
        if durable < self.first_in_memory:
            return
        excess = self._end(durable) - self._evicted_end - tail_bytes_max
        if excess <= 0:
            return
        goal = self._evicted_end + excess + tail_bytes_max // 8
        count = min(bisect_right(self._ends, goal - 1) + 1, durable - self.first_in_memory + 1)
        self._evicted_end = self._ends[count - 1]
        del self._entries[:count]
        del self._ends[:count]
        self.first_in_memory += count

    def _start_run(self, first: int, epoch: int) -> None:
        if epoch != self._run_epochs[-1]:
            self._run_firsts.append(first)
            self._run_epochs.append(epoch)

    def _store(self, entries: Sequence[Entry]) -> None:
        end = self._ends[-1] if self._ends else self._evicted_end
        for entry in entries:
            end += len(entry.encoded)
            self._ends.append(end)
        self._entries.extend(entries)

    def _end(self, index: int) -> int:
        """Running total of bytes up to and with ``index``."""
        position = index - self.first_in_memory
        assert position >= -1, f"entry {index} is no longer in memory"
        return self._ends[position] if position >= 0 else self._evicted_end
