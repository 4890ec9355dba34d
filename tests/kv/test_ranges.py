"""Ranges: what comes back, how it is cut, and at which revision."""

from __future__ import annotations

import pytest

from ratified.kv import names, queries
from ratified.kv.limits import KvLimits
from ratified.kv.ranges import RangeRead
from ratified.kv.tables import LIVE
from ratified.kv.tombstones import VisibleRows
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tests.kv.driver import Driver, decode


def filled(limits: KvLimits | None = None) -> Driver:
    driver = Driver(limits=limits)
    for number in range(20):
        driver.put(b"k%02d" % number, b"v%d" % (number * 7 % 20))
    return driver


@pytest.mark.parametrize("limit", [0, 1, 19, 20, 21])
def test_more_and_count_speak_of_the_whole_range(limit: int) -> None:
    response = filled().range(RangeRequest(key=b"k", range_end=b"l", limit=limit))
    assert response.count == 20
    assert response.more == (0 < limit < 20)
    assert len(response.kvs) == (min(limit, 20) or 20)


def test_counting_returns_no_pairs_and_there_is_never_more() -> None:
    response = filled().range(RangeRequest(key=b"k", range_end=b"l", count_only=True, limit=3))
    assert (response.count, len(response.kvs), response.more) == (20, 0, False)


@pytest.mark.parametrize(
    "request_",
    [RangeRequest(key=b"k", range_end=b"l", count_only=True), RangeRequest(key=b"k", range_end=b"l", limit=1)],
)
def test_what_is_only_counted_is_not_looked_at(request_: RangeRequest) -> None:
    driver = Driver()
    for number in range(3000):
        driver.put(b"k%04d" % number)
    read = RangeRead(VisibleRows(driver.space), request_, driver.store.revision)
    parts = []
    while not read.finished:
        parts.append(read.advance(100, 1 << 20))
    assert RangeResponse.FromString(b"".join(parts)).count == 3000
    assert read.looked <= 3000 // 4 + 20
    assert len(parts) <= 3000 // (4 * 100) + 2


def test_an_order_other_than_by_key_ascends_unless_told_otherwise() -> None:
    driver = filled()
    by_value = driver.range(RangeRequest(key=b"k", range_end=b"l", sort_target=RangeRequest.VALUE))
    assert [pair.value for pair in by_value.kvs][:3] == [b"v0", b"v1", b"v10"]
    descending = driver.range(RangeRequest(key=b"k", range_end=b"l", sort_order=RangeRequest.DESCEND, limit=1))
    assert [pair.key for pair in descending.kvs] == [b"k19"]


def test_a_limit_with_something_to_sort_by_and_no_order_cuts_before_it_sorts() -> None:
    driver = filled()
    in_order = driver.range(RangeRequest(key=b"k", range_end=b"l", limit=4)).kvs
    by_value = driver.range(RangeRequest(key=b"k", range_end=b"l", sort_target=RangeRequest.VALUE, limit=3))
    assert list(by_value.kvs) == sorted(in_order, key=lambda pair: pair.value)[:3]
    assert (by_value.more, by_value.count) == (True, 20)


def test_a_filter_changes_more_but_not_count() -> None:
    request = RangeRequest(key=b"k", range_end=b"l", min_mod_revision=20, limit=2)
    response = filled().range(request)
    assert (len(response.kvs), response.more, response.count) == (2, False, 20)


def test_a_read_at_an_old_revision_says_the_present_one_in_its_header() -> None:
    response = filled().range(RangeRequest(key=b"k", range_end=b"l", revision=5))
    assert (response.header.revision, response.count) == (21, 4)


@pytest.mark.parametrize(
    "request_",
    [
        RangeRequest(key=b"k", range_end=b"l"),
        RangeRequest(key=b"k", range_end=b"l", limit=5),
        RangeRequest(key=b"k", range_end=b"l", revision=11, keys_only=True),
        RangeRequest(key=b"k", range_end=b"l", sort_target=RangeRequest.VALUE),
    ],
)
def test_a_long_range_in_slices_is_the_state_at_which_it_began(request_: RangeRequest) -> None:
    whole = filled().range(request_)
    driver = filled(KvLimits(range_rows_at_once=3))
    answer = driver.store.read(0, queries.range_(request_.SerializeToString()))
    assert not isinstance(answer, bytes)
    chunks: list[bytes] = []
    finished = False
    while not finished:
        driver.delete(b"k", b"l")
        driver.put(b"k%02d" % len(chunks), b"later")
        piece = answer.advance(0, 2, 1 << 20)
        chunks += piece.chunks
        finished = piece.finished
    assert decode(RangeResponse, b"".join(chunks)) == whole
    assert len(chunks) > 1


