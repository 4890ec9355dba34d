"""Whatever is done, in whatever order: the store answers as the plain model does.

Six stores are driven at once: in memory, on LMDB, in memory with every limit at its least, two that take every command
for a long one and write the rows of their tombstones when they are told, and one that gets the same commands in other
batches. They must agree with the model and, in their digests, with each other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from google.protobuf.message import Message
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ratified.kv import queries
from ratified.kv.limits import KvLimits
from ratified.kv.names import NAME_BYTES_MAX
from ratified.storage.lmdb import LmdbEnvironment
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    HashKVRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
    WatchResponse,
)
from tests.kv.driver import RESPONSES as RESPONSES_OF
from tests.kv.driver import Driver, Failed, LongDriver, build, decode, refused
from tests.kv.model import Model

TINY = KvLimits(
    range_rows_at_once=1,
    range_bytes_at_once=1,
    watch_pending_events_max=1,
    watch_rows_a_turn=1,
    watch_cache_bytes_max=1,
    watch_response_bytes_a_turn=1,
    removal_events_at_once=1,
    tombstone_rows_at_once=1,
    tombstones_max=3,
    expiries_at_once=1,
)

LONG = b"long/" + b"x" * NAME_BYTES_MAX
KEYS = [
    b"\x00",
    b"a",
    b"a\x00",
    b"a\x00\xff",
    b"a\x01",
    b"ab",
    b"b",
    b"\xff\xff",
    LONG[:NAME_BYTES_MAX],
    LONG[:NAME_BYTES_MAX] + b"\x00",
    LONG[: NAME_BYTES_MAX + 1],
    LONG + b"a",
    LONG + b"b",
    LONG + b"b\x00",
]
LEASES = [1, 2, -5]


def nth_key(number: int) -> bytes:
    """By number: hypothesis prints the strategies of a failure, and would print every long key wherever it is used."""
    return KEYS[number]


def nth_value(number: int) -> bytes:
    return [b"", b"1", b"22", b"x" * 300][number]


key_of = st.integers(0, len(KEYS) - 1).map(nth_key)
range_end_of = st.one_of(st.just(b""), st.just(b"\x00"), key_of, st.sampled_from([b"b", b"long0", b"a\x01"]))
value_of = st.integers(0, 3).map(nth_value)
small = st.integers(0, 30)

puts = st.builds(
    PutRequest,
    key=key_of,
    value=value_of,
    lease=st.sampled_from([0, 0, 0, *LEASES]),
    prev_kv=st.booleans(),
)
keeping_puts = st.builds(
    PutRequest, key=key_of, prev_kv=st.booleans(), ignore_value=st.booleans(), ignore_lease=st.booleans()
)
deletes = st.builds(DeleteRangeRequest, key=key_of, range_end=range_end_of, prev_kv=st.booleans())
ranges = st.builds(
    RangeRequest,
    key=key_of,
    range_end=range_end_of,
    limit=st.integers(0, 3),
    revision=st.one_of(st.just(0), st.just(0), small),
    sort_order=st.sampled_from([RangeRequest.NONE, RangeRequest.ASCEND, RangeRequest.DESCEND]),
    sort_target=st.sampled_from(
        [RangeRequest.KEY, RangeRequest.VERSION, RangeRequest.CREATE, RangeRequest.MOD, RangeRequest.VALUE]
    ),
    keys_only=st.booleans(),
    count_only=st.booleans(),
    min_mod_revision=st.sampled_from([0, 0, 3, 8]),
    max_mod_revision=st.sampled_from([0, 0, 5, 12]),
    min_create_revision=st.sampled_from([0, 0, 3]),
    max_create_revision=st.sampled_from([0, 0, 9]),
)
results = st.sampled_from([Compare.EQUAL, Compare.GREATER, Compare.LESS, Compare.NOT_EQUAL])
compares = st.one_of(
    st.builds(
        Compare, key=key_of, range_end=range_end_of, result=results, target=st.just(Compare.VERSION), version=small
    ),
    st.builds(
        Compare,
        key=key_of,
        range_end=range_end_of,
        result=results,
        target=st.just(Compare.CREATE),
        create_revision=small,
    ),
    st.builds(
        Compare, key=key_of, range_end=range_end_of, result=results, target=st.just(Compare.MOD), mod_revision=small
    ),
    st.builds(
        Compare, key=key_of, range_end=range_end_of, result=results, target=st.just(Compare.VALUE), value=value_of
    ),
    st.builds(
        Compare,
        key=key_of,
        range_end=range_end_of,
        result=results,
        target=st.just(Compare.LEASE),
        lease=st.sampled_from([0, *LEASES]),
    ),
)
plain_operations = st.one_of(
    st.builds(lambda request: RequestOp(request_put=request), puts),
    st.builds(lambda request: RequestOp(request_put=request), keeping_puts),
    st.builds(lambda request: RequestOp(request_delete_range=request), deletes),
    st.builds(lambda request: RequestOp(request_range=request), ranges),
)


def transactions_of(operations: st.SearchStrategy[RequestOp]) -> st.SearchStrategy[TxnRequest]:
    branch = st.lists(operations, max_size=3)
    return st.builds(TxnRequest, compare=st.lists(compares, max_size=2), success=branch, failure=branch)


nested_operations = st.builds(lambda request: RequestOp(request_txn=request), transactions_of(plain_operations))
transactions = transactions_of(st.one_of(plain_operations, plain_operations, nested_operations))
writes: st.SearchStrategy[Message] = st.one_of(
    puts,
    puts,
    keeping_puts,
    deletes,
    transactions,
    transactions,
    st.builds(CompactionRequest, revision=small),
    st.builds(LeaseGrantRequest, ID=st.sampled_from([0, *LEASES]), TTL=st.integers(-1, 5)),
    st.builds(LeaseRevokeRequest, ID=st.sampled_from(LEASES)),
)


def outcome(run: Callable[[], Message]) -> Message | tuple[int, str]:
    """What came out: a response, or an error's code and text."""
    try:
        return run()
    except Failed as failed:
        return failed.code, failed.text


