"""The rule of directories, in every state of a small cluster; and what each of its parts prevents."""

from __future__ import annotations

import pytest

from tests.models.explore import Violation, explore, follow
from tests.models.identity import Model, Rule, begun, canonical, initial

LOST = "an acknowledged entry is lost"


def test_from_the_first_start_on_nothing_is_lost_with_a_wiped_disk() -> None:
    report = explore(initial(3, wipes=1), Model().steps, canonical)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


def test_once_all_have_begun_nothing_is_lost_as_long_as_one_keeps_its_disk() -> None:
    report = explore(begun(3, wipes=2), Model().steps, canonical)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule is not Rule.AS_IT_IS])
def test_each_part_of_the_rule_is_needed(rule: Rule) -> None:
    report = explore(initial(3, wipes=1), Model(rule).steps, canonical)
    assert report.violation == Violation(LOST)


def test_a_first_start_with_a_wiped_disk_leaves_a_majority_that_can_go_on() -> None:
    report = explore(initial(3, wipes=1), Model(stuck_after_wipes=1).steps, canonical)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


def test_a_majority_wiped_before_the_rest_has_ever_begun_begins_anew() -> None:
    """The limit of the rule: 2 has taken part in the first start and has not begun, and then takes 0 and 1 for new."""
    meet = ["0 meets 1", "0 meets 2", "1 meets 0", "1 meets 2", "2 meets 0", "2 meets 1"]
    first = [*meet, "0 begins", "1 begins", "(0, 1) acknowledge"]
    wiped = ["0 is wiped", "1 is wiped", *meet, "0 begins", "2 begins", "1 gets its own back"]
    assert follow(initial(3, wipes=2), Model().steps, [*first, *wiped, "(0, 2) elect"]) == Violation(LOST)
