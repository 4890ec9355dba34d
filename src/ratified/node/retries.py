"""What a leader was asked and has not answered, in the order in which it is asked again.

Nothing here is proportional to how much waits, but for the change of a leader, which concerns all of it (rule 15 of the
contract). An ``OrderedDict`` gives its first item in constant time; a plain ``dict`` walks over all that were deleted
before it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

AGAIN_MAX = 256
"""So many are asked again in one turn; the others follow in the next ones."""

T = TypeVar("T")


class Retries(Generic[T]):
    """Each item is due at once, or ``retry_us`` after it was asked last."""

    def __init__(self, retry_us: int) -> None:
        self._retry_us = retry_us
        self._at_once: OrderedDict[T, None] = OrderedDict()
        self._later: OrderedDict[T, int] = OrderedDict()
        """When each is due, ascending."""

    def __len__(self) -> int:
        return len(self._later) + len(self._at_once)

    def __bool__(self) -> bool:
        return bool(self._later or self._at_once)

    def __contains__(self, item: T) -> bool:
        return item in self._later or item in self._at_once

    def __iter__(self) -> Iterator[T]:
        yield from self._at_once
        yield from self._later

    def later(self, now: int, item: T) -> None:
        self.drop(item)
        self._later[item] = now + self._retry_us

    def at_once(self, item: T) -> None:
        self.drop(item)
        self._at_once[item] = None

    def all_at_once(self) -> None:
        self._at_once.update(dict.fromkeys(self._later))
        self._later.clear()

    def drop(self, item: T) -> None:
        if self._later.pop(item, None) is None:
            self._at_once.pop(item, None)

    @property
    def deadline(self) -> int | None:
        """When the first one is due; 0: at once."""
        if self._at_once:
            return 0
        return next(iter(self._later.values())) if self._later else None

    def due(self, now: int) -> list[T]:
        """The oldest that are due, at most ``AGAIN_MAX`` of them; they stay due until they are asked or dropped."""
        found: list[T] = []
        for item in self._at_once:
            if len(found) == AGAIN_MAX:
                return found
            found.append(item)
        for item, at in self._later.items():
            if len(found) == AGAIN_MAX or at > now:
                break
            found.append(item)
        return found
