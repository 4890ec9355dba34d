"""A leader's table of peers, which follows the configuration (rule 6 of the contract).

Nothing looks a peer up in a table made at an election: the table is compared with the configuration whenever it is
asked, which costs one comparison of identities where nothing has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from ratified.consensus.membership import Configurations

Peer = TypeVar("Peer")


class Peers(Generic[Peer]):
    """What a leader knows of each peer: made by ``join`` for whoever joins, forgotten with whoever leaves."""

    __slots__ = ("_configurations", "_join", "_members", "_table")

    def __init__(self, configurations: Configurations, elect: Callable[[], Peer], join: Callable[[], Peer]) -> None:
        """``elect`` makes those that there are at the election."""
        self._configurations = configurations
        self._join = join
        self._members = configurations.peers
        self._table = {peer: elect() for peer in configurations.peers}

    @property
    def table(self) -> dict[int, Peer]:
        """By member, ascending."""
        peers = self._configurations.peers
        if peers is not self._members:
            self._members = peers
            self._table = {peer: self._table[peer] if peer in self._table else self._join() for peer in peers}
        return self._table
