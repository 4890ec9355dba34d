"""Whoever takes the chunks of one or more streams, and how much of them may wait for it.

What a node yields faster than its reader takes it waits here, in this process's memory. Beyond ``bytes_max`` the node
is asked to hold the reader's streams, all of them, and to go on once half of that is taken; so a reader that takes
nothing costs ``bytes_max`` and what was on its way. No new stream begins meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ratified.node.ports import GoOn, Hold


class Reader:
    """One reader. A host makes them; all methods are called on its loop."""

    def __init__(self, offer: Callable[[Hold | GoOn], None], bytes_max: int) -> None:
        self._offer = offer
        self._bytes_max = bytes_max
        self._waiting_bytes = 0
        self._tokens: dict[int, None] = {}
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def waiting_bytes(self) -> int:
        """What waits here for whoever reads."""
        return self._waiting_bytes

    def limit(self, bytes_max: int) -> None:
        """Let no more than this wait, where it is less than what was given."""
        self._bytes_max = min(bytes_max, self._bytes_max)

    async def has_room(self) -> None:
        await self._has_room.wait()

    def begins(self, token: int) -> None:
        self._tokens[token] = None

    def arrived(self, token: int, size_bytes: int) -> None:
        """A chunk waits from now on."""
        self._waiting_bytes += size_bytes
        if self._waiting_bytes <= self._bytes_max:
            return
        if self._has_room.is_set():
            self._has_room.clear()
            self._offer(Hold(tuple(self._tokens)))
        else:
            # It was on its way, or its stream began too late to be held with the others.
            self._offer(Hold((token,)))

    def taken(self, size_bytes: int) -> None:
        """Chunks wait no longer."""
        self._waiting_bytes -= size_bytes
        if not self._has_room.is_set() and self._waiting_bytes <= self._bytes_max // 2:
            self._has_room.set()
            self._offer(GoOn(tuple(self._tokens)))

    def ends(self, token: int, left_bytes: int) -> None:
        """A stream is over, and what waited of it is dropped."""
        del self._tokens[token]
        self.taken(left_bytes)
