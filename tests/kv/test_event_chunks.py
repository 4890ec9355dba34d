"""Whoever catches up reads the events table with all others who do, and gets what one alone would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from ratified.kv.event_chunks import EventChunks
from ratified.kv.history import EVENTS, HISTORY
from ratified.kv.limits import KvLimits
from ratified.storage.memory import MemorySpace
from ratified.wire.etcd.kv_pb2 import Event
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    PutRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)
from tests.kv.driver import PLENTY, Driver, Failed, LongDriver, Watch, build
from tests.kv.model import Model, in_range
from tests.kv.test_model import assert_whole_revisions
from tests.steps import steps

KEYS = [b"a", b"b", b"b\x00", b"c", b"d" * 600, b"d" * 600 + b"1", b"e"]
ENDS = [b"", b"", b"\x00", b"b\x00", b"d", b"f"]

# -- many watchers over a random history ----------------------------------------------------------------------------

key_of = st.integers(0, len(KEYS) - 1).map(KEYS.__getitem__)
puts = st.builds(PutRequest, key=key_of, value=st.sampled_from([b"", b"1", b"x" * 60]))
deletes = st.builds(DeleteRangeRequest, key=key_of, range_end=st.sampled_from(ENDS))
transactions = st.lists(puts, min_size=1, max_size=4, unique_by=lambda put: put.key).map(
    lambda several: TxnRequest(success=[RequestOp(request_put=put) for put in several])
)
compactions = st.builds(CompactionRequest, revision=st.integers(2, 30))
writes = st.tuples(st.one_of(puts, puts, deletes, deletes, transactions, compactions), st.booleans())
"""And whether it is applied in pieces."""
watches = st.builds(
    WatchCreateRequest,
    key=key_of,
    range_end=st.sampled_from(ENDS),
    start_revision=st.integers(0, 12),
    prev_kv=st.booleans(),
    fragment=st.booleans(),
    filters=st.sampled_from([[], [], [WatchCreateRequest.NOPUT], [WatchCreateRequest.NODELETE]]),
)
slices = st.tuples(st.integers(0, 20), st.sampled_from([1, 2, 100]), st.sampled_from([1, 100, PLENTY]))
"""Of which watch, and how many rows and bytes at most."""
limits_of = st.builds(
    KvLimits,
    watch_pending_events_max=st.sampled_from([1, 3]),
    watch_rows_a_turn=st.sampled_from([1, 3, 500]),
    watch_bytes_a_turn=st.sampled_from([1, 100, 10_000]),
    watch_cache_bytes_max=st.sampled_from([1, 10_000, 1 << 20]),
    watch_response_bytes_a_turn=st.sampled_from([1, 100, 1 << 20]),
    watch_fragment_bytes_max=st.sampled_from([1, 100]),
    tombstone_rows_at_once=st.sampled_from([1, 3]),
    tombstones_max=st.sampled_from([1, 3]),
    removal_events_at_once=st.sampled_from([1, 100]),
    deletes_at_once=st.just(1),
)
steps_of = st.lists(
    st.one_of(
        writes,
        writes,
        writes,
        watches,
        watches,
        slices,
        slices,
        slices,
        st.sampled_from(["turn", "tidy", "tidy", "switch"]),
    ),
    min_size=20,
    max_size=60,
)
Step = tuple[Message, bool] | WatchCreateRequest | tuple[int, int, int] | str


class Watchers:
    """A store, a model of it, and who watches."""

    def __init__(self, limits: KvLimits) -> None:
        self.driver = Driver(limits=limits)
        self.model = Model()
        self.asked: list[WatchCreateRequest] = []
        """What each watch asked for, from the revision that it begins with."""

    def write(self, request: Message, in_pieces: bool) -> None:
        try:
            self.model.do(request)
        except Failed:
            return
        if in_pieces:
            self.driver.apply_in_pieces(build(request), 1, self.turn)
        else:
            self.driver.apply([build(request)])

    def watch(self, request: WatchCreateRequest) -> None:
        asked = WatchCreateRequest()
        asked.CopyFrom(request)
        asked.start_revision = request.start_revision or self.model.revision + 1
        self.asked.append(asked)
        self.driver.watch(request)

    def turn(self) -> None:
        """One, in which each watch gets one slice; the last that was woken first."""
        self.driver.store.woken(0)
        for watch in reversed(self.driver.watches):
            if not watch.finished and watch.wants_to_advance() == 0:
                watch.advance(0, 2, 100)

    def slice(self, number: int, rows_max: int, bytes_max: int) -> None:
        if self.driver.watches:
            watch = self.driver.watches[number % len(self.driver.watches)]
            if not watch.finished and watch.wants_to_advance() == 0:
                watch.advance(0, rows_max, bytes_max)

    def switch(self) -> None:
        """The state is replaced by itself."""
        if not self.driver.store.pending_tombstones:
            self.driver.load_state(self.driver.read_state(), self.driver.index)

    def run(self, step: Step) -> None:
        match step:
            case "turn":
                self.turn()
            case "tidy":
                self.driver.tidy()
            case "switch":
                self.switch()
            case WatchCreateRequest():
                self.watch(step)
            case (Message() as request, bool(in_pieces)):
                self.write(request, in_pieces)
            case (int(number), int(rows_max), int(bytes_max)):
                self.slice(number, rows_max, bytes_max)

    def end(self) -> None:
        while self.driver.store.untidy:
            self.driver.tidy()
        self.driver.turn()
        for watch, asked in zip(self.driver.watches, self.asked, strict=True):
            self.check(watch, asked)

    def check(self, watch: Watch, asked: WatchCreateRequest) -> None:
        got = [event for response in watch.responses for event in response.events]
        expected = self.expected(asked)
        if watch.finished and asked.range_end not in (b"", b"\x00") and asked.range_end <= asked.key:
            assert got == []
        elif watch.finished:
            assert_same(got, expected[: len(got)], self.model.compacted)
            assert len(got) < len(expected) or asked.start_revision < self.model.compacted
            assert 0 < watch.responses[-1].compact_revision <= self.model.compacted
        else:
            assert_same(got, expected, self.model.compacted)
        if not asked.fragment:
            assert_whole_revisions(watch.responses)

    def expected(self, asked: WatchCreateRequest) -> list[Event]:
        events = []
        for each in self.model.events:
            kind = WatchCreateRequest.NODELETE if each.pair is None else WatchCreateRequest.NOPUT
            if each.revision < asked.start_revision or kind in asked.filters:
                continue
            if in_range(each.key, asked.key, asked.range_end):
                event = Event(type=Event.DELETE if each.pair is None else Event.PUT)
                if each.pair is None:
                    event.kv.key, event.kv.mod_revision = each.key, each.revision
                else:
                    event.kv.CopyFrom(each.pair)
                before = self.model.at(each.revision - 1).get(each.key)
                if asked.prev_kv and before is not None:
                    event.prev_kv.CopyFrom(before)
                events.append(event)
        return events


def assert_same(got: Sequence[Event], expected: Sequence[Event], compacted: int) -> None:
    for event, wanted in zip(got, expected, strict=True):
        if event.kv.mod_revision <= compacted and not event.HasField("prev_kv"):
            wanted.ClearField("prev_kv")
        assert event == wanted


@settings(max_examples=400, deadline=None)
@given(limits=limits_of, steps=steps_of)
def test_each_watcher_gets_what_there_was_for_it(limits: KvLimits, steps: list[Step]) -> None:
    watchers = Watchers(limits)
    for step in steps:
        watchers.run(step)
    watchers.end()


# -- how much is read -----------------------------------------------------------------------------------------------


@contextmanager
def counted() -> Iterator[Counter[tuple[str, bytes]]]:
    """How often each row is scanned, by table and key."""
    counts: Counter[tuple[str, bytes]] = Counter()
    scan = MemorySpace.scan

    def counting(
        space: MemorySpace, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for row in scan(space, table, first, last, reverse=reverse):
            counts[table, row[0]] += 1
            yield row

    with patch.object(MemorySpace, "scan", counting):
        yield counts


def of_table(counts: Counter[tuple[str, bytes]], table: str) -> list[int]:
    return [count for (of, _), count in counts.items() if of == table]


def with_history(limits: KvLimits | None = None, revisions: int = 300) -> Driver:
    driver = Driver(limits=limits)
    for number in range(revisions):
        driver.put(b"k%d" % (number % 10), b"v")
    return driver


def behind(driver: Driver, start: int, key: bytes = b"k", range_end: bytes = b"l") -> Watch:
    """A watch that has been created, and has read nothing."""
    watch = driver.watch(
        WatchCreateRequest(key=key, range_end=range_end, start_revision=start, prev_kv=True), len(driver.watches)
    )
    watch.advance(0, PLENTY, PLENTY)
    return watch


@pytest.mark.parametrize("rows_max", [3, PLENTY])
def test_each_row_is_read_once_however_many_are_behind(rows_max: int) -> None:
    with counted() as counts:
        driver = with_history(KvLimits(watch_rows_a_turn=20))
        for number in range(10):
            behind(driver, 2)
            behind(driver, 2, b"k%d" % number, b"")
            behind(driver, 2, b"none", b"nonf")
        counts.clear()
        driver.turn(rows_max=rows_max)
    assert of_table(counts, EVENTS) == [1] * 300
    assert of_table(counts, HISTORY) == [1] * 290, "the pair before each event is looked up once"
    assert [len(watch.events) for watch in driver.watches] == [300, 30, 0] * 10


def test_who_begins_elsewhere_reads_what_the_others_read() -> None:
    driver = with_history(KvLimits(watch_rows_a_turn=20))
    for start in (250, 2, 117, 60, 118, 301):
        behind(driver, start)
    with counted() as counts:
        driver.turn(rows_max=7)
    assert of_table(counts, EVENTS) == [1] * 300
    assert [len(watch.events) for watch in driver.watches] == [52, 300, 185, 242, 184, 1]


def test_all_of_a_long_delete_is_read_once() -> None:
    with counted() as counts:
        driver = LongDriver()
        for number in range(50):
            driver.put(b"k%d" % number)
        for _ in range(20):
            driver.watch(WatchCreateRequest(key=b"k", range_end=b"l", prev_kv=True))
        driver.turn()
        driver.delete(b"k", b"l")
        while driver.store.untidy:
            driver.tidy()
        counts.clear()
        driver.turn(rows_max=3)
    assert of_table(counts, EVENTS) == [1] * 50
    assert of_table(counts, HISTORY) == [1] * 50
    assert all(len(watch.events) == 50 for watch in driver.watches)


def test_a_turn_reads_so_many_rows_whoever_is_behind() -> None:
    driver = with_history(KvLimits(watch_rows_a_turn=20))
    watches = [behind(driver, start) for start in range(2, 300, 30)]
    while any(watch.wants_to_advance() == 0 for watch in watches):
        driver.store.woken(0)
        with counted() as counts:
            for watch in watches:
                watch.advance(0, 100, PLENTY)
        assert sum(of_table(counts, EVENTS)) <= 20
    assert [len(watch.events) for watch in watches] == [302 - start for start in range(2, 300, 30)]


def test_to_pass_over_rows_that_are_there_costs_the_same_however_many_they_are() -> None:
    taken = []
    for revisions in (50, 400):
        driver = with_history(revisions=revisions)
        behind(driver, 2).advance(0, 1, PLENTY)
        nothing = behind(driver, 2, b"none", b"nonf")
        taken.append(steps(partial(nothing.advance, 0, 1, PLENTY)))
    assert taken[0] == taken[1]


def chunks_of(driver: Driver) -> EventChunks:
    return driver.store._hub.chunks


def test_what_is_kept_is_bounded_and_goes_a_while_after_nobody_is_behind() -> None:
    driver = with_history(KvLimits(watch_rows_a_turn=20, watch_cache_bytes_max=30_000, watch_cache_us=1000))
    first, second = behind(driver, 2), behind(driver, 2)
    seen = 0
    for _ in range(30):
        driver.store.woken(0)
        kept = sum(chunk.size_bytes for chunk in chunks_of(driver)._chunks)
        assert kept <= 30_000
        seen = max(seen, kept)
        first.advance(0, 20, PLENTY)
    assert seen > 20_000
    assert len(first.events) == 300
    driver.turn(now=500)
    assert len(second.events) == 300
    driver.turn(now=1499)
    assert chunks_of(driver)._chunks
    driver.turn(now=1500)
    assert chunks_of(driver)._chunks == []


def test_what_is_taken_in_parts_is_read_once_however_little_is_kept() -> None:
    """Seed 348 of fault-free: each part of two rows read 75 rows again, on a slow machine, which then heard nobody."""
    driver = with_history(KvLimits(watch_cache_bytes_max=1))
    watch = behind(driver, 2)
    with counted() as counts:
        for _ in range(200):
            driver.store.woken(0)
            watch.advance(0, 2, PLENTY)
    assert len(watch.events) == 300
    assert of_table(counts, EVENTS) == [1] * 300


def test_who_comes_when_the_others_have_just_caught_up_reads_nothing_again() -> None:
    driver = with_history(KvLimits(watch_rows_a_turn=20))
    with counted() as counts:
        for _ in range(5):
            behind(driver, 2)
            driver.turn()
    assert of_table(counts, EVENTS) == [1] * 300
    assert [len(watch.events) for watch in driver.watches] == [300] * 5


@pytest.mark.parametrize("late", [False, True], ids=["as it is applied", "from the table"])
@pytest.mark.parametrize("fragment", [False, True])
def test_a_turn_holds_one_long_response(fragment: bool, late: bool) -> None:
    driver = Driver(limits=KvLimits(watch_response_bytes_a_turn=1000))
    puts = [RequestOp(request_put=PutRequest(key=b"k%d" % number, value=b"x" * 100)) for number in range(30)]
    request = WatchCreateRequest(key=b"k", range_end=b"l", start_revision=2, fragment=fragment)
    if late:
        driver.txn(TxnRequest(success=puts))
    watches = [driver.watch(request) for _ in range(5)]
    for watch in watches:
        watch.advance(0, PLENTY, PLENTY)
    if not late:
        driver.txn(TxnRequest(success=puts))
    turns = 0
    while any(len(watch.events) < 30 for watch in watches):
        driver.store.woken(0)
        before = sum(len(watch.events) for watch in watches)
        for watch in watches:
            if watch.wants_to_advance() == 0:
                watch.advance(0, PLENTY, PLENTY)
        assert sum(len(watch.events) for watch in watches) - before in (0, 30)
        turns += 1
    assert turns > 10, "one of more than three times what a turn may hold takes the room of those that follow"


# -- how long what was read is true ----------------------------------------------------------------------------------


def test_a_pair_before_that_was_looked_up_is_not_given_when_it_is_compacted() -> None:
    driver = Driver()
    for value in (b"1", b"2", b"3"):
        driver.put(b"k", value)
    first, second = behind(driver, 2), behind(driver, 3)
    first.advance(0, PLENTY, PLENTY)
    driver.compact(3)
    second.advance(0, PLENTY, PLENTY)
    previous = [[each.prev_kv.value for each in watch.responses[-1].events] for watch in (first, second)]
    assert previous == [[b"", b"1", b"2"], [b"", b"2"]]


def test_what_is_written_after_a_chunk_was_read_is_not_missed() -> None:
    driver = Driver()
    driver.put(b"k", b"2")
    first, second = behind(driver, 2), behind(driver, 2)
    first.advance(0, PLENTY, PLENTY)
    driver.put(b"k", b"3")
    driver.turn()
    assert first.events == second.events == [(2, b"k", b"2"), (3, b"k", b"3")]


def test_what_a_tombstone_has_still_to_write_is_not_passed_over() -> None:
    driver = LongDriver(limits=KvLimits(tombstone_rows_at_once=1))
    for number in range(3):
        driver.put(b"k%d" % number)
    driver.delete(b"k", b"l")
    driver.put(b"k", b"after")
    watch = behind(driver, 4)
    while driver.store.untidy:
        driver.turn()
        driver.tidy()
    driver.turn()
    assert watch.events == [(4, b"k2", b""), *((5, b"k%d" % number, None) for number in range(3)), (6, b"k", b"after")]


def test_another_state_is_read_anew() -> None:
    driver, other = with_history(), Driver()
    for _ in range(400):
        other.put(b"k", b"other")
    first, second = behind(driver, 2), behind(driver, 101)
    first.advance(0, PLENTY, PLENTY)
    driver.load_state(other.read_state(), other.index)
    second.advance(0, 50, PLENTY)
    assert [value for _, _, value in second.events] == [b"other"] * 50
