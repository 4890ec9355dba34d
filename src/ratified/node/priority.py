"""Which member operators would have lead: a hint, never in the way of anybody who leads or is elected.

Rules:

1. Every member has a priority, and says it in its Hello. Elections know nothing of it: who dies is replaced by whoever
   is first.
2. A leader hands a group over to a member of higher priority than its own: the highest one of those that have been in
   session for ``PATIENCE_TIMEOUTS``, vote in the group, and have room on their disks. It has led for as long itself:
   who gave the lead away on purpose, to stop, does not get it back at once.
3. While a lead is handed over nothing is taken. So it goes only to who has all that this leader had a heartbeat ago, on
   a disk that answers.
4. It looks once in so many timeouts while somebody of higher priority is in session, at ``GROUPS_A_LOOK`` groups at a
   time. Whoever does not lead at the next look what it was handed over is let alone for twice as long each time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from ratified.consensus.contract import Status
from ratified.node.config import NodeConfig
from ratified.node.peers import PeerSessions, Session
from ratified.node.timers import Timer, Timers

PATIENCE_TIMEOUTS = 3
"""In election timeouts: whoever comes and goes is left alone."""
GROUPS_A_LOOK = 64
DOUBLED_MAX = 6
"""So many times the pause is doubled for a member to which the lead does not go, or with which it does not stay."""

StatusOf = Callable[[int], Status]
"""A group's, from its engine."""


class Handover(NamedTuple):
    """Who is to lead a group, once it has all up to ``last``."""

    to: int
    last: int


class _Vain(NamedTuple):
    """A member that was handed a lead which it does not have."""

    times: int
    until: int


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
        self._wanted: dict[int, Handover] = {}
        """By group, as of a heartbeat ago."""
        self._tried: dict[int, int] = {}
        """By group, to whom it was handed over since the last look."""
        self._vain: dict[int, _Vain] = {}

    def on_session(self, now: int, member: int, session: Session | None) -> None:
        self._vain.pop(member, None)
        if session is not None and session.hello.priority > self._config.priority and self._due is None:
            self._look_at(now + self._patience_us)

    def on_time(
        self, now: int, led: Iterable[tuple[int, int]], status_of: StatusOf, full: Collection[int]
    ) -> list[tuple[int, int]]:
        """It is time to look: which groups to hand over, to whom. ``led``: the groups that this node leads, and since
        when; ``full``: who has no room."""
        self._due = None
        if self._wanted:
            self._look_at(now + (self._config.heartbeat_us if self._groups_left else self._patience_us))
            return self._hand_over(status_of)
        preferred = [session for session in self._peers.sessions() if session.hello.priority > self._config.priority]
        if not preferred:
            self._groups_left, self._tried, self._vain = [], {}, {}
            return []
        since = dict(led)
        if not self._groups_left:  # a whole look is over, and what was handed over has had its time
            self._learn_what_was_vain(now, status_of)
        groups = self._groups_left or list(since)
        groups, self._groups_left = groups[:GROUPS_A_LOOK], groups[GROUPS_A_LOOK:]
        best = self._best(now, preferred, full)
        for group in groups if best else ():
            if group in since and since[group] + self._patience_us <= now:
                self._want(group, best, status_of(group))
        more = self._wanted or self._groups_left
        self._look_at(now + (self._config.heartbeat_us if more else self._patience_us))
        return []

    def _best(self, now: int, preferred: Iterable[Session], full: Collection[int]) -> list[int]:
        """Who may be handed a lead, the highest priority first."""
        sessions = [
            session
            for session in preferred
            if session.opened_at + self._patience_us <= now
            and session.member not in full
            and not (session.member in self._vain and now < self._vain[session.member].until)
        ]
        return [session.member for session in sorted(sessions, key=lambda each: (-each.hello.priority, each.member))]

    def _want(self, group: int, best: Iterable[int], status: Status) -> None:
        to = next((member for member in best if member in status.membership.voters), None)
        if to is not None:
            self._wanted[group] = Handover(to, status.last)

    def _hand_over(self, status_of: StatusOf) -> list[tuple[int, int]]:
        wanted, self._wanted = self._wanted, {}
        for group, (to, last) in wanted.items():
            progress = status_of(group).progress.get(to)
            if progress is not None and min(progress.match, progress.acknowledged) >= last:
                self._tried[group] = to
        return [(group, to) for group, to in self._tried.items() if group in wanted]

    def _learn_what_was_vain(self, now: int, status_of: StatusOf) -> None:
        tried, self._tried = self._tried, {}
        for member in dict.fromkeys(tried.values()):
            times = self._vain[member].times if member in self._vain else 0
            if any(status_of(group).leader != to for group, to in tried.items() if to == member):
                pause_us = self._patience_us << min(times + 1, DOUBLED_MAX)
                self._vain[member] = _Vain(times + 1, now + pause_us)
            else:
                self._vain.pop(member, None)

    def _look_at(self, due: int) -> None:
        self._due = due
        self._timers.set(Timer.PRIORITY, 0, due)
