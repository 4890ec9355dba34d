"""A member's history against a plain list: eras, bytes, what is in memory, what is durable, what is committed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.consensus.contract import Base, Durable, Entry, Era, Kind, Limits, Membership, Run
from ratified.consensus.entry import make_entry, memory_bytes
from ratified.consensus.replication.history import History

MEMBERSHIP = Membership((1,))
BASE = Base(10, (2, 0), MEMBERSHIP)


def entry(index: int, era: int, size: int = 0) -> Entry:
    return make_entry(index, (era, 0), Kind.COMMAND, None, bytes(size))


def history(tail_bytes_max: int = 1 << 20, runs: tuple[Run, ...] = (), tail: tuple[Entry, ...] = ()) -> History:
    return History(Durable(b"", BASE, runs, tail, (), BASE.index), Limits(tail_bytes_max=tail_bytes_max))


class Model:
    """The obvious history: every entry above the base in one list; nothing ever leaves memory."""

    def __init__(self) -> None:
        self.base, self.base_era = BASE.index, BASE.era
        self.entries: list[Entry] = []
        self.commit = self.durable = BASE.index

    @property
    def last(self) -> int:
        return self.base + len(self.entries)

    def era_at(self, index: int) -> Era | None:
        if index == self.base:
            return self.base_era
        return self.entries[index - self.base - 1].era if self.base < index <= self.last else None

    def truncate(self, first: int) -> None:
        del self.entries[first - self.base - 1 :]
        self.durable = min(self.durable, first - 1)

    def compact(self, base: Base) -> None:
        kept = self.era_at(base.index) == base.era
        self.entries = self.entries[base.index - self.base :] if kept else []
        self.durable = self.durable if kept else base.index
        self.base, self.base_era = base.index, base.era
        self.commit, self.durable = max(self.commit, base.index), max(self.durable, base.index)

    def last_at_most(self, index: int, era: Era) -> tuple[int, Era]:
        found = max(min(index, self.last), self.base)
        while found > self.base and (self.era_at(found) or (0, 0)) > era:
            found -= 1
        return found, self.era_at(found) or (0, 0)

    def bytes_above(self, index: int) -> int:
        return sum(memory_bytes(len(each.encoded), 1) for each in self.entries if each.index > index)


NUMBERS = st.integers(0, 40)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.just("truncate"), NUMBERS, st.just(0)),
        st.tuples(st.just("persist"), NUMBERS, st.just(0)),
        st.tuples(st.just("commit"), NUMBERS, st.just(0)),
        st.tuples(st.just("compact"), NUMBERS, st.integers(0, 1)),
    ),
    max_size=40,
)


def do(step: str, first: int, second: int, log: History, model: Model) -> None:
    index = BASE.index + first
    if step == "append":
        era = (model.era_at(model.last) or (0, 0))[0] + first
        entries = [entry(model.last + 1 + i, era, size=10 * i) for i in range(second)]
        log.append(entries)
        model.entries += entries
    elif step == "truncate" and model.commit < index <= model.last:
        log.truncate(index)
        model.truncate(index)
    elif step == "persist" and index <= model.last:
        log.persisted(index)
        log.evict()
        model.durable = max(model.durable, index)
    elif step == "commit" and model.commit < index <= model.last:
        log.commit_to(index)
        model.commit = index
    elif step == "compact" and index > model.base:
        here = model.era_at(index)
        if here is None or (second and index > model.commit):
            here = ((model.era_at(model.last) or (0, 0))[0] + 1, 0)  # a snapshot of somebody else's history
        log.compact(Base(index, here, MEMBERSHIP))
        model.compact(Base(index, here, MEMBERSHIP))


@given(STEPS, st.integers(1, 400))
def test_a_history_is_a_list_with_less_in_memory(steps: list[tuple[str, int, int]], tail_bytes_max: int) -> None:
    log, model = history(tail_bytes_max), Model()
    for step in steps:
        do(*step, log, model)
        assert (log.base, log.last, log.commit, log.durable) == (model.base, model.last, model.commit, model.durable)
        assert log.last_era == model.era_at(model.last)
        assert log.undurable_bytes == model.bytes_above(model.durable)
        assert log.uncommitted_bytes == model.bytes_above(model.commit)
        for index in range(BASE.index - 1, model.last + 2):
            assert log.era_at(index) == model.era_at(index)
            for era in range(0, 12, 3):
                assert log.last_at_most(index, (era, 0)) == model.last_at_most(index, (era, 0))
        assert log.first_in_memory <= max(model.durable, model.base) + 1, "what is not durable is in memory"
        in_memory = model.entries[log.first_in_memory - model.base - 1 :]
        assert log.entries(log.first_in_memory, log.last) == in_memory
        sizes = [len(each.encoded) for each in in_memory]
        assert log.bytes_between(log.first_in_memory, log.last) == sum(sizes)
        for room in (0, 60, 130, 1000):
            fitting = sum(sum(sizes[: count + 1]) <= room for count in range(len(sizes)))
            wanted = in_memory[: max(fitting, 1)]
            if in_memory:
                assert log.batch(log.first_in_memory, log.last, room)[0] == wanted


def test_what_a_snapshot_of_another_history_takes_away_is_not_durable_any_more() -> None:
    log = history()
    log.append([entry(11, 2), entry(12, 2)])
    log.persisted(12)
    log.compact(Base(11, (3, 0), MEMBERSHIP))
    assert (log.last, log.durable, log.undurable_bytes) == (11, 11, 0)


def test_eviction_keeps_what_is_not_durable_and_the_last_entry() -> None:
    log = history(tail_bytes_max=1)
    log.append([entry(11 + i, 2, size=100) for i in range(10)])
    log.persisted(14)
    log.evict()
    assert log.first_in_memory == 15
    log.persisted(20)
    log.evict()
    assert log.first_in_memory == 20


def test_eviction_leaves_at_most_the_limit() -> None:
    log = history(tail_bytes_max=8000)
    log.append([entry(11 + i, 2, size=47) for i in range(100)])
    log.persisted(110)
    log.evict()
    kept = log.last + 1 - log.first_in_memory
    assert 6000 < memory_bytes(log.bytes_between(log.first_in_memory, log.last), kept) <= 8000
    assert log.batch(11, 12, 1000) == ((), 0), "gone"
    assert log.missing(11, 12) == (11, 12)


def test_what_is_not_committed_is_counted_though_it_left_memory() -> None:
    log = history(tail_bytes_max=1)
    log.append([entry(11 + i, 2, size=47) for i in range(10)])
    log.persisted(20)
    log.evict()
    assert (log.first_in_memory, log.uncommitted_bytes) == (20, memory_bytes(1000, 10))
    log.commit_to(15)
    assert log.uncommitted_bytes == memory_bytes(500, 5)
    log.truncate(17)
    assert log.uncommitted_bytes == memory_bytes(100, 1)


def test_after_a_restart_eras_are_known_and_bytes_of_what_is_in_memory() -> None:
    runs = (Run(11, 14, (2, 0)), Run(15, 15, (4, 0)), Run(16, 18, (5, 0)))
    log = history(runs=runs, tail=(entry(18, 5),))
    eras = [log.era_at(index) for index in range(9, 20)]
    assert eras == [None, *[(2, 0)] * 5, (4, 0), *[(5, 0)] * 3, None]
    assert (log.last, log.first_in_memory, log.uncommitted_bytes) == (18, 18, memory_bytes(53, 8))


def test_what_is_committed_is_never_removed() -> None:
    log = history()
    log.append([entry(11, 2), entry(12, 2)])
    log.commit_to(11)
    with pytest.raises(AssertionError, match="committed"):
        log.truncate(11)
    with pytest.raises(AssertionError, match="committed"):
        log.compact(Base(11, (3, 0), MEMBERSHIP))


def test_a_base_that_this_history_has_keeps_what_is_behind_it_and_another_one_nothing() -> None:
    log = history()
    log.append([entry(11, 2), entry(12, 3), entry(13, 3)])
    log.compact(Base(12, (3, 0), MEMBERSHIP))
    assert (log.base, log.last, log.commit, log.first_in_memory) == (12, 13, 12, 13)
    log.compact(Base(13, (4, 0), MEMBERSHIP))
    assert (log.base, log.last, log.last_era, log.durable) == (13, 13, (4, 0), 13)
    log.append([entry(14, 4)])
    assert log.undurable_bytes == memory_bytes(53, 1)


def test_where_an_era_begins_is_unknown_once_it_is_compacted_away() -> None:
    log = history()
    log.append([entry(11, 2), entry(12, 4), entry(13, 4), entry(14, 6)])
    assert [log.origin_of((era, 0)) for era in (2, 3, 4, 6)] == [None, None, 11, 13]
    log.compact(Base(12, (4, 0), MEMBERSHIP))
    assert [log.origin_of((era, 0)) for era in (4, 6)] == [None, 13]
