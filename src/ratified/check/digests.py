"""*State*: equal digests at equal applied index."""

from __future__ import annotations

from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle


class Digests(Oracle):
    def __init__(self, group: GroupChecks[Any]) -> None:
        self._group = group
        self._known: dict[int, tuple[bytes, int]] = {}

    def digest(self, member: int, applied: int, digest: bytes) -> None:
        known, other = self._known.setdefault(applied, (digest, member))
        if known != digest:
            raise self._group.violation(
                "state", f"members {other} and {member} have different digests at applied index {applied}"
            )
