"""Raft's pull is safe as it is, and each of its conditions is needed."""

from __future__ import annotations

import pytest

from tests.models.explore import Violation, follow
from tests.models.raft_pull import EASED, MUTANTS, RULE, Bounds, Model, Rule, initial, search


@pytest.mark.parametrize(
    ("bounds", "states"),
    [
        (Bounds(terms=4, entries=3), 15_000),
        (Bounds(terms=3, entries=2, writes=1), 15_000),
        (Bounds(members=5, terms=3, entries=2, crashes=0), 2_000),
    ],
    ids=["disks at once", "disks that lag", "five members"],
)
def test_no_state_breaks_an_invariant(bounds: Bounds, states: int) -> None:
    report = search(RULE, bounds, states)
    assert report.violation is None, report.trace
    assert report.states >= states or report.closed


def test_every_state_of_two_terms_keeps_the_invariants() -> None:
    report = search(RULE, Bounds(terms=2, entries=2, crashes=1, writes=0), 1_000_000)
    assert report.closed
    assert report.violation is None, report.trace


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


@pytest.mark.parametrize("rule", EASED.values(), ids=EASED)
def test_what_safety_does_not_need(rule: Rule) -> None:
    assert search(rule, Bounds(terms=3, entries=2), 3_000).violation is None
