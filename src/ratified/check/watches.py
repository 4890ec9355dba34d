"""Watches of everything: each revision once, whole, in order, the same for everybody.

Every revision of the store has at least one event, so a watch of all keys must see one revision after the other without
a gap, from the one after which it began; what it sees at a revision is what every other watch sees there, and what the
write was answered with that revision. A response's own revision is never beyond what the watch has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from ratified.check.violation import Violation


class Event(NamedTuple):
    """A change of one key; ``value`` None: it was deleted."""

    revision: int
    key: bytes
    value: bytes | None


class Watches:
    """What all watches of one group see."""

    def __init__(self, group: int) -> None:
        self._group = group
        self._facts: dict[int, tuple[Event, ...]] = {}

    def written(self, event: Event) -> None:
        """A client's write was answered with this revision, which has no other event."""
        self._fact(event.revision, (event,), "a client")

    def known(self, revision: int) -> tuple[Event, ...] | None:
        """All events of this revision, if anybody has seen them."""
        return self._facts.get(revision)

    def responded(self, watch: str, seen: int, events: Sequence[Event], revision: int) -> int:
        """``watch``, which has seen everything up to revision ``seen``, got a response; up to where it has seen now."""
        for at, group in groupby(events, key=lambda event: event.revision):
            if at != seen + 1:
                raise self._broken(f"{watch} got revision {at} after revision {seen}")
            self._fact(at, tuple(group), watch)
            seen = at
        if revision > seen:
            raise self._broken(f"{watch} was told that it stands at revision {revision}, and got only {seen}")
        return seen

    def _fact(self, revision: int, events: tuple[Event, ...], who: str) -> None:
        known = self._facts.setdefault(revision, events)
        if known != events:
            raise self._broken(f"at revision {revision} {who} saw {events}, and another one {known}")

    def _broken(self, seen: str) -> Violation:
        return Violation("watches", f"group {self._group}: {seen}")
