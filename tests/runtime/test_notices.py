"""What is said once is not said twice a second."""

from __future__ import annotations

import logging

import pytest

from ratified.runtime.notices import LINES_MAX, REPEAT_AFTER_US, TEXTS_MAX, NoticeLog


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, "ratified.test")
    return caplog


def test_a_notice_is_repeated_only_after_a_while_and_says_how_often_it_came(said: pytest.LogCaptureFixture) -> None:
    notices = NoticeLog(logging.getLogger("ratified.test"), "a")
    for now in range(0, REPEAT_AFTER_US + 1, REPEAT_AFTER_US // 10):
        notices.write(now, "refused")
        notices.write(now, f"another at {now}")
    lines = [each.getMessage() for each in said.records if "refused" in each.getMessage()]
    assert lines == ["a: refused", "a: refused (and 9 times more since it was said last)"]
    assert len(said.records) == 2 + 11


def test_only_so_many_texts_are_remembered(said: pytest.LogCaptureFixture) -> None:
    notices = NoticeLog(logging.getLogger("ratified.test"), "a")
    for number in range(TEXTS_MAX + 1):
        notices.write(number, f"{number}")
    notices.write(TEXTS_MAX + 1, "0")
    notices.write(TEXTS_MAX + 1, f"{TEXTS_MAX}")
    assert [each.getMessage() for each in said.records].count("a: 0") == 2
    assert [each.getMessage() for each in said.records].count(f"a: {TEXTS_MAX}") == 1


def test_a_flood_of_different_texts_is_bounded_and_counted(said: pytest.LogCaptureFixture) -> None:
    notices = NoticeLog(logging.getLogger("ratified.test"), "a")
    for number in range(14_000):
        notices.write(number, f"{number}")
    assert len(said.records) == LINES_MAX
    notices.write(REPEAT_AFTER_US, "later")
    assert said.records[-1].getMessage() == f"a: later ({14_000 - LINES_MAX} other lines were left out before it)"
