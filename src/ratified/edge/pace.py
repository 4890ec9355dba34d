"""When what clients send is read, where they send more than can be done.

Rules

1. Of one pass of the loop at most ``PASS_S`` is spent reading: then what was read is worked on. What comes later is
   read in a later pass, and its client waits. Each connection has its turn; light ones, which have little under way,
   come before the others, which are heavy.
2. While the host is crowded, heavy connections are read for a tenth of the time: they are told that it is too much,
   and what was taken goes on nearly as fast as ever.
"""

from __future__ import annotations

from typing import Generic, TypeVar

C = TypeVar("C")

PASS_S = 0.005
_REST_WHILE_CROWDED = 9
"""For each second of reading, seconds without."""


class Pace(Generic[C]):
    """Which of a listener's connections are read. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._spent_s = 0.0
        self._not_before = 0.0
        self._light: dict[C, None] = {}
        self._heavy: dict[C, None] = {}
        """What waits to be read: whose turn is next comes first."""

    def begin_pass(self) -> None:
        self._spent_s = 0.0

    def may_read(self, now_s: float, *, is_light: bool) -> bool:
        """May a connection read at once, that has waited for nothing?"""
        if self._spent_s >= PASS_S:
            return False
        return not self._light if is_light else not (self._light or self._heavy) and now_s >= self._not_before

    def has_read(self, now_s: float, took_s: float, *, is_light: bool, is_crowded: bool) -> None:
        """A connection has read for so long, until now."""
        self._spent_s += took_s
        if is_crowded and not is_light:
            self._not_before = now_s + took_s * _REST_WHILE_CROWDED

    def wait(self, connection: C, *, is_light: bool) -> None:
        """It has more to read, in its turn."""
        self.forget(connection)
        (self._light if is_light else self._heavy)[connection] = None

    def forget(self, connection: C) -> None:
        self._light.pop(connection, None)
        self._heavy.pop(connection, None)

    def waiting(self) -> list[C]:
        """All that wait, in the order of their turns."""
        return [*self._light, *self._heavy]

    def take(self, connection: C, now_s: float) -> bool:
        """Is it this one's turn, of those that are ``waiting``? Then it waits no longer."""
        if self._spent_s >= PASS_S or (connection in self._heavy and now_s < self._not_before):
            return False
        self.forget(connection)
        return True

    def rests_s(self, now_s: float) -> float | None:
        """How long until a pass has something to read: 0: the next one has; None: nothing waits."""
        if self._light:
            return 0.0
        return max(self._not_before - now_s, 0.0) if self._heavy else None
