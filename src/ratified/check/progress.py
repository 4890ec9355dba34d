"""Progress under faults, and a lead that stays: nobody waits for the world to heal.

Judged by samples, taken twice an election timeout. A *quorum* is a majority that runs on disks that work, and at least
one of whom, the *hub*, reaches all others (rule 14): while the same one stays, something is delivered again and again,
or a leader serves and has nothing to commit. Over a slow link that takes as long as the longest message does. And where
nothing at all has gone wrong for a while, whoever leads goes on leading.
"""

from __future__ import annotations

from collections.abc import Hashable

import msgspec

from ratified.check.violation import Violation

PROGRESS_TIMEOUTS = 10
"""Election timeouts within which a quorum must get on, whatever happens to all others."""
DISTURBED_TIMEOUTS = 30
"""The same while links lose and delay messages, or disks are slow."""
SETTLE_TIMEOUTS = 10
"""Election timeouts without any fault after which the leader changes no more."""


class Sample(msgspec.Struct, frozen=True):
    """What is seen of one group at one time."""

    now: int
    quorum: tuple[int, ...] | None
    """Who could decide; None: there is no such majority."""
    delivered: int
    """The highest index that was delivered anywhere."""
    idle: bool
    """A leader serves, and has committed all that it holds."""
    elections: int
    """How many there were."""
    disturbed: bool
    """Links or disks are worse than they are by the world's options."""
    trouble: Hashable
    """Changes with everything that goes wrong, and everything that is mended."""


class Progress:
    def __init__(self, group: int, election_timeout_us: int, message_us: int) -> None:
        """``message_us``: what the longest message takes on its way."""
        self._group = group
        self._timeout_us = election_timeout_us
        self._message_us = message_us
        self._last: Sample | None = None
        self._since = 0
        """When there was last a sign of progress, or another quorum."""
        self._quiet_since = 0

    def sampled(self, sample: Sample) -> None:
        last, self._last = self._last, sample
        if last is None or sample.quorum != last.quorum or sample.idle or sample.delivered > last.delivered:
            self._since = sample.now
        if last is None or sample.trouble != last.trouble:
            self._quiet_since = sample.now
        if sample.quorum is not None:
            self._check_progress(sample)
        if last is not None and sample.elections > last.elections and not sample.disturbed:
            self._check_lead(sample)

    def _check_progress(self, sample: Sample) -> None:
        waited_us = sample.now - self._since
        timeouts = DISTURBED_TIMEOUTS if sample.disturbed else PROGRESS_TIMEOUTS
        if waited_us > timeouts * self._timeout_us + self._message_us:
            raise Violation(
                "progress",
                f"group {self._group}: members {sample.quorum} run on disks that work, the first of them reaches "
                f"the others, and nothing was delivered behind {sample.delivered} for "
                f"{waited_us / self._timeout_us:.1f} election timeouts",
            )

    def _check_lead(self, sample: Sample) -> None:
        quiet_us = sample.now - self._quiet_since
        if quiet_us > SETTLE_TIMEOUTS * self._timeout_us:
            raise Violation(
                "a lead without a fault stays",
                f"group {self._group}: the leader changed, although nothing had gone wrong for "
                f"{quiet_us / self._timeout_us:.1f} election timeouts",
            )
