"""When leases end: known to the leader alone, and to nobody when there is none.

Rules
1. A lease lives its full time to live after it was granted or last kept alive, and after a new leader began: never
   less by the grantor's clock. Applying knows no time, so a lease that is granted while we lead counts from the next
   time at which we are told one, which is later.
2. The first command of an era tells the store the era; until it is applied nothing else is proposed and nobody is
   answered. An expiry carries its era and is ignored under any other, so a deposed leader ends no lease of its
   successor's.
3. A lease that has run out is over, even while its expiry is on its way: keeping it alive answers that it is gone,
   also if that was asked before the lease ran out and is only now confirmed.
4. Nothing is proposed twice in an era: whoever drives us proposes what it was handed until the era ends.
"""

from __future__ import annotations

import heapq

from ratified.kv.leases import Leases
from ratified.machine import Era

SECOND = 1_000_000


class Lessor:
    """The clock of the leases, all times in microseconds and handed in."""

    def __init__(self, leases: Leases, expiries_max: int) -> None:
        self._leases = leases
        self._expiries_max = expiries_max
        self._era: Era | None = None
        self._announced = False
        self._expiry: dict[int, int] = {}
        """When each lease runs out; one whose expiry was proposed has none any more."""
        self._queue: list[tuple[int, int, int]] = []
        """(when to look, id, index that granted it): one entry a lease, at or before its expiry."""
        self._fresh: list[int] = []

    @property
    def era(self) -> Era | None:
        """The era in which we lead, or None."""
        return self._era

    def lead(self, now: int, era: Era | None) -> None:
        """Begin to lead, remembering nothing of before; None: end it."""
        self._era = era
        self._announced = False
        self._expiry = {}
        self._queue = []
        self._fresh = []
        if era is not None:
            self._fresh = self._leases.ids()
            self._start_fresh(now)

    def on_replaced(self) -> None:
        """The leases are those of another state, which the whole time is left to."""
        if self._era is not None:
            self._expiry, self._queue, self._fresh = {}, [], self._leases.ids()

    def on_granted(self, lease: int) -> None:
        if self._era is not None:
            self._fresh.append(lease)

    def on_ended(self, lease: int) -> None:
        self._expiry.pop(lease, None)

    def must_announce(self, stored: Era) -> bool:
        """Whether the command that tells the store our era is still to be proposed."""
        if self._era is None or self._announced or stored == self._era:
            return False
        self._announced = True
        return True

    def expired(self, now: int) -> list[int]:
        """The leases whose expiry is to be proposed now, at most ``expiries_max``."""
        self._start_fresh(now)
        due: list[int] = []
        while self._queue and self._queue[0][0] <= now and len(due) < self._expiries_max:
            _, lease, granted = heapq.heappop(self._queue)
            expiry, row = self._expiry.get(lease), self._leases.get(lease)
            if expiry is None or row is None or row.granted != granted:
                continue
            if expiry > now:
                heapq.heappush(self._queue, (expiry, lease, granted))
            else:
                due.append(lease)
                del self._expiry[lease]
        return due

    def deadline(self, stored: Era) -> int | None:
        """When to ask next; None: when something was applied."""
        if self._era is None or stored != self._era or not self._queue:
            return None
        return self._queue[0][0]

    def keep_alive(self, now: int, lease: int) -> int:
        """Begin the lease's time anew, from ``now``; gives it in seconds, 0 where the lease is over or unknown."""
        self._start_fresh(now)
        expiry, row = self._expiry.get(lease), self._leases.get(lease)
        if expiry is None or row is None or expiry <= now:
            return 0
        self._expiry[lease] = max(expiry, now + row.ttl * SECOND)
        return row.ttl

    def remaining_us(self, now: int, lease: int) -> int | None:
        """How long the lease lives on unless it is kept alive; None: there is none."""
        self._start_fresh(now)
        if lease not in self._leases:
            return None
        return max(self._expiry.get(lease, now) - now, 0)

    def _start_fresh(self, now: int) -> None:
        """Begin the time of what was granted since we were last told the time."""
        for lease in self._fresh:
            row = self._leases.get(lease)
            if row is not None and lease not in self._expiry:
                self._expiry[lease] = now + row.ttl * SECOND
                heapq.heappush(self._queue, (self._expiry[lease], lease, row.granted))
        self._fresh.clear()
