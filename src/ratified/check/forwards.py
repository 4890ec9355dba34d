"""Rule 7, as a leader's answers show it: forwarded proposals of one origin are taken by number, without a gap.

The leader of an era answers the numbers of one origin and incarnation 1, 2, 3, ... for the first time in this order;
what it has answered once it answers in the same way again.
"""

from __future__ import annotations

from ratified.check.violation import Violation
from ratified.consensus.contract import Era


class Forwards:
    """The answers of one group's leaders."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._answers: dict[tuple[int, Era, int, int], list[int | None]] = {}

    def answered(self, leader: int, era: Era, origin: int, incarnation: int, number: int, index: int | None) -> None:
        """``leader`` answers ``origin``'s proposal with this number: taken at ``index``, or refused (None)."""
        answers = self._answers.setdefault((leader, era, origin, incarnation), [])
        if number <= len(answers):
            if answers[number - 1] != index:
                raise Violation(
                    "forwarding",
                    f"group {self._group}: leader {leader} of era {era} answered number {number} of {origin} with "
                    f"{answers[number - 1]} and then with {index}",
                )
            return
        if number != len(answers) + 1:
            raise Violation(
                "forwarding",
                f"group {self._group}: leader {leader} of era {era} answered number {number} of {origin} after number "
                f"{len(answers)}",
            )
        answers.append(index)
