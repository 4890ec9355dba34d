"""The writes that were handed to the disk and are not durable yet (rules 2 and 4 of the contract).

Rules of this file:

1. A ticket numbers a write; writes become durable in ticket order.
2. A write stands for a *claim*, which is the protocol's own (Raft: a term; ZAB: two epochs; Paxos: a promise and the
   ballots of slots), and where the log is a sequence for the log up to ``last``.
3. A truncation clips ``last``: what was cut off may reach the disk, but it is no longer the entry at that index, so it
   must never be acknowledged or counted.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from ratified.consensus.contract import Size, Sizes

Claim = TypeVar("Claim")


class WriteInFlight(Generic[Claim]):
    """One write; durable, it says that the disk has the log up to ``last``, and what is claimed."""

    __slots__ = ("claim", "last", "since", "ticket")

    def __init__(self, ticket: int, last: int, claim: Claim, since: int) -> None:
        self.ticket = ticket
        self.last = last
        self.claim = claim
        self.since = since


class Writes(Generic[Claim]):
    __slots__ = ("_in_flight", "done", "issued")

    def __init__(self) -> None:
        self.issued = 0
        """The last ticket that was given out."""
        self.done = 0
        """The last ticket that is durable."""
        self._in_flight: deque[WriteInFlight[Claim]] = deque()

    @property
    def waiting_since(self) -> int | None:
        """When the oldest write in flight was handed out (microseconds)."""
        return self._in_flight[0].since if self._in_flight else None

    def issue(self, last: int, claim: Claim, now: int) -> int:
        """Hand out a ticket for a write after which the disk has the log up to ``last``, and what is claimed."""
        self.issued += 1
        self._in_flight.append(WriteInFlight(self.issued, last, claim, now))
        return self.issued

    def persisted(self, ticket: int) -> list[WriteInFlight[Claim]]:
        """The writes that are durable now, in ticket order: this one, and earlier ones."""
        assert ticket <= self.issued, f"ticket {ticket} was never given out"
        durable: list[WriteInFlight[Claim]] = []
        while self._in_flight and self._in_flight[0].ticket <= ticket:
            durable.append(self._in_flight.popleft())
            self.done = durable[-1].ticket
        return durable

    def clip(self, last: int) -> None:
        """No write in flight stands for anything behind ``last``."""
        for write in self._in_flight:
            write.last = min(write.last, last)

    def sizes(self) -> Sizes:
        return {"writes in flight": Size(len(self._in_flight))}
