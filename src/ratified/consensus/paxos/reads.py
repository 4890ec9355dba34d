"""Linearizable reads without a slot, in batches: a quorum says that it has promised nothing above the leader's ballot.

Any proposer that chose something in a higher ballot has a promise of every quorum's member for it, and one of them is
asked here. So what the leader knew to be chosen when the round began is all that was, anywhere.

A *round* has a number. One is under way at a time; what arrives meanwhile waits for the next one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import ReadIndex


class Reads:
    """The barriers that wait at one leader, in one ballot."""

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

    def begin(self, chosen: int) -> None:
        """A round begins; what waits will read at ``chosen``."""
        assert self.wanted
        self.round += 1
        self._confirming, self._waiting = self._waiting, []
        self._index = chosen

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
