"""An operator who adds one member and, when that votes, removes the leader."""

from __future__ import annotations

from collections.abc import Callable

from ratified.check.configurations import everybody
from ratified.consensus.contract import Membership
from ratified.node.changes import AddMember, Asked, RemoveMember, encode_asked
from ratified.node.cluster_table import CLUSTER_GROUP
from ratified.node.ports import Request, Work
from ratified.sim.cluster import Cluster

LOOK_US = 1_000
AGAIN_US = 100_000
"""When a removal is asked for once more: it is refused while the change before it is not over for all."""
TIMEOUT_US = 5_000_000


class LeaderReplacement:
    """Begins at once. Its requests have tokens below 0, and nobody waits for the answers."""

    def __init__(self, cluster: Cluster, votes: Callable[[int], None]) -> None:
        """``votes`` is called with the leader that will be removed, when the new member votes."""
        leader = cluster.leader()
        assert leader is not None, "nobody leads who could be removed"
        self.leader = leader
        (self.joiner,) = cluster.options.joiners
        self._cluster = cluster
        self._world = cluster.world
        self._votes = votes
        self._token = 0
        self._ask(AddMember(self.joiner, (f"http://n{self.joiner:03}",), False))
        self._see_it_join()

    @property
    def is_over(self) -> bool:
        return self.leader not in self._cluster.members

    @property
    def _present(self) -> Membership:
        return self._cluster.checkers.groups[CLUSTER_GROUP].configurations[-1][1]

    def _see_it_join(self) -> None:
        """Start it when others know of it."""
        present = self._present
        if self.joiner in everybody(present):
            self._cluster.machines[self.joiner].join(self.leader)
        if self.joiner in present.voters and not present.outgoing:
            self._votes(self.leader)
            self._remove()
        else:
            self._world.at(self._world.now + LOOK_US, 0, 0, self._see_it_join)

    def _remove(self) -> None:
        if self._cluster.machines[self.leader].node is not None and self.leader in everybody(self._present):
            self._ask(RemoveMember(self.leader))
            self._world.at(self._world.now + AGAIN_US, 0, 0, self._remove)

    def _ask(self, change: Asked) -> None:
        self._token -= 1
        deadline = self._world.now + TIMEOUT_US
        self._cluster.machines[self.leader].offer(
            Request(self._token, CLUSTER_GROUP, Work.MEMBERS, encode_asked(change), deadline)
        )
