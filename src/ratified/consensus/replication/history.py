"""The entries of a member whose log is one sequence (Raft's log, ZAB's history), whether or not the disk has them too.

Rules of this file (rule 10 of the contract):

1. Which era an index has is known for the base and everything above it, as runs. Eras never decrease along a history.
2. The entries themselves are in memory for a suffix only, ``first_in_memory`` to ``last``. What the disk does not
   have is always in that suffix; of the rest, as much as ``tail_bytes_max`` allows.
3. Running totals of encoded bytes stand beside the entries, so that "how many fit", "how much waits for the disk" and
   "how much is not committed" are one look. A total is kept for as long as its entry is in memory or not committed.
   Of entries that were not in memory at start the bytes are not known; they count as none.
4. What is committed is never removed, and ``commit`` never falls. ``durable`` falls with a truncation.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ratified.consensus.contract import Base, Durable, Entry, Era, Limbo, Limits, Size, Sizes
from ratified.consensus.entry import memory_bytes
from ratified.consensus.replication.runs import Runs


class History:
    """Eras of all entries above the base, bytes of the latest ones, and how far they are durable and committed."""

    __slots__ = (
        "_committed_end",
        "_ends",
        "_ends_first",
        "_entries",
        "_forgotten_end",
        "_limits",
        "_runs",
        "base",
        "commit",
        "durable",
        "first_in_memory",
        "last",
    )

    def __init__(self, durable: Durable, limits: Limits) -> None:
        base = durable.base
        self._limits = limits
        self.base = self.last = base.index
        self._runs = Runs()
        self._runs.put(base.index, base.index, base.era)
        for run in durable.runs:
            assert run.first == self.last + 1, f"runs leave a gap after index {self.last}"
            assert run.era >= self.last_era, f"eras decrease at index {run.first}"
            self._runs.put(*run)
            self.last = run.last
        tail = durable.tail
        assert not tail or tail[-1].index == self.last, "the tail is no suffix of the log"
        assert base.index <= durable.applied <= self.last, "the store is older than the log's base, or ahead of the log"
        self.durable = self.last
        self.commit = durable.applied
        """Everything up to here is committed, for ever."""
        self.first_in_memory = self.last + 1 - len(tail)
        self._entries: list[Entry] = []
        self._ends_first = min(self.first_in_memory, self.commit + 1)
        self._ends = [0] * (self.first_in_memory - self._ends_first)
        """Running totals of bytes, up to and with each index from ``_ends_first`` on."""
        self._forgotten_end = 0
        """The total before the first of them."""
        self._store(tail)
        self._committed_end = self._end(self.commit)

    # -------------------------------------------------------------------------------------------------------- eras

    @property
    def last_era(self) -> Era:
        return self._runs.eras[-1]

    def era_at(self, index: int) -> Era | None:
        """The era of the entry at ``index``; None where this history has no such entry, or no longer knows."""
        return self._runs.era_at(index)

    def origin_of(self, era: Era) -> int | None:
        """Behind which index ``era`` begins; None where that is below the base, or it has no entries here."""
        at = self._run_of(era)
        if at is None:
            return None
        return self._runs.firsts[at] - 1 if at or not self.base else None

    def last_at_most(self, index: int, era: Era) -> tuple[int, Era]:
        """The last (index, era) at or before ``index`` whose era is not above ``era``; the base at the least."""
        runs = self._runs
        at = bisect_right(runs.eras, era) - 1
        found = self.base if at < 0 else max(min(index, runs.lasts[at]), self.base)
        found_era = runs.era_at(found)
        assert found_era is not None
        return found, found_era

    def lies_below(self, index: int, era: Era) -> bool:
        """Is the place where another history has ``era`` at ``index`` below all that this one still has?"""
        return index < self.base or (index == self.base and self.era_at(index) != era)

    @property
    def last_origin(self) -> int:
        """Behind which index the last era begins; the base where that is below it."""
        return self._runs.firsts[-1] - 1 if len(self._runs) > 1 else self.base

    def meet(self, era: Era, origin: int, last: int) -> int:
        """Up to where this history and another one are equal.

        The other one ends with the entries ``origin + 1`` to ``last`` of ``era``, of which this one holds a prefix,
        perhaps none, and below them the two are equal.
        """
        at = self._run_of(era)
        return origin if at is None else min(last, self._runs.lasts[at])

    def first_new(self, entries: Sequence[Entry]) -> int:
        """How many of ``entries``, from the front, this history holds already: same index, same era."""
        for position, entry in enumerate(entries):
            if entry.index > self.last or self._runs.era_at(entry.index) != entry.era:
                return position
        return len(entries)

    def _run_of(self, era: Era) -> int | None:
        eras = self._runs.eras
        at = bisect_left(eras, era)
        return at if at < len(eras) and eras[at] == era else None

    # ----------------------------------------------------------------------------------------------------- changes

    def append(self, entries: Sequence[Entry]) -> None:
        first, last, era = entries[0].index, entries[-1].index, entries[-1].era
        assert first == self.last + 1, f"entry {first} does not follow {self.last}"
        assert last == self.last + len(entries), "entries are not contiguous"
        if entries[0].era == era:
            assert era >= self.last_era, f"eras decrease at index {first}"
            self._runs.put(first, last, era)
        else:
            for entry in entries:
                assert entry.era >= self.last_era, f"eras decrease at index {entry.index}"
                self._runs.put(entry.index, entry.index, entry.era)
        self.last = last
        self._store(entries)

    def truncate(self, first: int) -> None:
        """Forget the entries from ``first`` on; what is durable is clipped to what remains (rule 4 of the contract)."""
        assert first > self.commit, f"entry {first} is committed and must never be removed"
        assert first <= self.last, f"there is no entry {first} to remove"
        self._runs.truncate(first)
        self.last = first - 1
        self.durable = min(self.durable, first - 1)
        del self._ends[first - self._ends_first :]
        del self._entries[max(first - self.first_in_memory, 0) :]
        self.first_in_memory = min(self.first_in_memory, first)

    def commit_to(self, index: int) -> None:
        assert self.commit < index <= self.last, f"commit {self.commit} -> {index}, the history ends at {self.last}"
        self.commit = index
        self._committed_end = self._end(index)

    def persisted(self, index: int) -> None:
        if index > self.durable:
            self.durable = index

    def compact(self, base: Base) -> None:
        """What is at or below ``base.index`` is gone; and the rest too, if this history does not have the base's entry.

        (Raft, figure 13, rules 6 and 7.)
        """
        index = base.index
        assert index > self.base, f"the base moves forward only, not from {self.base} to {index}"
        if self.era_at(index) != base.era:
            assert index > self.commit, f"entry {index} is committed and of another era than the new base"
            self.last = self.durable = index
            self._runs = Runs()
        self._runs.forget(index - 1)
        if not self._runs:
            self._runs.put(index, index, base.era)
        self.base = index
        self.durable = max(self.durable, index)
        self._forget(index)
        if index > self.commit:
            self.commit = index
            self._committed_end = self._end(index)

    def _forget(self, index: int) -> None:
        """Entries and totals up to ``index`` are of no use any more."""
        if index >= self.last:
            self._forgotten_end = self._ends[-1] if self._ends else self._forgotten_end
            self._entries.clear()
            self._ends.clear()
            self.first_in_memory = self._ends_first = index + 1
            return
        if index >= self.first_in_memory:
            del self._entries[: index + 1 - self.first_in_memory]
            self.first_in_memory = index + 1
        self._forget_ends(index)

    def _forget_ends(self, index: int) -> None:
        count = index + 1 - self._ends_first
        if count > 0:
            self._forgotten_end = self._ends[count - 1]
            del self._ends[:count]
            self._ends_first = index + 1

    def _store(self, entries: Sequence[Entry]) -> None:
        ends = self._ends
        end = ends[-1] if ends else self._forgotten_end
        for entry in entries:
            end += len(entry.encoded)
            ends.append(end)
        self._entries += entries

    def evict(self) -> None:
        """Let go of the oldest durable entries where the durable ones in memory hold more than ``tail_bytes_max``.

        An eighth of the room is freed in one go, so that the cost of closing the gap is shared by many entries; the
        last entry stays.
        """
        durable = min(self.durable, self.last - 1)
        if durable < self.first_in_memory:
            return
        tail_bytes_max = self._limits.tail_bytes_max
        first = self.first_in_memory
        excess = self._memory_between(first, durable) - tail_bytes_max
        if excess <= 0:
            return
        goal = excess + tail_bytes_max // 8
        kept = bisect_left(range(first, durable), goal, key=lambda last: self._memory_between(first, last)) + first + 1
        del self._entries[: kept - self.first_in_memory]
        self.first_in_memory = kept
        self._forget_ends(min(kept - 1, self.commit))

    # ----------------------------------------------------------------------------------------------------- entries

    @property
    def undurable_bytes(self) -> int:
        """What the entries that the disk does not have yet take in memory."""
        return self._memory_between(self.durable + 1, self.last)

    @property
    def uncommitted_bytes(self) -> int:
        """What the entries that are not known to be committed take in memory, or would take there."""
        return memory_bytes(self._end(self.last) - self._committed_end, self.last - self.commit)

    def _memory_between(self, first: int, last: int) -> int:
        return memory_bytes(self._end(last) - self._end(first - 1), last + 1 - first)

    def entries(self, first: int, last: int) -> list[Entry]:
        assert first >= self.first_in_memory, f"entry {first} is no longer in memory"
        return self._entries[first - self.first_in_memory : last - self.first_in_memory + 1]

    @property
    def last_in_memory(self) -> Entry | None:
        """The last entry, if it is there."""
        return self._entries[-1] if self._entries else None

    def limbo(self, index: int, limbo: Limbo) -> Sequence[Entry] | None:
        """The same entries behind ``index`` as another member has up to ``limbo``; None: they are not here, or not in
        memory. Where the last is the same, so are all before it."""
        if self.era_at(limbo.last) != limbo.era or index + 1 < self.first_in_memory:
            return None
        return self.entries(index + 1, limbo.last)

    def bytes_between(self, first: int, last: int) -> int:
        """Encoded bytes of the entries from ``first`` to ``last``, all of them in memory."""
        return self._end(last) - self._end(first - 1)

    def fit(self, first: int, last: int, bytes_max: int) -> int:
        """The last index up to which the entries from ``first`` fit into ``bytes_max``; ``first`` at the least."""
        limit = bisect_right(self._ends, self._end(first - 1) + bytes_max) + self._ends_first - 1
        return max(first, min(last, limit))

    def message_end(self, first: int, last: int) -> int:
        """Where a message ends that begins with entry ``first`` and goes no further than ``last``."""
        limits = self._limits
        return self.fit(first, min(last, first + limits.entries_per_message_max - 1), limits.bytes_per_message_max)

    def batch(self, first: int, last: int, bytes_max: int) -> tuple[Sequence[Entry], int]:
        """The entries from ``first`` on that fit into ``bytes_max``, one at the least, and their bytes.

        None of them: ``first`` is not in memory, and to be fetched.
        """
        if first < self.first_in_memory:
            return (), 0
        last = self.fit(first, last, bytes_max)
        return self.entries(first, last), self.bytes_between(first, last)

    def missing(self, first: int, last: int) -> tuple[int, int]:
        """The range to fetch: from ``first``, which is not in memory, no further than ``last``."""
        assert first < self.first_in_memory, f"entry {first} is in memory"
        return first, min(last, self.first_in_memory - 1)

    def sizes(self) -> Sizes:
        evictable = max(min(self.durable, self.last - 1), self.first_in_memory - 1)
        return {
            "bytes of durable entries": Size(
                self._memory_between(self.first_in_memory, evictable), self._limits.tail_bytes_max
            ),
            "bytes of undurable entries": Size(self.undurable_bytes),
            "bytes of uncommitted entries": Size(self.uncommitted_bytes),
        }

    def _end(self, index: int) -> int:
        """Running total of bytes up to and with ``index``."""
        position = index - self._ends_first
        assert position >= -1, f"how large entry {index} was is no longer known"
        return self._ends[position] if position >= 0 else self._forgotten_end
