"""How far one peer is, as its leader sees it (figure 2, ``nextIndex`` and ``matchIndex``).

Two states:

- PROBE: the leader does not know where the logs meet. It asks once and waits; ``next`` moves on answers only. The
  textbook never leaves this state.
- REPLICATE: the logs meet at ``match``. Entries are sent ahead of the answers and ``next`` moves when they are sent,
  within a window. A refusal or a new session leads back to PROBE.
"""

from __future__ import annotations

from enum import Enum

from ratified.consensus.contract import Limits
from ratified.consensus.replication.window import Window


class Mode(Enum):
    """How entries are sent to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"


class PeerProgress:
    __slots__ = ("answered", "commit_told", "due", "match", "mode", "next", "sendable", "window")

    def __init__(self, next_index: int, mode: Mode, limits: Limits, sendable: int = 1) -> None:
        self.sendable = sendable
        """The first entry that the leader's log still has."""
        self.match = 0
        self.next = next_index
        self.mode = mode
        self.due = mode is Mode.PROBE
        """An AppendEntries is to be sent now, even one without entries."""
        self.window = Window(limits)
        """REPLICATE: what was sent and is not answered yet."""
        self.answered = True
        """Did an answer to an AppendEntries arrive since the last heartbeat?"""
        self.commit_told = 0
        """The commit index that the peer learns from what was sent to it."""

    def sent(self, last: int, size: int) -> None:
        """Entries up to ``last``, ``size`` bytes in all, are on their way in one message (REPLICATE)."""
        self.window.sent(self.next, last, size)
        self.next = last + 1

    def acknowledged(self, match: int) -> None:
        """The logs are equal up to ``match`` (figure 2: "if successful")."""
        self.match = max(self.match, match)
        self.next = max(self.next, self.match + 1)
        self.window.acknowledged(match)

    def replicate(self) -> None:
        """The logs are known to meet at ``match``: send ahead from there."""
        self.mode = Mode.REPLICATE
        self.next = max(self.match + 1, self.sendable)
        self.due = False
        self.window.clear()

    def probe(self, next_index: int) -> None:
        """Ask where the logs meet, beginning before ``next_index``."""
        self.mode = Mode.PROBE
        self.next = max(next_index, self.match + 1, self.sendable)
        self.due = True
        self.commit_told = 0
        self.window.clear()

    def compacted(self, base: int) -> None:
        """The leader's log begins behind ``base``, up to which the peer has everything."""
        self.sendable = base + 1
        self.next = max(self.next, self.sendable)

    def reset(self) -> None:
        """The session ended or began: what was in flight is gone, and so may be its answers."""
        self.probe(self.match + 1 if self.match else self.next)
