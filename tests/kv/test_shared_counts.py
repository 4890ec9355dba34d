"""Ranges at older revisions of one transaction are answered as each alone is, and read ``history`` once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratified.kv import history_counts, names, shared_counts
from ratified.kv.history import HISTORY
from ratified.kv.intervals import Interval, interval
from ratified.kv.ranges import RangeRead, is_in_order
from ratified.kv.shared_counts import SharedCounts
from ratified.kv.tombstones import VisibleRows
from ratified.kv.txn_reads import TxnRead
from ratified.storage.memory import MemorySpace
from ratified.wire.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tests.kv.driver import Driver, decode
from tests.kv.model import in_range
from tests.kv.test_counting import BOUNDS, TIMES, Both, filled, steps_of
from tests.kv.test_tombstones import LONG, Step

AROUND = [b"a", b"b" * 475 + b"\x00", b"b" * 476, b"b" * 476 + b"\x02", b"\xff" * 477]
"""Bounds beside those of the ranges that are counted."""

range_of = st.builds(
    RangeRequest,
    key=st.sampled_from(BOUNDS + AROUND),
    range_end=st.sampled_from([*BOUNDS, *AROUND, b""]),
    revision=st.integers(0, 30),
    limit=st.sampled_from([0, 0, 1, 2, 4]),
    count_only=st.booleans(),
    keys_only=st.booleans(),
    sort_target=st.sampled_from([RangeRequest.KEY, RangeRequest.VERSION]),
    sort_order=st.sampled_from([RangeRequest.NONE, RangeRequest.DESCEND]),
)


def readable(both: Both, requests: Sequence[RangeRequest]) -> list[RangeRequest]:
    """Those of them whose revision is neither compacted nor to come."""
    model = both.model
    return [each for each in requests if each.revision == 0 or model.compacted <= each.revision <= model.revision]


def together(driver: Driver, requests: Sequence[RangeRequest], rows_max: int) -> tuple[list[RangeResponse], list[int]]:
    """What one transaction answers, and what each slice of it looked at."""
    operations = [RequestOp(request_range=request) for request in requests]
    read = TxnRead(driver.store._mvcc.visible, driver.store._mvcc, TxnRequest(success=operations))
    looked = []
    while read.answer is None:
        before = read.looked
        read.advance(rows_max, 1 << 20)
        looked.append(read.looked - before)
    response = decode(TxnResponse, read.answer)
    return [each.response_range for each in response.responses], looked


def alone(driver: Driver, request: RangeRequest, shared: SharedCounts | None = None) -> RangeResponse:
    """Row by row."""
    read = RangeRead(driver.store._mvcc.visible, request, driver.store.revision, shared)
    parts = []
    while not read.finished:
        parts.append(read.advance(1, 1 << 20))
    return RangeResponse.FromString(b"".join(parts))


def check(both: Both, requests: Sequence[RangeRequest], rows_max: int) -> None:
    """Each answer is that of the range alone; of those that ask for all pairs as they are, it is the model's."""
    responses, _ = together(both.driver, requests, rows_max)
    shared = shared_counts.shared_counts(both.driver.store._mvcc.visible, requests, both.driver.store.revision)
    if shared is not None:
        list(shared.read())
    for request, response in zip(requests, responses, strict=True):
        expected = alone(both.driver, request)
        assert alone(both.driver, request, shared) == expected
        expected.ClearField("header")
        response.ClearField("header")
        assert response == expected
        pairs = both.model.at(request.revision or both.model.revision)
        keys = [key for key in sorted(pairs) if in_range(key, request.key, request.range_end)]
        assert response.count == len(keys)
        if is_in_order(request) and not request.count_only:
            assert [pair.key for pair in response.kvs] == keys[: request.limit or None]


@pytest.mark.parametrize("step_max", [4, 256])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps_of, ranges=st.lists(range_of, min_size=2, max_size=12), rows_max=st.sampled_from([1, 1000]))
def test_each_range_is_answered_as_if_it_were_alone(
    monkeypatch: pytest.MonkeyPatch, step_max: int, steps: list[Step], ranges: list[RangeRequest], rows_max: int
) -> None:
    set_step(monkeypatch, step_max)
    both = Both()
    for step in steps:
        both.take(step)
    check(both, readable(both, ranges), rows_max)


def set_step(monkeypatch: pytest.MonkeyPatch, step_max: int) -> None:
    monkeypatch.setattr(history_counts, "_CHANGES_WALKED_MAX", min(step_max, history_counts._CHANGES_WALKED_MAX))
    monkeypatch.setattr(history_counts, "_CHANGES_A_STEP", step_max)


def everything() -> Both:
    """A store with a case of each rule."""
    both = Both()
    for key in (b"a", b"a1", *LONG, b"c", b"d", b"d1", b"d2"):
        both.take(PutRequest(key=key))
    both.take((TIMES, b"b", 20))
    both.take(DeleteRangeRequest(key=b"b"))
    both.take((TIMES, b"b", 20))
    both.take(DeleteRangeRequest(key=LONG[2], range_end=b"d1"))
    both.take(PutRequest(key=b"c"))
    both.take(DeleteRangeRequest(key=b"a", range_end=b"a1"))
    both.take((TIMES, b"d2", 20))
    assert both.driver.store.pending_tombstones == 3
    return both