def test_a_slice_is_bounded_in_bytes() -> None:
    driver = Driver(limits=KvLimits(range_rows_at_once=1))
    for number in range(8):
        driver.put(b"k%d" % number, b"x" * 1000)
    answer = driver.store.read(0, queries.range_(RangeRequest(key=b"k", range_end=b"l").SerializeToString()))
    assert not isinstance(answer, bytes)
    sizes = [len(answer.advance(0, 100, 2000).chunks[0]) for _ in range(3)]
    assert all(size < 4000 for size in sizes)
    answer.cancel()


LONG = [b"m" * 600 + b"%03d" % number for number in (3, 1, 2)]
MIXED = [
    b"k",
    b"k\x00",
    b"k\x00\xff",
    b"k\x01",
    b"l",
    *(b"l%02d" % number for number in range(70)),
    *LONG,
    b"n",
    b"o\x00",
]


@pytest.mark.parametrize("limit", [0, 1, 2, 5, 74, 76, 78, 79, 200])
@pytest.mark.parametrize(
    ("first", "end"), [(b"\x00", b"\x00"), (b"k\x00", b"o"), (b"l05", b"m" * 600 + b"002"), (b"n", b"m")]
)
def test_pairs_taken_many_at_a_time_are_those_that_a_walk_finds(first: bytes, end: bytes, limit: int) -> None:
    """However small the slices: long keys, NULs, and large values between small ones included."""
    driver = Driver()
    for number, key in enumerate(MIXED):
        driver.put(key, bytes(3000 if number % 11 == 7 else number))
    request = RangeRequest(key=first, range_end=end, limit=limit)
    rows = VisibleRows(driver.space)
    held = sorted(key for key in MIXED if first <= key and (end == b"\x00" or key < end))
    for rows_max, bytes_max in ((1, 1 << 20), (3, 1 << 20), (7, 100), (1000, 1), (1000, 5000), (1000, 1 << 20)):
        read = RangeRead(rows, request, driver.store.revision)
        parts = []
        while not read.finished:
            looked = read.looked
            parts.append(read.advance(rows_max, bytes_max))
            assert read.looked - looked <= rows_max + (66 if limit else 0), "names are counted many at a time"
            assert len(parts[-1]) <= bytes_max + 3100
        answer = RangeResponse.FromString(b"".join(parts))
        assert [pair.key for pair in answer.kvs] == held[: limit or None]
        assert all(pair == KeyValue.FromString(rows.get(LIVE, names.name(pair.key)) or b"") for pair in answer.kvs)
        assert (answer.count, answer.more) == (len(held), 0 < limit < len(held))


def test_what_was_read_behind_a_large_pair_is_read_again_at_the_end_too() -> None:
    driver = Driver()
    for number, key in enumerate(b"abcdef"):
        driver.put(bytes([key]), bytes(5000 if number == 4 else 1))
    read = RangeRead(VisibleRows(driver.space), RangeRequest(key=b"a", range_end=b"z"), driver.store.revision)
    first = read.advance(100, 2000)
    assert not read.finished
    assert [pair.key for pair in RangeResponse.FromString(first).kvs] == [b"a", b"b", b"c", b"d", b"e"]
    assert [pair.key for pair in RangeResponse.FromString(read.advance(100, 2000)).kvs] == [b"f"]


def test_one_key_is_read_in_one_piece_however_large() -> None:
    driver = Driver(limits=KvLimits(range_rows_at_once=1, range_bytes_at_once=1))
    driver.put(b"k", b"x" * 10_000)
    driver.put(b"k", b"y" * 10_000)
    for revision, expected in ((0, b"y"), (2, b"x")):
        response = driver.range(RangeRequest(key=b"k", revision=revision))
        assert (response.count, response.kvs[0].value) == (1, expected * 10_000)


