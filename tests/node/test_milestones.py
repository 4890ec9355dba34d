"""When a group's log came how far, in a simulated cluster whose disks and links take a known time."""

from __future__ import annotations

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node import milestones
from ratified.node.milestones import GRAIN_US, Milestones, Stage
from tests.node.cluster import DISK_US, MS, NET_US, Cluster


@pytest.mark.parametrize("engine", ENGINES)
def test_a_writes_steps_are_as_far_apart_as_disk_and_link_make_them(engine: str) -> None:
    cluster = Cluster(engine=engine)
    leader = cluster.elect()
    cluster.run(100 * MS)
    asked = cluster.now
    token = cluster.submit(leader, b"x")
    cluster.run_until(lambda: cluster.ended(token))
    steps = cluster.node(leader).milestones(0).of_last_applied()
    assert steps[Stage.PROPOSED] == asked
    assert asked + DISK_US <= steps[Stage.DURABLE]
    assert asked + 2 * NET_US <= steps[Stage.COMMITTED] <= steps[Stage.APPLIED] <= cluster.now
    other = cluster.follower()
    cluster.run(100 * MS)
    elsewhere = cluster.node(other).milestones(0).of_last_applied()
    assert set(elsewhere) == {Stage.DURABLE, Stage.COMMITTED, Stage.APPLIED}


def test_steps_close_together_are_one_and_old_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milestones, "STEPS_MAX", 3)
    made = Milestones()
    assert made.of_last_applied() == {}
    for index in range(10):
        made.reached(Stage.PROPOSED, index, index * GRAIN_US)
        made.reached(Stage.APPLIED, index, index * GRAIN_US + 100)
    made.reached(Stage.APPLIED, 10, 9 * GRAIN_US + 200)
    assert made.of_last_applied() == {Stage.APPLIED: 9 * GRAIN_US + 100}
    made.reached(Stage.PROPOSED, 10, 20 * GRAIN_US)
    assert made.of_last_applied() == {Stage.PROPOSED: 20 * GRAIN_US, Stage.APPLIED: 9 * GRAIN_US + 100}
