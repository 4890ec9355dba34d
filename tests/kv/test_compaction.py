"""Compaction forgets at once and removes later, and nobody can see the difference."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ratified.kv import queries
from ratified.kv.history import EVENTS, HISTORY
from ratified.kv.limits import KvLimits
from ratified.kv.tables import ATTACHED, LIVE
from ratified.machine import SnapshotDamaged
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.etcd.kv_pb2 import Event
from ratified.wire.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    HashKVRequest,
    HashKVResponse,
    PutRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)
from tests.kv.driver import Driver, Failed, decode

SLOW = KvLimits(removal_events_at_once=1)
FAST = KvLimits(removal_events_at_once=1000)


def rows(driver: Driver, table: str) -> list[tuple[bytes, bytes]]:
    return list(driver.space.scan(table, b"", None))


def measured(driver: Driver) -> int:
    return sum(len(key) + len(row) for table in (LIVE, HISTORY, EVENTS) for key, row in rows(driver, table))


def tidy(driver: Driver) -> int:
    """Remove all that may go, with a restart after each piece; how many there were."""
    pieces = 0
    while driver.store.untidy:
        with driver.environment.transaction():
            driver.store.tidy()
        driver.reopen()
        pieces += 1
    return pieces


def busy(driver: Driver) -> None:
    for number in range(6):
        driver.put(b"a", b"%d" % number)
        driver.put(b"gone%d" % number)
        driver.delete(b"gone%d" % number)
    driver.put(b"once")


def test_only_the_newest_change_of_each_key_that_exists_is_left() -> None:
    driver = Driver(limits=FAST)
    busy(driver)
    driver.put(b"late")
    newest = driver.store.revision
    driver.compact(newest)
    driver.apply([])
    assert len(rows(driver, EVENTS)) == len(rows(driver, HISTORY)) == 3
    assert driver.keys() == [b"a", b"late", b"once"]
    assert driver.get(b"a", revision=newest) == b"5"


def test_removal_comes_in_pieces_while_commands_are_applied() -> None:
    driver = Driver(limits=SLOW)
    busy(driver)
    before = len(rows(driver, EVENTS))
    driver.compact(driver.store.revision)
    assert len(rows(driver, EVENTS)) >= before - 2
    with pytest.raises(Failed, match="compacted"):
        driver.get(b"a", revision=3)
    for _ in range(before):
        driver.apply([])
    assert len(rows(driver, EVENTS)) == 2


def test_removal_goes_on_after_a_restart() -> None:
    driver = Driver(limits=SLOW)
    busy(driver)
    driver.compact(driver.store.revision)
    for _ in range(30):
        driver.reopen()
        driver.apply([])
    assert len(rows(driver, EVENTS)) == 2


def test_a_deletion_at_the_compacted_revision_goes_with_the_next_compaction() -> None:
    driver = Driver(limits=FAST)
    driver.put(b"k")
    driver.delete(b"k")
    driver.compact(3)
    driver.apply([])
    assert len(rows(driver, EVENTS)) == 1
    driver.put(b"other")
    driver.compact(4)
    driver.apply([])
    assert len(rows(driver, EVENTS)) == len(rows(driver, HISTORY)) == 1


def watched(driver: Driver, start_revision: int) -> list[Event]:
    """What a watch from there is sent, with the pairs before."""
    watch = driver.watch(
        WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=start_revision, prev_kv=True)
    )
    driver.turn()
    watch.continuation.cancel()
    return [event for response in watch.responses for event in response.events]


def test_a_pair_before_the_compacted_revision_is_sent_to_nobody() -> None:
    for limits in (SLOW, FAST):
        driver = Driver(limits=limits)
        driver.put(b"other")
        driver.put(b"k", b"old")
        at = driver.put(b"k", b"new")
        after = driver.put(b"k", b"newest")
        driver.compact(at)
        assert [(event.kv.value, event.prev_kv.value) for event in watched(driver, at)] == [
            (b"new", b""),
            (b"newest", b"new"),
        ], "whether the old pair is removed already, or not"
        assert [event.prev_kv.value for event in watched(driver, after)] == [b"new"]


def test_deletions_of_a_compacted_revision_are_looked_at_again_though_removal_was_among_them() -> None:
    driver = Driver(limits=SLOW)
    for number in range(4):
        driver.put(b"k%d" % number)
    driver.delete(b"k", b"l")
    driver.compact(driver.store.revision)
    while driver.store.untidy and len(rows(driver, EVENTS)) > 6:
        with driver.environment.transaction():
            driver.store.tidy()
    assert driver.store.untidy, "some deletions of the compacted revision were looked at, and some not"
    driver.put(b"other")
    driver.compact(driver.store.revision)
    tidy(driver)
    assert len(rows(driver, EVENTS)) == len(rows(driver, HISTORY)) == 1


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["put", "delete", "compact", "rest", "pieces"]), st.integers(0, 3)), max_size=40)
)
def test_digest_snapshot_hash_and_history_do_not_depend_on_what_is_removed(steps: list[tuple[str, int]]) -> None:
    slow, fast = Driver(limits=SLOW), Driver(limits=FAST)
    for driver in (slow, fast):
        for what, number in steps:
            match what:
                case "put":
                    driver.put(b"k%d" % number)
                case "delete":
                    driver.delete(b"k%d" % number, b"z" if number == 0 else b"")
                case "compact" if driver.store.revision - number > driver.store.compact_revision:
                    driver.compact(driver.store.revision - number)
                case "rest" if driver is fast:
                    with driver.environment.transaction():
                        driver.store.apply([], driver.index, (1, 0))
                case "pieces" if driver is slow:
                    for _ in range(3 * number):
                        with driver.environment.transaction():
                            driver.store.tidy()
    assert slow.store.digest() == fast.store.digest()
    assert slow.state == fast.state
    for revision in range(max(slow.store.compact_revision, 1), slow.store.revision + 1):
        request = queries.hash_kv(HashKVRequest(revision=revision).SerializeToString())
        assert slow.answer(request, rows_max=1) == fast.answer(request)
        assert slow.keys(revision=revision) == fast.keys(revision=revision)
        assert watched(slow, revision) == watched(fast, revision)
    for driver in (slow, fast):
        assert driver.store.size_bytes == measured(driver)
        assert restored(driver).store.digest() == driver.store.digest()
        tidy(driver)
    assert rows(slow, EVENTS) == rows(fast, EVENTS) == rows(restored(fast), EVENTS), "no row is left that may go"


def test_the_digest_sees_every_difference() -> None:
    def after(*puts: tuple[bytes, bytes], compact: int = 0) -> bytes:
        driver = Driver()
        for key, value in puts:
            driver.put(key, value)
        if compact:
            driver.compact(compact)
        return driver.store.digest()

    plain = after((b"a", b"1"), (b"b", b"2"))
    others = [
        after((b"a", b"1"), (b"b", b"3")),
        after((b"a", b"1"), (b"c", b"2")),
        after((b"b", b"2"), (b"a", b"1")),
        after((b"a", b"1")),
        after((b"a", b"1"), (b"b", b"2"), compact=2),
        after(),
    ]
    assert len({plain, *others}) == len(others) + 1
    assert after((b"a", b"1"), (b"b", b"2")) == plain


def test_the_order_of_changes_inside_a_revision_is_in_the_digest() -> None:
    digests = []
    for order in ((b"a", b"b"), (b"b", b"a")):
        driver = Driver()
        driver.txn(TxnRequest(success=[RequestOp(request_put=PutRequest(key=key)) for key in order]))
        digests.append(driver.store.digest())
    assert digests[0] != digests[1]


def test_a_hash_at_a_revision_is_the_one_that_was_newest_then() -> None:
    driver = Driver()
    hashes = []
    for number in range(5):
        driver.put(b"k", b"%d" % number)
        hashes.append(decode(HashKVResponse, driver.answer(queries.hash_kv(b""))).hash)
    for revision, expected in enumerate(hashes, 2):
        request = queries.hash_kv(HashKVRequest(revision=revision).SerializeToString())
        assert decode(HashKVResponse, driver.answer(request)).hash == expected
    assert len(set(hashes)) == 5


def restored(source: Driver) -> Driver:
    driver = Driver(MemoryEnvironment())
    driver.put(b"something else")
    driver.load_state(source.read_state(), source.index)
    return driver


def test_a_restored_store_is_the_same_in_everything_and_goes_on_the_same() -> None:
    source = Driver(limits=SLOW)
    source.grant(5, 10)
    busy(source)
    source.put(b"leased", lease=5)
    source.put(b"l" * 1000, b"long")
    source.compact(9)
    copy = restored(source)
    for _ in range(2):
        assert copy.store.digest() == source.store.digest()
        assert copy.store.applied == source.store.applied
        assert copy.state == source.state
        assert copy.keys(revision=12) == source.keys(revision=12)
        assert copy.keys() == source.keys()
        assert rows(copy, ATTACHED) == rows(source, ATTACHED)
        assert copy.store.size_bytes == measured(copy)
        copy.reopen()
    for driver in (source, copy):
        driver.compact(15)
        driver.revoke(5)
        driver.delete(b"a")
        driver.compact(driver.store.revision)
    assert copy.store.digest() == source.store.digest()


@pytest.mark.parametrize("compact", [2, 3, 4])
def test_what_one_revision_both_wrote_and_deleted_is_held_while_it_can_be_watched(compact: int) -> None:
    """The digest's sums and the rows must agree on it, whichever revision is compacted."""
    source = Driver(limits=FAST)
    source.put(b"k", b"before")
    written = RequestOp(request_txn=TxnRequest(success=[RequestOp(request_put=PutRequest(key=b"k", value=b"in"))]))
    deleted = RequestOp(request_delete_range=DeleteRangeRequest(key=b"k"))
    source.txn(TxnRequest(success=[written, RequestOp(request_txn=TxnRequest(success=[deleted]))]))
    source.put(b"k", b"after")
    source.compact(compact)
    copy = restored(source)
    for driver in (source, copy):
        watch = driver.watch(WatchCreateRequest(key=b"k", start_revision=compact))
        driver.turn()
        wanted = [(2, b"k", b"before"), (3, b"k", b"in"), (3, b"k", None), (4, b"k", b"after")]
        assert watch.events == [event for event in wanted if event[0] >= compact]
    source.compact(source.put(b"other"))
    assert restored(source).store.digest() == source.store.digest()


