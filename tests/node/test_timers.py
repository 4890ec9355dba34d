"""The table of timers."""

from __future__ import annotations

from ratified.node.timers import Timer, Timers


def test_a_timer_expires_once_at_the_time_to_which_it_was_set_last() -> None:
    timers = Timers()
    for key, at in ((1, 10), (2, 20), (3, 10), (4, 20)):
        timers.set(Timer.REQUEST, key, at)
    timers.stop(Timer.REQUEST, 1)
    timers.set(Timer.REQUEST, 3, 30)
    timers.set(Timer.REQUEST, 4, 15)
    assert timers.deadline == 15
    assert timers.expired(25) == [(Timer.REQUEST, 4), (Timer.REQUEST, 2)]
    assert timers.expired(25) == []
    assert timers.deadline == 30
    assert timers.expired(30) == [(Timer.REQUEST, 3)]
    assert timers.deadline is None


def test_one_that_moved_away_and_back_expires_once() -> None:
    timers = Timers()
    for at in (10, 20, None, 10):
        timers.set(Timer.ENGINE, 0, at)
    assert timers.expired(20) == [(Timer.ENGINE, 0)]


def test_timers_of_one_key_are_independent() -> None:
    timers = Timers()
    timers.set(Timer.ENGINE, 5, 10)
    timers.set(Timer.DUTIES, 5, 10)
    timers.set(Timer.ENGINE, 5, None)
    assert timers.expired(10) == [(Timer.DUTIES, 5)]


def test_what_was_stopped_takes_no_room_for_ever() -> None:
    timers = Timers()
    for key in range(10_000):
        timers.set(Timer.REQUEST, key, key)
        timers.stop(Timer.REQUEST, key - 10)
        timers.set(Timer.ENGINE, 0, 1_000_000 + key)
        assert timers.deadline == max(key - 9, 0)
    assert len(timers._heap) < 1000
    assert len(timers.expired(10_000)) == 10
    assert timers.deadline == 1_000_000 + 9_999