class Stores(RuleBasedStateMachine):
    """The machine that hypothesis drives."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        (self.directory / "long").mkdir()
        self.lmdb = LmdbEnvironment(self.directory)
        self.long_environment = LmdbEnvironment(self.directory / "long")
        self.model = Model()
        self.memory = Driver(MemoryEnvironment())
        self.tiny = Driver(MemoryEnvironment(), TINY)
        self.long = LongDriver(MemoryEnvironment(), TINY)
        self.long_lmdb = LongDriver(self.long_environment, TINY)
        self.drivers = [self.memory, Driver(self.lmdb), self.tiny, self.long, self.long_lmdb]
        self.batching = Driver(MemoryEnvironment())
        self.waiting: list[tuple[bytes, Message | tuple[int, str], type[Message]]] = []
        self.expected: list[tuple[bytes, bytes, int]] = []

    def teardown(self) -> None:
        self.lmdb.close()
        self.long_environment.close()
        shutil.rmtree(self.directory)

    @rule(request=writes)
    def write(self, request: Message) -> None:
        if refused(request) is not None:
            return
        expected = outcome(partial(self.model.do, request))
        for driver in self.drivers:
            assert outcome(partial(driver.do, request)) == expected
        self.waiting.append((build(request), expected, RESPONSES_OF[type(request)]))

    @rule(back=st.integers(1, 6))
    def write_and_look_back(self, back: int) -> None:
        """A transaction that reads all keys as they were a few revisions ago; its cost is what replicas agree on."""
        look = RangeRequest(key=b"\x00", range_end=b"\x00", revision=max(self.model.revision - back, 1))
        put = PutRequest(key=b"a", value=b"back")
        self.write(TxnRequest(success=[RequestOp(request_put=put), RequestOp(request_range=look)]))

    @rule(request=ranges)
    def read(self, request: RangeRequest) -> None:
        expected = outcome(partial(self.model.range, request))
        for driver in self.drivers:
            assert outcome(partial(driver.range, request, rows_max=1)) == expected

    @rule()
    def apply_what_waited(self) -> None:
        answers = self.batching.apply([command for command, _, _ in self.waiting])
        for answer, (_, expected, response) in zip(answers, self.waiting, strict=True):
            assert outcome(partial(decode, response, answer)) == expected
        self.waiting.clear()
        assert self.batching.store.digest() == self.memory.store.digest()

    @rule(key=key_of, range_end=range_end_of, start=small)
    def watch(self, key: bytes, range_end: bytes, start: int) -> None:
        if range_end not in (b"", b"\x00") and range_end <= key:
            return
        if 0 < start < self.model.compacted:
            return
        for driver in self.drivers:
            driver.watch(WatchCreateRequest(key=key, range_end=range_end, start_revision=start))
        self.expected.append((key, range_end, start or self.model.revision + 1))

    @rule(rows_max=st.sampled_from([1, 2, 100]))
    def turn(self, rows_max: int) -> None:
        for driver in self.drivers:
            driver.turn(rows_max=rows_max)
            for watch, (key, range_end, start) in zip(driver.watches, self.expected, strict=True):
                wanted = self.model.watched(key, range_end, start)
                if driver.store.pending_tombstones and not watch.finished:
                    assert watch.events == wanted[: len(watch.events)]
                elif watch.finished:
                    assert watch.events == wanted[: len(watch.events)]
                    assert 0 < watch.responses[-1].compact_revision <= self.model.compacted
                else:
                    assert watch.events == wanted
                assert_whole_revisions(watch.responses)

    @rule(pieces=st.integers(1, 3))
    def tidy(self, pieces: int) -> None:
        for driver in (self.long, self.long_lmdb):
            for _ in range(pieces):
                driver.tidy()

    @rule()
    def tidy_up(self) -> None:
        for driver in self.drivers:
            while driver.store.untidy:
                driver.tidy()
        assert_rows_are_equal(self.drivers)

    @rule(revision=small)
    def hash(self, revision: int) -> None:
        if 0 < revision < self.model.compacted or revision > self.model.revision:
            return
        query = queries.hash_kv(HashKVRequest(revision=revision).SerializeToString())
        assert len({driver.answer(query, rows_max=1) for driver in self.drivers}) == 1

    @rule()
    def restart(self) -> None:
        for driver in self.drivers:
            driver.reopen()
        self.expected.clear()

    @rule()
    def restore(self) -> None:
        """A snapshot of one store becomes the state of another; its watches go on."""
        pieces = self.tiny.read_state()
        for driver in self.drivers:
            assert driver.read_state() == pieces
        self.memory.load_state(pieces, self.memory.index)

    @invariant()
    def digests_are_equal(self) -> None:
        digests = {driver.store.digest() for driver in self.drivers}
        assert len(digests) == 1
        for driver in self.drivers:
            assert driver.store.applied == driver.index
            assert driver.store.revision == self.model.revision


def assert_rows_are_equal(drivers: list[Driver]) -> None:
    """All tables, and what is known of their sizes."""
    tables = "live", "history", "events", "attached", "leases"
    spaces = [driver.space for driver in drivers]
    for table in tables:
        expected, *others = (list(space.scan(table, b"", None)) for space in spaces)
        for rows in others:
            assert rows == expected
    assert len({driver.store.size_bytes for driver in drivers}) == 1


def assert_whole_revisions(responses: list[WatchResponse]) -> None:
    last = 0
    for response in responses:
        revisions = [event.kv.mod_revision for event in response.events]
        assert not revisions or revisions[0] > last
        last = revisions[-1] if revisions else last
        assert not revisions or response.header.revision >= last


TestStores = Stores.TestCase
TestStores.settings = settings(
    max_examples=150, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
