"""A machine's clock: where it began, and how fast it is against the world's time."""

from __future__ import annotations

import msgspec

_MILLION = 1_000_000


class Clock(msgspec.Struct, frozen=True):
    """Times are microseconds. It neither stands still nor goes back."""

    fast_ppm: int = 0
    """By so many millionths; slow where it is negative."""
    ahead_us: int = 0
    """At the beginning of the world."""

    def reading(self, now: int) -> int:
        """What it says at ``now``."""
        return self.ahead_us + now * (_MILLION + self.fast_ppm) // _MILLION

    def when(self, reading: int) -> int:
        """When it says so for the first time."""
        return -(-(reading - self.ahead_us) * _MILLION // (_MILLION + self.fast_ppm))
