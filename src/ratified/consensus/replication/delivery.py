"""Handing committed entries to the state machine (rule 5 of the contract).

Entries leave in order and once. At most ``deliver_entries_max`` of them, of ``deliver_bytes_max`` encoded bytes, are
out and not yet applied (rule 15), and one entry always may be. What is no longer in memory is fetched first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from ratified.consensus.contract import Entry, Limits, Size, Sizes
from ratified.consensus.replication.outbox import Outbox

FOR_DELIVERY = "delivery"
"""The purpose of a fetch whose entries are to be handed to the store."""


class Source(Protocol):
    """Where the entries are: a ``History``, or the slots of Paxos."""

    def batch(self, first: int, last: int, bytes_max: int) -> tuple[Sequence[Entry], int]:
        """The entries from ``first`` on that fit into ``bytes_max``, one at the least, and their bytes.

        None of them: ``first`` is not in memory, and to be fetched.
        """

    def missing(self, first: int, last: int) -> tuple[int, int]:
        """The range to fetch: from ``first``, which is not in memory, no further than ``last``."""


class Delivery:
    """How far entries were delivered and applied."""

    __slots__ = ("_fetched", "_limits", "_out", "_out_bytes", "_outbox", "applied", "delivered", "is_held")

    def __init__(self, applied: int, limits: Limits, outbox: Outbox) -> None:
        self.applied = applied
        self.delivered = applied
        self._limits = limits
        self._outbox = outbox
        self._fetched: list[Entry] = []
        self._out: deque[tuple[int, int]] = deque()
        self._out_bytes = 0
        self.is_held = False
        """The store is being switched to a snapshot: nothing is delivered before it is."""

    def installed(self, index: int) -> None:
        """The store is another one, with everything up to ``index``; what was on its way to the former is not asked for
        any more."""
        self.is_held = False
        self.applied = self.delivered = index
        self._fetched.clear()
        self._out.clear()
        self._out_bytes = 0

    def on_applied(self, index: int) -> None:
        assert index <= self.delivered, f"entry {index} was applied and never delivered"
        self.applied = max(self.applied, index)
        while self._out and self._out[0][0] <= index:
            self._out_bytes -= self._out.popleft()[1]

    def on_fetched(self, entries: Sequence[Entry]) -> None:
        """The entries that were asked for, or a prefix of them.

        Some may have been delivered meanwhile: a slot of Paxos that is accepted once more, in a later ballot, is in
        memory again.
        """
        assert entries[0].index <= self.delivered + 1, "what was fetched is not what is delivered next"
        self._fetched += [entry for entry in entries if entry.index > self.delivered]

    def take(self, source: Source, limit: int) -> Sequence[Entry]:
        """What may be delivered now, with an index of at most ``limit``."""
        taken: Sequence[Entry] = ()
        if self.is_held:
            return taken
        size = 0
        limit = min(limit, self._end_of_turn())
        while self.delivered < limit:
            first = self.delivered + 1
            room = self._limits.deliver_bytes_max - self._out_bytes - size
            entries, more = self._next_fetched(room, limit) if self._fetched else source.batch(first, limit, room)
            if not entries:
                self._outbox.fetch(source.missing(first, limit), FOR_DELIVERY)
                break
            if more > room and (taken or self._out):
                break  # one entry alone, and no room for it beside what is out
            del self._fetched[: len(entries)]
            taken = [*taken, *entries] if taken else entries
            size += more
            self.delivered = entries[-1].index
        if taken:
            self._out.append((self.delivered, size))
            self._out_bytes += size
        return taken

    def sizes(self) -> Sizes:
        return {"entries delivered and not applied": Size(len(self._out)), "entries fetched": Size(len(self._fetched))}

    def _end_of_turn(self) -> int:
        """The last index that may be out until more is applied."""
        return self.applied + max(self._limits.deliver_entries_max, 1)

    def _next_fetched(self, room: int, limit: int) -> tuple[Sequence[Entry], int]:
        size = 0
        for position, entry in enumerate(self._fetched):
            size += len(entry.encoded)
            if (size > room or entry.index > limit) and position:
                return self._fetched[:position], size - len(entry.encoded)
        return self._fetched[:], size
