"""When a lease that is kept alive is to be renewed, and when it must be taken for lost. By the holder's own clock: from
when a renewal was *sent*, so that the holder never believes in a lease that the server has ended.
"""

from __future__ import annotations

from ratified.client import calls
from ratified.client.errors import LeaseNotFound
from ratified.client.recipes.steps import Plan, ask

LEASE_TTL_DEFAULT = 30
"""In seconds."""

RENEWALS_PER_TTL = 3
RETRY_S = 0.2
"""After a renewal that failed."""


class Renewals:
    """One lease of ``ttl`` seconds. All times are of one monotonic clock, in seconds."""

    def __init__(self, ttl: int, sent_at: float) -> None:
        self._expires_at = sent_at
        self._due_at = sent_at
        self._gone = False
        self.renewed(ttl, sent_at)

    def renewed(self, ttl: int | None, sent_at: float) -> None:
        """The answer to a renewal; None: the lease is gone."""
        if ttl is None:
            self._gone = True
            return
        self._expires_at = sent_at + ttl
        self._due_at = sent_at + ttl / RENEWALS_PER_TTL

    def failed(self, now: float) -> None:
        """No endpoint has answered."""
        self._due_at = now + RETRY_S

    def lost(self, now: float) -> bool:
        return self._gone or now >= self._expires_at

    def wait_s(self, now: float) -> float:
        """How long until the next renewal, or until it is lost."""
        return 0.0 if self._gone else max(min(self._due_at, self._expires_at) - now, 0.0)

    def renewal(self, id: int, now: float) -> Plan[int | None]:
        """To be sent now. Each endpoint has its share of the time that is left."""
        call = calls.lease_keep_alive(id)
        return ask(call._replace(timeout_s=max(self._expires_at - now, 0.001)))


def end(id: int) -> Plan[None]:
    """Revoke a lease; one that has ended is no error."""
    try:
        yield from ask(calls.lease_revoke(id)._replace(repeatable=True))
    except LeaseNotFound:
        return
