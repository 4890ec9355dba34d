"""How another group follows group 0, in every state of both; and what each part of the rules is for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.models.explore import Violation, explore
from tests.models.groups import Configuration, Model, Rule, World

FIRST = frozenset({0, 1, 2})
ALL_FIRST = Configuration(FIRST)
LESS = [ALL_FIRST, Configuration(frozenset({1, 2}))]
THERE_AND_BACK = [ALL_FIRST, Configuration(FIRST, frozenset({3})), ALL_FIRST]
"""A learner comes and goes: the configuration at the end is that of the beginning."""


def alike(world: World) -> World:
    """The first members differ in nothing."""
    first = sorted(world.leading[:3], key=repr)
    return replace(world, leading=(*first, *world.leading[3:]))


def test_a_group_ends_with_the_configuration_of_group_0_and_who_is_removed_leaves() -> None:
    report = explore(Model(LESS, elections=2).initial(), Model(LESS, elections=2).steps)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


def test_a_configuration_may_come_again() -> None:
    model = Model(THERE_AND_BACK, elections=1)
    report = explore(model.initial(), model.steps, alike)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


@pytest.mark.parametrize(
    ("rule", "wanted", "violation"),
    [
        (Rule.ANY_TABLE, THERE_AND_BACK, "stuck"),
        (Rule.UNCONFIRMED, THERE_AND_BACK, "stuck"),
        (Rule.WHATEVER_IS_SAID, THERE_AND_BACK, "stuck"),
        (Rule.GONE_AT_ONCE, LESS, "stuck"),
        (Rule.GONE_WITH_GROUP_0, LESS, "gone back"),
    ],
    ids=lambda value: value.name if isinstance(value, Rule) else "",
)
def test_each_part_of_the_rules_is_needed(rule: Rule, wanted: list[Configuration], violation: str) -> None:
    model = Model(wanted, elections=1, rule=rule)
    report = explore(model.initial(), model.steps, alike)
    assert report.violation == Violation(violation)
