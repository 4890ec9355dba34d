"""Long keys, however much of them they share, are read in their order, and only those that are wanted are looked at."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from typing_extensions import override

from ratified.kv import covered, names, order, queries, walks
from ratified.kv.cost import DELETED, TXN_ROWS_MAX, Cost
from ratified.kv.history import HISTORY, name_of
from ratified.kv.intervals import interval
from ratified.kv.limits import KvLimits
from ratified.kv.names import NAME_BYTES_MAX
from ratified.kv.order import PIECE_BYTES
from ratified.kv.order_upkeep import OrderUpkeep
from ratified.kv.ranges import RangeRead
from ratified.kv.tables import LIVE, META, ORDER
from ratified.kv.tombstones import VisibleRows
from ratified.kv.walks import COVERED, Look, Spared, charged_live, live
from ratified.machine import ApplyFailed
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import Environment, Space
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tests.kv.driver import Driver, LongDriver, build, decode

NODE_BYTES = NAME_BYTES_MAX + PIECE_BYTES
SHARED_BYTES = (NAME_BYTES_MAX, NAME_BYTES_MAX + 1, 950, NODE_BYTES, NODE_BYTES + 1, 5_000)
WITH_ZEROS = b"s" * (NAME_BYTES_MAX - 1) + b"\x00" + b"s" * (PIECE_BYTES - 2) + b"\x00" + b"s" * 5_000
"""Escaped, both bounds of its first piece part a zero byte from what follows it."""
STEMS = [stem[:shared] for stem in (b"s" * 5_000, WITH_ZEROS) for shared in SHARED_BYTES]
TAILS = [b"", b"\x00", b"\x00\x00", b"\x00\xff", b"\x01", b"a", b"a\x00b", b"\xff", b"a" * PIECE_BYTES + b"z"]
KEYS = [b"a", b"s", b"z", *(stem + tail for stem in STEMS for tail in TAILS)]
SLOW = KvLimits(tombstone_rows_at_once=1, tidy_bytes_at_once=1, order_keys_at_once=1, range_rows_at_once=1)

key_of = st.integers(0, len(KEYS) - 1).map(lambda number: KEYS[number])
bound_of = st.one_of(key_of, key_of, st.sampled_from([b"\x00", b"r", b"t"]))


@contextmanager
def _collects_at_most(count: int) -> Iterator[None]:
    with patch.object(walks, "COLLECTED_MAX", count), patch.object(covered, "COLLECTED_MAX", count):
        yield


def by_order_at_once() -> AbstractContextManager[Any]:
    """Groups are read by their order however small they are."""
    return _collects_at_most(1)


@contextmanager
def earlier_program() -> Iterator[None]:
    """One that knows nothing of the order."""
    with ExitStack() as patches:
        for method in ("note", "remove", "save", "catch_up"):
            patches.enter_context(patch.object(OrderUpkeep, method, lambda *_, **__: None))
        patches.enter_context(patch.object(OrderUpkeep, "is_behind", False))
        patches.enter_context(patch.object(OrderUpkeep, "is_kept", lambda _: False))
        patches.enter_context(patch.object(OrderUpkeep, "is_kept_in", lambda *_: False))
        yield


def rows_in(driver: Driver) -> list[tuple[bytes, bytes]]:
    return list(driver.space.scan(ORDER, b"", None))


def wanted_rows(driver: Driver) -> list[tuple[bytes, bytes]]:
    """Those that follow from ``history`` and ``live``."""
    long = {name for name in map(name_of, driver.space.keys(HISTORY, b"", None, 1 << 30)) if not names.is_whole(name)}
    keys = sorted((names.escaped(order.key_of(driver.space, name)), name) for name in long)
    values = [(key, order.value(name, is_live=driver.space.get(LIVE, name) is not None)) for key, name in keys]
    return sorted(order.rows_of(values))


def expanded(looks: Iterator[Look | Spared]) -> list[Look]:
    """What a cost is summed up of, those looks included that were spared."""
    found: list[Look] = []
    for look in looks:
        if look != COVERED:
            found += [None] * look.looks if isinstance(look, Spared) else [look]
    return found


def untidy(driver: Driver) -> bool:
    return driver.store.untidy


def is_kept(driver: Driver) -> bool:
    return order.is_kept(driver.space.get)


class Groups(RuleBasedStateMachine):
    """The machine that hypothesis drives; what it must answer is in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = ExitStack()
        self.patches.enter_context(by_order_at_once())
        self.is_earlier = False
        self.model: dict[bytes, bytes] = {}
        self.then: dict[int, dict[bytes, bytes]] = {}
        """What there was at each revision that can be read."""
        self.environment = self.opened()
        self.driver = self.driver_of(self.environment)

    def opened(self) -> Environment:
        return MemoryEnvironment()

    def driver_of(self, environment: Environment) -> Driver:
        return Driver(environment, SLOW)

    def teardown(self) -> None:
        self.patches.close()

    @rule(key=key_of, value=st.sampled_from([b"1", b"2"]))
    def put(self, key: bytes, value: bytes) -> None:
        self.driver.put(key, value)
        self.model[key] = value

    @rule(stem=st.sampled_from(STEMS))
    def put_some_that_share(self, stem: bytes) -> None:
        for tail in TAILS[::2]:
            self.put(stem + tail, b"3")

    @rule(key=key_of)
    def delete(self, key: bytes) -> None:
        assert self.driver.delete(key) == (self.model.pop(key, None) is not None)

    @rule(first=bound_of, end=bound_of)
    def delete_range(self, first: bytes, end: bytes) -> None:
        if end != b"\x00" and end <= first:
            return
        gone = [key for key in self.model if interval(first, end).holds(key)]
        assert self.driver.delete(first, end) == len(gone)
        for key in gone:
            del self.model[key]

    @rule(first=bound_of, end=bound_of, limit=st.integers(0, 3))
    def read(self, first: bytes, end: bytes, limit: int) -> None:
        expected = sorted(key for key in self.model if interval(first, end).holds(key))
        answer = self.driver.range(RangeRequest(key=first, range_end=end, limit=limit), rows_max=3)
        shown = expected[:limit] if limit else expected
        assert [(pair.key, pair.value) for pair in answer.kvs] == [(key, self.model[key]) for key in shown]
        assert (answer.count, answer.more) == (len(expected), len(shown) < len(expected))
        assert self.driver.range(RangeRequest(key=first, range_end=end, count_only=True)).count == len(expected)

    @rule(first=bound_of, end=bound_of, limit=st.integers(0, 3), number=st.integers(0, 9))
    def read_older(self, first: bytes, end: bytes, limit: int, number: int) -> None:
        if not self.then:
            return
        revision = sorted(self.then)[number % len(self.then)]
        model = self.then[revision]
        expected = sorted(key for key in model if interval(first, end).holds(key))
        request = RangeRequest(key=first, range_end=end, limit=limit, revision=revision)
        answer = self.driver.range(request, rows_max=3)
        shown = expected[:limit] if limit else expected
        assert [(pair.key, pair.value) for pair in answer.kvs] == [(key, model[key]) for key in shown]
        assert answer.count == len(expected)
        request.count_only = True
        assert self.driver.range(request).count == len(expected)

    @rule(key=key_of)
    def read_older_key(self, key: bytes) -> None:
        for number in range(10):
            self.read_older(key, b"", 0, number)

    @rule(first=bound_of, end=bound_of)
    def cost(self, first: bytes, end: bytes) -> None:
        """It is the same on members that have no order."""
        visible = self.driver.store._mvcc.visible
        without = VisibleRows(visible.rows, visible.tombstones, visible.put_since)
        wanted = interval(first, end)
        assert expanded(charged_live(visible, wanted)) == expanded(live(without, wanted))

    @rule(number=st.integers(0, 9))
    def compact(self, number: int) -> None:
        if len(self.then) > 1:
            revision = sorted(self.then)[number % len(self.then)]
            if revision > self.driver.store._mvcc.compact_revision:
                self.driver.compact(revision)
                self.then = {each: model for each, model in self.then.items() if each >= revision}

    @rule(key=key_of)
    def read_around(self, key: bytes) -> None:
        for first, end in ((key, key + b"\x00"), (key + b"\x00", b"\x00"), (b"\x00", key), (b"\x00", key + b"\x00")):
            self.read(first, end, 1)

    @precondition(lambda self: self.driver.store.untidy)
    @rule(pieces=st.sampled_from([1, 5, 1_000]))
    def tidy(self, pieces: int) -> None:
        for _ in range(pieces):
            self.driver.tidy()

    @rule(by_earlier=st.booleans())
    def restart(self, by_earlier: bool) -> None:
        if by_earlier and not self.is_earlier:
            self.patches.enter_context(earlier_program())
            self.is_earlier = True
        elif not by_earlier and self.is_earlier:
            self.patches.close()
            self.patches.enter_context(by_order_at_once())
            self.is_earlier = False
        self.driver.reopen()

    @precondition(lambda self: self.driver.index)
    @rule()
    def restore(self) -> None:
        if not self.is_earlier:
            self.driver.load_state(self.driver.read_state(), self.driver.index)
            assert rows_in(self.driver) == wanted_rows(self.driver)
            assert is_kept(self.driver) or rows_in(self.driver) == []

    @invariant()
    def each_revision_is_remembered(self) -> None:
        if self.driver.index:
            self.then.setdefault(self.driver.store.revision, dict(self.model))

    @invariant()
    def the_order_is_that_of_the_keys(self) -> None:
        if is_kept(self.driver):
            assert rows_in(self.driver) == wanted_rows(self.driver)

    @invariant()
    def a_program_that_keeps_it_has_all_of_it_or_nothing_in_the_end(self) -> None:
        if not (self.is_earlier or self.driver.store.untidy or is_kept(self.driver)):
            assert rows_in(self.driver) == []


