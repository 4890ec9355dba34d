"""When what clients send is read, where they send more than can be done.

Rules

1. Of one pass of the loop at most ``PASS_S`` is spent reading: then what was read is worked on. What comes later is
   read in a later pass, and its client waits. Each connection has its turn; light ones, which have little under way,
   come before the others, which are heavy, but in one pass of ten.
2. While the host is crowded, heavy connections are read for a tenth of the time: they are told that it is too much,
   and what was taken goes on nearly as fast as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

C = TypeVar("C")

PASS_S = 0.005
_REST_WHILE_CROWDED = 9
"""For each second of reading, seconds without."""
_HEAVY_FIRST_EVERY = 10
"""Passes."""


class Pace(Generic[C]):
    """Which of a listener's connections are read. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._spent_s = 0.0
        self._not_before = 0.0
        self._passes = 0
        self._light: dict[C, None] = {}
        self._heavy: dict[C, None] = {}
        """What waits to be read: whose turn is next comes first."""

    def end_pass(self) -> None:
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

    def reclassify(self, connection: C, *, is_light: bool) -> None:
        """If it waits, let it do so among those that it belongs to by now."""
        if connection in (self._heavy if is_light else self._light):
            self.wait(connection, is_light=is_light)

    def forget(self, connection: C) -> None:
        self._light.pop(connection, None)
        self._heavy.pop(connection, None)

    def turns(self, clock: Callable[[], float]) -> Iterator[C]:
        """Of those that wait, whose turn it is in a pass that begins now; each waits no longer as it is given."""
        self._spent_s = 0.0
        self._passes += 1
        light, heavy = list(self._light), list(self._heavy)
        for connection in (*heavy, *light) if self._passes % _HEAVY_FIRST_EVERY == 0 else (*light, *heavy):
            if self._spent_s >= PASS_S:
                return
            is_light = connection in self._light
            if is_light or (connection in self._heavy and clock() >= self._not_before):
                self.forget(connection)
                yield connection

    def rests_s(self, now_s: float) -> float | None:
        """How long until a pass has something to read: 0: the next one has; None: nothing waits."""
        if self._light:
            return 0.0
        return max(self._not_before - now_s, 0.0) if self._heavy else None
