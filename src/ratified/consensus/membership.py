"""The configurations that a member knows of, by index (rule 6 of the contract).

Rules of this file:

1. A configuration is in force when its entry is appended, and undone when that is truncated. So quorums, voters and
   peers are those of the latest one, both halves of it while it is joint.
2. Earlier ones count until one that replaces them is known to be committed here. They are kept back to the base's: the
   next base, wherever it is cut, says which configuration holds there.
3. Who the peers are is worked out once for each change. ``peers`` is the same object for as long as nothing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ratified.consensus.contract import Base, Membership
from ratified.consensus.quorum import is_quorum, quorum_value


class Configurations:
    """All from the base on; those count that stand behind the committed one, and it."""

    __slots__ = ("_by_index", "_committed", "latest", "own", "peers")

    def __init__(self, own: int, base: Base) -> None:
        self.own = own
        self._by_index = [(base.index, base.membership)]
        self._committed = 0
        """Where the committed one stands among them."""
        self.latest: Membership
        self.peers: tuple[int, ...]
        """All other members to replicate to, ascending."""
        self._take_latest()

    @property
    def committed(self) -> Membership:
        """The latest one that is known to be committed."""
        return self._by_index[self._committed][1]

    def at(self, index: int) -> Membership:
        """The one in force at ``index``, which is not below the base."""
        first, _ = self._by_index[0]
        assert index >= first, f"which configuration held at {index} is not known, the base is at {first}"
        return next(membership for first, membership in reversed(self._by_index) if first <= index)

    def append(self, index: int, membership: Membership) -> None:
        """The entry at ``index`` says that ``membership`` holds from there on."""
        assert index > self._by_index[-1][0], f"configuration {index} is not behind {self._by_index[-1][0]}"
        self._by_index.append((index, membership))
        self._take_latest()

    def truncate(self, first: int) -> None:
        """The entries from ``first`` on are gone, and the configurations among them."""
        committed, _ = self._by_index[self._committed]
        assert first > committed, f"configuration {committed} is committed"
        if self._by_index[-1][0] >= first:
            self._by_index = [each for each in self._by_index if each[0] < first]
            self._take_latest()

    def commit_to(self, index: int) -> None:
        """Everything up to ``index`` is committed: what a configuration up to there replaced counts no more."""
        by_index = self._by_index
        while self._committed + 1 < len(by_index) and by_index[self._committed + 1][0] <= index:
            self._committed += 1

    def compact(self, base: Base) -> None:
        """The log begins behind ``base``; all up to there is committed."""
        self.commit_to(base.index)
        kept = [each for each in self._by_index if each[0] > base.index]
        self._committed -= len(self._by_index) - len(kept) - 1
        self._by_index = [(base.index, base.membership), *kept]

    def replace(self, base: Base) -> None:
        """The log is another one, that begins behind ``base`` and has nothing yet."""
        self._by_index = [(base.index, base.membership)]
        self._committed = 0
        self._take_latest()

    def _take_latest(self) -> None:
        membership = self.latest = self._by_index[-1][1]
        others = {*membership.voters, *membership.outgoing, *membership.learners} - {self.own}
        self.peers = tuple(sorted(others))

    @property
    def is_settled(self) -> bool:
        """Is the latest one known to be committed, and no joint one?"""
        return self.latest_is_committed and not self.latest.outgoing

    @property
    def since(self) -> int:
        """The index of the latest one; the base's where that is as far as is known."""
        return self._by_index[-1][0]

    @property
    def latest_is_committed(self) -> bool:
        return self._committed + 1 == len(self._by_index)

    # ----------------------------------------------------------------------------------------------------- quorums

    def is_voter(self, member: int) -> bool:
        """Does ``member`` vote, by the latest configuration?"""
        return member in self.latest.voters or member in self.latest.outgoing

    @property
    def may_campaign(self) -> bool:
        """Is this member a voter of the latest configuration, or of an earlier one that no later one is known to have
        replaced for good?

        A leader on its way out that alone has the best log would otherwise stop everybody.
        """
        return any(
            self.own in each.voters or self.own in each.outgoing for _, each in self._by_index[self._committed :]
        )

    def is_quorum(self, members: Collection[int]) -> bool:
        return is_quorum(self.latest, members)

    def quorum_value(self, value: Callable[[int], int]) -> int:
        """The highest number that a quorum's values reach."""
        return quorum_value(self.latest, value)
