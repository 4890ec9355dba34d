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
4. What was proposed and is not applied after ``retry_us`` is proposed again; doing it twice is harmless.
"""

from __future__ import annotations

import heapq

from ratified.kv.leases import Leases
from ratified.machine import Era

SECOND = 1_000_000


class Lessor:
    """The clock of the leases, all times in microseconds and handed in."""

    def __init__(self, leases: Leases, retry_us: int, expiries_max: int) -> None:
        self._leases = leases
        self._retry_us = retry_us
        self._expiries_max = expiries_max
        self._era: Era | None = None
        self._announced_at: int | None = None
        self._expiry: dict[int, int] = {}
        self._ending: set[int] = set()
        """Leases whose expiry was proposed in this era."""
        self._queue: list[tuple[int, int]] = []
        """(when to look, id): one entry a lease, at or before its expiry."""
        self._fresh: list[int] = []

    @property
    def era(self) -> Era | None:
        """The era in which we lead, or None."""
        return self._era

    def lead(self, now: int, era: Era | None) -> None:
        """Begin to lead, remembering nothing of before; None: end it."""
        self._era = era
        self._announced_at = None
        self._expiry = {}
        self._ending = set()
        self._queue = []
        self._fresh = []
        if era is not None:
            self._fresh = self._leases.ids()
            self._start_fresh(now)

    def on_granted(self, lease: int) -> None:
        """A lease was granted by a command."""
        if self._era is not None:
            self._fresh.append(lease)

    def on_ended(self, lease: int) -> None:
        """A lease was revoked, or has expired, by a command."""
        self._expiry.pop(lease, None)
        self._ending.discard(lease)

    def must_announce(self, now: int, stored: Era) -> bool:
        """Whether the command that tells the store our era is due."""
        if self._era is None or stored == self._era:
            return False
        if self._announced_at is not None and now < self._announced_at + self._retry_us:
            return False
        self._announced_at = now
        return True

    def expired(self, now: int) -> list[int]:
        """The leases whose expiry is to be proposed now, at most ``expiries_max``."""
        self._start_fresh(now)
        due: list[int] = []
        while self._queue and self._queue[0][0] <= now and len(due) < self._expiries_max:
            _, lease = heapq.heappop(self._queue)
            expiry = self._expiry.get(lease)
            if expiry is None:
                continue
            if expiry <= now:
                due.append(lease)
                self._ending.add(lease)
            heapq.heappush(self._queue, (expiry if expiry > now else now + self._retry_us, lease))
        return due

    def deadline(self, stored: Era) -> int | None:
        """When to ask next."""
        if self._era is None:
            return None
        if stored != self._era:
            return None if self._announced_at is None else self._announced_at + self._retry_us
        return self._queue[0][0] if self._queue else None

    def keep_alive(self, now: int, lease: int) -> int:
        """Begin the lease's time anew, from ``now``; gives it in seconds, 0 where the lease is over or unknown."""
        self._start_fresh(now)
        expiry, row = self._expiry.get(lease), self._leases.get(lease)
        if expiry is None or row is None or expiry <= now or lease in self._ending:
            return 0
        self._expiry[lease] = max(expiry, now + row.ttl * SECOND)
        return row.ttl

    def remaining_us(self, now: int, lease: int) -> int | None:
        """How long the lease lives on unless it is kept alive; None: unknown."""
        self._start_fresh(now)
        expiry = self._expiry.get(lease)
        return None if expiry is None else max(expiry - now, 0)

    def _start_fresh(self, now: int) -> None:
        for lease in self._fresh:
            row = self._leases.get(lease)
            if row is not None and lease not in self._expiry:
                self._expiry[lease] = now + row.ttl * SECOND
                heapq.heappush(self._queue, (self._expiry[lease], lease))
        self._fresh.clear()