class GroupsInLmdb(Groups):
    @override
    def opened(self) -> Environment:
        self.directory = Path(tempfile.mkdtemp())
        return LmdbEnvironment(self.directory)

    @override
    def teardown(self) -> None:
        super().teardown()
        self.environment.close()
        shutil.rmtree(self.directory)


class GroupsUnderTombstones(Groups):
    @override
    def driver_of(self, environment: Environment) -> Driver:
        return LongDriver(environment, SLOW)


TestGroups, TestGroupsInLmdb = Groups.TestCase, GroupsInLmdb.TestCase
TestGroupsUnderTombstones = GroupsUnderTombstones.TestCase
TestGroups.settings = TestGroupsInLmdb.settings = TestGroupsUnderTombstones.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


# ---------------------------------------------------------------------------------------------------------------
# What is looked at

SHARED = b"s" * NAME_BYTES_MAX
LOOKS_MAX = 30


def group(count: int, driver: Driver | None = None, stem: bytes = SHARED) -> Driver:
    driver = driver or Driver()
    for number in range(count):
        driver.put(stem + b"%04d" % number)
    return driver


def touched(driver: Driver, read: Callable[[], object]) -> int:
    environment = driver.environment
    assert isinstance(environment, MemoryEnvironment)
    before = environment.rows_touched
    read()
    return environment.rows_touched - before


