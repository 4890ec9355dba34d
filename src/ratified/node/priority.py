"""Which member operators would have lead: a hint, never in the way of anybody who leads or is elected.

Rules:

1. Every member has a priority, and says it in its Hello. Elections know nothing of it: who dies is replaced by whoever
   is first.
2. A leader hands a group over to a member of higher priority than its own: the highest one of those that have been in
   session for ``PATIENCE_TIMEOUTS``, vote in the group, have room on their disks, and lack few entries (``LACKS_MAX``).
3. It looks once in so many timeouts while somebody of higher priority is in session, at ``GROUPS_A_LOOK`` groups at a
   time. What does not come off is tried again at the next look.
"""

from __future__ import annotations

from collections.abc import Iterable

from ratified.consensus.contract import Status
from ratified.node.config import NodeConfig
from ratified.node.peers import PeerSessions, Session
from ratified.node.timers import Timer, Timers

PATIENCE_TIMEOUTS = 3
"""In election timeouts: whoever comes and goes is left alone."""
LACKS_MAX = 1000
"""Entries that its successor may still need: nothing is taken until it has them."""
GROUPS_A_LOOK = 64


class Priority:
    def __init__(self, config: NodeConfig, peers: PeerSessions, timers: Timers) -> None:
        self._config = config
        self._peers = peers
        self._timers = timers
        self._patience_us = PATIENCE_TIMEOUTS * config.election_timeout_us
        self._due: int | None = None
        """When to look next; None: nobody in session has a higher priority."""
        self._groups_left: list[int] = []
        """Those that this node led at the last look, and that are still to be looked at."""

    def on_session(self, now: int, session: Session | None) -> None:
        if session is not None and session.priority > self._config.priority and self._due is None:
            self._look_at(now + self._patience_us)

    def on_time(self, now: int, led: Iterable[int]) -> tuple[list[int], list[int]]:
        """It is time to look: at which groups of those that this node leads, and who is preferred, best first."""
        self._due = None
        preferred = [session for session in self._peers.sessions() if session.priority > self._config.priority]
        if not preferred:
            self._groups_left = []
            return [], []
        groups = self._groups_left or list(led)
        groups, self._groups_left = groups[:GROUPS_A_LOOK], groups[GROUPS_A_LOOK:]
        self._look_at(now + (self._config.heartbeat_us if self._groups_left else self._patience_us))
        patient = [session for session in preferred if session.opened_at + self._patience_us <= now]
        patient.sort(key=lambda session: (-session.priority, session.member))
        return groups, [session.member for session in patient]

    def _look_at(self, due: int) -> None:
        self._due = due
        self._timers.set(Timer.PRIORITY, 0, due)


def may_lead(status: Status, member: int) -> bool:
    """Does it vote, and has it nearly everything that the leader of this status has?"""
    progress = status.progress.get(member)
    return member in status.membership.voters and progress is not None and status.last - progress.match <= LACKS_MAX
