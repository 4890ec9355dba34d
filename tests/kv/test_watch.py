"""Watches: every revision once, in order, whole; never more work than there are watchers concerned."""

from __future__ import annotations

from functools import partial

import pytest

from ratified.kv import queries
from ratified.kv.limits import KvLimits
from ratified.kv.watch import ProgressRequest
from ratified.wire.etcd.kv_pb2 import Event
from ratified.wire.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    PutRequest,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    WatchCreateRequest,
    WatchResponse,
)
from tests.kv.driver import PLENTY, Driver, Watch, decode
from tests.steps import steps

EVERYTHING = WatchCreateRequest(key=b"\x00", range_end=b"\x00")


def test_a_watch_from_now_begins_with_the_next_revision() -> None:
    driver = Driver()
    driver.put(b"k", b"before")
    watch = driver.watch(WatchCreateRequest(key=b"k"))
    driver.put(b"k", b"after")
    driver.put(b"other", b"")
    driver.delete(b"k")
    driver.turn()
    created = watch.responses[0]
    assert (created.created, len(created.events)) == (True, 0)
    assert watch.events == [(3, b"k", b"after"), (5, b"k", None)]


def test_what_is_put_between_the_question_and_the_first_answer_is_not_missed() -> None:
    driver = Driver()
    watch = driver.watch(EVERYTHING)
    driver.put(b"k", b"v")
    driver.turn()
    assert watch.events == [(2, b"k", b"v")]
    created, sent = (response.header.revision for response in watch.responses)
    assert (created, sent) == (1, 2), "whoever goes on from a header's revision has seen everything up to it"


def test_a_watch_from_a_revision_reads_history_in_slices_and_then_goes_on() -> None:
    driver = Driver()
    for number in range(10):
        driver.put(b"k", b"%d" % number)
    watch = driver.watch(WatchCreateRequest(key=b"k", start_revision=4))
    watch.advance(0, 3, 1 << 20)
    watch.advance(0, 3, 1 << 20)
    assert [revision for revision, _, _ in watch.events] == [4, 5, 6]
    assert watch.wants_to_advance() == 0
    assert watch.responses[-1].header.revision == 6
    driver.put(b"k", b"new")
    driver.turn(rows_max=3)
    assert [revision for revision, _, _ in watch.events] == list(range(4, 13))
    assert watch.wants_to_advance() is None
    driver.put(b"k", b"newer")
    driver.turn()
    assert watch.events[-1] == (13, b"k", b"newer")


def test_a_watch_from_a_future_revision_waits_for_it() -> None:
    driver = Driver()
    watch = driver.watch(WatchCreateRequest(key=b"k", start_revision=4))
    for value in (b"2", b"3", b"4"):
        driver.put(b"k", value)
    driver.turn()
    assert watch.events == [(4, b"k", b"4")]


@pytest.mark.parametrize("start", [0, 2])
@pytest.mark.parametrize("rows_max", [1, 100])
def test_all_events_of_a_revision_are_in_one_response(start: int, rows_max: int) -> None:
    driver = Driver()
    watch = driver.watch(WatchCreateRequest(key=b"k", range_end=b"l", start_revision=start))
    puts = [RequestOp(request_put=PutRequest(key=b"k%d" % number)) for number in range(50)]
    driver.txn(TxnRequest(success=puts))
    if start:
        watch = driver.watch(WatchCreateRequest(key=b"k", range_end=b"l", start_revision=start))
    driver.delete(b"k", b"l")
    driver.turn(rows_max=rows_max)
    sizes = [len(response.events) for response in watch.responses if response.events]
    assert sizes == ([50, 50] if rows_max == 1 else [100])
    assert [revision for revision, _, _ in watch.events] == [2] * 50 + [3] * 50


def test_filters_keep_kinds_of_events_back() -> None:
    driver = Driver()
    filters = [WatchCreateRequest.NOPUT, WatchCreateRequest.NODELETE]
    fresh = [driver.watch(WatchCreateRequest(key=b"k", filters=[one])) for one in filters]
    driver.put(b"k", b"v")
    driver.delete(b"k")
    old = [driver.watch(WatchCreateRequest(key=b"k", filters=[one], start_revision=2)) for one in filters]
    driver.turn()
    for no_put, no_delete in (fresh, old):
        assert no_put.events == [(3, b"k", None)]
        assert no_delete.events == [(2, b"k", b"v")]


