"""Work (rule 15): nothing in a turn is proportional to what was not touched."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.consensus.contract import Ready
from ratified.machine import Continuation, Slice, StateMachineStore, Store
from ratified.node.node import Node
from ratified.node.ports import DiskSpace, GoOn, Hold, Input, Request, Work
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