@pytest.mark.parametrize("stem", [SHARED, b"s" * NODE_BYTES, b"s" * 2_000])
def test_a_range_of_one_key_looks_at_few_rows_of_a_large_group(stem: bytes) -> None:
    driver = group(2_000, stem=stem)
    one = RangeRequest(key=stem + b"1000", range_end=stem + b"1001")
    of_one = Compare(key=one.key, range_end=one.range_end, target=Compare.VERSION, result=Compare.EQUAL, version=1)
    reads = TxnRequest(compare=[of_one], success=[RequestOp(request_range=one)])
    transaction = queries.txn(reads.SerializeToString())
    assert [pair.key for pair in driver.range(one).kvs] == [one.key]
    assert decode(TxnResponse, driver.answer(transaction)).succeeded
    assert touched(driver, lambda: driver.range(one)) <= 2 * LOOKS_MAX
    assert touched(driver, lambda: driver.answer(transaction)) <= 4 * LOOKS_MAX


@pytest.mark.parametrize("request_", [RangeRequest(limit=1), RangeRequest(count_only=True)])
def test_what_is_only_counted_of_a_group_is_not_looked_at(request_: RangeRequest) -> None:
    driver = group(2_000)
    request_.key, request_.range_end = SHARED + b"0100", SHARED + b"1900"
    view = driver.space.view()
    read = RangeRead(driver.store._mvcc.visible_in(view), request_, driver.store.revision)
    answer = RangeResponse.FromString(b"".join(iter(partial(_next_piece, read), b"")))
    view.close()
    assert answer.count == 1_800
    assert read.looked <= 1_800 // 4 + LOOKS_MAX


