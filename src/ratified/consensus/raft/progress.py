"""How far one peer is, as its leader sees it (figure 2, ``nextIndex`` and ``matchIndex``).

Three states:

- PROBE: the leader does not know where the logs meet. It asks once and waits; ``next`` moves on answers only. The
  textbook never leaves this state.
- REPLICATE: the logs meet at ``match``. Entries are sent ahead of the answers and ``next`` moves when they are sent,
  within a window. A refusal or a new session leads back to PROBE.
- SNAPSHOT: the peer lacks what is gone from the leader's log (section 7). No entries are sent until the snapshot has
  arrived, or an answer shows that the peer is as far by other means; heartbeats go on.
"""

from __future__ import annotations

from enum import Enum

from ratified.consensus.contract import Limits
from ratified.consensus.replication.window import Window


class Mode(Enum):
    """How entries are sent to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


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

    @property
    def is_overdue(self) -> bool:
        """A heartbeat is due: does it wait for an answer, and nothing came since the last one?"""
        in_flight = self.mode is Mode.REPLICATE and self.match + 1 < self.next
        return self.mode is Mode.PROBE or (in_flight and not self.answered)

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

    def await_snapshot(self) -> None:
        """What it needs next is gone from the log, and a snapshot on its way."""
        self.mode = Mode.SNAPSHOT
        self.next = max(self.next, self.sendable)
        self.due = False
        self.commit_told = 0
        self.window.clear()

    def pause(self, next_index: int) -> None:
        """The same question as in ``probe``, with the next heartbeat."""
        self.probe(next_index)
        self.due = False

    def compacted(self, base: int) -> None:
        """The leader's log begins behind ``base``: what was not sent up to there cannot be any more."""
        self.sendable = base + 1
        if self.next > base:
            return
        if self.mode is Mode.SNAPSHOT:
            self.next = self.sendable
        else:
            self.probe(self.sendable)

    def reset(self) -> None:
        """The session ended or began: what was in flight is gone, and so may be its answers."""
        self.probe(self.match + 1 if self.match else self.next)
