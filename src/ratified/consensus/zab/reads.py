"""Linearizable reads without the history, in batches: a quorum says that it has accepted no later epoch.

A later leader needs a quorum that accepts its epoch, and one of those members answers here. What it answers, it answers
before it accepts; so what the later leader commits, it commits after this round began.

A *round* has a number, which PINGs carry and PONGs give back. It begins by taking the commit index; every barrier that
waited when it began is answered when a quorum has answered it. One round is under way at a time; what arrives
meanwhile waits for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import ReadIndex


class Reads:
    """The barriers that wait at one leader, in one epoch."""

    __slots__ = ("_confirming", "_index", "_waiting", "round")

    def __init__(self) -> None:
        self.round = 0
        """The number of the latest round."""
        self._waiting: list[int] = []
        self._confirming: list[int] = []
        self._index = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._confirming)

    def ask(self, token: int) -> None:
        """A barrier waits for the next round."""
        self._waiting.append(token)

    @property
    def under_way(self) -> bool:
        """Does a round wait for its quorum?"""
        return bool(self._confirming)

    @property
    def wanted(self) -> bool:
        """Should a round begin?"""
        return bool(self._waiting) and not self._confirming

    def begin(self, commit: int) -> None:
        """A round begins; what waits will read at ``commit``."""
        assert self.wanted
        self.round += 1
        self._confirming, self._waiting = self._waiting, []
        self._index = commit

    def confirmed(self) -> Sequence[ReadIndex]:
        """A quorum answered the round that is under way: its barriers and their index."""
        answers = [ReadIndex(token, self._index) for token in self._confirming]
        self._confirming = []
        return answers

    def fail(self) -> Sequence[ReadIndex]:
        """This leader leads no longer: nothing that waits can be confirmed."""
        answers = [ReadIndex(token, None) for token in (*self._confirming, *self._waiting)]
        self._confirming, self._waiting = [], []
        return answers