def _next_piece(read: RangeRead) -> bytes:
    return b"" if read.finished else read.advance(10_000, 10_000)


def test_a_range_goes_on_behind_a_group() -> None:
    driver = group(50)
    for key in (b"s", b"t", b"t" * 500, b"u"):
        driver.put(key)
    assert driver.keys(SHARED + b"0048", b"u") == [SHARED + b"0048", SHARED + b"0049", b"t", b"t" * 500]


def test_a_small_group_is_not_looked_up_by_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = group(walks.COLLECTED_MAX)
    monkeypatch.setattr(order, "names_in", None)
    assert len(driver.keys()) == walks.COLLECTED_MAX


def test_a_key_has_one_row_however_long_it_is_and_shares_what_others_have() -> None:
    driver = Driver()
    keys = [b"k" * 1_400_000 + tail for tail in (b"a", b"b", b"bc")]
    driver.put(keys[0])
    assert len(rows_in(driver)) == 1
    driver.put(keys[1])
    driver.put(keys[2])
    forks = (1_400_000 - NAME_BYTES_MAX) // PIECE_BYTES
    assert len(rows_in(driver)) == forks + len(keys)
    with by_order_at_once():
        assert driver.keys() == keys
        assert driver.keys(keys[1], keys[2]) == [keys[1]]
        assert driver.range(RangeRequest(key=keys[1], range_end=b"z", limit=1)).count == 2
    driver.delete(keys[0])
    driver.delete(keys[2])
    forget(driver)
    assert len(rows_in(driver)) == 1
    driver.delete(keys[1])
    forget(driver)
    assert rows_in(driver) == []


def forget(driver: Driver) -> None:
    """What was before the present revision."""
    driver.put(b"a")
    driver.compact(driver.store.revision)
    while driver.store.untidy:
        driver.tidy()


def test_a_key_that_is_gone_stays_in_the_order_while_it_can_be_read() -> None:
    driver = group(40)
    revision = driver.store.revision
    driver.delete(SHARED, SHARED + b"\xff")
    wanted = RangeRequest(key=SHARED + b"0010", range_end=SHARED + b"0012", revision=revision)
    assert [pair.key for pair in driver.range(wanted).kvs] == [SHARED + b"0010", SHARED + b"0011"]
    forget(driver)
    assert rows_in(driver) == []


@pytest.mark.parametrize("older", ["then", "before"])
def test_an_older_range_of_one_key_looks_at_few_rows_of_a_large_group(older: str) -> None:
    driver = group(2_000, driver=group(1, stem=b"a"))
    revision = {"then": driver.store.revision, "before": 2}[older]
    driver.put(b"a")
    for one in (
        RangeRequest(key=SHARED + b"1000", range_end=SHARED + b"1001", revision=revision),
        RangeRequest(key=SHARED + b"1000", revision=revision),
        RangeRequest(key=SHARED + b"1000", range_end=SHARED + b"1001", revision=revision, count_only=True),
    ):
        assert driver.range(one).count == (older == "then")
        assert touched(driver, lambda one=one: driver.range(one)) <= 12 * LOOKS_MAX  # type: ignore[misc]


