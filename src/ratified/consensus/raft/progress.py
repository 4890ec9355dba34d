"""How far one peer is, as its leader sees it (figure 2, ``nextIndex`` and ``matchIndex``).

Two states:

- PROBE: the leader does not know where the logs meet. It asks once and waits; ``next`` moves on answers only. The
  textbook never leaves this state.
- REPLICATE: the logs meet at ``match``. Entries are sent ahead of the answers and ``next`` moves when they are sent,
  within a window of messages and bytes that are not answered yet. A refusal or a new session leads back to PROBE.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from ratified.consensus.contract import Limits


class Mode(Enum):
    """How entries are sent to a peer."""

    PROBE = "probe"
    REPLICATE = "replicate"


class PeerProgress:
    """One peer of a leader."""

    __slots__ = (
        "answered",
        "commit_told",
        "due",
        "fetching",
        "heard",
        "in_flight",
        "in_flight_bytes",
        "match",
        "mode",
        "next",
        "round",
    )

    def __init__(self, next_index: int, mode: Mode, now: int) -> None:
        self.match = 0
        self.next = next_index
        self.mode = mode
        self.due = mode is Mode.PROBE
        """An AppendEntries is to be sent now, even one without entries."""
        self.in_flight: deque[tuple[int, int]] = deque()
        """REPLICATE: last index and bytes of each message with entries that was not answered yet."""
        self.in_flight_bytes = 0
        self.answered = True
        """Did an answer to an AppendEntries arrive since the last heartbeat?"""
        self.commit_told = 0
        """The commit index that the peer learns from what was sent to it."""
        self.round = 0
        """The latest read round that the peer answered."""
        self.heard = now
        """When an answer last arrived (microseconds); an election counts as one."""
        self.fetching: int | None = None
        """The token under which entries for this peer are being fetched."""

    def has_room(self, limits: Limits) -> bool:
        """May one more message with entries be sent (REPLICATE)? One always may."""
        return not self.in_flight or (
            len(self.in_flight) < limits.inflight_messages_max and self.in_flight_bytes < limits.inflight_bytes_max
        )

    def sent(self, last: int, size: int) -> None:
        """Entries up to ``last``, ``size`` bytes in all, are on their way in one message (REPLICATE)."""
        self.in_flight.append((last, size))
        self.in_flight_bytes += size
        self.next = last + 1

    def acknowledged(self, match: int) -> None:
        """The logs are equal up to ``match`` (figure 2: "if successful")."""
        self.match = max(self.match, match)
        self.next = max(self.next, self.match + 1)
        while self.in_flight and self.in_flight[0][0] <= match:
            self.in_flight_bytes -= self.in_flight.popleft()[1]

    def replicate(self) -> None:
        """The logs are known to meet at ``match``: send ahead from there."""
        self.mode = Mode.REPLICATE
        self.next = self.match + 1
        self.due = False
        self._forget_what_is_under_way()

    def probe(self, next_index: int) -> None:
        """Ask where the logs meet, beginning before ``next_index``."""
        self.mode = Mode.PROBE
        self.next = max(next_index, self.match + 1, 1)
        self.due = True
        self.commit_told = 0
        self._forget_what_is_under_way()

    def reset(self) -> None:
        """The session ended or began: what was in flight is gone, and so may be its answers."""
        self.probe(self.match + 1 if self.match else self.next)

    def _forget_what_is_under_way(self) -> None:
        self.in_flight.clear()
        self.in_flight_bytes = 0
