"""Notices for the log: each at once, and the same one not again and again.

A peer that does not belong here comes back twice a second; its refusal is worth a line, not two a second.
"""

from __future__ import annotations

import logging

REPEAT_AFTER_US = 60_000_000
TEXTS_MAX = 256
"""How many texts are remembered; beyond it the oldest is forgotten."""


class NoticeLog:
    """Writes notices to ``log``; a text that was written within ``REPEAT_AFTER_US`` is counted instead."""

    def __init__(self, log: logging.Logger, name: str) -> None:
        self._log = log
        self._name = name
        self._written: dict[str, tuple[int, int]] = {}
        """When each text was written last, and how often it has been left out since."""

    def write(self, now: int, text: str) -> None:
        at, left_out = self._written.pop(text, (None, 0))
        if at is not None and now < at + REPEAT_AFTER_US:
            self._written[text] = (at, left_out + 1)
            return
        self._written[text] = (now, 0)
        if len(self._written) > TEXTS_MAX:
            del self._written[next(iter(self._written))]
        again = f" (and {left_out} times more since it was said last)" if left_out else ""
        self._log.warning("%s: %s%s", self._name, text, again)
