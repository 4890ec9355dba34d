"""Work (rule 15): nothing in a turn is proportional to what was not touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.consensus.contract import Limits, Ready
from ratified.machine import Continuation, Slice, StateMachineStore, Store
from ratified.node.config import NodeLimits
from ratified.node.node import Node
from ratified.node.ports import DiskSpace, GoOn, Hold, Input, Outputs, Request, Work
from ratified.node.replica import Replica
from tests.node.cluster import SECOND, Cluster, Journal

GROUPS = 20


class Silent:
    """A watch of something that never changes."""

    deadline = None

    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        return Slice((), False)

    def cancel(self) -> None:
        pass


class Watched(StateMachineStore):
    def __init__(self) -> None:
        super().__init__(Journal())

    def read(self, now: int, request: bytes) -> bytes | Continuation:
        return Silent() if request == b"watch" else super().read(now, request)


def watched(member: int, group: int) -> Store:
    return Watched()


class Touched:
    """Takes turns of a node at one moment, and sees which groups each of them drains."""

    def __init__(self, node: Node, now: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.node = node
        self.now = now
        self._groups: list[int] = []
        prepare = Replica.prepare

        def seen(replica: Replica, now: int) -> Ready | None:
            self._groups.append(replica.group)
            return prepare(replica, now)

        monkeypatch.setattr(Replica, "prepare", seen)
        while node.turn(now, 64).more:
            """What was due until now is done."""

    def by(self, *inputs: Input) -> Sequence[int]:
        self._groups.clear()
        for entered in inputs:
            self.node.offer(entered)
        self.node.turn(self.now, 64)
        return sorted(self._groups)


def test_a_turn_touches_only_the_groups_that_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(size=1, groups=range(GROUPS), open_store=watched)
    for group in range(GROUPS):
        cluster.elect(group)
    cluster.replies[1000] = cluster.replies[1001] = []
    touched = Touched(cluster.node(1), cluster.now, monkeypatch)
    assert touched.by() == []
    assert touched.by(Request(1000, 7, Work.READ_LOCAL, b"watch", cluster.now + SECOND)) == [7]
    assert touched.by(Request(1001, 9, Work.READ_LOCAL, b"", cluster.now + SECOND)) == [9]
    assert touched.by(Hold((1000,))) == []
    assert touched.by(GoOn((1000, 1001, 12345))) == [7]
    assert touched.by(DiskSpace(1 << 40)) == [], "as much as before"
    assert touched.by(DiskSpace(0)) == list(range(GROUPS))
    assert touched.by(DiskSpace(1)) == [], "as little as before"


def test_a_member_far_behind_applies_what_it_missed_over_many_turns() -> None:
    """Each group a part of it, and of all groups together no more than a turn may apply; peers are served between."""
    limits = NodeLimits(apply_entries_max=40)
    cluster = Cluster(groups=(0, 1, 2), limits=limits, engine_limits=Limits(deliver_entries_max=30))
    leaders = {group: cluster.elect(group) for group in range(3)}
    late = next(member for member in cluster.members if member not in leaders.values())
    cluster.kill(late)
    for group, leader in leaders.items():
        for number in range(300):
            cluster.submit(leader, b"%d" % number, group=group)
    cluster.run(SECOND)
    eras = [cluster.node(leader).lead(group) for group, leader in leaders.items()]
    cluster.start(late)
    applied: list[int] = []
    turn = Node.turn

    def counted(node: Node, now: int, inputs_max: int) -> Outputs:
        before = sum(len(machine.commands) for machine in machines(cluster, late)) if node is late_node else 0
        outputs = turn(node, now, inputs_max)
        if node is late_node:
            applied.append(sum(len(machine.commands) for machine in machines(cluster, late)) - before)
        return outputs

    late_node = cluster.node(late)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Node, "turn", counted)
        cluster.run_until(lambda: all(len(machine.commands) == 300 for machine in machines(cluster, late)))
    assert max(applied) <= 40 - 1 + 30
    assert sum(applied) == 900
    assert [cluster.node(leader).lead(group) for group, leader in leaders.items()] == eras


def machines(cluster: Cluster, member: int) -> list[Journal]:
    return [cluster.machine(member, group) for group in range(3)]
