"""Who learns of the present cluster table, in every state of members that come and go; and what each part is for."""

from __future__ import annotations

import pytest

from tests.models.explore import Violation, explore
from tests.models.tables import Model, Rule, initial, replacement


def test_who_knows_a_present_member_has_everything_once_all_are_back() -> None:
    report = explore(initial(4, absences=1), Model(replacement(3, 0)).steps)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule is not Rule.AS_IT_IS])
def test_each_part_of_the_rule_is_needed(rule: Rule) -> None:
    report = explore(initial(4, absences=1), Model(replacement(3, 0), rule).steps)
    assert report.violation == Violation("stuck")
