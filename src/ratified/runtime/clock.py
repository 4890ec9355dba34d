"""The clock port: integer microseconds of CLOCK_BOOTTIME, which goes on while the machine sleeps."""

from __future__ import annotations

import time


def boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
