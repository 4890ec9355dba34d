"""What a member has promised its leader under clock leases; the rules are in ``leases``."""

from __future__ import annotations

from ratified.consensus.contract import NO_ERA, Era, Options

NO_ROUND = 0
"""Before all rounds."""


class Grants:
    """What a member has granted, whatever its role."""

    __slots__ = ("_era", "_leader", "_options", "_released", "_round", "_until", "_waits_until")

    def __init__(self, now: int, options: Options) -> None:
        self._options = options
        self._waits_until = now + options.lease_us
        """An earlier process of this member may have granted so long a lease."""
        self._era: Era = NO_ERA
        self._leader: int | None = None
        self._round = NO_ROUND
        self._until = now
        self._released: tuple[Era, int] | None = None
        """The latest release that was heard of: era, and round."""

    def grant(self, now: int, leader: int, era: Era, round_: int, lease_us: int) -> bool:
        """To the leader of ``era``, which is followed; False: it asks for more than a restart would wait."""
        if not 0 < lease_us <= self._options.lease_us:
            return False
        assert era >= self._era, f"a lease is granted to {era} after one to {self._era}"
        if era != self._era:
            self._era, self._leader, self._round = era, leader, NO_ROUND
        self._round = max(self._round, round_)
        self._until = max(self._until, now + lease_us)
        return True

    def release(self, now: int, era: Era, round_: int) -> None:
        """The leader of ``era`` uses no answer to a round up to ``round_``."""
        self._released = (era, round_)
        if era == self._era and self._round <= round_:
            self._until = min(self._until, now)

    def released_by(self, era: Era) -> int | None:
        """Up to which round the leader of ``era`` has released all; None: nothing is known."""
        return self._released[1] if self._released is not None and self._released[0] == era else None

    @property
    def until(self) -> int:
        """Until when this member takes part in no election."""
        return max(self._until, self._waits_until)

    def bind(self, now: int) -> bool:
        """Must this member not stand, nor say that it would vote?"""
        return now < self.until

    def bar(self, now: int, candidate: int) -> bool:
        """Must it not vote for ``candidate``? Who has the lease and stands again has left its lead."""
        return now < self._waits_until or (now < self._until and candidate != self._leader)
