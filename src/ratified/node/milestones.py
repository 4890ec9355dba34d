"""When a group's log came how far on a member: for people who want to know what a slow write waited for.

Nothing is kept of a single request: a step is noted once a turn for all entries that took it, and steps within
``GRAIN_US`` are one. A write that has just been answered is among the entries applied last, so when it was proposed,
durable and committed is when the log had come that far.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from enum import StrEnum

from ratified.consensus.contract import Entry, Record

GRAIN_US = 500
STEPS_MAX = 4_096
"""Of each stage; beyond it the oldest is forgotten. With ``GRAIN_US`` these are at least two seconds."""


class Stage(StrEnum):
    PROPOSED = "proposed"
    """By this member, to the engine; where another one leads nothing is noted."""
    DURABLE = "durable"
    """On this member's disk."""
    COMMITTED = "committed"
    APPLIED = "applied"


class Milestones:
    def __init__(self) -> None:
        self._steps: dict[Stage, deque[tuple[int, int]]] = {stage: deque(maxlen=STEPS_MAX) for stage in Stage}
        """Up to which index, and when."""
        self._writes: deque[tuple[int, int]] = deque(maxlen=STEPS_MAX)
        """Tickets of writes that are not durable, and their last entries' index."""

    def reached(self, stage: Stage, index: int, now: int) -> None:
        steps = self._steps[stage]
        if steps and now < (since := steps[-1][1]) + GRAIN_US:
            steps[-1] = (index, since)
        else:
            steps.append((index, now))

    def writes(self, ticket: int, records: Sequence[Record]) -> None:
        """These are to be durable."""
        if records and isinstance(last := records[-1], Entry):
            self._writes.append((ticket, last.index))

    def persisted(self, ticket: int, now: int) -> None:
        """The log is durable up to this ticket."""
        index = None
        while self._writes and self._writes[0][0] <= ticket:
            index = self._writes.popleft()[1]
        if index is not None:
            self.reached(Stage.DURABLE, index, now)

    def of_last_applied(self) -> dict[Stage, int]:
        """When what was applied last reached each stage, as far as that is known."""
        applied = self._steps[Stage.APPLIED]
        if not applied:
            return {}
        index = applied[-1][0]
        found: dict[Stage, int] = {}
        for stage, steps in self._steps.items():
            for reached, at in reversed(steps):
                if reached < index:
                    break
                found[stage] = at
        return found
