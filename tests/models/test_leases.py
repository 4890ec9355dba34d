"""Under clock leases nobody reads what is stale, and each condition is needed."""

from __future__ import annotations

import pytest

from tests.models.explore import Violation, follow
from tests.models.leases import MUTANTS, RULE, Bounds, Model, led, search, walk


@pytest.mark.parametrize(
    ("bounds", "states"),
    [
        (Bounds(), 10_000),
        (Bounds(restarts=0, releases=0, rounds=1), 10_000),
        (Bounds(eras=3, drift=0), 10_000),
        (Bounds(restarts=0, releases=0, drift=0, change=True), 10_000),
    ],
    ids=["everything", "drift", "three eras", "a change of members"],
)
def test_no_read_is_stale(bounds: Bounds, states: int) -> None:
    report = search(RULE, bounds, states)
    assert report.violation is None, report.trace
    assert report.states >= states or report.closed


@pytest.mark.parametrize("change", [False, True])
def test_nor_on_long_ways(change: bool) -> None:
    for seed in range(100):
        assert walk(seed, RULE, Bounds(eras=4, rounds=3, change=change)) is None, seed


@pytest.mark.parametrize("name", MUTANTS)
def test_without_this_condition_one_is(name: str) -> None:
    mutant = MUTANTS[name]
    end = follow(led(mutant.bounds), Model(mutant.rule, mutant.bounds).steps, mutant.trace)
    assert isinstance(end, Violation)


@pytest.mark.parametrize("name", [name for name in MUTANTS if MUTANTS[name].rule != RULE])
def test_with_it_the_same_way_leads_to_none(name: str) -> None:
    mutant = MUTANTS[name]
    try:
        end = follow(led(mutant.bounds), Model(RULE, mutant.bounds).steps, mutant.trace)
    except LookupError:
        return  # the rule forbids a step of it
    assert not isinstance(end, Violation)