def test_a_delete_of_one_key_looks_at_few_rows_of_a_large_group() -> None:
    driver = group(2_000, LongDriver())
    assert touched(driver, lambda: driver.delete(SHARED + b"1000", SHARED + b"1001")) <= 2 * LOOKS_MAX
    assert driver.store.untidy, "by a tombstone"
    assert touched(driver, lambda: driver.keys(SHARED + b"0999", SHARED + b"1002")) <= 3 * LOOKS_MAX

    def tidy() -> None:
        while driver.store.untidy:
            driver.tidy()

    assert touched(driver, tidy) <= 4 * LOOKS_MAX
    assert driver.keys(SHARED + b"0999", SHARED + b"1002") == [SHARED + b"0999", SHARED + b"1001"]


def test_short_keys_have_no_order() -> None:
    driver = Driver()
    driver.put(b"k" * NAME_BYTES_MAX)
    driver.delete(b"k" * NAME_BYTES_MAX)
    driver.put(b"a")
    driver.reopen()
    driver.put(b"b")
    assert rows_in(driver) == []
    assert driver.space.get(META, order.MARK) is None
    assert not untidy(driver)


def test_what_a_transaction_costs_is_the_same_on_members_that_have_no_order() -> None:
    wanted = RangeRequest(key=SHARED + b"0010", range_end=SHARED + b"0011")
    with earlier_program():
        other = group(100)
    costs = []
    for driver in (group(100), other):
        cost = Cost(driver.store._mvcc.visible, driver.store.revision, 0, None)
        list(cost.range(wanted))
        costs.append(cost._rows_left)
    assert costs == [TXN_ROWS_MAX - 2 * 100] * 2


@pytest.mark.parametrize("of_lease", [False, True])
def test_what_a_transaction_costs_is_the_same_on_members_whose_tombstones_have_come_differently_far(
    *, of_lease: bool
) -> None:
    """What is covered costs nothing, whether its rows are written already, or are still in the order as live."""
    costs = []
    for driver in (Driver(), LongDriver(limits=KvLimits(tombstone_rows_at_once=1))):
        driver.grant(1, 60)
        for number in range(100):
            driver.put(SHARED + b"%04d" % number, lease=number % 2)
        if of_lease:
            driver.revoke(1)
        else:
            driver.delete(SHARED + b"0050", SHARED + b"0099")
        cost = Cost(driver.store._mvcc.visible, driver.store.revision, 0, None)
        list(cost.range(RangeRequest(key=SHARED + b"0010", range_end=SHARED + b"0011")))
        costs.append((driver.store.pending_tombstones, cost._rows_left))
    (written, there), (pending, here) = costs
    assert (written, pending) == (0, 1)
    assert there == here


def test_a_transaction_among_many_long_keys_goes_in_pieces() -> None:
    """To count them takes longer than a turn may."""
    driver = group(2_000)
    one = RangeRequest(key=SHARED + b"0010", range_end=SHARED + b"0011")
    delete = DeleteRangeRequest(key=b"x")
    compare = Compare(key=one.key, range_end=one.range_end, target=Compare.VERSION, result=Compare.EQUAL, version=1)
    for request in (
        TxnRequest(success=[RequestOp(request_range=one), RequestOp(request_delete_range=delete)]),
        TxnRequest(compare=[compare], success=[RequestOp(request_delete_range=delete)]),
    ):
        assert driver.store.cost(build(request), 300) == 300


def test_the_cost_of_a_large_group_is_summed_up_from_few_rows_of_it() -> None:
    driver = group(2_000)
    one = DeleteRangeRequest(key=SHARED + b"0010", range_end=SHARED + b"0011")
    cost = Cost(driver.store._mvcc.visible, driver.store.revision, 0, None)
    assert sum(cost.delete_range(one)) <= 2_000 // 4 + 2 * LOOKS_MAX
    assert cost._rows_left == TXN_ROWS_MAX - DELETED * 2 * 2_000


# ---------------------------------------------------------------------------------------------------------------
# A directory that another program had