def test_previous_pairs_come_where_asked_for_and_not_compacted() -> None:
    driver = Driver()
    fresh = driver.watch(WatchCreateRequest(key=b"k", prev_kv=True))
    driver.put(b"k", b"1")
    driver.put(b"k", b"2")
    driver.delete(b"k")
    old = driver.watch(WatchCreateRequest(key=b"k", prev_kv=True, start_revision=2))
    without = driver.watch(WatchCreateRequest(key=b"k", start_revision=2))
    driver.turn()
    for watch in (fresh, old):
        events = [event for response in watch.responses for event in response.events]
        assert [event.HasField("prev_kv") for event in events] == [False, True, True]
        assert [event.prev_kv.value for event in events] == [b"", b"1", b"2"]
    assert not any(event.HasField("prev_kv") for response in without.responses for event in response.events)
    driver.compact(3)
    late = driver.watch(WatchCreateRequest(key=b"k", prev_kv=True, start_revision=3))
    driver.turn()
    events = [event for response in late.responses for event in response.events]
    assert [(event.kv.mod_revision, event.prev_kv.value) for event in events] == [(3, b""), (4, b"2")]


def test_a_compacted_start_is_cancelled_with_the_revision_to_begin_again_from() -> None:
    driver = Driver()
    for number in range(5):
        driver.put(b"k", b"%d" % number)
    driver.compact(4)
    watch = driver.watch(WatchCreateRequest(key=b"k", start_revision=3))
    driver.turn()
    created, cancelled = watch.responses
    assert created.created
    assert (cancelled.canceled, cancelled.compact_revision, watch.finished) == (True, 4, True)
    again = driver.watch(WatchCreateRequest(key=b"k", start_revision=cancelled.compact_revision))
    driver.turn()
    assert [revision for revision, _, _ in again.events] == [4, 5, 6]


def test_what_happened_at_the_compacted_revision_itself_can_be_watched_even_a_deletion() -> None:
    driver = Driver(limits=KvLimits(removal_events_at_once=1000))
    driver.put(b"k", b"v")
    driver.delete(b"k")
    driver.compact(3)
    driver.put(b"other")
    watch = driver.watch(WatchCreateRequest(key=b"k", start_revision=3))
    driver.turn()
    assert watch.events == [(3, b"k", None)]


def test_a_watcher_that_was_not_compacted_away_in_time_loses_nothing_that_it_was_handed() -> None:
    driver = Driver()
    watch = driver.watch(WatchCreateRequest(key=b"k"))
    driver.turn()
    driver.put(b"k", b"1")
    driver.put(b"k", b"2")
    driver.compact(3)
    driver.turn()
    assert [revision for revision, _, _ in watch.events] == [2, 3]


@pytest.mark.parametrize("start", [0, 3], ids=["live", "from the table"])
def test_the_pair_before_is_that_before_the_revision_whatever_a_transaction_did_in_between(start: int) -> None:
    driver = Driver()
    driver.put(b"k", b"old")
    watch = driver.watch(WatchCreateRequest(key=b"k", range_end=b"l", prev_kv=True, start_revision=start))
    driver.turn()
    puts = [RequestOp(request_put=PutRequest(key=key, value=b"in between")) for key in (b"k", b"k new")]
    gone = RequestOp(request_delete_range=DeleteRangeRequest(key=b"k", range_end=b"l"))
    nested = [RequestOp(request_txn=TxnRequest(success=operations)) for operations in (puts, [gone])]
    driver.do(TxnRequest(success=nested))
    driver.turn()
    events = [event for response in watch.responses for event in response.events]
    assert [(event.type, event.kv.key, event.prev_kv.value) for event in events] == [
        (Event.PUT, b"k", b"old"),
        (Event.PUT, b"k new", b""),
        (Event.DELETE, b"k", b"old"),
        (Event.DELETE, b"k new", b""),
    ]
    assert [event.HasField("prev_kv") for event in events] == [True, False, True, False]


