"""Rule 7, as a leader's answers show it: forwarded proposals of one origin are taken by number, without a gap.

The leader of an era takes numbers 1, 2, 3, ... of one origin and incarnation in this order: it answers none before that
number and all below have reached it, what it takes has ascending indexes, and what it answered once it answers again.
"""

from __future__ import annotations

from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle
from ratified.consensus.contract import Era


class _Numbers:
    """The numbers of one origin that one leader has received, and its answers."""

    def __init__(self) -> None:
        self.arrived_to = 0
        """Every number up to here has arrived."""
        self.answers: dict[int, int | None] = {}
        self._beyond: set[int] = set()
        self._taken: list[tuple[int, int]] = []

    def arrived(self, number: int) -> None:
        self._beyond.add(number)
        while self.arrived_to + 1 in self._beyond:
            self.arrived_to += 1
            self._beyond.discard(self.arrived_to)

    def taken(self, number: int, index: int) -> bool:
        """Is the index between those of the numbers around? Answers leave nearly in order, so few are looked at."""
        place = len(self._taken)
        while place and self._taken[place - 1][0] > number:
            place -= 1
        below = place == 0 or self._taken[place - 1][1] < index
        above = place == len(self._taken) or index < self._taken[place][1]
        self._taken.insert(place, (number, index))
        return below and above


class Forwards(Oracle):
    """What the leaders of one group received and answered."""

    def __init__(self, group: GroupChecks[Any]) -> None:
        self._group = group
        self._numbers: dict[tuple[int, Era, int, int], _Numbers] = {}

    def forward_arrives(self, leader: int, era: Era, origin: int, incarnation: int, number: int) -> None:
        self._of(leader, era, origin, incarnation).arrived(number)

    def forward_answered(
        self, leader: int, era: Era, origin: int, incarnation: int, number: int, index: int | None
    ) -> None:
        numbers = self._of(leader, era, origin, incarnation)
        who = f"leader {leader} of era {era} answered number {number} of member {origin}"
        if number in numbers.answers:
            if numbers.answers[number] != index:
                raise self._group.violation("forwarding", f"{who} with {numbers.answers[number]} and then with {index}")
            return
        numbers.answers[number] = index
        if number > numbers.arrived_to:
            raise self._group.violation("forwarding", f"{who} when number {numbers.arrived_to + 1} had not reached it")
        if index is not None and not numbers.taken(number, index):
            raise self._group.violation("forwarding", f"{who} with index {index}, out of the order of the numbers")

    def _of(self, leader: int, era: Era, origin: int, incarnation: int) -> _Numbers:
        return self._numbers.setdefault((leader, era, origin, incarnation), _Numbers())
