"""The index of a group's entries, held against a dictionary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.storage.index import GroupIndex, Location

steps = st.one_of(
    st.tuples(st.just("next"), st.just(0)),
    st.tuples(st.sampled_from(["put", "truncate", "rebase"]), st.integers(1, 30)),
)


@given(st.lists(steps, max_size=60), st.integers(0, 3))
def test_the_index_is_a_dictionary_of_what_is_above_the_base(script: list[tuple[str, int]], base: int) -> None:
    index = GroupIndex(base, 100)
    model: dict[int, Location] = {}
    for number, (step, at) in enumerate(script):
        location = Location(1 + number % 3, number * 1000, 1 + number, number * 7)
        if step in ("next", "put"):
            target = index.last + 1 if step == "next" else max(at, base + 1)
            index.put(target, *location)
            model[target] = location
        elif step == "truncate":
            index.truncate(at)
            model = {key: kept for key, kept in model.items() if key < at}
        else:
            base = max(base, at)
            index.rebase(at)
            model = {key: kept for key, kept in model.items() if key > base}
        assert index.last == max(model, default=base)
        assert {key: index.find(key) for key in range(40)} == {key: model.get(key) for key in range(40)}


def test_an_entry_below_the_base_or_far_above_the_last_is_refused() -> None:
    index = GroupIndex(5, 10)
    with pytest.raises(ValueError, match="at or below the base 5"):
        index.put(5, 1, 0, 1, 0)
    index.put(16, 1, 0, 1, 0)
    with pytest.raises(ValueError, match="more than 10 above the last one, 16"):
        index.put(28, 1, 0, 1, 0)