def check_all(both: Both) -> None:
    """All ranges, counted and not, at some revisions, in one transaction for each."""
    bounds = [*BOUNDS[1:], b"d1"]
    wanted = [(first, end) for first in [b"\x00", *bounds] for end in [*bounds, b"\x00"]]
    for revision in range(2, both.model.revision + 1, 3):
        requests = [
            RangeRequest(key=first, range_end=end, revision=max(revision - at % 2, 1), count_only=at % 3 == 0, limit=2)
            for at, (first, end) in enumerate(wanted)
        ]
        check(both, requests, 1000)


def with_all_segments(shared: SharedCounts, revision: int, first: bytes, last: bytes | None) -> int:
    return sum(shared._keys[revision])


def not_cut_off(shared: SharedCounts, wanted: Interval, revision: int) -> Iterator[Interval]:
    return iter(shared._there[revision])


def as_they_come(parts: list[Interval], part: Interval) -> None:
    parts.append(part)


def less_than_the_group(bound: bytes) -> bytes:
    return names.key_of(bound[: names.NAME_BYTES_MAX])


def behind_the_group(bound: bytes) -> bytes:
    return names.key_of(bound if names.is_whole(bound) else bound[: names.NAME_BYTES_MAX] + b"\xff")


def at_the_first_revision(read: Callable[..., Iterator[int]]) -> Callable[..., Iterator[int]]:
    def reading(
        shared: SharedCounts, number: int, first: bytes, last: bytes, revisions: Sequence[int]
    ) -> Iterator[int]:
        yield from read(shared, number, first, last, revisions[:1])

    return reading


BROKEN: dict[str, tuple[Any, str, Any]] = {
    "a range counts all segments": (SharedCounts, "keys", with_all_segments),
    "a segment is counted at one revision": (
        SharedCounts,
        "_read_segment",
        at_the_first_revision(SharedCounts._read_segment),
    ),
    "what a tombstone hides is counted": (VisibleRows, "until", lambda rows, revision: VisibleRows(rows.rows)),
    "more is looked at than the range": (SharedCounts, "there", not_cut_off),
    "intervals overlap": (shared_counts, "_extend", as_they_come),
    "an interval ends before the last keys of a group": (shared_counts, "_key_behind", less_than_the_group),
    "an interval begins behind the first keys of a group": (shared_counts, "_key_from", behind_the_group),
}


