"""One follower, as its leader sees it, over one link (ZooKeeper's LearnerHandler).

``next`` moves when entries are sent, within a window; ``match`` when they are acknowledged. The link is FIFO and
checked, so nothing is ever sent twice: what is lost ends the link. So the window begins with one message: whatever
becomes of the next ones, a link brings its follower nearer.
"""

from __future__ import annotations

from enum import Enum

from ratified.consensus.contract import Limits
from ratified.consensus.replication.window import Window
from ratified.consensus.zab.link import Link
from ratified.consensus.zab.messages import AckEpoch


class Stage(Enum):
    """How far a follower has come."""

    CONNECTED = "connected"
    """Its CEPOCH is here; no epoch was offered yet."""
    OFFERED = "epoch offered"
    ACCEPTED = "epoch accepted"
    SNAPSHOT = "snapshot"
    """The histories meet below what the leader still has: NEWLEADER follows when the snapshot is installed."""
    SYNCHRONISING = "synchronising"
    """NEWLEADER was sent."""
    SYNCHRONISED = "synchronised"
    """It has acknowledged NEWLEADER."""
    UP_TO_DATE = "up to date"
    """UPTODATE was sent."""


_HAS_ACKNOWLEDGED = (Stage.SYNCHRONISED, Stage.UP_TO_DATE)
_TAKES_ENTRIES = (Stage.SYNCHRONISING, *_HAS_ACKNOWLEDGED)


class PeerProgress:
    __slots__ = ("commit_told", "history", "link", "match", "next", "sent_at_ping", "stage", "window")

    def __init__(self, link: Link, limits: Limits) -> None:
        self.link = link
        self.stage = Stage.CONNECTED
        self.history: AckEpoch | None = None
        """What it said of its history when it accepted the epoch."""
        self.match = 0
        """The histories are equal up to here, durably at the follower."""
        self.next = 0
        self.window = Window(limits, messages_first=limits.inflight_messages_first)
        self.commit_told = 0
        self.sent_at_ping = 0
        """How many messages of the lane of the entries had been made at the last PING."""

    @property
    def takes_entries(self) -> bool:
        return self.stage in _TAKES_ENTRIES

    @property
    def has_acknowledged(self) -> bool:
        """NEWLEADER: it counts in quorums (the paper's Q)."""
        return self.stage in _HAS_ACKNOWLEDGED

    def sent(self, last: int, size: int) -> None:
        """Entries up to ``last``, ``size`` bytes in all, are on their way in one message."""
        self.window.sent(self.next, last, size)
        self.next = last + 1

    def acknowledged(self, index: int) -> None:
        self.match = max(self.match, index)
        self.window.acknowledged(index)
