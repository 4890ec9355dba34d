"""How many keys there were at an older revision is counted without reading a pair, in short steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ratified.kv import counting, history_counts
from ratified.kv.history import EVENTS, HISTORY, PUT, names_at
from ratified.kv.intervals import Interval, interval
from ratified.kv.ranges import RangeRead
from ratified.kv.tombstones import VisibleRows
from ratified.storage.memory import MemorySpace
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
)
from tests.kv.driver import Driver, Failed, LongDriver
from tests.kv.model import Model, in_range
from tests.kv.test_tombstones import LEASES, LONG, SHARED, SLOW, Step, delete_of, key_of, lease_of

BOUNDS = [b"\x00", b"b", SHARED, LONG[1], LONG[2], SHARED + b"9", b"c", b"e"]
TIMES = "times"
"""A step: so many puts of one key, one after another."""

steps_of = st.lists(
    st.one_of(
        st.builds(PutRequest, key=key_of, lease=lease_of),
        st.builds(PutRequest, key=key_of, lease=lease_of),
        st.builds(DeleteRangeRequest, key=key_of),
        delete_of,
        st.tuples(st.just(TIMES), key_of, st.integers(2, 9)),
        st.builds(LeaseGrantRequest, ID=st.sampled_from(LEASES), TTL=st.just(60)),
        st.builds(LeaseRevokeRequest, ID=st.sampled_from(LEASES)),
        st.integers(2, 12).map(lambda revision: CompactionRequest(revision=revision)),
        st.sampled_from(["tidy", "tidy"]),
    ),
    min_size=6,
    max_size=30,
)


class Both:
    """A store whose tombstones are pending for long, and the model of all revisions."""

    def __init__(self) -> None:
        self.driver = LongDriver(limits=SLOW)
        self.model = Model()
        for lease in LEASES:
            self.take(LeaseGrantRequest(ID=lease, TTL=60))

    def take(self, step: Step | tuple[str, bytes, int]) -> None:
        if isinstance(step, tuple):
            _, key, times = step
            for _ in range(times):
                self.take(PutRequest(key=key))
        elif isinstance(step, Message):
            assert outcome(self.driver.do, step) == outcome(self.model.do, step)
        else:
            self.driver.tidy()

    def check(self) -> None:
        """All counts, at all revisions."""
        for revision in range(max(self.model.compacted, 1), self.model.revision + 1):
            there = sorted(self.model.at(revision))
            for first in BOUNDS:
                for end in (*BOUNDS[1:], b"\x00"):
                    self._check(first, end, revision, [key for key in there if in_range(key, first, end)])

    def _check(self, first: bytes, end: bytes, revision: int, keys: Sequence[bytes]) -> None:
        found = counting.keys_at(self._rows, interval(first, end), revision)
        assert sum(counted.keys for counted in found) == len(keys)
        request = RangeRequest(key=first, range_end=end, revision=revision, limit=len(keys) // 2)
        response, _ = answered(self._rows, request, self.model.revision, 1)
        assert response.count == len(keys)
        assert [pair.key for pair in response.kvs] == list(keys[: request.limit or None])

    @property
    def _rows(self) -> VisibleRows:
        return self.driver.store._mvcc.visible


def answered(rows: VisibleRows, request: RangeRequest, newest: int, rows_max: int) -> tuple[RangeResponse, list[int]]:
    """The answer, and what each slice of it looked at."""
    read = RangeRead(rows, request, newest)
    parts, looked = [], []
    while not read.finished:
        before = read.looked
        parts.append(read.advance(rows_max, 1 << 20))
        looked.append(read.looked - before)
    return RangeResponse.FromString(b"".join(parts)), looked


def outcome(do: Callable[[Message], Message], step: Message) -> object:
    try:
        return do(step)
    except Failed as failed:
        return failed.code, failed.text


@pytest.mark.parametrize(("walked_max", "step_max"), [(1, 1), (1, 4), (3, 8), (12, 256)])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps_of)
def test_counts_are_those_of_every_revision(
    monkeypatch: pytest.MonkeyPatch, walked_max: int, step_max: int, steps: list[Step]
) -> None:
    monkeypatch.setattr(history_counts, "_CHANGES_WALKED_MAX", walked_max)
    monkeypatch.setattr(history_counts, "_CHANGES_A_STEP", step_max)
    both = Both()
    for step in steps:
        both.take(step)
    both.check()


def everything() -> Both:
    """A store with a case of each rule."""
    both = Both()
    for key in (b"a", *LONG, b"c", b"d", b"d1", b"d2"):
        both.take(PutRequest(key=key, lease=1 if key == b"d" else 0))
    both.take((TIMES, b"b", 20))
    both.take(DeleteRangeRequest(key=b"b"))
    both.take((TIMES, b"b", 20))
    both.take(DeleteRangeRequest(key=LONG[2], range_end=b"d"))
    both.take(PutRequest(key=b"c"))
    both.take(LeaseRevokeRequest(ID=1))
    both.take((TIMES, b"a", 20))
    assert both.driver.store.pending_tombstones == 3
    return both


def counts_as_if_all_were_held(
    rows: VisibleRows, wanted: Interval, revision: int, behind: bytes, since: bytes, first: bytes, last: bytes | None
) -> Iterator[counting.Counted]:
    found = names_at(rows, first, last, revision)
    yield counting.Counted(sum(pair is not None for _, pair in found), 1)


def without_leases(rows: VisibleRows, revision: int) -> VisibleRows:
    return VisibleRows(rows.rows, tuple(each for each in rows.tombstones if not each.lease), rows.put_since)


BROKEN: dict[str, tuple[Any, str, Any]] = {
    "a long history is one of a key that is there": (history_counts, "last_kind", lambda *_: PUT),
    "a long history is one of a key that is gone": (history_counts, "last_kind", lambda *_: None),
    "a later tombstone hides what was before it": (VisibleRows, "until", without_leases),
    "no tombstone hides anything": (VisibleRows, "until", lambda rows, revision: VisibleRows(rows.rows)),
    "a group that the range cuts in two counts as a whole": (counting, "_held_at", counts_as_if_all_were_held),
}


def test_each_rule_is_seen() -> None:
    everything().check()


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_seen(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    both = everything()
    monkeypatch.setattr(*BROKEN[rule])
    with pytest.raises(AssertionError):
        both.check()


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The events that were fetched, by their keys."""
    events: list[bytes] = []
    get = MemorySpace.get

    def noted(space: MemorySpace, table: str, key: bytes) -> bytes | None:
        if table == EVENTS:
            events.append(key)
        return get(space, table, key)

    monkeypatch.setattr(MemorySpace, "get", noted)
    return events


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The rows of ``history`` that were read, by their keys."""
    changes: list[bytes] = []
    scan = MemorySpace.scan

    def noted(
        space: MemorySpace, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for key, value in scan(space, table, first, last, reverse=reverse):
            if table == HISTORY:
                changes.append(key)
            yield key, value

    monkeypatch.setattr(MemorySpace, "scan", noted)
    return changes


def filled(keys: int, times: int) -> Driver:
    driver = Driver()
    for _ in range(times):
        for number in range(keys):
            driver.put(b"k%04d" % number)
    driver.put(b"other")
    return driver


def counted_at(driver: Driver, revision: int, rows_max: int, **more: Any) -> tuple[RangeResponse, list[int]]:
    request = RangeRequest(key=b"k", range_end=b"l", revision=revision, **more)
    return answered(VisibleRows(driver.space), request, driver.store.revision, rows_max)


@pytest.mark.parametrize(("more", "pairs"), [({"count_only": True}, 0), ({"limit": 1}, 1), ({"limit": 7}, 7)])
@pytest.mark.parametrize(("keys", "times"), [(2_000, 1), (300, 5), (50, 40)])
def test_only_pairs_that_are_answered_are_fetched(
    fetched: list[bytes], keys: int, times: int, more: dict[str, Any], pairs: int
) -> None:
    driver = filled(keys, times)
    fetched.clear()
    response, _ = counted_at(driver, driver.store.revision - 1, 100, **more)
    assert (response.count, len(response.kvs)) == (keys, pairs)
    assert len(fetched) == pairs


@pytest.mark.parametrize(("keys", "times"), [(2_000, 1), (300, 5), (50, 40)])
def test_steps_are_short_and_say_what_they_took(read: list[bytes], keys: int, times: int) -> None:
    driver = filled(keys, times)
    read.clear()
    everything = Interval(b"", None)
    for counted in counting.keys_at(VisibleRows(driver.space), everything, driver.store.revision):
        assert len(read) <= history_counts._CHANGES_A_STEP
        assert len(read) <= history_counts._CHANGES_A_LOOK * counted.work
        assert counted.work <= history_counts._CHANGES_A_STEP // history_counts._CHANGES_A_LOOK + 1
        read.clear()


def test_of_a_long_history_few_changes_are_read(read: list[bytes]) -> None:
    driver = Driver()
    for number in range(4_000):
        driver.put(b"k%d" % (number % 10))
    for revision in (1, 5, 2_000, 4_000):
        read.clear()
        response, _ = counted_at(driver, revision, 100, count_only=True)
        assert response.count == min(revision - 1, 10)
        assert len(read) <= 10 * (history_counts._CHANGES_WALKED_MAX + 1)
