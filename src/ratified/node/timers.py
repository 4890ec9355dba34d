"""All timers of a node: one enum and one table. A new timer is one row of the enum, and whoever sets it.

A timer has a key, which says whose it is, and expires once, at the time to which it was set last. Setting and stopping
cost the same however many timers there are, and so does a turn in which none expires.
"""

from __future__ import annotations

import heapq
from enum import IntEnum


class Timer(IntEnum):
    """What a node waits for, and what its key is."""

    SILENCE = 0
    """Nothing came on a connection for an election timeout. Key: the connection."""
    PING = 1
    """Nothing was sent on a connection for a heartbeat. Key: the connection."""
    LOG_MARK = 2
    """The log rests: mark its end. Key: 0."""
    ENGINE = 3
    """``Engine.deadline``. Key: the group."""
    FORWARDS = 4
    """Forwarded proposals are unanswered: send them again. Key: the group."""
    READS = 5
    """Read barriers are unanswered: ask again. Key: the group."""
    QUESTIONS = 6
    """Questions to the leader are unanswered: ask again. Key: the group."""
    DUTIES = 7
    """A leading store has duties. Key: the group."""
    CONTINUATION = 8
    """``Continuation.deadline``. Key: the token of its request."""
    REQUEST = 9
    """A request's deadline. Key: its token."""
    NOT_BEGUN = 10
    """Say whom this node waits for before it begins. Key: 0."""
    TIDY = 11
    """A store has unseen work left (``Store.untidy``). Key: the group."""
    CHECKPOINT = 12
    """A checkpoint has failed: try again. Key: 0."""
    PUBLISH = 13
    """Publish the own name and client URLs again. Key: 0."""
    STEWARD = 14
    """Look what members that come and go need of a leader. Key: 0."""
    SNAPSHOTS = 15
    """A snapshot on its way is unanswered, or makes no step. Key: the group."""
    MISSED = 16
    """A member was not met for a while. Key: the member."""
    PRIORITY = 17
    """Look whether somebody else is to lead. Key: 0."""


LOOKS_MIN = 256
"""So many entries there may be before those that were left behind are dropped."""


class Timers:
    """When each timer expires, and a heap of when to look at it.

    Most timers are moved later, again and again, before they expire. So each has one entry in the heap that counts, at
    the time of its expiry or before; what is found there too early goes back in. Whoever is moved to before that entry
    gets another one, and the former is left behind.
    """

    def __init__(self) -> None:
        self._times: list[dict[int, int]] = [{} for _ in Timer]
        self._looks: list[dict[int, int]] = [{} for _ in Timer]
        """The time of the entry that counts."""
        self._heap: list[tuple[int, Timer, int]] = []
        self._compact_at = LOOKS_MIN

    def set(self, timer: Timer, key: int, at: int | None) -> None:
        """Have it expire at this time, and at no other; None: stop it."""
        times = self._times[timer]
        if at is None:
            times.pop(key, None)
            return
        times[key] = at
        looks = self._looks[timer]
        look = looks.get(key)
        if look is None or at < look:
            looks[key] = at
            heapq.heappush(self._heap, (at, timer, key))

    def stop(self, timer: Timer, key: int) -> None:
        """Have it not expire."""
        self._times[timer].pop(key, None)

    def is_set(self, timer: Timer, key: int) -> bool:
        return key in self._times[timer]

    def __len__(self) -> int:
        """How many are set."""
        return sum(map(len, self._times))

    @property
    def looks(self) -> int:
        """How many entries there are, those that were left behind among them."""
        return len(self._heap)

    @property
    def deadline(self) -> int | None:
        """When the next one expires; asked once a turn."""
        if len(self._heap) > self._compact_at:
            self._compact()
        heap = self._heap
        while heap:
            at, timer, key = heap[0]
            if self._times[timer].get(key) == at:
                return at
            self._look()
        return None

    def expired(self, now: int) -> list[tuple[Timer, int]]:
        """Take out those whose time has come, in the order of their times."""
        found: list[tuple[Timer, int]] = []
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, timer, key = heap[0]
            if self._times[timer].get(key) == at:
                del self._times[timer][key]
                found.append((timer, key))
            self._look()
        return found

    def _look(self) -> None:
        """Take out the first entry; if it counted, and its timer expires later, put it where that expires."""
        at, timer, key = self._heap[0]
        looks = self._looks[timer]
        later = self._times[timer].get(key)
        if looks.get(key) != at:
            heapq.heappop(self._heap)
        elif later is None:
            del looks[key]
            heapq.heappop(self._heap)
        else:
            looks[key] = later
            heapq.heapreplace(self._heap, (later, timer, key))

    def _compact(self) -> None:
        """Drop what was left behind, once most of the heap may be of that kind: constant cost for each ``set``."""
        self._looks = [dict(times) for times in self._times]
        self._heap = sorted((at, timer, key) for timer in Timer for key, at in self._times[timer].items())
        self._compact_at = max(LOOKS_MIN, 2 * len(self._heap))
