"""Revisions respect real time: the part of linearizability that is checked at every answer, over all keys at once.

Every answer carries the store's revision at which it was given. An operation invoked after another one returned
must answer with a revision at least as high, and a write that changed something with a higher one, its own.
"""

from __future__ import annotations

from ratified.check.violation import Violation


class Revisions:
    """The order of answers of one group."""

    def __init__(self, group: int) -> None:
        self._group = group
        self.highest = 0
        """The highest revision answered so far: the floor of what is invoked now."""
        self._writers: dict[int, str] = {}

    def answered(self, floor: int, revision: int, changed: bool, who: str) -> None:
        """An operation with this ``floor`` at its invocation was answered at ``revision``."""
        if revision < floor or (changed and revision == floor):
            raise Violation(
                "linearizability",
                f"group {self._group}: {who} answered revision {revision}, although {floor} had been answered before "
                "it was invoked",
            )
        if changed:
            other = self._writers.setdefault(revision, who)
            if other != who:
                raise Violation(
                    "linearizability",
                    f"group {self._group}: revision {revision} was given to {other} and to {who}",
                )
        self.highest = max(self.highest, revision)