def test_nothing_is_before_what_the_same_transaction_deletes_and_puts() -> None:
    driver = Driver()
    driver.put(b"k", b"old")
    everything = RequestOp(request_delete_range=DeleteRangeRequest(key=b"k", range_end=b"\x00"))
    watches = [driver.watch(WatchCreateRequest(key=b"k", prev_kv=True))]
    driver.turn()
    driver.do(TxnRequest(success=[everything, RequestOp(request_put=PutRequest(key=b"k", value=b"new"))]))
    watches.append(driver.watch(WatchCreateRequest(key=b"k", prev_kv=True, start_revision=3)))
    driver.turn()
    driver.turn()
    for watch in watches:
        events = [event for response in watch.responses for event in response.events]
        assert [(event.type, event.HasField("prev_kv")) for event in events] == [
            (Event.DELETE, True),
            (Event.PUT, False),
        ]


@pytest.mark.parametrize("start", [-2, -50])
def test_a_watch_from_a_negative_revision_is_one_from_a_compacted_one(start: int) -> None:
    driver = Driver()
    watch = driver.watch(WatchCreateRequest(key=b"b", start_revision=start))
    driver.turn()
    driver.turn()
    created, canceled = watch.responses
    assert created == WatchResponse(header=ResponseHeader(revision=1), created=True)
    assert canceled == WatchResponse(header=ResponseHeader(), canceled=True, compact_revision=-1)
    assert watch.finished


def test_a_watch_from_revision_minus_one_begins_now_while_nothing_was_compacted() -> None:
    driver = Driver()
    driver.put(b"b")
    watch = driver.watch(WatchCreateRequest(key=b"b", start_revision=-1))
    driver.turn()
    driver.put(b"b", b"now")
    driver.turn()
    assert watch.events == [(3, b"b", b"now")]


@pytest.mark.parametrize(
    "limits", [KvLimits(watch_pending_events_max=3), KvLimits(watch_pending_bytes_max=50)], ids=["events", "bytes"]
)
def test_a_watcher_that_falls_behind_goes_back_to_the_table_and_misses_nothing(limits: KvLimits) -> None:
    driver = Driver(limits=limits)
    watch = driver.watch(EVERYTHING)
    driver.turn()
    for number in range(20):
        driver.put(b"k%d" % number)
    assert watch.wants_to_advance() == 0
    driver.turn(rows_max=4)
    assert [revision for revision, _, _ in watch.events] == list(range(2, 22))


def test_only_the_watchers_concerned_are_woken_each_once_in_order() -> None:
    driver = Driver()
    prefix = driver.watch(WatchCreateRequest(key=b"a", range_end=b"b"))
    key = driver.watch(WatchCreateRequest(key=b"a1"))
    others = [driver.watch(WatchCreateRequest(key=b"x%d" % number, range_end=b"y")) for number in range(5)]
    driver.turn()
    driver.put(b"a2")
    driver.put(b"a1")
    driver.put(b"a1")
    woken = driver.store.woken(0)
    assert [id(one) for one in woken] == [id(prefix.continuation), id(key.continuation)]
    assert driver.store.woken(0) == ()
    assert all(other.wants_to_advance() is None for other in others)


def test_a_cancelled_watch_is_forgotten() -> None:
    driver = Driver()
    watch = driver.watch(EVERYTHING)
    driver.turn()
    driver.put(b"k")
    watch.continuation.cancel()
    assert driver.store.woken(0) == ()
    assert watch.wants_to_advance() is None
    driver.put(b"k")
    assert driver.store.woken(0) == ()
    assert watch.continuation.advance(0, 10, 1000).finished


def test_a_quiet_watcher_is_told_how_far_it_has_come() -> None:
    driver = Driver(limits=KvLimits(watch_progress_us=1000))
    watch = driver.watch(WatchCreateRequest(key=b"k", progress_notify=True))
    silent = driver.watch(WatchCreateRequest(key=b"k"))
    driver.turn(now=0)
    driver.put(b"other")
    driver.turn(now=999)
    assert len(watch.responses) == 1
    assert watch.wants_to_advance() == 1000
    driver.turn(now=1000)
    notice = watch.responses[-1]
    assert (notice.header.revision, len(notice.events), notice.created) == (2, 0, False)
    driver.put(b"k")
    driver.turn(now=1500)
    assert watch.wants_to_advance() == 2500
    driver.turn(now=9000)
    assert len(watch.responses) == 4
    assert len(silent.responses) == 2


