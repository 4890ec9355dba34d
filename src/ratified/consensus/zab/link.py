"""The FIFO channel between a follower and its leader, checked.

A link lives inside one session: the follower opens it by a CEPOCH with a number that it has not used before, and
whatever ends the session, or either role, ends the link. A session keeps messages in order, except that what goes at
once may overtake what waits for a disk, and a PING what carries entries. So each direction has *lanes*, each with a
count of its own, and a message's type says which lane it takes. ZAB needs order within a lane only: acknowledgements
among themselves, proposals and commits among themselves. NEWEPOCH, the only message of a leader that waits, is answered
before anything follows it.

The session below has two lanes (``consensus.lanes``): a leader's messages that go at once take its long one, all others
its short one.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum


class Lane(IntEnum):
    """When a message leaves (rule 3 of the contract)."""

    AT_ONCE = 0
    AFTER_WRITE = 1
    PING = 2
    """At once, and before the entries that wait for a slow link. RESIGN too, and LINKBROKEN."""


class Answers:
    """How many of a follower's messages that wait for the disk have left it.

    A message leaves when the ticket of the turn in which it was made is durable, and the caller sends it no later than
    in the turn that hears so.
    """

    __slots__ = ("_made", "_tickets", "left")

    def __init__(self) -> None:
        self.left = 0
        self._made = 0
        self._tickets: deque[int] = deque()

    def __len__(self) -> int:
        """How many have not left."""
        return self._made + len(self._tickets)

    def made(self) -> None:
        """One more, in this turn."""
        self._made += 1

    def turn_ends(self, ticket: int) -> None:
        """What was made in this turn leaves with this ticket."""
        self._tickets.extend([ticket] * self._made)
        self._made = 0

    def durable(self, ticket: int) -> None:
        while self._tickets and self._tickets[0] <= ticket:
            self._tickets.popleft()
            self.left += 1


class Link:
    __slots__ = ("_received", "_sent", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._sent = [0] * len(Lane)
        self._received = [0] * len(Lane)

    def next(self, lane: Lane) -> int:
        """The number of the next message that leaves in this lane, from 1."""
        self._sent[lane] += 1
        return self._sent[lane]

    def sent(self, lane: Lane) -> int:
        """How many messages of the lane have left."""
        return self._sent[lane]

    def follows(self, lane: Lane, seq: int) -> bool:
        """Is this the very next message of the lane? If so it counts as received."""
        if seq != self._received[lane] + 1:
            return False
        self._received[lane] = seq
        return True

    def has_received(self, lane: Lane, count: int) -> bool:
        """Are the first ``count`` messages of the lane here?"""
        return self._received[lane] >= count
