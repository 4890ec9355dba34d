"""Which oracles are told of an event."""

from __future__ import annotations

from typing_extensions import override

from ratified.check.oracle import Listeners, Oracle


class Counting(Oracle):
    def __init__(self) -> None:
        self.seen: list[int] = []

    @override
    def recovered(self, member: int) -> None:
        self.seen.append(member)


class Inheriting(Counting):
    """Overrides nothing itself."""


def test_an_event_that_is_inherited_is_judged_and_one_that_nobody_overrides_costs_nothing() -> None:
    one, other = Counting(), Inheriting()
    listeners = Listeners([one, other, Oracle()])
    for recovered in listeners.recovered:
        recovered(7)
    assert one.seen == other.seen == [7]
    assert listeners.durable == []
