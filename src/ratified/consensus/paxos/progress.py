"""How far one peer is, as its leader sees it: which slots it has accepted in the leader's ballot, what is under way.

Proposals are sent ahead of the answers, at most ``inflight_messages_max`` messages unanswered. What is answered behind
something unanswered shows that the latter was lost (a session keeps order): it is sent again. So is the oldest message
that had no answer for a whole heartbeat.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ratified.consensus.paxos.spans import Spans


class Flight(NamedTuple):
    """An Accept under way: its slots, and the heartbeat after which it was sent."""

    first: int
    last: int
    beat: int


class PeerProgress:
    """One peer of a leader."""

    __slots__ = ("_resends", "accepted", "chosen_told", "heard", "in_flight", "next", "resend", "round")

    def __init__(self, first: int, now: int, *, resends: bool) -> None:
        self._resends = resends
        """Without, what is lost inside a session stays lost (the extension ``resend``)."""
        self.accepted = Spans()
        self.next = first
        """The next slot to send."""
        self.in_flight: deque[Flight] = deque()
        self.resend: deque[tuple[int, int]] = deque()
        """What was lost on its way."""
        self.chosen_told = 0
        """The chosen prefix that the peer learns from what was sent to it."""
        self.round = 0
        """The latest read round that the peer answered."""
        self.heard = now
        """When an answer last arrived (microseconds); phase 1 counts as one."""

    def wanted(self, last: int) -> tuple[int, int]:
        """The range to send next, up to ``last`` where nothing was lost; perhaps empty."""
        if self.resend:
            return self.resend[0]
        return self.accepted.reach(self.next) + 1, last

    def sent(self, first: int, last: int, beat: int) -> None:
        """The front of what was wanted is on its way."""
        if self.resend:
            _, end = self.resend.popleft()
            if last < end:
                self.resend.appendleft((last + 1, end))
        else:
            self.next = last + 1
        self.in_flight.append(Flight(first, last, beat))

    def answered(self, first: int, last: int) -> None:
        """The peer has accepted ``first`` to ``last``."""
        self.accepted.add(first, last)
        for position, flight in enumerate(self.in_flight):
            if first <= flight.first and flight.last <= last:
                for _ in range(position):
                    self._lost(self.in_flight.popleft())
                self.in_flight.popleft()
                return

    def beat(self, beat: int) -> None:
        """A heartbeat is due: what was sent before the last one and not answered yet may be lost."""
        if self.in_flight and self.in_flight[0].beat < beat - 1:
            self._lost(self.in_flight.popleft())

    def _lost(self, flight: Flight) -> None:
        if self._resends:
            self.resend.append((flight.first, flight.last))

    def reset(self, first_open: int) -> None:
        """The session ended or began: what was in flight is gone, and so may be its answers."""
        self.in_flight.clear()
        self.resend.clear()
        self.next = first_open
        self.chosen_told = 0
