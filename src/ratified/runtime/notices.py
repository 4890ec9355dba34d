"""Notices for the log: each at once, and the same one not again and again.

A peer that does not belong here comes back twice a second; its refusal is worth a line, not two a second. And whoever
makes up a new name each time gets no more than ``LINES_MAX`` a minute.
"""

from __future__ import annotations

import logging
from collections import deque

REPEAT_AFTER_US = 60_000_000
TEXTS_MAX = 256
"""How many texts are remembered; beyond it the oldest is forgotten."""
LINES_MAX = 1000
"""Lines within ``REPEAT_AFTER_US``; what comes beyond them is counted."""


class NoticeLog:
    """Writes notices to ``log``; a text that was written within ``REPEAT_AFTER_US``, or one too many, is counted."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log = log
        self._name = name
        self._written: dict[str, tuple[int, int]] = {}
        """When each text was written last, and how often it has been left out since."""
        self._lines: deque[int] = deque(maxlen=LINES_MAX)
        """When the last lines were written."""
        self._dropped = 0
        """How many other texts were left out since the last line."""

    def write(self, now: int, text: str) -> None:
        at, left_out = self._written.pop(text, (None, 0))
        if at is not None and now < at + REPEAT_AFTER_US:
            self._written[text] = (at, left_out + 1)
            return
        if len(self._lines) == LINES_MAX and now < self._lines[0] + REPEAT_AFTER_US:
            self._dropped += 1
            return
        self._lines.append(now)
        self._written[text] = (now, 0)
        if len(self._written) > TEXTS_MAX:
            del self._written[next(iter(self._written))]
        again = f" (and {left_out} times more since it was said last)" if left_out else ""
        dropped = f" ({self._dropped} other lines were left out before it)" if self._dropped else ""
        self._dropped = 0
        self._log.warning("%s: %s%s%s", self._name, text, again, dropped)