def test_a_store_of_an_earlier_program_gets_its_order_in_pieces() -> None:
    with earlier_program():
        driver = group(40, Driver(limits=SLOW))
    driver.reopen()
    assert not is_kept(driver)
    assert not untidy(driver), "there may be no long key"
    assert driver.keys(SHARED + b"0010", SHARED + b"0012") == [SHARED + b"0010", SHARED + b"0011"]
    assert untidy(driver)
    driver.tidy()
    driver.delete(SHARED + b"0003")
    driver.put(SHARED + b"0002x")
    pieces = 0
    while driver.store.untidy:
        driver.tidy()
        pieces += 1
    assert pieces >= 38
    assert is_kept(driver)
    assert rows_in(driver) == wanted_rows(driver)
    assert touched(driver, lambda: driver.keys(SHARED + b"0010", SHARED + b"0012")) <= 2 * LOOKS_MAX


def test_rows_of_a_tombstone_that_an_earlier_program_writes_are_missed() -> None:
    """It writes them at the same revision."""
    driver = group(40, LongDriver(limits=SLOW))
    driver.delete(SHARED + b"0010", SHARED + b"0030")
    revision = driver.store.revision
    with earlier_program():
        driver.reopen()
        for _ in range(100):
            driver.tidy()
    driver.reopen()
    assert driver.store.revision == revision
    assert not is_kept(driver)
    while driver.store.untidy:
        driver.tidy()
    assert rows_in(driver) == wanted_rows(driver)


def test_making_the_order_anew_begins_again_with_the_process() -> None:
    with earlier_program():
        driver = group(10, Driver(limits=SLOW))
    driver.reopen()
    driver.put(SHARED + b"new")
    for _ in range(5):
        driver.tidy()
    assert rows_in(driver)
    driver.reopen()
    assert untidy(driver)
    driver.delete(SHARED + b"0001")
    assert not is_kept(driver)
    while driver.store.untidy:
        driver.tidy()
    assert rows_in(driver) == wanted_rows(driver)


def test_rows_that_an_earlier_program_has_left_in_a_space_are_not_those_of_another_state() -> None:
    """It empties the spare space but for a table that it does not know, and loads into it."""
    driver = group(10)
    pieces, index = driver.read_state(), driver.index
    driver.delete(SHARED, b"t")
    driver.put(SHARED + b"other")
    with driver.environment.transaction():
        driver.environment.space(3).second().put(ORDER, b"left", b"over")
    with earlier_program(), patch("ratified.storage.group_spaces.GroupSpaces.is_spare_empty", lambda spaces: True):
        driver.reopen()
        driver.load_state(pieces, index)
    driver.reopen()
    assert (b"left", b"over") in rows_in(driver)
    while driver.store.untidy:
        driver.tidy()
    assert is_kept(driver)
    assert rows_in(driver) == wanted_rows(driver)


# ---------------------------------------------------------------------------------------------------------------
# Mutants


def story() -> None:
    """Something of everything above."""
    driver = Driver(limits=SLOW)
    model: dict[bytes, bytes] = {}

    def compare() -> None:
        assert not is_kept(driver) or rows_in(driver) == wanted_rows(driver)
        for first in (b"\x00", STEMS[3] + b"a", WITH_ZEROS[:NODE_BYTES], WITH_ZEROS + b"a", b"s" * 5_000):
            for end in (b"\x00", STEMS[3] + b"a" * PIECE_BYTES, b"s" * 5_000 + b"\x01"):
                expected = sorted(key for key in model if interval(first, end).holds(key))
                assert driver.keys(first, end) == expected
                assert driver.range(RangeRequest(key=first, range_end=end, limit=1)).count == len(expected)

    with by_order_at_once():
        for key in KEYS[::2]:
            driver.put(key)
            model[key] = b""
        compare()
        for key in KEYS[::3]:
            driver.delete(key)
            model.pop(key, None)
        compare()
        driver.put(b"q" * NODE_BYTES + b"1")
        with earlier_program():
            driver.reopen()
            driver.delete(b"q" * NODE_BYTES + b"1")
            driver.put(KEYS[-2])
            model[KEYS[-2]] = b""
            driver.delete(KEYS[10])
            model.pop(KEYS[10], None)
            for key in (*KEYS[2::5], b"q" * NODE_BYTES + b"1"):
                driver.delete(key)
                model.pop(key, None)
            forget(driver)
            driver.delete(b"a")
            model.pop(b"a", None)
        driver.reopen()
        gone = [key for key in model if KEYS[-2] <= key < KEYS[-2] + b"\x01"]
        assert gone == KEYS[-2:-1]
        assert driver.delete(KEYS[-2], KEYS[-2] + b"\x01") == 1
        del model[KEYS[-2]]
        driver.put(b"q" * NODE_BYTES + b"2")
        driver.delete(b"q" * NODE_BYTES + b"2")
        compare()
        for _ in range(20):
            driver.tidy()
        for key in KEYS[1::3]:
            driver.delete(key)
            model.pop(key, None)
        for key in KEYS[2::3]:
            driver.put(key)
            model[key] = b""
        while driver.store.untidy:
            driver.tidy()
        compare()
        for key in set(KEYS) - set(KEYS[::7]):
            driver.delete(key)
            model.pop(key, None)
        compare()
        forget(driver)
        model[b"a"] = b""
        compare()
        driver.load_state(driver.read_state(), driver.index)
        assert is_kept(driver)
        compare()
        for key in KEYS:
            driver.delete(key)
        model.clear()
        compare()


