"""How far one peer is, as its leader sees it: which slots it has accepted in the leader's ballot, what is under way.

Proposals are sent ahead of the answers, within a window. What is answered behind something unanswered shows that the
latter was lost (a session keeps order): it is sent again. So is the oldest message that had no answer for a whole
heartbeat; after that only when twice as many heartbeats have passed, until a proposal is answered, or the peer is heard
at all after a heartbeat in which it was not. So what is under way to a peer that is silent, or whose disk hangs, is the
window and one message for each doubling of the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ratified.consensus.contract import Limits
from ratified.consensus.paxos.spans import Spans
from ratified.consensus.replication.window import Window


class PeerProgress:
    __slots__ = (
        "_acknowledged",
        "_floor",
        "_patience_beats",
        "_resends",
        "_resent_at",
        "_silent",
        "accepted",
        "chosen_told",
        "heard",
        "next",
        "resend",
        "window",
    )

    def __init__(self, first: int, limits: Limits, *, resends: bool) -> None:
        self._resends = resends
        """Without, what is lost inside a session stays lost (the extension ``resend``)."""
        self._floor = 0
        """Nothing at or below is sent to it."""
        self.accepted = Spans()
        """Above the floor."""
        self._acknowledged = 0
        self.next = first
        """The next slot to send."""
        self.window = Window(limits)
        self.resend: deque[tuple[int, int]] = deque()
        """What was lost on its way."""
        self.chosen_told = 0
        """The chosen prefix that the peer learns from what was sent to it."""
        self.heard = False
        """Since the last heartbeat."""
        self._silent = False
        """It was not, in the heartbeat before."""
        self._resent_at = 0
        """The heartbeat in which something overdue was sent again."""
        self._patience_beats = 1
        """For how many heartbeats nothing more is."""

    def wanted(self, last: int) -> tuple[int, int]:
        """The range to send next, up to ``last`` where nothing was lost; perhaps empty."""
        if self.resend:
            return self.resend[0]
        return self.accepted.reach(self.next) + 1, last

    def sent(self, first: int, last: int, size: int, beat: int) -> None:
        """The front of what was wanted is on its way, after heartbeat ``beat``."""
        if self.resend:
            _, end = self.resend.popleft()
            if last < end:
                self.resend.appendleft((last + 1, end))
        else:
            self.next = last + 1
        self.window.sent(first, last, size, beat)

    def answered(self, first: int, last: int) -> None:
        self.accepted.add(first, last)
        self.accepted.drop_to(self._floor)
        self._patience_beats = 1
        self._lost(self.window.answered(first, last))

    def beat(self, beat: int) -> None:
        """A heartbeat is due: what was sent before the last one and not answered yet may be lost."""
        if self.heard and self._silent:
            self._patience_beats = 1
        self._silent, self.heard = not self.heard, False
        if not self._resends or beat - self._resent_at < self._patience_beats:
            return
        overdue = self.window.overdue(beat - 1)
        if overdue is not None:
            self._resent_at = beat
            self._patience_beats = self.patience_after(self._patience_beats)
            self._lost([overdue])

    def patience_after(self, beats: int) -> int:
        return 2 * beats

    @property
    def acknowledged(self) -> int:
        """The highest slot that it has accepted."""
        return max(self._acknowledged, self.accepted.last)

    def reach(self, first: int) -> int:
        """The last slot up to which it has accepted everything from ``first`` on that is sent to it."""
        return self.accepted.reach(max(first, self._floor + 1))

    def skip_to(self, slot: int) -> None:
        """Nothing at or below is sent to it any more: it is chosen, and gone from the log here or known there."""
        if slot <= self._floor:
            return
        self._floor = slot
        self._acknowledged = self.acknowledged
        self.accepted.drop_to(slot)
        self.next = max(self.next, slot + 1)
        waiting, self.resend = self.resend, deque()
        self._lost(waiting)

    def _lost(self, ranges: Iterable[tuple[int, int]]) -> None:
        if self._resends:
            self.resend.extend((max(first, self._floor + 1), last) for first, last in ranges if last > self._floor)

    def reset(self, first_open: int) -> None:
        """The session ended or began: what was in flight is gone, and so may be its answers."""
        self.window.clear()
        self.resend.clear()
        self.next = max(first_open, self._floor + 1)
        self.chosen_told = 0
        self._patience_beats = 1
