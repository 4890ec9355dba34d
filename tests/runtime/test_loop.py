"""How many inputs a turn takes."""

from __future__ import annotations

from ratified.runtime.loop import TURN_US, TurnBudget


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