def test_damaged_snapshots_are_refused() -> None:
    source = Driver()
    source.grant(5, 10)
    busy(source)
    whole = source.read_state(bytes_max=40)
    damaged = [whole[:-1], whole[1:], [], [*whole[:-2], whole[-1]], [*whole[:3], b"?", *whole[3:]]]
    for number, piece in enumerate(whole):
        damaged.append([*whole[:number], piece[:-1] + bytes([piece[-1] ^ 1]), *whole[number + 1 :]])
    for broken in damaged:
        driver = Driver()
        with pytest.raises(SnapshotDamaged, match="snapshot"):
            driver.load_state(broken, source.index)
        driver.reopen()
        assert (driver.store.applied, driver.keys()) == (0, [])


def test_a_watch_survives_the_replacement_of_the_state() -> None:
    source = Driver()
    copy = Driver()
    watch = copy.watch(everything())
    copy.turn()
    for driver in (source, copy):
        driver.put(b"k", b"1")
    for number in range(2, 5):
        source.put(b"k", b"%d" % number)
    copy.load_state(source.read_state(), source.index)
    copy.put(b"k", b"after")
    copy.turn()
    assert [value for _, _, value in watch.events] == [b"1", b"2", b"3", b"4", b"after"]


def everything() -> WatchCreateRequest:
    return WatchCreateRequest(key=b"\x00", range_end=b"\x00")


def test_removal_needs_no_further_command() -> None:
    driver = Driver(limits=SLOW)
    busy(driver)
    driver.compact(driver.store.revision)
    size, digest = driver.store.size_bytes, driver.store.digest()
    assert tidy(driver) > 1
    assert len(rows(driver, EVENTS)) == 2
    assert driver.store.size_bytes == measured(driver) < size
    assert driver.store.digest() == digest
