"""Nobody waits for ever in a group that rests; and what each part of the rule is for."""

from __future__ import annotations

import pytest

from tests.models.explore import Violation, explore
from tests.models.rest import Model, Rule, initial


def test_nobody_rests_for_ever_under_somebody_who_leads_no_longer() -> None:
    report = explore(initial(rests=1, elections=1, breaks=2), Model().steps)
    assert report.violation is None, [label for label, _ in report.trace]
    assert report.closed


@pytest.mark.parametrize("rule", [rule for rule in Rule if rule is not Rule.AS_IT_IS])
def test_each_part_of_the_rule_is_needed(rule: Rule) -> None:
    report = explore(initial(rests=1, elections=1, breaks=2), Model(rule).steps)
    assert report.violation == Violation("stuck")
