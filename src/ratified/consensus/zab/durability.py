"""What of this member's history and epochs the disk has (rules 2 and 4 of the contract).

A write in flight stands for the history up to ``last``, and for the two epochs. A truncation clips it: what was cut
off may reach the disk, but it is no longer the entry at that index, so it must never be acknowledged or counted.
"""

from __future__ import annotations

from collections import deque


class WriteInFlight:
    """One write that was handed out and is not yet durable."""

    __slots__ = ("accepted_epoch", "current_epoch", "last", "since", "ticket")

    def __init__(self, ticket: int, last: int, accepted_epoch: int, current_epoch: int, since: int) -> None:
        self.ticket = ticket
        self.last = last
        self.accepted_epoch = accepted_epoch
        self.current_epoch = current_epoch
        self.since = since


class Durability:
    """The durable index and epochs, and the writes under way."""

    __slots__ = ("_in_flight", "accepted_epoch", "current_epoch", "done", "index", "issued")

    def __init__(self, index: int, accepted_epoch: int, current_epoch: int) -> None:
        self.index = index
        self.accepted_epoch = accepted_epoch
        self.current_epoch = current_epoch
        self.issued = 0
        """The last ticket that was given out."""
        self.done = 0
        """The last ticket that is durable."""
        self._in_flight: deque[WriteInFlight] = deque()

    @property
    def waiting_since(self) -> int | None:
        """When the oldest write in flight was handed out (microseconds)."""
        return self._in_flight[0].since if self._in_flight else None

    def issue(self, last: int, accepted_epoch: int, current_epoch: int, now: int) -> int:
        """Hand out a ticket for a write after which the disk has the history up to ``last``, and the epochs."""
        self.issued += 1
        self._in_flight.append(WriteInFlight(self.issued, last, accepted_epoch, current_epoch, now))
        return self.issued

    def persisted(self, ticket: int) -> None:
        """This write and all earlier ones are durable."""
        assert ticket <= self.issued, f"ticket {ticket} was never given out"
        while self._in_flight and self._in_flight[0].ticket <= ticket:
            write = self._in_flight.popleft()
            self.done = write.ticket
            self.index = max(self.index, write.last)
            self.accepted_epoch = write.accepted_epoch
            self.current_epoch = write.current_epoch

    def truncated(self, first: int) -> None:
        """The history now ends before ``first``: what is durable, and what will be, is clipped to that."""
        self.index = min(self.index, first - 1)
        self.clip(first - 1)

    def clip(self, last: int) -> None:
        """No write in flight stands for anything behind ``last``."""
        for write in self._in_flight:
            write.last = min(write.last, last)
