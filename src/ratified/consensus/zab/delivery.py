"""Handing committed entries to the state machine (ZAB: "deliver"; rule 5 of the contract).

Entries leave in order and once. At most ``deliver_bytes_max`` encoded bytes are out and not yet applied, and one entry
always may be. What is no longer in memory is fetched first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ratified.consensus.contract import Entry
from ratified.consensus.zab.log import Log


class Delivery:
    """How far entries were delivered and applied."""

    __slots__ = ("_bytes_max", "_fetched", "_out", "_out_bytes", "applied", "delivered", "fetching")

    def __init__(self, applied: int, bytes_max: int) -> None:
        self.applied = applied
        self.delivered = applied
        self.fetching: int | None = None
        """The token under which entries to deliver are being fetched."""
        self._bytes_max = bytes_max
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
        """The entries that were asked for, or a prefix of them."""
        assert entries[0].index == self.delivered + 1, "what was fetched is not what is delivered next"
        self.fetching = None
        self._fetched.extend(entries)

    def missing(self, log: Log, limit: int) -> tuple[int, int] | None:
        """The range to fetch before delivery can go on; None: nothing is missing."""
        if self.delivered >= limit or self._fetched or self.fetching is not None:
            return None
        first = self.delivered + 1
        return (first, min(limit, log.first_in_memory - 1)) if first < log.first_in_memory else None

    def take(self, log: Log, limit: int) -> Sequence[Entry]:
        """What may be delivered now, with an index of at most ``limit``."""
        if self.delivered >= limit:
            return ()
        room = self._bytes_max - self._out_bytes
        if self._fetched:
            entries = self._take_fetched(room)
        elif self.delivered + 1 >= log.first_in_memory:
            last = log.fit(self.delivered + 1, limit, room)
            entries = log.entries(self.delivered + 1, last if self._out else max(last, self.delivered + 1))
        else:
            return ()
        if entries:
            size = sum([len(entry.encoded) for entry in entries])
            self.delivered = entries[-1].index
            self._out.append((self.delivered, size))
            self._out_bytes += size
        return entries

    def _take_fetched(self, room: int) -> list[Entry]:
        entries: list[Entry] = []
        while self._fetched:
            room -= len(self._fetched[0].encoded)
            if room < 0 and (entries or self._out):
                break
            entries.append(self._fetched.popleft())
        return entries