def test_the_story_holds() -> None:
    story()


def _nothing(*_: object, **__: object) -> None:
    pass


def _marked_by_revision(get: Any) -> bool:
    """Of the mark only the revision is compared."""
    state, marked = get(META, b"state"), get(META, order.MARK)
    return state is not None and marked is not None and marked[:8] == state[:8]


def _added_as_gone(space: Space, key: bytes, name: bytes, *, is_live: bool) -> None:
    _note(space, key, name, is_live=False)


_note = order.note


MUTANTS = {
    "notes nothing": patch.object(order, "note", _nothing),
    "notes all as gone": patch.object(order, "note", _added_as_gone),
    "takes what is gone for live": patch.object(order, "is_live", bool),
    "removes nothing": patch.object(order, "remove", _nothing),
    "removes what is gone": patch.object(
        OrderUpkeep,
        "note",
        lambda upkeep, key, name, *, is_live: (
            order.note(upkeep._space, key, name, is_live=True) if is_live else order.remove(upkeep._space, key, name)
        ),
    ),
    "leaves a last key below": patch.object(order, "_lift", _nothing),
    "puts nothing below a new fork": patch.object(order, "_part", _nothing),
    "believes every mark": patch.object(order, "is_kept", lambda get: get(META, order.MARK) is not None),
    "marks nothing": patch.object(OrderUpkeep, "save", _nothing),
    "keeps what was there": patch.object(
        OrderUpkeep, "_remove_all", lambda upkeep, rows_max: setattr(upkeep, "_next", b"")
    ),
    "adds while it still removes": patch.object(OrderUpkeep, "_is_kept_up", property(lambda upkeep: True)),
    "keeps nothing up until it is whole": patch.object(
        OrderUpkeep, "_is_kept_up", property(lambda upkeep: upkeep._is_whole)
    ),
    "commands go by it before it is whole": patch.object(OrderUpkeep, "is_kept", lambda upkeep: True),
    "counts keys beside the range": patch.object(order._Node, "is_cut", lambda node, row: False),
    "forgets the range below": patch.object(order._Node, "_is_of", lambda node, bound, piece: False),
    "takes every bound for one in the group": patch.object(
        order, "_is_inside", lambda bound, shared: bound is not None
    ),
    "sorts a key behind those that go on": patch.object(order, "ENDS", b"\xff"),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_rule_that_is_broken_is_missed(mutant: AbstractContextManager[Any]) -> None:
    with mutant, pytest.raises((AssertionError, ApplyFailed)):
        story()


def test_a_mark_must_repeat_more_than_the_revision() -> None:
    with patch.object(order, "is_kept", _marked_by_revision), pytest.raises(AssertionError):
        test_rows_of_a_tombstone_that_an_earlier_program_writes_are_missed()


def test_an_order_that_nobody_misses_is_never_made() -> None:
    with patch.object(OrderUpkeep, "missed", _nothing), pytest.raises(AssertionError):
        test_a_store_of_an_earlier_program_gets_its_order_in_pieces()
