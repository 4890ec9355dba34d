"""What a check raises when a rule is broken."""

from __future__ import annotations


class Violation(Exception):
    """A rule of the system was broken: which rule, and what was seen."""

    def __init__(self, rule: str, seen: str) -> None:
        super().__init__(f"{rule}: {seen}")
        self.rule = rule
        self.seen = seen
