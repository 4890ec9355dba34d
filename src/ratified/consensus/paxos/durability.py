"""What of this member's promises and accepted values the disk has (rules 2 and 4 of the contract).

A write in flight stands for the promise that it holds, and for (slot, ballot) pairs: a slot that was accepted again in
a later ballot meanwhile is not durable when an earlier write is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ratified.consensus.contract import Era


class WriteInFlight(NamedTuple):
    """One write that was handed out and is not yet durable."""

    ticket: int
    promised: Era
    accepted: Sequence[tuple[int, Era]]
    since: int


class Durability:
    """The durable promise, and the writes under way."""

    __slots__ = ("_in_flight", "issued", "promised")

    def __init__(self, promised: Era) -> None:
        self.promised = promised
        self.issued = 0
        """The last ticket that was given out."""
        self._in_flight: deque[WriteInFlight] = deque()

    @property
    def waiting_since(self) -> int | None:
        """When the oldest write in flight was handed out (microseconds)."""
        return self._in_flight[0].since if self._in_flight else None

    def issue(self, promised: Era, accepted: Sequence[tuple[int, Era]], now: int) -> int:
        """Hand out a ticket for a write with this promise and these accepted slots."""
        self.issued += 1
        self._in_flight.append(WriteInFlight(self.issued, promised, accepted, now))
        return self.issued

    def persisted(self, ticket: int) -> list[tuple[int, Era]]:
        """This write and all earlier ones are durable; the (slot, ballot) pairs that they hold."""
        assert ticket <= self.issued, f"ticket {ticket} was never given out"
        accepted: list[tuple[int, Era]] = []
        while self._in_flight and self._in_flight[0].ticket <= ticket:
            write = self._in_flight.popleft()
            self.promised = write.promised
            accepted += write.accepted
        return accepted
