"""*Reads* (rule 8 of the contract): a barrier's index is at least all that was delivered anywhere before it was fed."""

from __future__ import annotations

from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle
from ratified.consensus.contract import Ready


class BarrierIndexes(Oracle):
    def __init__(self, group: GroupChecks[Any]) -> None:
        self._group = group
        self._floors: dict[int, dict[int, int]] = {}
        """By member and token, what was delivered when the barrier was fed."""

    def started(self, member: int, applied: int) -> None:
        self._floors[member] = {}

    def barrier_fed(self, member: int, token: int) -> None:
        self._floors[member][token] = self._group.delivered_max

    def ready(self, member: int, ready: Ready) -> None:
        for read in ready.reads:
            floor = self._floors[member].pop(read.token, None)
            if floor is None:
                raise self._group.violation(
                    "reads", f"member {member} answered barrier {read.token}, which nobody asked for"
                )
            if read.index is None:
                self._group.counters["reads not confirmed"] += 1
                continue
            self._group.counters["reads in limbo"] += read.limbo is not None
            if floor > (read.index if read.limbo is None else read.limbo.last):
                raise self._group.violation(
                    "reads",
                    f"member {member} serves a read at {read.index}, although {floor} was delivered somewhere before "
                    "the read began",
                )
