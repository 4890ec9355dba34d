"""How many inputs a turn takes."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest

from ratified.node.ports import Outputs
from ratified.runtime import loop as runtime_loop
from ratified.runtime.clock import boottime_us
from ratified.runtime.loop import TURN_US, NodeLoop, TurnBudget


def settled(us_per_input: float, turns: int = 100) -> TurnBudget:
    budget = TurnBudget()
    for _ in range(turns):
        budget.spent(budget.inputs_max, budget.inputs_max * us_per_input)
    return budget


def test_a_turn_takes_as_many_inputs_as_its_time_allows() -> None:
    for us_per_input in (5.0, 20.0, 50.0):
        assert abs(settled(us_per_input).inputs_max - TURN_US / us_per_input) <= 2


def test_however_much_an_input_costs_some_are_taken() -> None:
    assert settled(1e6).inputs_max == TurnBudget.INPUTS_MIN
    assert settled(0.001).inputs_max == TurnBudget.INPUTS_MAX


def test_a_completion_that_does_the_work_of_many_requests_counts_with_them() -> None:
    budget = TurnBudget()
    for _ in range(100):
        budget.spent(100, 400)  # requests taken
        budget.spent(1, 1600)  # one completion, by which they are applied
    assert 90 <= budget.inputs_max <= 110


def test_a_turn_without_inputs_does_not_count() -> None:
    budget = settled(20.0)
    before = budget.inputs_max
    for _ in range(100):
        budget.spent(0, 100)
    assert budget.inputs_max == before


def loop_of(node: Any, peers: Any) -> NodeLoop:
    """The loop of a node that uses no disk and answers nobody."""
    no: Any = Mock()
    return NodeLoop(
        node,
        asyncio.get_running_loop(),
        no,
        no,
        peers,
        on_reply=no,
        on_notice=no,
        on_stopped=no,
        on_removed=lambda: None,
        on_crash=no,
    )


class Taker:
    """A node that takes as many inputs as it is told to."""

    deadline: int | None = None
    applied_entries = 0

    def __init__(self) -> None:
        self.waiting: list[Any] = []

    def offer(self, item: Any) -> None:
        self.waiting.append(item)

    def turn(self, now: int, inputs_max: int) -> Outputs:
        del self.waiting[:inputs_max]
        return Outputs()


def test_no_more_is_read_from_peers_before_all_that_was_received_is_taken() -> None:
    """What was received and not taken is bounded in bytes (``TransportLimits.received_bytes_max``)."""

    async def run() -> None:
        node, peers = Taker(), Mock()
        waited: list[int] = []
        peers.resume_reading = lambda: waited.append(len(node.waiting))
        turns = loop_of(node, peers)
        turns.offer_all([Mock()] * (TurnBudget.INPUTS_MAX + 1))
        async with asyncio.timeout(5):
            while node.waiting:
                await asyncio.sleep(0)
        assert waited == [0]

    asyncio.run(run())


class Sleeper:
    """A node that does nothing but wait for one deadline."""

    applied_entries = 0

    def __init__(self, deadline: int) -> None:
        self.deadline: int | None = deadline
        self.turns: list[int] = []

    def turn(self, now: int, inputs_max: int) -> Outputs:
        self.turns.append(now)
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
        return Outputs(deadline=self.deadline)


def test_a_timer_that_fires_too_early_fires_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop's clock and the node's are not the same one."""
    begun: int | None = boottime_us()
    """Where the node's clock stands still, so that its first turn is in time on the slowest machine."""

    def behind_the_loops() -> int:
        return boottime_us() - 20_000 if begun is None else begun

    monkeypatch.setattr(runtime_loop, "boottime_us", behind_the_loops)

    async def run() -> None:
        nonlocal begun
        node = Sleeper(behind_the_loops() + 10_000)
        deadline = node.deadline
        turns = loop_of(node, Mock())
        turns.wake()
        await asyncio.sleep(0)
        begun = None
        async with asyncio.timeout(5):
            while node.deadline is not None:
                await asyncio.sleep(0.001)
        assert deadline is not None
        assert [turn >= deadline for turn in node.turns] == [False, True]

    asyncio.run(run())
