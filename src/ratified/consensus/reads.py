"""Linearizable reads without an entry of their own, in batches (rule 8 of the contract; Ongaro's dissertation, 6.4).

A *round* has a number. It begins by taking the leader's commit index and asking all peers whether it still leads; every
barrier that waited when it began is answered when a quorum has answered a message that carried this number or a later
one. One round is under way at a time; what arrives meanwhile waits for the next one, whatever its number.

Each leadership counts its rounds from 1. Whoever answers in another era than the question's says ``NO_ROUND``: who
asked may lead that era too by the time of the answer, and would take it for one to a round of its present count.

What a peer's answer means, and so why a quorum of them makes the index good, is each protocol's own: in Raft that no
later term is known, in Paxos that nothing above the ballot is promised. Each protocol's leader counts the answers.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import ReadIndex

NO_ROUND = 0
"""The first round is 1, so this one confirms nothing."""


class Reads:
    """The barriers that wait at one leader, in one era."""

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
