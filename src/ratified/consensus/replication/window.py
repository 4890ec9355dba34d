"""What is in flight to one peer, and how much a message may hold (rule 10 of the contract).

Rules of this file:

1. A window counts messages and bytes, whichever limit is reached first. One message always may be in flight.
2. It begins with the bytes of one message, and grows by what is answered: twice as much in each round trip. When a
   session was lost it begins again, for nobody knows yet whether the peer answers. Where a message that overtakes
   another one ends all that is under way, it begins with one message, and grows in the same way.
3. Messages are answered in the order in which they were sent, or not at all: a session keeps order. An answer to one
   shows that what was sent before it and is not answered was lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ratified.consensus.contract import Entry, Limits


class Window:
    """The messages with entries that a peer has not answered yet."""

    __slots__ = ("_bytes", "_bytes_max", "_in_flight", "_limits", "_messages_first", "_messages_max")

    def __init__(self, limits: Limits, messages_first: int | None = None) -> None:
        """``messages_first`` may be in flight at first; None: as many as ever."""
        self._limits = limits
        self._messages_first = limits.inflight_messages_max if messages_first is None else messages_first
        self._in_flight: deque[tuple[int, int, int, int]] = deque()
        """Of each message: its first and last index, its bytes, the heartbeat after which it was sent."""
        self._bytes = 0
        self._messages_max: int
        """How many may be in flight by now."""
        self._bytes_max: int
        """How many bytes they may have, all but the last of them."""
        self._begin()

    def _begin(self) -> None:
        self._messages_max = min(self._messages_first, self._limits.inflight_messages_max)
        self._bytes_max = self.bytes_first()

    def __len__(self) -> int:
        """How many messages are in flight."""
        return len(self._in_flight)

    def bytes_first(self) -> int:
        return min(self._limits.bytes_per_message_max, self._limits.inflight_bytes_max)

    def has_room(self) -> bool:
        return not self._in_flight or (len(self._in_flight) < self._messages_max and self._bytes < self._bytes_max)

    def sent(self, first: int, last: int, size: int, beat: int = 0) -> None:
        """The entries ``first`` to ``last``, ``size`` bytes in all, are on their way in one message."""
        self._in_flight.append((first, last, size, beat))
        self._bytes += size

    def acknowledged(self, index: int) -> None:
        while self._in_flight and self._in_flight[0][1] <= index:
            self._answered()

    def answered(self, first: int, last: int) -> list[tuple[int, int]]:
        """The peer has ``first`` to ``last``; the ranges that were sent before these and are lost."""
        lost: list[tuple[int, int]] = []
        for position, flight in enumerate(self._in_flight):
            if first <= flight[0] and flight[1] <= last:
                lost = [self._pop() for _ in range(position)]
                self._answered()
                break
        return lost

    def overdue(self, beat: int) -> tuple[int, int] | None:
        """The range of the oldest message, no longer in flight, if it was sent before heartbeat ``beat``."""
        return self._pop() if self._in_flight and self._in_flight[0][3] < beat else None

    def clear(self) -> None:
        """The session ended or began: what was in flight is gone, and so may be its answers."""
        self._in_flight.clear()
        self._bytes = 0
        self._begin()

    def _answered(self) -> None:
        before = self._bytes
        self._pop()
        self._messages_max = min(self._messages_max + 1, self._limits.inflight_messages_max)
        self._bytes_max = min(self._bytes_max + before - self._bytes, self._limits.inflight_bytes_max)

    def _pop(self) -> tuple[int, int]:
        first, last, size, _ = self._in_flight.popleft()
        self._bytes -= size
        return first, last


def fitting(entries: Sequence[Entry], limits: Limits) -> tuple[Sequence[Entry], int]:
    """As many of ``entries``, from the front, as one message holds, one at the least; and their bytes."""
    size = len(entries[0].encoded)
    for position in range(1, min(len(entries), limits.entries_per_message_max)):
        following = len(entries[position].encoded)
        if size + following > limits.bytes_per_message_max:
            return entries[:position], size
        size += following
    return entries[: max(limits.entries_per_message_max, 1)], size
