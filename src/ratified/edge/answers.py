"""How much of answers may be held for clients that do not take them.

An answer that was read from the store waits in this process until its client takes it, and how large it is, is known
when it is there. So reads begin only where there is room for answers as large as the last ones were.

Rules

1. What is held of one client's answers, those on the way included, is at most ``client_bytes_max``, and of all clients'
   ``bytes_max``. A read for which there is no room waits, and begins in its turn: one of each client's.
2. A client for whom nothing is held may always have one read: those who take nothing do not lock out the others. Its
   answer may be larger than all room.
3. Of reads on the way nobody knows how large their answers will be. Each counts as the largest of late: an eighth is
   forgotten with every answer that is smaller. Where one is larger than was counted, the client's others count as much
   from then on, and those for which that leaves no room are taken back, and wait again.
4. A write whose answer may be large counts as a read, and cannot be taken back.
5. Where more is held than ``bytes_max``, who holds most of those that have taken little for a while is named
   (``stalled``): that connection is to be closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

ESTIMATE_MIN_BYTES = 64 << 10
ESTIMATE_FIRST_BYTES = 1 << 20
MOVED_BYTES_MIN = 64 << 10
"""Who has taken less since it last counted as moving has not moved."""


class Read(Protocol):
    """A request for which an answer is read."""

    def start(self) -> None: ...

    def stop(self) -> bool:
        """It will be started anew; False: it cannot be taken back."""


class Share:
    """One client's part."""

    __slots__ = ("held_bytes", "moved_at", "on_the_way", "taken_bytes", "unsent_bytes", "waiting")

    def __init__(self, now_s: float) -> None:
        self.held_bytes = 0
        """Of answers that are there, and of those on the way."""
        self.unsent_bytes = 0
        """Of answers that are there."""
        self.on_the_way: dict[Read, int] = {}
        """Reads that have begun, and what each counts."""
        self.waiting: dict[Read, None] = {}
        self.taken_bytes = 0
        """Since ``moved_at``."""
        self.moved_at = now_s
        """When it had last taken ``MOVED_BYTES_MIN``, or all there was."""


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
        is_larger = size_bytes > self._estimate
        self._estimate = max(size_bytes, self._estimate * 7 // 8, ESTIMATE_MIN_BYTES)
        if is_larger:
            self._take_back(share, size_bytes)

    def _take_back(self, share: Share, size_bytes: int) -> None:
        """The last ones first, as many as there is no room for beside this answer."""
        counted = sum(share.on_the_way.values())
        room = min(self._client_bytes_max - share.unsent_bytes, self._bytes_max - self.held_bytes + counted)
        fitting = max(room - size_bytes, 0) // self._estimate
        back: list[Read] = []
        for read in reversed(list(share.on_the_way)):
            if len(share.on_the_way) <= fitting:
                break
            if read.stop():
                self._add(share, -share.on_the_way.pop(read))
                back.append(read)
        for read, before in share.on_the_way.items():
            share.on_the_way[read] = self._estimate
            self._add(share, self._estimate - before)
        if back:
            if not share.waiting:
                self._waiting.append(share)
            share.waiting = dict.fromkeys((*reversed(back), *share.waiting))

    def given_up(self, share: Share, read: Read) -> None:
        """Nobody wants it any more."""
        if read in share.waiting:
            del share.waiting[read]
            if not share.waiting:
                self._waiting.remove(share)
        self._add(share, -share.on_the_way.pop(read, 0))

    def unsent(self, share: Share, size_bytes: int, now_s: float) -> None:
        """So much is held for this client now, beside what is on the way."""
        share.taken_bytes += max(share.unsent_bytes - size_bytes, 0)
        if share.taken_bytes >= MOVED_BYTES_MIN or not size_bytes:
            share.taken_bytes, share.moved_at = 0, now_s
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

    def stalled(self, shares: Iterable[Share], before_s: float) -> Share | None:
        """Rule 5: who holds most of those that have not moved since then; None: there is room, or nobody is."""
        if self.held_bytes <= self._bytes_max:
            return None
        still = (share for share in shares if share.unsent_bytes and share.moved_at < before_s)
        return max(still, key=_unsent_bytes, default=None)

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


def _unsent_bytes(share: Share) -> int:
    return share.unsent_bytes
