"""Clock leases: a leader that a quorum has promised not to replace reads without asking (rule 9 of the contract).

Rules of this file and of ``grants``; ``docs/decisions/leases.md`` has a run for each in which a read without it was
stale:

1. A leader asks for a lease with each heartbeat. A round is named by the leader's time when it was sent, and a lease
   counts from then: less the drift of both clocks, and for the round that was answered and no later one.
2. Who has granted one takes part in no election but its leader's own until it has run out by its own clock: it does
   not vote (promise, accept an epoch), nor say in a probe that it would, nor stand, told to or not. A later leader that
   was elected all the same is followed.
3. A leader that hands over, or leads no longer, *releases* its rounds so far: it uses no answer to them again, and who
   has granted one of them is free. A grant's round never falls, so that a release ends no later one.
4. A member that starts has forgotten what it granted, and is bound for as long as the longest lease, whatever is
   released.
5. Whether a lease is held is worked out at each read, in the configuration in force, both halves while joint, and in
   one that is proposed as well; nothing is kept from one read to the next.
6. Clocks are compared with themselves only. They may drift within ``Options.clock_drift_ppm_max``, and go on in a
   machine that is suspended.
"""

from __future__ import annotations

from typing import Any

from ratified.consensus.contract import Membership
from ratified.consensus.quorum import quorum_value
from ratified.consensus.replication.grants import NO_ROUND
from ratified.consensus.replication.member import Member


def held_us(lease_us: int, drift_ppm_max: int) -> int:
    """How long a leader may count on a lease of ``lease_us``, by its own clock, from when the round was sent.

    At worst the granting clock is fast by the bound and the leader's is slow by it. A reading of a clock is up to one
    microsecond old, and each interval is the difference of two.
    """
    return (lease_us - 1) * (1_000_000 - drift_ppm_max) // (1_000_000 + drift_ppm_max) - 1


class Lease:
    """What the leader of one era has been granted."""

    __slots__ = ("_asked", "_asks_again_at", "_granted", "_held_us", "_member", "_released")

    def __init__(self, member: Member[Any]) -> None:
        options = member.options
        self._member = member
        self._held_us = held_us(options.lease_us, options.clock_drift_ppm_max) if options.lease_us else 0
        self._asked = NO_ROUND
        """The latest round in which a lease was asked for."""
        self._released = NO_ROUND
        """Up to this round no answer is used."""
        self._asks_again_at = member.now
        self._granted: dict[int, int] = {}
        """By member, the latest round that it has granted."""

    def ask(self) -> int | None:
        """The round that begins now; None: no lease is asked for."""
        member = self._member
        if not member.options.lease_us or member.now < self._asks_again_at:
            return None
        self._asked = member.now
        return self._asked

    def on_granted(self, member: int, round_: int) -> None:
        if round_ > self._asked:
            self._member.outbox.ignore("a grant of a lease that was not asked for")
        elif round_ > max(self._released, self._granted.get(member, NO_ROUND)):
            self._granted[member] = round_

    def is_held(self, proposed: Membership | None = None) -> bool:
        """Has no other member been elected by now? ``proposed``: a configuration that may be in force for others."""
        if not self._granted:
            return False
        since = self._member.configurations.quorum_value(self._round_of)
        if proposed is not None:
            since = min(since, quorum_value(proposed, self._round_of))
        return self._member.now < since + self._held_us

    def _round_of(self, member: int) -> int:
        return self._member.now if member == self._member.id else self._granted.get(member, NO_ROUND)

    def release(self) -> int | None:
        """Count on no round so far, and begin none while the lead changes hands; the last one, None: there was none."""
        self._released = self._asked
        self._asks_again_at = self._member.now + self._member.options.election_timeout_max_us
        self._granted.clear()
        return self._asked or None
