"""What this member has accepted, slot by slot, whether or not the disk has it too.

Rules of this file (rules 4 and 10 of the contract):

1. Which ballot a slot was accepted in is known for every slot above the base, as runs. There may be gaps.
2. The entries themselves are in memory where the disk does not have them yet; of the others, those that came there
   last, as far as ``tail_bytes_max`` allows. The rest comes back by ``fetch``.
3. A slot is durable when the write with its *latest* ballot is: a write of an earlier ballot stands for nothing more.
   What is chosen keeps its value: there an earlier version will do.
4. Every slot up to ``chosen`` is chosen, for ever, and what is accepted there is what was chosen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ratified.consensus.contract import Durable, Entry, Era, Limbo, Limits, Size, Sizes
from ratified.consensus.entry import memory_bytes
from ratified.consensus.replication.runs import Runs
from ratified.consensus.replication.window import fitting


class Slots:
    """Ballots of all accepted slots above the base, entries of some."""

    __slots__ = (
        "_bytes",
        "_entries",
        "_held",
        "_limits",
        "_open",
        "_runs",
        "_undurable",
        "base",
        "chosen",
        "durable",
        "uncommitted_bytes",
        "undurable_bytes",
    )

    def __init__(self, durable: Durable, chosen: int, limits: Limits) -> None:
        self.base = durable.base.index
        self.chosen = max(durable.applied, chosen)
        self.undurable_bytes = 0
        """What the entries that the disk does not have yet take in memory."""
        self.uncommitted_bytes = 0
        """What those behind ``chosen`` take there, or would take."""
        self._open: dict[int, int] = {}
        """The same, by slot."""
        self._limits = limits
        self._runs = Runs()
        for run in durable.runs:
            assert run.first > max(self.base, self._runs.last), f"run {run} is out of order"
            self._runs.put(run.first, run.last, run.era)
        self._entries: dict[int, Entry] = {entry.index: entry for entry in durable.tail}
        self._held = deque(self._entries)
        """The slots of those entries, each once: the order in which they came to memory, or were kept from going."""
        self._bytes = sum(map(_memory, durable.tail))
        for entry in durable.tail:
            self._opened(entry.index, _memory(entry))
        self._undurable: dict[int, Era] = {}
        self.durable = self._runs.contiguous_end(self.base)
        """Every slot up to here is accepted and durable."""
        assert self.base <= durable.applied, "the store is older than the log's base"
        assert self.chosen <= self.durable, "the store, or what is chosen, is ahead of the log"
        for entry in durable.tail:
            assert self.ballot_at(entry.index) == entry.era, f"tail and runs differ in slot {entry.index}"
        self.evict()

    @property
    def last(self) -> int:
        """The highest slot with something accepted in it, or the base."""
        return max(self._runs.last, self.base)

    @property
    def commit(self) -> int:
        return self.chosen

    def choose_to(self, slot: int) -> None:
        """Everything up to ``slot`` is chosen, and is what is accepted here."""
        assert slot > self.chosen, f"chosen {self.chosen} -> {slot}"
        for open_slot in range(self.chosen + 1, slot + 1):
            self.uncommitted_bytes -= self._open.pop(open_slot, 0)
        self.chosen = slot

    def _opened(self, slot: int, size: int) -> None:
        if slot > self.chosen:
            self.uncommitted_bytes += size - self._open.get(slot, 0)
            self._open[slot] = size

    def ballot_at(self, slot: int) -> Era | None:
        """The ballot in which ``slot`` was last accepted; None: nothing is."""
        return self._runs.era_at(slot)

    def run_end(self, slot: int) -> int:
        """The last slot up to which all were accepted in the ballot of ``slot``."""
        return self._runs.run_end(slot)

    def next_accepted(self, slot: int) -> int | None:
        """The lowest slot at or above ``slot`` with something accepted in it."""
        return self._runs.next_from(slot)

    def put(self, entries: Sequence[Entry]) -> None:
        """Accept contiguous ``entries`` of one ballot, in place of what was there."""
        first, last = entries[0].index, entries[-1].index
        assert first > self.base, f"slot {first} is at or below the base {self.base}"
        assert last == first + len(entries) - 1, "slots are not contiguous"
        self._runs.put(first, last, entries[0].era)
        held, undurable = self._entries, self._undurable
        for entry in entries:
            slot, size = entry.index, _memory(entry)
            old = held.get(slot)
            if old is not None:
                self._bytes -= _memory(old)
                if slot in undurable:
                    self.undurable_bytes -= _memory(old)
            else:
                self._held.append(slot)
            self._opened(slot, size)
            held[slot] = entry
            undurable[slot] = entry.era
            self._bytes += size
            self.undurable_bytes += size
        if self.durable >= first:
            self.durable = max(first - 1, min(self.durable, self.chosen))

    def compact(self, base: int) -> None:
        """Slots up to ``base`` are of no use any more; their entries leave memory in their turn."""
        assert self.base < base <= min(self.chosen, self.durable), f"base {self.base} -> {base}"
        self._runs.forget(base)
        self.base = base

    def install(self, base: int) -> None:
        """A snapshot has what was chosen up to ``base``; what is accepted behind it stays."""
        self.choose_to(base)
        self._runs.forget(base)
        self.base = base
        self.durable = max(self.durable, base)
        self.advance_durable()

    def persisted(self, slot: int, era: Era) -> bool:
        """A write with this slot in this ballot is durable: does that make the slot so?"""
        if self._undurable.get(slot) != era:
            return False
        del self._undurable[slot]
        self.undurable_bytes -= _memory(self._entries[slot])
        return True

    def advance_durable(self) -> None:
        end = self._runs.contiguous_end(self.durable)
        undurable = self._undurable
        slot = self.durable
        while slot < end and slot + 1 not in undurable:
            slot += 1
        self.durable = slot

    def batch(self, first: int, last: int, bytes_max: int) -> tuple[list[Entry], int]:
        """What is accepted in ``first`` to ``last``, as far as it is in memory and fits, one at the least; its bytes.

        Nothing although ``next_accepted(first)`` is at most ``last``: then that slot has to be fetched.
        """
        return self._in_memory(first, last, last - first + 1, bytes_max)

    def message(self, first: int, last: int) -> tuple[list[Entry], int]:
        """The same, as much as one message holds."""
        limits = self._limits
        return self._in_memory(first, last, max(limits.entries_per_message_max, 1), limits.bytes_per_message_max)

    def _in_memory(self, first: int, last: int, entries_max: int, bytes_max: int) -> tuple[list[Entry], int]:
        entries: list[Entry] = []
        held, size = self._entries, 0
        slot = self._runs.next_from(first)
        while slot is not None and slot <= last and len(entries) < entries_max:
            entry = held.get(slot)
            if entry is None or (size + len(entry.encoded) > bytes_max and entries):
                break
            size += len(entry.encoded)
            entries.append(entry)
            slot = slot + 1 if slot + 1 in held else self._runs.next_from(slot + 1)
        return entries, size

    def in_memory(self, slot: int) -> Entry | None:
        """What is accepted there, if it is in memory."""
        return self._entries.get(slot)

    def limbo(self, index: int, limbo: Limbo) -> Sequence[Entry] | None:
        """The values behind ``index`` that another member has up to ``limbo``; None: they are not here, or not in
        memory. Two members have one value in a slot that is chosen, or was accepted in one ballot."""
        entries = []
        for slot in range(index + 1, limbo.last + 1):
            entry = self._entries.get(slot)
            if entry is None or (slot > self.chosen and entry.era != limbo.era):
                return None
            entries.append(entry)
        return entries

    def missing(self, first: int, last: int) -> tuple[int, int]:
        """The range to fetch first: from ``first``, which is accepted and not in memory, no further than ``last``."""
        assert first not in self._entries, f"slot {first} is in memory"
        end = min(last, self._runs.run_end(first), first + max(self._limits.entries_per_message_max, 1) - 1)
        slot = first
        while slot < end and slot + 1 not in self._entries:
            slot += 1
        return first, slot

    def fit(self, fetched: Sequence[Entry]) -> tuple[Sequence[Entry], int]:
        """As many of the fetched entries as one message holds, as they are accepted by now, and their bytes.

        A fetch answers what was there when it was asked for; where a slot was accepted again since and is not in
        memory any more, the answer ends.
        """
        entries: list[Entry] = []
        for each in fetched:
            entry = self._entries.get(each.index, each)
            if entry.era != self.ballot_at(entry.index):
                break
            entries.append(entry)
        return fitting(entries, self._limits) if entries else ((), 0)

    def sizes(self) -> Sizes:
        """What an acceptor has accepted and nobody chose may stay: until a leader gets to its slot, nothing goes."""
        return {
            "bytes of durable entries": Size(self._bytes - self.undurable_bytes, self._limits.tail_bytes_max),
            "undurable entries": Size(len(self._undurable)),
        }

    def evict(self) -> None:
        """Let go of the oldest durable slots while the durable ones in memory hold more than ``tail_bytes_max``.

        Each step costs the same however many there are: it lets one go, or passes over one that waits for the disk, and
        then that has its turn behind all others.
        """
        while self._bytes - self.undurable_bytes > self._limits.tail_bytes_max:
            slot = self._held.popleft()
            if slot in self._undurable:
                self._held.append(slot)
            else:
                self._bytes -= _memory(self._entries.pop(slot))


def _memory(entry: Entry) -> int:
    return memory_bytes(len(entry.encoded), 1)
