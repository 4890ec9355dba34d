"""Messages and bytes in flight to one peer (rule 10)."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Kind, Limits
from ratified.consensus.entry import ENTRY_HEADER_BYTES, make_entry
from ratified.consensus.replication.window import Window, fitting


def test_a_window_is_full_of_messages_or_of_bytes_and_one_always_may_be_sent() -> None:
    window = Window(Limits(inflight_messages_max=3, inflight_bytes_max=100))
    window.sent(1, 1, 40)
    window.sent(2, 2, 40)
    assert window.has_room()
    window.sent(3, 3, 1)
    assert not window.has_room(), "three messages"
    window.acknowledged(2)
    assert window.has_room()
    window.sent(4, 9, 99)
    assert not window.has_room(), "a hundred bytes"
    window.acknowledged(9)
    assert window.has_room()

    tiny = Window(Limits(inflight_messages_max=0, inflight_bytes_max=0))
    assert tiny.has_room()
    tiny.sent(1, 1, 1)
    assert not tiny.has_room()


def test_an_acknowledgement_of_a_part_of_a_message_frees_nothing() -> None:
    window = Window(Limits(inflight_messages_max=1))
    window.sent(1, 4, 10)
    window.acknowledged(3)
    assert not window.has_room()


def test_a_window_that_begins_with_one_message_doubles_with_each_round_trip_and_in_each_session() -> None:
    window = Window(Limits(inflight_messages_max=7), messages_first=1)
    sent = 0
    for expected in (1, 2, 4, 7, 7):
        first = sent + 1
        while window.has_room():
            sent += 1
            window.sent(sent, sent, 1)
        assert sent + 1 - first == expected
        window.acknowledged(sent)
    window.clear()
    window.sent(1, 1, 1)
    assert not window.has_room()


def test_an_answer_shows_what_was_sent_before_it_and_lost() -> None:
    window = Window(Limits(inflight_messages_max=3, inflight_bytes_max=100))
    for first in (1, 3, 5):
        window.sent(first, first + 1, 33)
    assert window.answered(5, 6) == [(1, 2), (3, 4)]
    window.sent(7, 7, 99)
    assert window.has_room(), "the bytes of what was lost are free"
    assert window.answered(20, 30) == []


def test_the_oldest_message_is_overdue_by_the_heartbeat_after_which_it_was_sent() -> None:
    window = Window(Limits(inflight_messages_max=2))
    window.sent(1, 2, 10, beat=4)
    window.sent(3, 3, 10, beat=5)
    assert window.overdue(4) is None
    assert window.overdue(5) == (1, 2)
    assert window.overdue(5) is None
    window.clear()
    assert window.overdue(9) is None


def test_what_is_not_in_flight_any_more_takes_no_room() -> None:
    for gone in (
        lambda window: window.clear(),
        lambda window: window.acknowledged(4),
        lambda window: window.answered(3, 4),
        lambda window: [window.overdue(9), window.overdue(9)],
    ):
        window = Window(Limits(inflight_messages_max=3, bytes_per_message_max=100, inflight_bytes_max=100))
        for _ in range(3):
            window.sent(1, 2, 60)
            assert window.has_room()
            window.sent(3, 4, 50)
            assert not window.has_room()
            gone(window)
            window.sent(5, 5, 99)
            assert window.has_room()
            window.clear()


@pytest.mark.parametrize(
    ("limits", "count"),
    [
        (Limits(), 5),
        (Limits(entries_per_message_max=2), 2),
        (Limits(entries_per_message_max=0), 1),
        (Limits(bytes_per_message_max=3 * ENTRY_HEADER_BYTES), 3),
        (Limits(bytes_per_message_max=1), 1),
    ],
)
def test_a_message_holds_what_fits_and_one_entry_at_the_least(limits: Limits, count: int) -> None:
    entries = [make_entry(index, (1, 0), Kind.COMMAND, None, b"") for index in range(1, 6)]
    assert fitting(entries, limits) == (entries[:count], count * ENTRY_HEADER_BYTES)