def ask_progress(driver: Driver, stream: int) -> Watch:
    answer = driver.store.read(0, queries.progress(stream))
    assert isinstance(answer, ProgressRequest)
    asked = Watch(answer)
    driver.watches.append(asked)
    return asked


def test_progress_on_request_waits_until_all_watches_of_the_stream_have_caught_up() -> None:
    driver = Driver()
    for _ in range(4):
        driver.put(b"k")
    behind = driver.watch(WatchCreateRequest(key=b"k", start_revision=2), stream=7)
    asked = ask_progress(driver, 7)
    elsewhere = ask_progress(driver, 8)
    elsewhere.advance(0, 1, 1)
    assert elsewhere.finished
    while not asked.finished:
        asked.advance(0, 1, 1)
        behind.advance(0, 1, 1)
    assert [revision for revision, _, _ in behind.events] == [2, 3, 4, 5]
    (answer,) = asked.responses
    assert (answer.header.revision, answer.watch_id) == (5, -1)


def test_progress_does_not_overtake_an_event_that_was_handed_over_but_not_sent() -> None:
    driver = Driver()
    watch = driver.watch(WatchCreateRequest(key=b"k"), stream=7)
    driver.turn()
    driver.put(b"k")
    asked = ask_progress(driver, 7)
    asked.advance(0, 10, 1000)
    assert asked.responses == []
    driver.turn()
    assert asked.finished
    assert watch.events == [(2, b"k", b"")]


def test_a_question_is_left_alone_until_its_stream_has_sent_everything() -> None:
    """A reader that takes nothing holds its watches; the question must not be asked again and again meanwhile."""
    driver = Driver()
    driver.put(b"k")
    behind = driver.watch(WatchCreateRequest(key=b"k", start_revision=2), stream=7)
    question = driver.store.read(0, queries.progress(7))
    assert isinstance(question, ProgressRequest)
    assert question.deadline is None
    assert question not in driver.store.woken(0)
    while len(behind.events) < 1:
        behind.advance(0, 1, 1)
    assert list(driver.store.woken(0)) == [question]
    assert question.advance(0, 1, 1).finished


def test_a_watch_that_is_cancelled_holds_up_no_progress() -> None:
    driver = Driver()
    driver.put(b"k")
    behind = driver.watch(WatchCreateRequest(key=b"k", start_revision=2), stream=7)
    current = driver.watch(WatchCreateRequest(key=b"other"), stream=7)
    current.advance(0, 1, 1)
    question = driver.store.read(0, queries.progress(7))
    assert isinstance(question, ProgressRequest)
    assert question not in driver.store.woken(0)
    behind.continuation.cancel()
    assert list(driver.store.woken(0)) == [question]
    assert question.advance(0, 1, 1).finished


def test_a_revoked_lease_is_one_revision_for_a_watcher() -> None:
    driver = Driver()
    driver.grant(5, 60)
    for key in (b"b", b"a", b"c"):
        driver.put(key, lease=5)
    watch = driver.watch(EVERYTHING)
    driver.revoke(5)
    driver.turn()
    assert watch.events == [(5, b"a", None), (5, b"b", None), (5, b"c", None)]


def test_a_response_without_events_is_never_sent_while_catching_up() -> None:
    driver = Driver()
    for _ in range(50):
        driver.put(b"other")
    watch = driver.watch(WatchCreateRequest(key=b"k", start_revision=2))
    driver.turn(rows_max=1)
    assert len(watch.responses) == 1
    driver.do(DeleteRangeRequest(key=b"k"))
    driver.turn()
    assert len(watch.responses) == 1