@pytest.mark.parametrize("step_max", [4, 256])
def test_each_rule_is_seen(monkeypatch: pytest.MonkeyPatch, step_max: int) -> None:
    set_step(monkeypatch, step_max)
    check_all(everything())


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_seen(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    set_step(monkeypatch, 4)
    both = everything()
    monkeypatch.setattr(*BROKEN[rule])
    with pytest.raises(AssertionError):
        check_all(both)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The rows of ``history`` that were read, by their keys."""
    changes: list[bytes] = []
    scan, keys = MemorySpace.scan, MemorySpace.keys

    def scanned(space: MemorySpace, table: str, *bounds: Any, **more: Any) -> Iterator[tuple[bytes, bytes]]:
        for key, value in scan(space, table, *bounds, **more):
            if table == HISTORY:
                changes.append(key)
            yield key, value

    def keys_of(space: MemorySpace, table: str, *bounds: Any) -> list[bytes]:
        found = keys(space, table, *bounds)
        if table == HISTORY:
            changes.extend(found)
        return found

    monkeypatch.setattr(MemorySpace, "scan", scanned)
    monkeypatch.setattr(MemorySpace, "keys", keys_of)
    return changes


def ranges(many: int, revision: int, **more: Any) -> list[RangeRequest]:
    """Of the keys of ``filled``: all from another one on."""
    return [RangeRequest(key=b"k%04d" % at, range_end=b"l", revision=revision, **more) for at in range(many)]


KEYS = 2_000
ONCE = KEYS * 1.2
"""Of each batch the last key is read again."""


@pytest.mark.parametrize("more", [{}, {"limit": 3}, {"count_only": True}, {"sort_target": RangeRequest.VALUE}])
def test_keys_that_were_not_there_are_read_once(read: list[bytes], more: dict[str, Any]) -> None:
    driver = filled(KEYS, 1)
    read.clear()
    responses, looked = together(driver, ranges(100, 1, **more), 64)
    assert [response.count for response in responses] == [0] * 100
    assert len(read) <= ONCE
    assert max(looked) <= 64 + history_counts._CHANGES_A_STEP


@pytest.mark.parametrize("more", [{"limit": 3}, {"count_only": True}])
def test_keys_are_counted_once_for_all_ranges_and_revisions(read: list[bytes], more: dict[str, Any]) -> None:
    driver = filled(KEYS, 1)
    wanted = [request for revision in (KEYS, KEYS - 500) for request in ranges(50, revision, **more)]
    read.clear()
    responses, looked = together(driver, wanted, 64)
    assert [response.count for response in responses] == [
        there - at for there in (KEYS - 1, KEYS - 501) for at in range(50)
    ]
    pairs_read = 100 * 2 * 8 if "limit" in more else 0
    assert len(read) <= ONCE + pairs_read
    assert max(looked) <= 64 + history_counts._CHANGES_A_STEP


def test_beside_a_tombstone_keys_are_counted_once(read: list[bytes]) -> None:
    both = Both()
    for number in range(200):
        both.take(PutRequest(key=b"k%04d" % number))
    both.take(DeleteRangeRequest(key=b"k0190", range_end=b"k0195"))
    both.take(PutRequest(key=b"other"))
    assert both.driver.store.pending_tombstones == 1
    read.clear()
    responses, _ = together(both.driver, ranges(50, both.model.revision - 1, count_only=True), 64)
    assert [response.count for response in responses] == [195 - at for at in range(50)]
    assert len(read) <= 200 * 1.5 + 50 * 5


@pytest.mark.parametrize("ends_in_group", [True, False])
def test_beside_a_group_that_the_ranges_cut_in_two_keys_are_counted_once(
    read: list[bytes], ends_in_group: bool
) -> None:
    driver = Driver()
    prefix = b"a" if ends_in_group else b"c"
    for key in (*(prefix + b"%04d" % number for number in range(200)), *LONG, b"other"):
        driver.put(key)
    wanted = [
        RangeRequest(
            key=b"a%04d" % at if ends_in_group else LONG[2],
            range_end=LONG[2] if ends_in_group else b"c%04d" % (200 - at),
            revision=driver.store.revision - 1,
            count_only=True,
        )
        for at in range(50)
    ]
    read.clear()
    responses, _ = together(driver, wanted, 64)
    assert [response.count for response in responses] == [202 - at for at in range(50)]
    assert len(read) <= 200 * 1.5 + 50 * 2 * len(LONG)


def test_a_segment_is_counted_at_the_revisions_of_its_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    read: dict[tuple[bytes, bytes], tuple[int, ...]] = {}
    segment = SharedCounts._read_segment

    def noted(shared: SharedCounts, number: int, first: bytes, last: bytes, revisions: Sequence[int]) -> Iterator[int]:
        read[first, last] = tuple(revisions)
        return segment(shared, number, first, last, revisions)

    monkeypatch.setattr(SharedCounts, "_read_segment", noted)
    wanted = [(b"a", b"c", 2), (b"b", b"d", 1), (b"b", b"d", 2), (b"x", b"y", 3)]
    requests = [RangeRequest(key=first, range_end=end, revision=revision) for first, end, revision in wanted]
    shared = shared_counts.shared_counts(filled(10, 1).store._mvcc.visible, requests, 11)
    assert shared is not None
    list(shared.read())
    assert read == {(b"a", b"b"): (2,), (b"b", b"c"): (1, 2), (b"c", b"d"): (1, 2), (b"x", b"y"): (3,)}


@pytest.mark.parametrize(
    "wanted",
    [
        [(b"a", b"b", 1), (b"b", b"c", 1)],
        [(b"a", b"", 1), (b"a", b"c", 1)],
        [(b"a", b"c", 1), (b"a", b"c", 0)],
        [(b"a", b"c", 1), (b"a", b"c", 9)],
        [(b"a", b"c", 1), (b"b", b"a", 1)],
        [(LONG[0], LONG[1], 1), (LONG[1], LONG[2], 1)],
    ],
    ids=[
        "they do not meet",
        "one is a key",
        "one is newest",
        "one is the newest revision",
        "one is empty",
        "long keys do not meet",
    ],
)
def test_where_no_two_ranges_at_older_revisions_meet_nothing_is_shared(wanted: list[tuple[bytes, bytes, int]]) -> None:
    requests = [RangeRequest(key=first, range_end=end, revision=revision) for first, end, revision in wanted]
    assert shared_counts.shared_counts(VisibleRows(Driver().space), requests, 9) is None


def test_bounds_that_end_no_segment_have_no_count() -> None:
    requests = [RangeRequest(key=b"k", range_end=b"l", revision=1), RangeRequest(key=b"k1", range_end=b"m", revision=1)]
    shared = shared_counts.shared_counts(VisibleRows(Driver().space), requests, 9)
    assert shared is not None
    list(shared.read())
    assert shared.keys(1, b"k", b"m") == 0
    assert shared.keys(1, b"k", b"k2") is None
    assert shared.keys(1, b"k0", b"m") is None
    assert shared.keys(1, b"k", b"z") is None


def test_parts_of_a_range_are_those_where_something_was() -> None:
    driver = filled(1_000, 1)
    requests = ranges(2, 300)
    shared = shared_counts.shared_counts(driver.store._mvcc.visible, requests, driver.store.revision)
    assert shared is not None
    assert sum(shared.read()) >= 1_000 // history_counts._CHANGES_A_LOOK
    (part,) = shared.there(interval(b"k0010", b"k0900"), 300)
    assert part.first == b"k0010"
    assert part.end is not None
    assert b"k0298" < part.end < b"k0600"
    assert list(shared.there(interval(b"k0700", b"k0900"), 300)) == []
