"""An operator who adds, promotes and removes members all the time, and starts the nodes of those who were added.

What it knows of the members is the latest configuration that was delivered anywhere. It never leaves fewer voters than
there were before it came, but for one. When the world has healed it changes nothing more, but stops who was removed and
could not hear of that (docs/decisions/cluster.md).
"""

from __future__ import annotations

from ratified.check.configurations import everybody
from ratified.node.changes import AddMember, Asked, PromoteMember, RemoveMember, encode_asked
from ratified.node.cluster_table import CLUSTER_GROUP
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.requester import Requester


class MemberOperator:
    def __init__(self, number: int, cluster: Cluster) -> None:
        self.requester = Requester(number, CLUSTER_GROUP, cluster, self._ended)
        self._cluster = cluster
        self._counters = cluster.world.counters
        self._timeout_us = cluster.options.election_timeout_us
        self._configurations = cluster.checkers.groups[CLUSTER_GROUP].configurations
        self._voters_least = max(cluster.options.nodes - 1, 1)
        self._asked: Asked = RemoveMember(0)
        self._changes_no_more = False

    def act(self) -> None:
        self._see_to_who_was_added()
        self._stop_who_was_forgotten()
        asked = None if self._changes_no_more else self._next()
        requester = self.requester
        if asked is None or not requester.find_process():
            self._later()
            return
        self._asked = asked
        requester.ask(Work.MEMBERS, encode_asked(asked), 4 * self._timeout_us)
        requester.give_up_after(8 * self._timeout_us)

    def stop(self) -> None:
        self._changes_no_more = True

    def waiting(self) -> str | None:
        return None

    def _see_to_who_was_added(self) -> None:
        """Start their nodes."""
        for member in everybody(self._configurations[-1][1]):
            self._cluster.machines[member].join(self.requester.draws.pick(self._cluster.members))

    def _stop_who_was_forgotten(self) -> None:
        """Of a removed member all whom it knows have left before it could hear of that."""
        present = everybody(self._configurations[-1][1])
        for member in self._cluster.members:
            machine = self._cluster.machines[member]
            if member not in present and machine.node is not None:
                others = (other for other in machine.node.table().members if other != member)
                if not any(self._cluster.machines[other].is_member for other in others):
                    machine.leave()

    def _next(self) -> Asked | None:
        present = self._configurations[-1][1]
        draws = self.requester.draws
        members = everybody(present)
        spares = [each for each in self._cluster.options.joiners if each > max(members)]
        kind = draws.below(3)
        if kind == 0 and spares:
            urls = (f"http://n{spares[0]:03}",)
            return AddMember(spares[0], urls, draws.chance(300_000))
        if kind == 1 and present.learners:
            return PromoteMember(draws.pick(present.learners))
        if kind == 2 and len(present.voters) > self._voters_least:
            leader = self._cluster.leader()
            is_leader = leader in members and draws.chance(400_000)
            return RemoveMember(leader if is_leader and leader is not None else draws.pick(members))
        return None

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE and not b"".join(parts):
            self._counters[_COUNTERS[type(self._asked)]] += 1
        self._later()

    def _later(self) -> None:
        self.requester.later(2 * self._timeout_us, self.act)


_COUNTERS: dict[type[Asked], str] = {
    AddMember: "members added",
    PromoteMember: "learners promoted",
    RemoveMember: "members removed",
}
