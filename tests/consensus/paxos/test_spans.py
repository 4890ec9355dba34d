"""Ranges of slots: against a set, operation by operation."""

import pytest

from ratified.consensus.draws import mix
from ratified.consensus.paxos.spans import Spans


@pytest.mark.parametrize("seed", range(30))
def test_spans_are_a_set_of_slots(seed: int) -> None:
    spans, model = Spans(), set[int]()
    for step in range(60):
        first = 1 + mix(seed, step, 0) % 40
        last = first + mix(seed, step, 1) % 5
        spans.add(first, last)
        model |= set(range(first, last + 1))
        if mix(seed, step, 2) % 10 == 0:
            slot = mix(seed, step, 3) % 20
            spans.drop_to(slot)
            model = {each for each in model if each > slot}
        assert len(spans) == sum(each - 1 not in model for each in model)
        for slot in range(1, 50):
            reach = slot - 1
            while reach + 1 in model:
                reach += 1
            assert spans.reach(slot) == reach


def test_ranges_that_touch_become_one() -> None:
    spans = Spans()
    spans.add(1, 3)
    spans.add(5, 6)
    assert spans.reach(1) == 3
    spans.add(4, 4)
    assert spans.reach(1) == 6
