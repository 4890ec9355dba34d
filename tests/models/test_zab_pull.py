"""ZAB's pull is safe as it is, and each of its conditions is needed."""

from __future__ import annotations

import pytest

from tests.models.explore import Violation, follow
from tests.models.zab_pull import EASED, MUTANTS, RULE, Bounds, Model, initial, search


@pytest.mark.parametrize(
    ("bounds", "states"),
    [(Bounds(), 20_000), (Bounds(entries=2, writes=1), 20_000)],
    ids=["disks at once", "disks that lag"],
)
def test_no_state_breaks_an_invariant(bounds: Bounds, states: int) -> None:
    report = search(RULE, bounds, states)
    assert report.violation is None, report.trace
    assert report.states >= states or report.closed


def test_a_history_may_come_in_parts() -> None:
    (rule,) = EASED.values()
    assert search(rule, Bounds(), 15_000).violation is None


@pytest.mark.parametrize("name", MUTANTS)
def test_without_this_condition_an_invariant_breaks(name: str) -> None:
    mutant = MUTANTS[name]
    model = Model(mutant.rule, mutant.bounds)
    end = follow(initial(mutant.bounds), model.steps, mutant.trace)
    assert isinstance(end, Violation)


@pytest.mark.parametrize("name", MUTANTS)
def test_with_it_the_same_way_leads_to_none(name: str) -> None:
    mutant = MUTANTS[name]
    model = Model(RULE, mutant.bounds)
    try:
        end = follow(initial(mutant.bounds), model.steps, mutant.trace)
    except LookupError:
        return  # the rule forbids a step of it
    assert not isinstance(end, Violation)
