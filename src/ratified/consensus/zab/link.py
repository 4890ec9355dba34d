"""The FIFO channel between a follower and its leader, checked.

A link lives inside one session: the follower opens it by a CEPOCH with a number that it has not used before, and
whatever ends the session, or either role, ends the link. A session keeps messages in order, except that what goes at
once may overtake what waits for a disk. So each direction has two *lanes*, each with a count of its own, and a
message's type says which lane it takes. ZAB needs order within a lane only: acknowledgements among themselves,
proposals and commits among themselves. NEWEPOCH, the only message of a leader that waits, is answered before anything
follows it.
"""

from __future__ import annotations

from enum import IntEnum


class Lane(IntEnum):
    """When a message leaves (rule 3 of the contract)."""

    AT_ONCE = 0
    AFTER_WRITE = 1


class Link:
    """One end of a link."""

    __slots__ = ("_received", "_sent", "number")

    def __init__(self, number: int) -> None:
        self.number = number
        self._sent = [0, 0]
        self._received = [0, 0]

    def next(self, lane: Lane) -> int:
        """The number of the next message that leaves in this lane, from 1."""
        self._sent[lane] += 1
        return self._sent[lane]

    def follows(self, lane: Lane, seq: int) -> bool:
        """Is this the very next message of the lane? If so it counts as received."""
        if seq != self._received[lane] + 1:
            return False
        self._received[lane] = seq
        return True