def test_a_transaction_reads_what_it_wrote_and_compares_what_was_before() -> None:
    driver = Driver()
    driver.put(b"k", b"old")
    response = driver.txn(
        TxnRequest(
            compare=[Compare(key=b"k", target=Compare.VALUE, value=b"old")],
            success=[
                RequestOp(request_range=RangeRequest(key=b"k")),
                RequestOp(request_put=PutRequest(key=b"k", value=b"new", prev_kv=True)),
                RequestOp(request_range=RangeRequest(key=b"k")),
                RequestOp(request_range=RangeRequest(key=b"k", revision=2)),
                RequestOp(
                    request_txn=TxnRequest(
                        compare=[Compare(key=b"k", target=Compare.VALUE, value=b"old")],
                        success=[RequestOp(request_put=PutRequest(key=b"other"))],
                    )
                ),
                RequestOp(request_delete_range=DeleteRangeRequest(key=b"nothing")),
            ],
        )
    )
    before, put, after, history, nested, deleted = response.responses
    assert before.response_range.header.revision == 2
    assert before.response_range.kvs[0].value == b"old"
    assert put.response_put.header.revision == 3
    assert put.response_put.prev_kv.value == b"old"
    assert after.response_range.header.revision == 3
    assert after.response_range.kvs[0].value == b"new"
    assert history.response_range.kvs[0].value == b"old"
    assert nested.response_txn.succeeded
    assert nested.response_txn.HasField("header")
    assert nested.response_txn.header.revision == 0
    assert deleted.response_delete_range.header.revision == 3
    assert (response.header.revision, driver.store.revision) == (3, 3)
    other = driver.range(RangeRequest(key=b"other")).kvs[0]
    assert (other.create_revision, other.mod_revision, other.version) == (3, 3, 1)


def test_a_transaction_without_effect_makes_no_revision() -> None:
    driver = Driver()
    driver.put(b"k")
    nothing = TxnRequest(success=[RequestOp(request_delete_range=DeleteRangeRequest(key=b"none"))])
    assert driver.txn(nothing).header.revision == 2
    assert driver.txn(TxnRequest()).header.revision == 2
    assert driver.delete(b"none") == 0
    assert driver.store.revision == 2


def test_a_comparison_over_a_range_holds_for_every_key_in_it() -> None:
    driver = filled()
    every = Compare(key=b"k", range_end=b"l", target=Compare.VERSION, result=Compare.EQUAL, version=1)
    assert driver.txn(TxnRequest(compare=[every])).succeeded
    driver.put(b"k05")
    assert not driver.txn(TxnRequest(compare=[every])).succeeded
    nobody = Compare(key=b"x", range_end=b"y", target=Compare.VERSION, result=Compare.EQUAL, version=0)
    assert driver.txn(TxnRequest(compare=[nobody])).succeeded
    no_value = Compare(key=b"x", target=Compare.VALUE, result=Compare.NOT_EQUAL, value=b"v")
    assert not driver.txn(TxnRequest(compare=[no_value])).succeeded


def test_a_transaction_of_reads_is_a_read() -> None:
    driver = filled()
    request = TxnRequest(
        compare=[Compare(key=b"k01", target=Compare.CREATE, result=Compare.GREATER, create_revision=0)],
        success=[RequestOp(request_range=RangeRequest(key=b"k01"))],
    )
    answer = decode(TxnResponse, driver.answer(queries.txn(request.SerializeToString())))
    assert (answer.succeeded, answer.header.revision, answer.responses[0].response_range.count) == (True, 21, 1)


def test_keeping_the_value_or_the_lease_keeps_them() -> None:
    driver = Driver()
    driver.grant(5, 60)
    driver.put(b"k", b"v", lease=5)
    driver.do(PutRequest(key=b"k", ignore_value=True))
    pair = driver.range(RangeRequest(key=b"k")).kvs[0]
    assert (pair.value, pair.lease, pair.version) == (b"v", 0, 2)
    driver.put(b"k", b"v", lease=5)
    driver.do(PutRequest(key=b"k", value=b"w", ignore_lease=True))
    pair = driver.range(RangeRequest(key=b"k")).kvs[0]
    assert (pair.value, pair.lease) == (b"w", 5)
