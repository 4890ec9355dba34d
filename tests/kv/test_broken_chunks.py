"""Each rule of how watchers read the events table together, broken in one place: a test of the rule must notice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import pytest

from ratified.kv import names
from ratified.kv.event_chunks import Chunk, EventChunks
from ratified.kv.watch import WatchHub
from tests.kv import test_event_chunks as chunks

Break = AbstractContextManager[Any]
Test = Callable[[], object]


def keeps_the_pair_before_over_a_compaction() -> Break:
    event = Chunk.event

    def as_it_was_looked_up(chunk: Chunk, number: int, with_before: bool) -> bytes:
        kept = chunk._events_with_before[number] if with_before else None
        return kept or event(chunk, number, with_before)

    return patch.object(Chunk, "event", as_it_was_looked_up)


def keeps_the_last_chunk_over_a_new_revision() -> Break:
    """It says that nothing follows, which was true when it was read."""
    return patch.object(EventChunks, "_end_after", lambda chunks, at: names.position(1 << 62, 0))


def reads_past_a_tombstone() -> Break:
    """What the tombstone has not written yet is not there."""
    return patch.object(EventChunks, "_end_after", lambda chunks, at: names.position(chunks._mvcc.revision + 1, 0))


def keeps_what_there_was_in_another_state() -> Break:
    return patch.object(EventChunks, "clear", lambda chunks: None)


def reads_alone() -> Break:
    at = EventChunks.at

    def anew(chunks: EventChunks, position: bytes) -> Chunk | None:
        chunks.clear()
        return at(chunks, position)

    return patch.object(EventChunks, "at", anew)


def reads_on_where_another_chunk_begins() -> Break:
    read = EventChunks._read
    return patch.object(EventChunks, "_read", lambda chunks, start, end: read(chunks, start, chunks._end_after(start)))


def reads_as_much_as_each_watcher_wants() -> Break:
    at = EventChunks.at

    def with_room(chunks: EventChunks, position: bytes) -> Chunk | None:
        chunks._rows_left = chunks._limits.watch_rows_a_turn
        return at(chunks, position)

    return patch.object(EventChunks, "at", with_room)


def lets_nothing_go() -> Break:
    begin_turn = EventChunks.begin_turn

    def keeps_all(chunks: EventChunks, now: int, *, wanted: bool) -> None:
        kept = list(chunks._starts), list(chunks._chunks)
        begin_turn(chunks, now, wanted=wanted)
        chunks._starts, chunks._chunks = kept

    return patch.object(EventChunks, "begin_turn", keeps_all)


def keeps_chunks_for_nobody() -> Break:
    return patch.object(EventChunks, "clear", lambda chunks: None)


def lets_chunks_go_with_the_last_watcher() -> Break:
    begin_turn = EventChunks.begin_turn

    def at_once(chunks: EventChunks, now: int, *, wanted: bool) -> None:
        begin_turn(chunks, now + (0 if wanted else 1 << 40), wanted=wanted)

    return patch.object(EventChunks, "begin_turn", at_once)


def sends_whatever_is_long_at_once() -> Break:
    return patch.object(WatchHub, "takes_response", property(lambda hub: True))


def forgets_how_long_a_response_was() -> Break:
    woken = WatchHub.woken

    def with_all_room(hub: WatchHub, now: int) -> Sequence[Any]:
        hub._response_bytes_left = 0
        return woken(hub, now)

    return patch.object(WatchHub, "woken", with_all_room)


def _one_long_response() -> None:
    chunks.test_a_turn_holds_one_long_response(fragment=False, late=True)


def _each_row_once() -> None:
    chunks.test_each_row_is_read_once_however_many_are_behind(3)


BROKEN: Sequence[tuple[Callable[[], Break], Test]] = [
    (
        keeps_the_pair_before_over_a_compaction,
        chunks.test_a_pair_before_that_was_looked_up_is_not_given_when_it_is_compacted,
    ),
    (keeps_the_last_chunk_over_a_new_revision, chunks.test_what_is_written_after_a_chunk_was_read_is_not_missed),
    (reads_past_a_tombstone, chunks.test_what_a_tombstone_has_still_to_write_is_not_passed_over),
    (keeps_what_there_was_in_another_state, chunks.test_another_state_is_read_anew),
    (reads_alone, _each_row_once),
    (reads_on_where_another_chunk_begins, chunks.test_who_begins_elsewhere_reads_what_the_others_read),
    (reads_as_much_as_each_watcher_wants, chunks.test_a_turn_reads_so_many_rows_whoever_is_behind),
    (lets_nothing_go, chunks.test_what_is_kept_is_bounded_and_goes_a_while_after_nobody_is_behind),
    (keeps_chunks_for_nobody, chunks.test_what_is_kept_is_bounded_and_goes_a_while_after_nobody_is_behind),
    (
        lets_chunks_go_with_the_last_watcher,
        chunks.test_who_comes_when_the_others_have_just_caught_up_reads_nothing_again,
    ),
    (sends_whatever_is_long_at_once, _one_long_response),
    (forgets_how_long_a_response_was, _one_long_response),
]


@pytest.mark.parametrize(("breaks", "test"), BROKEN, ids=[breaks.__name__ for breaks, _ in BROKEN])
def test_it_is_noticed(breaks: Callable[[], Break], test: Test) -> None:
    test()
    with breaks(), pytest.raises((Exception, pytest.fail.Exception)):
        test()
