"""A long delete is done when its keys are counted; how many of their rows are written since, nobody can tell."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratified.kv import writes
from ratified.kv.history import EVENTS
from ratified.kv.limits import KvLimits
from ratified.kv.tables import ATTACHED, LIVE
from ratified.kv.tombstones import Tombstone, VisibleRows
from ratified.storage.memory import MemorySpace
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)
from tests.kv.driver import Driver, Failed, LongDriver, build
from tests.kv.test_compaction import restored
from tests.kv.test_model import assert_rows_are_equal

SLOW = KvLimits(tombstone_rows_at_once=1, removal_events_at_once=1, tombstones_max=3)
LOOKS_MAX = 100
SHARED = b"b" * 476
LONG = [SHARED + end for end in (b"\x00", b"1", b"2", b"3")]
"""A group: its names sort otherwise than the keys."""
KEYS = [b"a", b"b", *LONG, b"c", b"d"]
LEASES = [1, 2]
EVERYTHING = WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=2, prev_kv=True)

key_of = st.sampled_from(KEYS)
lease_of = st.sampled_from([0, *LEASES])
Step = Message | str
put_of = st.builds(PutRequest, key=key_of, value=st.sampled_from([b"1", b"2"]), lease=lease_of, prev_kv=st.booleans())
delete_of = st.builds(
    DeleteRangeRequest,
    key=key_of,
    range_end=st.sampled_from([SHARED, LONG[2], b"c", b"e", b"\x00"]),
    prev_kv=st.booleans(),
)
transaction_of = st.builds(
    lambda key, put: TxnRequest(
        compare=[Compare(key=key, range_end=b"\x00", target=Compare.VERSION, result=Compare.EQUAL, version=1)],
        success=[RequestOp(request_put=put)],
        failure=[RequestOp(request_delete_range=DeleteRangeRequest(key=key, prev_kv=True))],
    ),
    key_of,
    put_of,
)
steps_of = st.lists(
    st.one_of(
        put_of,
        put_of,
        delete_of,
        delete_of,
        transaction_of,
        st.builds(DeleteRangeRequest, key=key_of, prev_kv=st.booleans()),
        st.builds(LeaseGrantRequest, ID=st.sampled_from(LEASES), TTL=st.just(60)),
        st.builds(LeaseRevokeRequest, ID=st.sampled_from(LEASES)),
        st.integers(2, 12).map(lambda revision: CompactionRequest(revision=revision)),
        st.sampled_from(["tidy", "tidy", "restart"]),
    ),
    min_size=12,
    max_size=40,
)


def outcome(driver: Driver, request: Message) -> object:
    try:
        return driver.do(request)
    except Failed as failed:
        return failed.code, failed.text


def seen(driver: Driver) -> list[object]:
    """All that can be read, at all revisions."""
    store = driver.store
    everything: list[object] = [store.revision, store.digest(), driver.state]
    everything += [driver.range(RangeRequest(key=key)) for key in KEYS]
    for revision in range(max(store.compact_revision, 1), store.revision + 1):
        everything.append(driver.range(RangeRequest(key=b"\x00", range_end=b"\x00", revision=revision), rows_max=1))
    for first in (b"b", SHARED, LONG[1]):
        for end in (LONG[2], b"d", b"\x00"):
            everything.append(driver.range(RangeRequest(key=first, range_end=end, count_only=True), rows_max=1))
            everything.append(driver.range(RangeRequest(key=first, range_end=end, limit=2), rows_max=1))
    driver.lead(0, (store.applied, 1))
    return [*everything, [sorted(driver.time_to_live(0, lease, keys=True).keys) for lease in LEASES]]


def whole_watch(driver: Driver) -> list[object]:
    request = WatchCreateRequest()
    request.CopyFrom(EVERYTHING)
    request.start_revision = max(driver.store.compact_revision, 2)
    watch = driver.watch(request)
    driver.turn(rows_max=2)
    return [event for response in watch.responses for event in response.events]


@pytest.mark.parametrize("unseen_max", [0, 2, writes.UNSEEN_ROWS_MAX])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps_of)
def test_everything_is_as_if_all_rows_were_written_at_once(
    monkeypatch: pytest.MonkeyPatch, unseen_max: int, steps: list[Step]
) -> None:
    monkeypatch.setattr(writes, "UNSEEN_ROWS_MAX", unseen_max)
    plain, long = Driver(), LongDriver(limits=SLOW)
    for driver in (plain, long):
        driver.grant(1, 60)
        driver.watch(EVERYTHING)
    for step in steps:
        if step == "tidy":
            long.tidy()
        elif step == "restart":
            long.reopen()
            long.watch(EVERYTHING)
        elif isinstance(step, Message):
            assert outcome(plain, step) == outcome(long, step)
        assert seen(plain) == seen(long)
        for driver in (plain, long):
            driver.turn(rows_max=2)
        events = whole_watch(plain)
        part = whole_watch(long)
        assert part == (events[: len(part)] if long.store.pending_tombstones else events)
    assert seen(restored(long)) == seen(restored(plain))
    for driver in (plain, long):
        for _ in range(LOOKS_MAX):
            driver.tidy()
        assert not driver.store.untidy
        driver.turn()
    assert_rows_are_equal([plain, long])
    assert whole_watch(plain) == whole_watch(long)


def test_a_key_that_had_the_lease_while_a_group_was_collected_leaves_no_row_behind() -> None:
    """The walk was behind that key, and waited for a group of long keys; so nobody would have found the row again."""
    driver = LongDriver(limits=KvLimits(tombstone_rows_at_once=1))
    driver.grant(1, 60)
    driver.put(LONG[0], lease=1)
    driver.revoke(1)
    driver.tidy()
    driver.grant(1, 60)
    driver.put(b"a", lease=1)
    driver.put(b"a")
    while driver.store.untidy:
        driver.tidy()
    assert list(driver.space.scan(ATTACHED, b"", None)) == []


def test_a_key_that_two_ending_leases_had_is_taken_off_once() -> None:
    driver = LongDriver(limits=SLOW)
    for lease in LEASES:
        driver.grant(lease, 60)
        driver.put(b"k", b"", lease)
        driver.revoke(lease)
    assert driver.store.pending_tombstones == 2
    assert driver.range(RangeRequest(key=b"\x00", range_end=b"\x00", count_only=True)).count == 0


@pytest.fixture
def buried() -> LongDriver:
    """All its keys are deleted, and no row of that is written."""
    driver = LongDriver(limits=SLOW)
    driver.grant(1, 60)
    for key in KEYS:
        driver.put(key, b"old", 1)
    assert driver.delete(b"a", b"e") == len(KEYS)
    assert driver.store.pending_tombstones == 1
    return driver


def test_a_watch_has_all_deletions_before_it_has_or_hears_of_anything_later(buried: LongDriver) -> None:
    deleted = buried.store.revision
    early = buried.watch(WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=deleted))
    later = buried.watch(WatchCreateRequest(key=b"\x00", range_end=b"\x00"))
    buried.turn()
    buried.put(b"b", b"new")
    while buried.store.pending_tombstones:
        buried.turn()
        assert early.events == []
        assert early.wants_to_advance() is None, "it costs no turn while it waits"
        assert later.events == [(deleted + 1, b"b", b"new")]
        assert all(response.header.revision < deleted or response.created for response in early.responses)
        buried.tidy()
    buried.turn()
    assert early.events == [*((deleted, key, None) for key in KEYS), (deleted + 1, b"b", b"new")]


def test_a_watch_of_other_keys_does_not_wait() -> None:
    driver = LongDriver(limits=SLOW)
    for key in KEYS:
        driver.put(key)
    other = driver.watch(WatchCreateRequest(key=b"x"))
    driver.turn()
    driver.delete(b"a", b"e")
    driver.put(b"x", b"1")
    driver.turn()
    assert driver.store.pending_tombstones
    assert [value for _, _, value in other.events] == [b"1"]


def test_one_delete_too_many_writes_its_own_rows(buried: LongDriver) -> None:
    for number in range(3):
        buried.put(b"x%d" % number)
        buried.delete(b"x", b"y")
    assert buried.store.pending_tombstones == SLOW.tombstones_max
    assert buried.keys() == []


def test_a_put_over_what_is_deleted_creates_the_key(buried: LongDriver) -> None:
    buried.put(b"b", b"new")
    (pair,) = buried.range(RangeRequest(key=b"b")).kvs
    assert (pair.create_revision, pair.version, pair.lease) == (buried.store.revision, 1, 0)
    while buried.store.untidy:
        buried.tidy()
    assert buried.keys() == [b"b"]
    assert buried.delete(b"a", b"e") == 1


@pytest.mark.parametrize("pieces", range(1, 2 * len(KEYS)))
def test_the_rest_is_written_after_a_restart(buried: LongDriver, pieces: int) -> None:
    size = buried.store.size_bytes
    for _ in range(pieces):
        buried.tidy()
    buried.reopen()
    assert buried.keys() == []
    for _ in range(LOOKS_MAX):
        buried.tidy()
    assert not buried.store.untidy
    assert buried.store.size_bytes != size
    assert [key for _, key, _ in buried_events(buried)] == KEYS
    assert buried.keys(revision=buried.store.revision - 1) == KEYS


def buried_events(driver: Driver) -> list[tuple[int, bytes, bytes | None]]:
    """What the newest revision has done."""
    watch = driver.watch(WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=driver.store.revision))
    driver.turn()
    return watch.events


def both(*steps: Message | str) -> tuple[Driver, LongDriver]:
    """What these steps do to a store that does all at once, and to one with tombstones."""
    plain, long = Driver(), LongDriver(limits=SLOW)
    for driver in (plain, long):
        driver.grant(1, 60)
        for key in KEYS:
            driver.put(key, b"old", 1)
    for step in steps:
        if isinstance(step, Message):
            assert outcome(plain, step) == outcome(long, step)
        elif step == "tidy":
            long.tidy()
        assert seen(plain) == seen(long)
    for driver in (plain, long):
        while driver.store.untidy:
            driver.tidy()
    return plain, long


REVOKE = LeaseRevokeRequest(ID=1)
GRANT = LeaseGrantRequest(ID=1, TTL=60)
DELETE_ALL = DeleteRangeRequest(key=b"a", range_end=b"e")
DELETE_INSIDE = DeleteRangeRequest(key=LONG[1], range_end=LONG[3])


@pytest.mark.parametrize(
    "steps",
    [
        (REVOKE, PutRequest(key=b"b"), "tidy", PutRequest(key=b"d")),
        (REVOKE, GRANT, PutRequest(key=b"b", lease=1), PutRequest(key=b"z", lease=1)),
        (REVOKE, GRANT, PutRequest(key=b"b", lease=1), DeleteRangeRequest(key=b"b", prev_kv=True)),
        (REVOKE, GRANT, PutRequest(key=b"b", lease=1), REVOKE, PutRequest(key=b"b")),
        (DELETE_ALL, REVOKE),
        (DELETE_ALL, PutRequest(key=b"b", lease=1), REVOKE, PutRequest(key=b"b")),
        (DELETE_ALL, PutRequest(key=b"b"), REVOKE, "tidy"),
        (DELETE_ALL, PutRequest(key=b"b", lease=1), DELETE_ALL, PutRequest(key=b"c"), REVOKE),
        (REVOKE, PutRequest(key=b"b"), DELETE_ALL, PutRequest(key=b"b"), DELETE_ALL),
        (DELETE_ALL, "tidy", PutRequest(key=b"d"), CompactionRequest(revision=7), PutRequest(key=b"a")),
        (DELETE_ALL, "tidy", CompactionRequest(revision=6), PutRequest(key=b"a"), CompactionRequest(revision=7)),
        (DELETE_INSIDE, PutRequest(key=LONG[1]), PutRequest(key=LONG[3]), DELETE_ALL),
        (DELETE_INSIDE, "tidy", "tidy", "tidy", "tidy", PutRequest(key=LONG[2], lease=1), REVOKE),
        (REVOKE, *["tidy"] * 8, GRANT, *(PutRequest(key=key, lease=1) for key in LONG), REVOKE),
    ],
)
def test_what_is_done_while_a_tombstone_is_pending(steps: tuple[Message | str, ...]) -> None:
    plain, long = both(*steps)
    assert_rows_are_equal([plain, long])
    assert whole_watch(plain) == whole_watch(long)


def pieces_of(driver: Driver, request: Message, rows_max: int) -> int:
    """How many turns a command takes."""
    pieces = 0

    def count() -> None:
        nonlocal pieces
        pieces += 1

    driver.apply_in_pieces(build(request), rows_max, count)
    return pieces


@pytest.mark.parametrize(
    "request_of",
    [
        lambda: DeleteRangeRequest(key=SHARED, range_end=SHARED + b"\xff"),
        lambda: DeleteRangeRequest(key=b"b", range_end=b"c"),
        lambda: DeleteRangeRequest(key=b"b", range_end=b"c", prev_kv=True),
        lambda: LeaseRevokeRequest(ID=1),
    ],
)
def test_keys_of_any_length_are_deleted_by_a_tombstone(request_of: Callable[[], Message]) -> None:
    driver = Driver()
    driver.grant(1, 60)
    for number in range(200):
        driver.put(SHARED + b"%03d" % number, lease=1)
    assert pieces_of(driver, request_of(), 50) <= 2 * 200 // 50, "they are looked at, and no row is written"
    assert driver.store.pending_tombstones == 1
    assert driver.keys() == []
    while driver.store.untidy:
        driver.tidy()
    assert [key for _, key, _ in buried_events(driver)] == [SHARED + b"%03d" % number for number in range(200)]


def test_a_turn_reads_so_many_rows_and_bytes_of_a_tombstone_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(limits=KvLimits(tombstone_rows_at_once=10, tidy_bytes_at_once=5_000))
    for number in range(40):
        driver.put(SHARED + b"%03d" % number)
        driver.put(b"small%03d" % number)
    for number in range(10):
        driver.put(b"z%03d" % number, b"v" * 2_000)
    pieces_of(driver, DeleteRangeRequest(key=b"\x00", range_end=b"\x00"), 1)
    got: list[bytes] = []
    get = MemorySpace.get

    def counted(space: MemorySpace, table: str, key: bytes) -> bytes | None:
        row = get(space, table, key)
        if table in (EVENTS, LIVE) and row is not None:
            got.append(row)
        return row

    monkeypatch.setattr(MemorySpace, "get", counted)
    turns = 0
    while driver.store.pending_tombstones:
        driver.tidy()
        turns += 1
        assert len(got) <= 2 * 10
        assert sum(map(len, got)) <= 2 * (5_000 + 2_100)
        got.clear()
    assert turns >= 40 // 10 + 40 // 5 + 10 // 3


@pytest.mark.parametrize(
    ("before", "request_of", "deleted"),
    [
        (LeaseRevokeRequest(ID=1), DeleteRangeRequest(key=b"k", range_end=b"l"), 2_000),
        (LeaseRevokeRequest(ID=2), DeleteRangeRequest(key=b"k", range_end=b"l"), 1_900),
        (DeleteRangeRequest(key=b"k", range_end=b"l"), DeleteRangeRequest(key=b"k", range_end=b"l"), 1),
        (DeleteRangeRequest(key=b"k", range_end=b"k1500"), DeleteRangeRequest(key=b"\x00", range_end=b"\x00"), 601),
        (DeleteRangeRequest(key=b"k1990", range_end=b"m"), LeaseRevokeRequest(ID=2), 99),
        (DeleteRangeRequest(key=b"k", range_end=b"l"), LeaseRevokeRequest(ID=1), 100),
    ],
)
def test_what_a_pending_tombstone_covers_is_not_counted_key_by_key(
    before: Message, request_of: Message, deleted: int
) -> None:
    driver = LongDriver(limits=SLOW)
    for lease in LEASES:
        driver.grant(lease, 60)
    for number in range(2_000):
        driver.put(b"k%04d" % number, lease=2 if number < 100 else 0)
    for number in range(100):
        driver.put(b"m%04d" % number, lease=1)
    driver.do(before)
    driver.tidy()
    if isinstance(before, DeleteRangeRequest):
        driver.put(b"k0000")
    assert driver.store.pending_tombstones == 1
    assert pieces_of(driver, request_of, 50) <= 2_000 // (4 * 50) + 5
    assert driver.store.pending_tombstones == 2
    while driver.store.pending_tombstones:
        driver.tidy()
    assert len(buried_events(driver)) == deleted


def test_a_range_does_not_ask_which_of_its_pairs_a_delete_of_others_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = LongDriver()
    for number in range(100):
        driver.put(b"k%02d" % number)
        driver.put(b"m%02d" % number)
    for first, end in ((b"k", b"k5"), (b"k2", b"k8"), (b"n", b"o")):
        driver.delete(first, end)
    assert driver.store.pending_tombstones == 2
    driver.put(b"k30", b"new")
    asked: list[bytes] = []
    covered_by = VisibleRows.covered_by

    def counted(rows: VisibleRows, pair: bytes, revision: int | None = None) -> Tombstone | None:
        asked.append(pair)
        return covered_by(rows, pair, revision)

    monkeypatch.setattr(VisibleRows, "covered_by", counted)
    assert driver.keys() == [
        b"k30",
        *(b"k%02d" % number for number in range(80, 100)),
        *(b"m%02d" % n for n in range(100)),
    ]
    assert len(asked) == 1, "of what was put since"
