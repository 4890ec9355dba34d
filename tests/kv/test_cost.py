"""What a transaction may cost, and that all that is refused has done nothing."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from ratified.kv import compares, cost, queries, txn_reads, walks, writes
from ratified.kv.intervals import Interval
from ratified.kv.limits import KvLimits
from ratified.kv.tombstones import VisibleRows
from ratified.kv.walks import Looks, live
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    LeaseLeasesResponse,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tests.kv.driver import Driver, Failed, LongDriver, build, decode

ALL = {"key": b"\x00", "range_end": b"\x00"}
TOO_LARGE = "etcdserver: request is too large"
TOO_MANY = "etcdserver: too many operations in txn request"


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Driver:
    monkeypatch.setattr(cost, "TXN_ROWS_MAX", 40)
    monkeypatch.setattr(compares, "_ROWS_A_STEP", 1)
    for module in (cost, txn_reads):
        monkeypatch.setattr(module, "TXN_RESPONSE_BYTES_MAX", 10_000)
    one = Driver(limits=KvLimits(range_rows_at_once=3))
    for number in range(20):
        one.put(b"k%02d" % number, b"v" * 100)
    return one


def txn(*operations: RequestOp, compare: tuple[Compare, ...] = ()) -> TxnRequest:
    return TxnRequest(compare=compare, success=operations)


def put(key: bytes, value: bytes = b"x", **more: bool) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, **more))


def keeping(key: bytes) -> PutRequest:
    return PutRequest(key=key, ignore_value=True)


def keep(key: bytes) -> RequestOp:
    return RequestOp(request_put=keeping(key))


def ranged(**request: object) -> RequestOp:
    return RequestOp(request_range=RangeRequest(**request))  # type: ignore[arg-type]


def deleted(**request: object) -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(**request))  # type: ignore[arg-type]


def refused(driver: Driver, request: TxnRequest, why: str) -> None:
    before = driver.store.digest(), driver.store.revision
    with pytest.raises(Failed, match=why):
        driver.do(request)
    assert (driver.store.digest(), driver.store.revision) == before


def holds_for_all() -> Compare:
    return Compare(target=Compare.MOD, result=Compare.GREATER, key=b"\x00", range_end=b"\x00")


def test_rows_count_in_comparisons_ranges_and_deletes_together(driver: Driver) -> None:
    driver.do(txn(put(b"new"), compare=(holds_for_all(),)))
    refused(driver, txn(put(b"new"), compare=(holds_for_all(), holds_for_all())), TOO_MANY)
    refused(driver, txn(put(b"new"), ranged(**ALL), compare=(holds_for_all(),)), TOO_MANY)
    refused(driver, txn(put(b"new"), deleted(**ALL)), TOO_MANY)
    nested = RequestOp(request_txn=txn(ranged(**ALL)))
    refused(driver, txn(put(b"new"), nested, nested), TOO_MANY)
    assert driver.delete(b"\x00", b"\x00") == 21, "a delete by itself may be of any size"


def test_a_comparison_ends_at_the_first_pair_that_does_not_fit(driver: Driver) -> None:
    fails = Compare(target=Compare.MOD, result=Compare.LESS, key=b"\x00", range_end=b"\x00")
    assert not driver.txn(txn(compare=(fails,) * 10)).succeeded


def test_bytes_of_the_answer_are_counted_before_anything_is_done(driver: Driver) -> None:
    one = ranged(key=b"k00")
    driver.do(txn(put(b"new"), *[one] * 20))
    driver.put(b"k00", b"v" * 1_000)
    refused(driver, txn(put(b"new"), *[one] * 20), TOO_LARGE)
    driver.do(txn(put(b"new"), *[ranged(key=b"k00", keys_only=True)] * 20))
    driver.do(txn(put(b"new"), *[ranged(key=b"k00", count_only=True)] * 20))
    refused(driver, txn(put(b"new"), *[put(b"k00", prev_kv=True)], *[one] * 20), TOO_LARGE)


def test_what_the_transaction_itself_puts_counts_where_it_is_read(driver: Driver) -> None:
    large = put(b"large", b"v" * 1_000)
    refused(driver, txn(large, *[ranged(key=b"large")] * 12), TOO_LARGE)
    refused(driver, txn(large, *[ranged(key=b"l", range_end=b"m")] * 12), TOO_LARGE)
    driver.do(txn(large, *[ranged(key=b"other")] * 12))
    keeps = RequestOp(request_put=PutRequest(key=b"large", ignore_value=True))
    refused(driver, txn(keeps, *[ranged(key=b"large")] * 6), TOO_LARGE)


def test_to_compare_what_the_transaction_puts_with_its_ranges_costs_rows(driver: Driver) -> None:
    """Thousands of puts and as many ranges, each of nothing, would be compared millions of times."""
    puts = [put(b"p%02d" % number) for number in range(8)]
    driver.do(txn(*puts[:7], *[ranged(key=b"z")] * 10))
    refused(driver, txn(*puts, *[ranged(key=b"z")] * 10), TOO_MANY)
    refused(driver, txn(*puts, *[deleted(key=b"z", prev_kv=True)] * 10), TOO_MANY)


def test_a_limit_bounds_what_is_answered_but_not_what_is_looked_at(driver: Driver) -> None:
    driver.do(txn(put(b"new"), ranged(**ALL, limit=1)))
    refused(driver, txn(put(b"new"), ranged(**ALL, limit=1), ranged(**ALL, limit=1)), TOO_MANY)


def test_a_transaction_that_reads_only_goes_in_slices_over_any_number_of_rows(driver: Driver) -> None:
    request = txn(ranged(**ALL, limit=2), ranged(**ALL, count_only=True), compare=(holds_for_all(),) * 3)
    answer = driver.store.read(0, queries.txn(request.SerializeToString()))
    assert not isinstance(answer, bytes)
    driver.put(b"k99")  # whoever reads in slices sees one state
    slices = 0
    while True:
        piece = answer.advance(0, 1, 1 << 20)
        slices += 1
        if piece.finished:
            break
        assert not piece.chunks
    response = decode(TxnResponse, b"".join(piece.chunks))
    assert slices > 55
    assert response.succeeded
    assert [one.response_range.count for one in response.responses] == [20, 20]
    assert len(response.responses[0].response_range.kvs) == 2


def test_ranges_that_a_transaction_asks_for_twice_are_read_once(driver: Driver) -> None:
    def slices(*ranges: RequestOp) -> int:
        reading = driver.store.read(0, queries.txn(txn(*ranges).SerializeToString()))
        assert not isinstance(reading, bytes)
        taken, piece = 1, reading.advance(0, 1, 1 << 20)
        while not piece.finished:
            taken, piece = taken + 1, reading.advance(0, 1, 1 << 20)
        counts = [one.response_range.count for one in decode(TxnResponse, b"".join(piece.chunks)).responses]
        assert counts == [20] * len(ranges)
        return taken

    whole, descending = ranged(**ALL), ranged(**ALL, sort_order=RangeRequest.DESCEND)
    assert slices(whole, whole) < slices(whole, descending)


def test_reads_of_one_turn_share_the_rows_that_it_may_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = Driver(limits=KvLimits(range_rows_at_once=20, range_rows_a_turn=30))
    for number in range(16):
        driver.put(b"k%02d" % number)
    whole = RangeRequest(key=b"\x00", range_end=b"\x00").SerializeToString()
    read = queries.range_(whole), queries.txn(txn(ranged(**ALL)).SerializeToString())
    looked: list[object] = []

    def seen(rows: VisibleRows, wanted: Interval) -> Looks:
        for look in live(rows, wanted):
            looked.append(look)
            yield look

    monkeypatch.setattr(walks, "live", seen)
    answers = [driver.store.read(1, query) for query in (*read, *read)]
    assert [isinstance(answer, bytes) for answer in answers] == [True, False, False, False]
    assert len(looked) <= 2 * 16, "the third and the fourth have not begun"
    assert isinstance(driver.store.read(2, read[0]), bytes), "the next turn has room again"
    for answer in answers[1:]:
        assert not isinstance(answer, bytes)
        chunks: list[bytes] = []
        while not (piece := answer.advance(3, 5, 1 << 20)).finished:
            chunks += piece.chunks
        text = b"".join([*chunks, *piece.chunks])
        assert text.count(b"k15") == 1


def test_a_list_of_many_leases_comes_in_slices(driver: Driver) -> None:
    for number in range(10):
        driver.grant(number + 1, 60)
    answer = driver.store.read(0, queries.leases())
    assert not isinstance(answer, bytes)
    driver.revoke(1)  # whoever reads in slices sees one state
    pieces = [answer.advance(0, 4, 1 << 20) for _ in range(3)]
    assert [piece.finished for piece in pieces] == [False, False, True]
    response = decode(LeaseLeasesResponse, b"".join(chunk for piece in pieces for chunk in piece.chunks))
    assert [lease.ID for lease in response.leases] == list(range(1, 11))


def test_a_transaction_that_reads_only_is_refused_for_its_answer_alone(driver: Driver) -> None:
    request = txn(*[ranged(**ALL)] * 10)
    with pytest.raises(Failed, match=TOO_LARGE):
        decode(TxnResponse, driver.answer(queries.txn(request.SerializeToString()), 1, 1 << 20))


@pytest.mark.parametrize(("last", "answer"), [("dropped", "served"), ("retained", TOO_MANY), ("put again", TOO_MANY)])
def test_keys_that_a_compaction_drops_cost_nothing_whether_or_not_they_are_removed_yet(
    monkeypatch: pytest.MonkeyPatch, last: str, answer: str
) -> None:
    monkeypatch.setattr(cost, "TXN_ROWS_MAX", 50)
    answers = []
    for at_once in (1, 1000):
        driver = Driver(limits=KvLimits(removal_events_at_once=at_once))
        for number in range(60):
            driver.put(b"k%02d" % number)
        deleted_at = driver.store.revision + 1
        driver.delete(b"\x00", b"\x00")
        driver.put(b"other")
        driver.compact(deleted_at if last == "retained" else driver.store.revision)
        revision = driver.store.revision
        driver.put(b"other")
        for number in range(60 if last == "put again" else 0):
            driver.put(b"k%02d" % number)
        assert driver.store.untidy == (at_once == 1)
        try:
            driver.txn(txn(put(b"a"), ranged(**ALL, revision=revision)))
            answers.append("served")
        except Failed as failed:
            answers.append(str(failed))
    assert answers[0] == answers[1]
    assert answer in answers[0]


def test_keys_that_were_deleted_cost_what_they_cost_where_nothing_was_ever_compacted(driver: Driver) -> None:
    driver.delete(b"k00")
    revision = driver.store.revision
    driver.put(b"other")
    answer = driver.txn(txn(put(b"a"), ranged(**ALL, revision=revision)))
    assert answer.responses[1].response_range.count == 19


def test_rows_that_cost_nothing_are_passed_over_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "UNSEEN_ROWS_MAX", 50)
    answers = []
    for operations, waits in ((1, 0), (8, 1)):
        driver = LongDriver(limits=KvLimits(tombstone_rows_at_once=1))
        plain = Driver()
        for one in (driver, plain):
            one.grant(1, 60)
            for number in range(20):
                one.put(b"k%02d" % number, lease=1)
            one.revoke(1)
        assert driver.store.pending_tombstones == 1
        request = txn(put(b"new"), *[ranged(**ALL)] * operations)
        answers.append((driver.txn(request), plain.txn(request)))
        assert driver.waited_for_tidiness == waits
        assert driver.store.digest() == plain.store.digest()
    assert all(long == plain for long, plain in answers)


def test_nothing_waits_for_a_delete_of_ranges_that_are_looked_at_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writes, "UNSEEN_ROWS_MAX", 50)
    driver = LongDriver()
    for number in range(200):
        driver.put(b"k%03d" % number)
    driver.delete(b"k", b"l")
    driver.put(b"k100")
    request = txn(put(b"new"), *[ranged(**ALL)] * 8)
    assert driver.store.cost(build(request), 10_000) < 50
    assert [response.response_range.count for response in driver.txn(request).responses[1:]] == [2] * 8
    assert driver.waited_for_tidiness == 0
    driver.reopen()
    assert driver.store.pending_tombstones == 1
    assert driver.store.cost(build(request), 10_000) < 50
    assert driver.keys() == [b"k100", b"new"]


def test_what_looking_takes_on_this_replica_decides_whether_a_command_goes_in_pieces() -> None:
    driver = LongDriver()
    driver.grant(1, 60)
    for number in range(200):
        driver.put(b"k%03d" % number, lease=1)
    then = driver.store.revision
    driver.revoke(1)

    def work(request: TxnRequest) -> int:
        return driver.store.cost(build(request), 10_000)

    assert work(txn(put(b"new"), ranged(**ALL))) > 200, "they are deleted, and not yet gone"
    while driver.store.untidy:
        driver.tidy()
    assert work(txn(put(b"new"), ranged(**ALL))) < 20
    assert work(txn(put(b"new"), ranged(**ALL, revision=then))) > 200, "they were there"
    driver.put(b"large", b"v" * 1_000_000)
    assert work(txn(put(b"new"), ranged(key=b"l", range_end=b"m"))) > 200, "its bytes take time"


def test_a_value_that_is_kept_takes_the_time_of_writing_it_again() -> None:
    driver = Driver()
    for number in range(3):
        driver.put(b"large%d" % number, b"v" * 1_000_000)
    driver.put(b"small")

    def work(request: Message) -> int:
        return driver.store.cost(build(request), 10_000)

    alone = work(keeping(b"large0"))
    assert alone > 500, "a few of them fill a turn"
    assert work(txn(keep(b"large0"), keep(b"large1"), keep(b"large2"))) >= 3 * alone
    assert work(TxnRequest(failure=[RequestOp(request_txn=txn(keep(b"large0")))])) >= alone
    for small in (keeping(b"small"), keeping(b"absent"), PutRequest(key=b"large0", ignore_lease=True)):
        assert work(small) < 10
        assert work(txn(RequestOp(request_put=small))) < 10
    assert driver.store.cost(build(keeping(b"large0")), 7) == 7


def test_values_that_are_kept_are_written_in_pieces() -> None:
    request = txn(*[keep(b"large%d" % number) for number in range(5)])
    drivers = LongDriver(), Driver()
    for driver in drivers:
        for number in range(5):
            driver.put(b"large%d" % number, b"v" * 1_000_000)
    long, plain = drivers
    pieces: list[int] = []
    result = long.apply_in_pieces(build(request), 500, lambda: pieces.append(1))
    assert len(pieces) >= 5, "each is more than a piece may take"
    assert plain.apply([build(request)]) == [result]
    assert long.store.digest() == plain.store.digest()


def test_what_a_put_keeps_is_looked_at_in_pieces() -> None:
    driver = LongDriver()
    for number in range(5):
        driver.put(b"large%d" % number, b"v" * 1_000_000)
    pieces: list[int] = []
    puts = [RequestOp(request_put=PutRequest(key=b"large%d" % number, ignore_lease=True)) for number in range(5)]
    driver.apply_in_pieces(build(txn(*puts)), 200, lambda: pieces.append(1))
    assert len(pieces) >= 5


@pytest.mark.parametrize("driver_of", [Driver, LongDriver])
def test_the_values_that_one_transaction_keeps_are_limited(
    monkeypatch: pytest.MonkeyPatch, driver_of: type[Driver]
) -> None:
    monkeypatch.setattr(cost, "TXN_KEPT_BYTES_MAX", 10_000)
    driver = driver_of()
    for key in (b"a", b"b", b"c"):
        driver.put(key, b"v" * 4_000)
    driver.do(txn(keep(b"a"), keep(b"b")))
    driver.do(txn(keep(b"a"), keep(b"b"), put(b"c", ignore_lease=True)))
    driver.put(b"c", b"v" * 4_000)
    nested = RequestOp(request_txn=txn(keep(b"b"), keep(b"c")))
    refused(driver, txn(keep(b"a"), nested), TOO_LARGE)
    refused(driver, txn(keep(b"a"), keep(b"b"), put(b"new"), keep(b"c")), TOO_LARGE)
    fails = Compare(target=Compare.MOD, result=Compare.LESS, key=b"a")
    driver.do(TxnRequest(compare=[fails], success=[keep(b"a"), nested], failure=[keep(b"a")]))
    driver.put(b"a", b"v" * 20_000)
    driver.do(keeping(b"a"))
    driver.do(txn(keep(b"a"), put(b"new")))
    refused(driver, txn(keep(b"a"), keep(b"b")), TOO_LARGE)


def test_a_deleted_value_is_in_no_answer_whether_or_not_its_row_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "TXN_RESPONSE_BYTES_MAX", 10_000)
    long, plain = LongDriver(), Driver()
    for driver in (long, plain):
        driver.put(b"a", b"v" * 20_000)
        driver.delete(b"a", b"b")
    assert long.store.pending_tombstones == 1
    request = txn(put(b"a", prev_kv=True))
    assert long.do(request) == plain.do(request)
    assert long.store.digest() == plain.store.digest()


def test_a_deleted_value_is_not_kept_and_costs_nothing_whether_or_not_its_row_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cost, "TXN_KEPT_BYTES_MAX", 10_000)
    long, plain = LongDriver(), Driver()
    for driver in (long, plain):
        driver.put(b"a", b"v" * 20_000)
        driver.put(b"b", b"v" * 4_000)
        driver.delete(b"a", b"b")
        driver.put(b"a", b"v")
    assert long.store.pending_tombstones == 1
    request = txn(keep(b"a"), keep(b"b"))
    assert long.store.cost(build(request), 10_000) == plain.store.cost(build(request), 10_000) < 20
    assert long.do(request) == plain.do(request)
    assert long.store.digest() == plain.store.digest()
