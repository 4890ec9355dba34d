"""By log leases nobody reads what is stale, and each condition is needed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.models.explore import Violation, follow
from tests.models.log_leases import CONDITIONS, RULE, Bounds, Model, initial, search

WRITES = ("0 writes", "0 replicates to 1")
NEXT_COMMITS = ("1 writes", "1 replicates to 2", "1 commits")
REPLACED = (*WRITES, "1 is elected by 2", "0 commits", *NEXT_COMMITS, "0 reads")
IN_LIMBO = (*WRITES, "1 is elected by 2", "0 commits", "1 reads in limbo")

WAYS: dict[str, tuple[Bounds, tuple[str, ...]]] = {
    "waits": (Bounds(), REPLACED),
    "waits_for_uncommitted": (Bounds(), REPLACED),
    "waits_from_the_last": (
        Bounds(),
        (
            *("1 is elected by 2", "0 writes", "1 writes", "1 replicates to 0", "0 is elected by 2", "1 commits"),
            *("0 writes", "0 replicates to 2", "0 commits", "1 reads"),
        ),
    ),
    "restart_counts_anew": (
        Bounds(entries=2, restarts=1),
        (*WRITES, "1 restarts", "1 is elected by 2", "0 commits", *NEXT_COMMITS, "0 reads"),
    ),
    "waits_for_drift": (
        Bounds(entries=2, drift=1),
        (*WRITES, "tick, 1 gains", "1 is elected by 2", "0 commits", *NEXT_COMMITS, "0 reads"),
    ),
    "own_entries_only": (
        Bounds(),
        (*WRITES, "0 writes", "0 commits", "0 replicates to 2", "2 is elected by 1", "0 commits", "2 reads"),
    ),
    "committed_entries_only": (
        Bounds(),
        ("1 is elected by 2", "0 writes", "1 writes", "1 replicates to 2", "1 commits", "0 reads"),
    ),
    "limbo_is_judged": (Bounds(), IN_LIMBO),
    "limbo_ends_with_earlier_eras": (Bounds(), IN_LIMBO),
    "limbo_asks": (
        Bounds(entries=2, restarts=1),
        (
            *(*WRITES, "1 is elected by 2", "0 is elected by 2", "0 writes", "0 replicates to 2", "0 commits"),
            "1 reads in limbo",
        ),
    ),
    "ends_its_lease": (
        Bounds(ends=1),
        (
            *(*WRITES, "0 commits", "0 ends its lease", "0 replicates to 2", "2 is elected by 1", "2 writes"),
            *("2 replicates to 1", "2 commits", "0 reads"),
        ),
    ),
    "ends_after_its_wait": (
        Bounds(ends=1),
        (*WRITES, "1 is elected by 2", "0 commits", "1 ends its lease", "1 is elected by 2", *NEXT_COMMITS, "0 reads"),
    ),
    "the_end_is_last": (
        Bounds(entries=4, ends=1),
        (
            *(*WRITES, "0 commits", "0 ends its lease", "0 writes", "0 replicates to 1", "1 is elected by 2"),
            *("0 commits", *NEXT_COMMITS, "0 reads"),
        ),
    ),
}
"""A way to a stale read without each condition."""


@pytest.mark.parametrize(
    "bounds",
    [Bounds(entries=2), Bounds(), Bounds(restarts=1), Bounds(drift=1), Bounds(ends=1), Bounds(2, 3, 1, 1, 1)],
    ids=["two entries", "three", "a restart", "drift", "a lease that is ended", "everything"],
)
def test_no_read_is_stale(bounds: Bounds) -> None:
    report = search(RULE, 30_000, bounds)
    assert report.violation is None, report.trace
    assert report.states >= 30_000 or report.closed


@pytest.mark.parametrize("name", CONDITIONS)
def test_without_this_condition_one_is(name: str) -> None:
    bounds, way = WAYS[name]
    model = Model(replace(RULE, **{name: False}), bounds)
    end = follow(initial(), model.steps, way)
    assert isinstance(end, Violation)


@pytest.mark.parametrize("name", CONDITIONS)
def test_with_it_the_same_way_leads_to_none(name: str) -> None:
    bounds, way = WAYS[name]
    model = Model(RULE, bounds)
    try:
        end = follow(initial(), model.steps, way)
    except LookupError:
        return  # the rule forbids a step of it
    assert not isinstance(end, Violation)
