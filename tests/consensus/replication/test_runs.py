"""Which era an index has: against a dict, operation by operation."""

import pytest

from ratified.consensus.draws import mix
from ratified.consensus.replication.runs import Runs


@pytest.mark.parametrize("seed", range(30))
def test_runs_give_each_index_its_latest_era(seed: int) -> None:
    runs, model = Runs(), dict[int, tuple[int, int]]()
    for step in range(60):
        first = 1 + mix(seed, step, 0) % 40
        last = first + mix(seed, step, 1) % 6
        era = (1 + mix(seed, step, 2) % 3, 1)
        runs.put(first, last, era)
        model |= dict.fromkeys(range(first, last + 1), era)
        if mix(seed, step, 3) % 8 == 0:
            runs.truncate(last)
            model = {each: model[each] for each in model if each < last}
        if mix(seed, step, 3) % 8 == 1:
            runs.forget(first)
            model = {each: model[each] for each in model if each > first}
        assert runs.last == max(model, default=0)
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
