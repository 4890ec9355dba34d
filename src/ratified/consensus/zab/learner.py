"""One follower, as its leader sees it, over one link (ZooKeeper's LearnerHandler).

``next`` moves when entries are sent, within a window of messages and bytes that are not acknowledged yet; ``match``
when they are acknowledged. The link is FIFO and checked, so nothing is ever sent twice: what is lost ends the link.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from ratified.consensus.contract import Limits
from ratified.consensus.zab.link import Link
from ratified.consensus.zab.messages import AckEpoch


class Stage(Enum):
    """How far a follower has come."""

    CONNECTED = "connected"
    """Its CEPOCH is here; no epoch was offered yet."""
    OFFERED = "epoch offered"
    ACCEPTED = "epoch accepted"
    SYNCHRONISING = "synchronising"
    """NEWLEADER was sent."""
    SYNCHRONISED = "synchronised"
    """It has acknowledged NEWLEADER."""
    UP_TO_DATE = "up to date"
    """UPTODATE was sent."""


_TAKES_ENTRIES = (Stage.SYNCHRONISING, Stage.SYNCHRONISED, Stage.UP_TO_DATE)


class Learner:
    """A follower's link and progress."""

    __slots__ = (
        "commit_told",
        "fetching",
        "history",
        "in_flight",
        "in_flight_bytes",
        "link",
        "match",
        "next",
        "round",
        "stage",
    )

    def __init__(self, link: Link) -> None:
        self.link = link
        self.stage = Stage.CONNECTED
        self.history: AckEpoch | None = None
        """What it said of its history when it accepted the epoch."""
        self.match = 0
        """The histories are equal up to here, durably at the follower."""
        self.next = 0
        self.in_flight: deque[tuple[int, int]] = deque()
        """Last index and bytes of each message with entries that was not acknowledged yet."""
        self.in_flight_bytes = 0
        self.commit_told = 0
        self.round = 0
        """The latest read round that it answered."""
        self.fetching: int | None = None
        """The token under which entries for it are being fetched."""

    @property
    def takes_entries(self) -> bool:
        """Was NEWLEADER sent?"""
        return self.stage in _TAKES_ENTRIES

    def has_room(self, limits: Limits) -> bool:
        """May one more message with entries be sent? One always may."""
        return not self.in_flight or (
            len(self.in_flight) < limits.inflight_messages_max and self.in_flight_bytes < limits.inflight_bytes_max
        )

    def sent(self, last: int, size: int) -> None:
        """Entries up to ``last``, ``size`` bytes in all, are on their way in one message."""
        self.in_flight.append((last, size))
        self.in_flight_bytes += size
        self.next = last + 1

    def acknowledged(self, index: int) -> None:
        """Everything up to ``index`` is durable at the follower."""
        self.match = max(self.match, index)
        while self.in_flight and self.in_flight[0][0] <= index:
            self.in_flight_bytes -= self.in_flight.popleft()[1]
