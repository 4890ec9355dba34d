"""How much of answers may be held for clients that do not take them.

An answer that was read from the store waits in this process until its client takes it, and how large it is, is known
when it is there. So reads begin only where there is room for answers as large as the last ones were.

Rules

1. What is held of one client's answers, those on the way included, is at most ``client_bytes_max``, and of all clients'
   ``bytes_max``. A read for which there is no room waits, and begins in its turn: one of each client's.
2. A client for whom nothing is held may always have one read: those who take nothing do not lock out the others. Its
   answer may be larger than all room.
3. Of reads on the way nobody knows how large their answers will be. Each counts as the largest of late: an eighth is
   forgotten with every answer that is smaller.
4. Who has taken nothing for a while, when there is no room, is named (``stalled``): its connection is to be closed.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

ESTIMATE_MIN_BYTES = 1 << 10
ESTIMATE_FIRST_BYTES = 1 << 20


class Read(Protocol):
    """A request for which an answer is read."""

    def start(self) -> None: ...


class Share:
    """One client's part."""

    __slots__ = ("held_bytes", "moved_at", "on_the_way", "unsent_bytes", "waiting")

    def __init__(self, now_s: float) -> None:
        self.held_bytes = 0
        """Of answers that are there, and of those on the way."""
        self.unsent_bytes = 0
        """Of answers that are there."""
        self.on_the_way: dict[Read, int] = {}
        """Reads that have begun, and what each counts."""
        self.waiting: dict[Read, None] = {}
        self.moved_at = now_s
        """When something was last taken."""


class Answers:
    """The answers of all clients."""

    def __init__(self, bytes_max: int, client_bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._client_bytes_max = client_bytes_max
        self._estimate = ESTIMATE_FIRST_BYTES
        self.held_bytes = 0
        self._waiting: deque[Share] = deque()
        """Those with reads that wait, whose turn is next first."""

    def ask(self, share: Share, read: Read) -> None:
        """Start this read, now or later."""
        if share.waiting or not self._has_room(share):
            if not share.waiting:
                self._waiting.append(share)
            share.waiting[read] = None
        else:
            self._start(share, read)

    def answered(self, share: Share, read: Read, size_bytes: int) -> None:
        """Its answer is there, with so many bytes; from now on it counts as unsent (``unsent``), or is gone."""
        self._add(share, -share.on_the_way.pop(read, 0))
        self._estimate = max(size_bytes, self._estimate * 7 // 8, ESTIMATE_MIN_BYTES)

    def given_up(self, share: Share, read: Read) -> None:
        """Nobody wants it any more."""
        if read in share.waiting:
            del share.waiting[read]
            if not share.waiting:
                self._waiting.remove(share)
        self._add(share, -share.on_the_way.pop(read, 0))

    def unsent(self, share: Share, size_bytes: int, now_s: float) -> None:
        """So much is held for this client now, beside what is on the way."""
        if size_bytes < share.unsent_bytes or not size_bytes:
            share.moved_at = now_s
        self._add(share, size_bytes - share.unsent_bytes)
        share.unsent_bytes = size_bytes

    def left(self, share: Share, now_s: float) -> None:
        """The client has gone; its reads were given up."""
        self.unsent(share, 0, now_s)

    def start_waiting(self) -> None:
        """Start reads for which there is room by now, one of each client's in turn."""
        passed_over = 0
        while passed_over < len(self._waiting):
            share = self._waiting.popleft()
            if not self._has_room(share):
                self._waiting.append(share)
                passed_over += 1
                continue
            passed_over = 0
            read = next(iter(share.waiting))
            del share.waiting[read]
            if share.waiting:
                self._waiting.append(share)
            self._start(share, read)

    @property
    def are_waiting(self) -> bool:
        return bool(self._waiting)

    def stalled(self, share: Share, before_s: float) -> bool:
        """Rule 4: is there no room, and has this client taken nothing since then?"""
        return self.held_bytes > self._bytes_max // 2 and share.unsent_bytes > 0 and share.moved_at < before_s

    def _has_room(self, share: Share) -> bool:
        if not share.held_bytes:
            return True
        estimate = self._estimate
        return share.held_bytes + estimate <= self._client_bytes_max and self.held_bytes + estimate <= self._bytes_max

    def _start(self, share: Share, read: Read) -> None:
        share.on_the_way[read] = self._estimate
        self._add(share, self._estimate)
        read.start()

    def _add(self, share: Share, size_bytes: int) -> None:
        share.held_bytes += size_bytes
        self.held_bytes += size_bytes