def test_events_that_watchers_share_are_encoded_for_each_as_it_asked() -> None:
    driver = Driver()
    driver.put(b"k", b"0")
    plain = driver.watch(WatchCreateRequest(key=b"k"))
    with_previous = driver.watch(WatchCreateRequest(key=b"k", range_end=b"l", prev_kv=True))
    driver.turn()
    driver.put(b"k", b"1")
    chunks = [one.advance(0, 10, 1000).chunks[0] for one in driver.store.woken(0)]
    first, second = (decode(WatchResponse, chunk).events[0] for chunk in chunks)
    assert (first.kv.value, first.HasField("prev_kv")) == (b"1", False)
    assert (second.kv.value, second.prev_kv.value) == (b"1", b"0")
    assert plain is not with_previous


@pytest.mark.parametrize("start", [0, 2])
def test_a_client_that_asks_for_fragments_gets_a_large_revision_in_parts(start: int) -> None:
    driver = Driver(limits=KvLimits(watch_fragment_bytes_max=250))
    request = WatchCreateRequest(key=b"k", range_end=b"l", start_revision=start, fragment=True)
    watch = driver.watch(request)
    for number in range(5):
        driver.put(b"k%d" % number, b"x" * 80)
    if start:
        watch = driver.watch(request)
    watch.responses.clear()
    driver.txn(
        TxnRequest(success=[RequestOp(request_put=PutRequest(key=b"k%d" % n, value=b"y" * 80)) for n in range(5)])
    )
    driver.turn()
    large = [response for response in watch.responses if any(e.kv.mod_revision == 7 for e in response.events)]
    assert len(large) >= 3
    assert [response.fragment for response in large] == [True] * (len(large) - 1) + [False]
    assert all(response.ByteSize() < 300 for response in large)
    assert [key for revision, key, _ in watch.events if revision == 7] == [b"k%d" % n for n in range(5)]


@pytest.mark.parametrize("streams", [1, 50], ids=["one stream", "many streams"])
def test_requests_for_progress_that_wait_cost_a_turn_nothing(streams: int) -> None:
    taken = []
    for waiting in (50, 1000):
        driver = Driver()
        watches = [driver.watch(EVERYTHING, stream) for stream in range(streams)]
        driver.turn()
        driver.put(b"k")
        driver.store.woken(0)
        asked = [ask_progress(driver, number % streams) for number in range(waiting)]
        taken.append(steps(partial(driver.store.woken, 0)))
        for watch in watches:
            watch.advance(0, PLENTY, PLENTY)
        assert len(driver.store.woken(0)) == waiting
        for each in asked:
            each.advance(0, PLENTY, PLENTY)
            assert each.finished
    assert taken[0] == taken[1]


@pytest.mark.parametrize("compacted", [False, True])
def test_a_long_revision_is_read_in_slices_and_sent_as_one(compacted: bool) -> None:
    driver = Driver()
    for number in range(10):
        driver.put(b"k%d" % number)
    driver.put(b"last before")
    driver.delete(b"k", b"l")
    driver.put(b"first after")
    watch = driver.watch(WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=11))
    watch.advance(0, 3, 1 << 20)
    for _ in range(3):
        watch.advance(0, 3, 1 << 20)
        assert [revision for revision, _, _ in watch.events] == [11, 12], "all of a revision, or nothing"
    if compacted:
        driver.compact(13)
        driver.apply([])
    driver.turn(rows_max=3)
    assert watch.events[2:] == [(13, b"k%d" % number, None) for number in range(10)] + [(14, b"first after", b"")]
    assert [len(response.events) for response in watch.responses] == [0, 2, 10, 1]
    assert [response.header.revision for response in watch.responses] == [14, 12, 13, 14]


def test_a_revision_that_is_compacted_while_it_is_read_is_not_sent_in_part() -> None:
    driver = Driver()
    for number in range(5):
        driver.put(b"k%d" % number)
    driver.delete(b"k", b"l")
    driver.put(b"after")
    watch = driver.watch(WatchCreateRequest(key=b"\x00", range_end=b"\x00", start_revision=7))
    for _ in range(3):
        watch.advance(0, 2, 1 << 20)
    driver.compact(8)
    driver.turn(rows_max=2)
    assert watch.finished
    assert watch.events == []
    assert watch.responses[-1].compact_revision == 8
