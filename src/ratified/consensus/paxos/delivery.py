"""Handing chosen entries to the state machine, in the order of their slots (rule 5 of the contract).

Slots are accepted and become durable out of order; they leave in order and once, up to the first one that is not both
chosen and durable here. At most ``deliver_bytes_max`` encoded bytes are out and not yet applied, and one entry always
may be. What is no longer in memory is fetched first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ratified.consensus.contract import Entry
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.purposes import ForDelivery


class Delivery:
    """How far entries were delivered and applied."""

    __slots__ = ("_core", "_fetched", "_out", "_out_bytes", "applied", "delivered")

    def __init__(self, core: Core, applied: int) -> None:
        self.applied = applied
        self.delivered = applied
        self._core = core
        self._fetched: deque[Entry] = deque()
        self._out: deque[tuple[int, int]] = deque()
        self._out_bytes = 0

    def on_applied(self, index: int) -> None:
        """The store has everything up to ``index``."""
        assert index <= self.delivered, f"entry {index} was applied and never delivered"
        self.applied = max(self.applied, index)
        while self._out and self._out[0][0] <= index:
            self._out_bytes -= self._out.popleft()[1]

    def on_fetched(self, entries: Sequence[Entry]) -> None:
        """The entries that were asked for, or a prefix of them.

        Some may have been delivered meanwhile: they were accepted once more, in a later ballot, and so in memory.
        """
        assert entries[0].index <= self.delivered + 1, "what was fetched is not what is delivered next"
        self._fetched.extend([entry for entry in entries if entry.index > self.delivered])

    def take(self) -> Sequence[Entry]:
        """What may be delivered now."""
        limit = self._core.deliverable
        if self.delivered >= limit:
            return ()
        room = self._core.options.limits.deliver_bytes_max - self._out_bytes
        entries: list[Entry] = []
        size = 0
        while self.delivered + len(entries) < limit:
            entry = self._next(self.delivered + len(entries) + 1)
            if entry is None:
                self._fetch(self.delivered + len(entries) + 1, limit)
                break
            size += len(entry.encoded)
            if size > room and (entries or self._out):
                size -= len(entry.encoded)
                break
            if self._fetched:
                self._fetched.popleft()
            entries.append(entry)
        if entries:
            self.delivered = entries[-1].index
            self._out.append((self.delivered, size))
            self._out_bytes += size
        return entries

    def _next(self, slot: int) -> Entry | None:
        return self._fetched[0] if self._fetched else self._core.slots.get(slot)

    def _fetch(self, slot: int, limit: int) -> None:
        purpose = ForDelivery()
        if not self._core.is_fetching(purpose):
            self._core.fetch(*self._core.slots.missing(slot, limit), purpose)
