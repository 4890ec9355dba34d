"""Snapshots on their way: to whom this member has some sent, and which one it installs.

Rules of this file:

1. A snapshot is asked for once for each peer, until the caller says what became of it; sending it may take longer than
   any session, leadership or heartbeat. One that failed is asked for again when the peer's answers show that it still
   needs one, but not before a heartbeat has passed.
2. From ``snapshot_received`` to ``installed`` the log begins where the store does not. Meanwhile nothing is delivered,
   no snapshot is sent, this member does not stand, and nothing that counts its log is acknowledged: what is loaded may
   yet turn out to be damaged.
"""

from __future__ import annotations

from ratified.consensus.contract import Base


class Snapshots:
    __slots__ = ("_failed_at", "_to", "installing", "sender")

    def __init__(self) -> None:
        self.installing: Base | None = None
        """The log begins there, and the store does not yet."""
        self.sender = 0
        """Who sent it."""
        self._to: dict[int, None] = {}
        """The peers that one is under way to."""
        self._failed_at: dict[int, int] = {}
        """By peer, when the last one failed (microseconds)."""

    def may_send(self, peer: int, now: int, pause_us: int) -> bool:
        """Is it time to ask for one?"""
        failed_at = self._failed_at.get(peer)
        return self.installing is None and peer not in self._to and (failed_at is None or now >= failed_at + pause_us)

    def sends(self, peer: int) -> None:
        self._to[peer] = None

    def is_under_way(self, peer: int) -> bool:
        return peer in self._to

    def sent(self, peer: int, now: int, ok: bool) -> None:
        """It has arrived, or never will."""
        self._to.pop(peer, None)
        if ok:
            self._failed_at.pop(peer, None)
        else:
            self._failed_at[peer] = now
