"""Ranges of slots: against a set and a dict, operation by operation."""

import pytest

from ratified.consensus.draws import mix
from ratified.consensus.paxos.spans import Runs, Spans


@pytest.mark.parametrize("seed", range(30))
def test_spans_are_a_set_of_slots(seed: int) -> None:
    spans, model = Spans(), set[int]()
    for step in range(60):
        first = 1 + mix(seed, step, 0) % 40
        last = first + mix(seed, step, 1) % 5
        spans.add(first, last)
        model |= set(range(first, last + 1))
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


@pytest.mark.parametrize("seed", range(30))
def test_runs_give_each_slot_its_latest_ballot(seed: int) -> None:
    runs, model = Runs(), dict[int, tuple[int, int]]()
    for step in range(60):
        first = 1 + mix(seed, step, 0) % 40
        last = first + mix(seed, step, 1) % 6
        era = (1 + mix(seed, step, 2) % 3, 1)
        runs.put(first, last, era)
        model |= dict.fromkeys(range(first, last + 1), era)
        assert runs.last == max(model)
        for slot in range(1, 50):
            assert runs.era_at(slot) == model.get(slot)
            assert runs.next_from(slot) == min((each for each in model if each >= slot), default=None)
            end = slot
            while end + 1 in model:
                end += 1
            assert runs.contiguous_end(slot) == end
            if slot in model:
                end = slot
                while model.get(end + 1) == model[slot]:
                    end += 1
                assert runs.run_end(slot) == end


def test_slots_that_come_in_order_with_one_ballot_are_one_run() -> None:
    runs = Runs()
    for slot in range(1, 1000):
        runs.put(slot, slot, (1, 1))
    assert len(runs) == 1
