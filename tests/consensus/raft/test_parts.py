"""The engine's parts by themselves: the log against a plain list, what is durable, delivery, the state record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratified.consensus.contract import NO_ERA, Base, Durable, Entry, Kind, Membership, Run
from ratified.consensus.entry import make_entry
from ratified.consensus.raft.delivery import Delivery
from ratified.consensus.raft.durability import Durability
from ratified.consensus.raft.log import Log
from ratified.consensus.raft.state import HardState, StateFormatError, decode_state, encode_state

BASE = Base(10, (2, 0), Membership((1,)))


def entry(index: int, term: int, size: int = 0) -> Entry:
    return make_entry(index, (term, 0), Kind.COMMAND, None, bytes(size))


class ListLog:
    """The obvious log: every entry above the base in one list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def term_at(self, index: int) -> int | None:
        if index == BASE.index:
            return BASE.era[0]
        if BASE.index < index <= BASE.index + len(self.entries):
            return self.entries[index - BASE.index - 1].era[0]
        return None

    @property
    def last(self) -> int:
        return BASE.index + len(self.entries)

    def last_at_most(self, index: int, term: int) -> tuple[int, int]:
        found = max(min(index, self.last), BASE.index)
        while found > BASE.index and (self.term_at(found) or 0) > term:
            found -= 1
        return found, self.term_at(found) or 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.just("truncate"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("evict"), st.integers(0, 30), st.integers(1, 300)),
    ),
    max_size=25,
)


@given(STEPS)
def test_the_log_is_a_list_with_less_in_memory(steps: list[tuple[str, int, int]]) -> None:
    log, model = Log(Durable(b"", BASE)), ListLog()
    for step, first, second in steps:
        if step == "append":
            term = (model.term_at(model.last) or 0) + first
            entries = [entry(model.last + 1 + i, term, size=10 * i) for i in range(second)]
            log.append(entries)
            model.entries += entries
        elif step == "truncate" and BASE.index < first <= model.last:
            log.truncate(first)
            del model.entries[first - BASE.index - 1 :]
        elif step == "evict":
            log.evict(min(first, log.last), second)
        assert log.last == model.last
        assert log.last_term == model.term_at(model.last)
        for index in range(BASE.index - 1, model.last + 2):
            assert log.term_at(index) == model.term_at(index)
            for term in range(8):
                assert log.last_at_most(index, term) == model.last_at_most(index, term)
        in_memory = model.entries[log.first_in_memory - BASE.index - 1 :]
        if in_memory:
            assert log.entries(log.first_in_memory, log.last) == in_memory
        sizes = [len(each.encoded) for each in in_memory]
        assert log.bytes_between(log.first_in_memory, log.last) == sum(sizes)
        for room in (0, 60, 130, 1000):
            fitting = 0
            while fitting < len(sizes) and sum(sizes[: fitting + 1]) <= room:
                fitting += 1
            assert log.fit(log.first_in_memory, log.last, room) == log.first_in_memory - 1 + fitting


def test_eviction_keeps_what_is_not_durable_and_the_last_entry() -> None:
    log = Log(Durable(b"", BASE))
    log.append([entry(11 + i, 2, size=100) for i in range(10)])
    log.evict(14, 1)
    assert log.first_in_memory == 15
    log.evict(20, 1)
    assert log.first_in_memory == 20


def test_eviction_leaves_at_most_the_limit() -> None:
    log = Log(Durable(b"", BASE))
    log.append([entry(11 + i, 2, size=47) for i in range(100)])
    log.evict(110, 2000)
    assert 1500 < log.bytes_between(log.first_in_memory, log.last) <= 2000


def test_a_restarted_log_knows_terms_of_what_is_not_in_memory() -> None:
    runs = [Run(11, 14, (2, 0)), Run(15, 15, (4, 0)), Run(16, 18, (5, 0))]
    log = Log(Durable(b"", BASE, runs, [entry(18, 5)]))
    assert [log.term_at(index) for index in range(9, 20)] == [None, 2, 2, 2, 2, 2, 4, 5, 5, 5, None]
    assert (log.last, log.first_in_memory) == (18, 18)


def test_a_truncation_clips_what_is_durable_and_what_is_in_flight() -> None:
    durability = Durability(5, 1)
    first = durability.issue(9, 1, now=0)
    second = durability.issue(12, 1, now=3)
    durability.truncated(8)
    third = durability.issue(8, 2, now=5)
    durability.persisted(first)
    assert (durability.index, durability.term, durability.waiting_since) == (7, 1, 3)
    durability.persisted(second)
    assert durability.index == 7
    durability.persisted(third)
    assert (durability.index, durability.term, durability.waiting_since) == (8, 2, None)


def test_a_truncation_below_the_durable_index_lowers_it() -> None:
    durability = Durability(5, 1)
    durability.truncated(3)
    assert durability.index == 2


def test_delivery_gives_one_entry_even_where_it_is_over_the_limit() -> None:
    log = Log(Durable(b"", BASE))
    log.append([entry(11 + i, 2, size=100) for i in range(3)])
    delivery = Delivery(10, bytes_max=1)
    assert [each.index for each in delivery.take(log, 13)] == [11]
    assert delivery.take(log, 13) == []
    delivery.on_applied(11)
    assert [each.index for each in delivery.take(log, 13)] == [12]


def test_delivery_asks_for_what_is_no_longer_in_memory() -> None:
    entries = [entry(11 + i, 2) for i in range(4)]
    log = Log(Durable(b"", BASE, [Run(11, 14, (2, 0))], entries[2:]))
    delivery = Delivery(10, bytes_max=1000)
    assert delivery.missing(log, 14) == (11, 12)
    delivery.fetching = 1
    assert delivery.missing(log, 14) is None
    assert delivery.take(log, 14) == ()
    delivery.on_fetched(entries[:1])
    assert delivery.take(log, 14) == entries[:1]
    assert delivery.missing(log, 14) == (12, 12)
    delivery.on_fetched(entries[1:2])
    assert delivery.take(log, 14) == entries[1:2]
    assert delivery.missing(log, 14) is None
    assert delivery.take(log, 14) == entries[2:]


def test_delivery_stops_at_the_limit_of_what_is_durable_and_committed() -> None:
    log = Log(Durable(b"", Base(0, NO_ERA, Membership((1,)))))
    log.append([entry(1, 1), entry(2, 1)])
    delivery = Delivery(0, bytes_max=1000)
    assert [each.index for each in delivery.take(log, 1)] == [1]
    assert delivery.take(log, 1) == ()


@given(st.integers(0, 2**64 - 1), st.none() | st.integers(0, 2**64 - 2))
def test_the_state_record_is_sixteen_bytes_and_reads_back(term: int, voted_for: int | None) -> None:
    encoded = encode_state(HardState(term, voted_for))
    assert len(encoded) == 16
    assert decode_state(encoded) == HardState(term, voted_for)


def test_the_state_record_says_none_as_minus_one() -> None:
    assert encode_state(HardState(7, None)) == b"\x07" + bytes(7) + b"\xff" * 8
    assert decode_state(b"") == HardState(0, None)


def test_other_bytes_are_no_state() -> None:
    with pytest.raises(StateFormatError, match="16 bytes, this one has 3"):
        decode_state(b"abc")
