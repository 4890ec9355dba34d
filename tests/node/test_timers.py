"""Deadlines of many things."""

from __future__ import annotations

from ratified.node.timers import Deadlines


class Thing:
    def __init__(self, deadline: int | None) -> None:
        self.deadline = deadline


def test_what_is_due_comes_once_and_what_ended_or_moved_does_not() -> None:
    alive = {1: Thing(10), 2: Thing(20), 3: Thing(10)}
    deadlines = Deadlines(alive)
    for key, thing in alive.items():
        deadlines.add(thing.deadline or 0, key)
    del alive[1]
    alive[3].deadline = 30
    deadlines.add(30, 3)
    assert deadlines.next() == 20
    assert deadlines.due(25) == [alive[2]]
    assert deadlines.due(25) == []
    assert deadlines.due(30) == [alive[3]]
    assert deadlines.next() is None


def test_what_ended_takes_no_room_for_ever() -> None:
    alive: dict[int, Thing] = {}
    deadlines = Deadlines(alive)
    for key in range(10_000):
        alive[key] = Thing(key)
        deadlines.add(key, key)
        if key >= 10:
            del alive[key - 10]
    assert len(deadlines._heap) < 1000
    assert len(deadlines.due(10_000)) == 10
