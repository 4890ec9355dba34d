"""Descriptors that a node keeps for its own disk.

1. A spare is an open descriptor of ``/dev/null``. Where opening a file finds no descriptor left, in this process
   (EMFILE) or on this machine (ENFILE), a spare is closed and the opening tried again, spare after spare.
2. What was given up is made up as soon as a descriptor is free.
3. Between closing a spare and opening the file another thread may take the place. So there are several spares, and
   whoever accepts connections in this process must not accept so many that nothing else is left.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

SPARE_DESCRIPTORS = 16
"""For all files of a ``Directory`` that may be open, the directory itself, and some that others take first."""


class SpareDescriptors:
    """``count`` spares, or fewer for as long as no more can be had; for one thread at a time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[int] = []
        self.refill()

    def open(self, path: Path, flags: int) -> int:
        """``os.open`` with O_CLOEXEC and mode 0600; raises EMFILE or ENFILE only when no spare is left."""
        while True:
            try:
                return os.open(path, flags | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._held:
                    raise
            os.close(self._held.pop())

    def refill(self) -> None:
        """Make up what was given up, as far as that is possible now."""
        while len(self._held) < self._count:
            try:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def close(self) -> None:
        """Close every spare; there are none from now on."""
        self._count = 0
        while self._held:
            os.close(self._held.pop())
