"""Whose turn it is to be read, where there is more than can be done."""

from __future__ import annotations

import pytest

from ratified.edge.pace import PASS_S, Pace


@pytest.fixture
def pace() -> Pace[str]:
    return Pace()


def reads(
    pace: Pace[str], took_s: float, *, is_light: bool = False, is_crowded: bool = False, now_s: float = 0
) -> None:
    pace.has_read(now_s, took_s, is_light=is_light, is_crowded=is_crowded)


def taken(pace: Pace[str], now_s: float = 0) -> list[str]:
    """Those whose turn it is in one pass, where none takes any time."""
    pace.begin_pass()
    return [each for each in pace.waiting() if pace.take(each, now_s)]


@pytest.mark.parametrize("is_light", [False, True])
def test_a_pass_reads_for_so_long_and_then_waits_for_the_next(pace: Pace[str], is_light: bool) -> None:
    reads(pace, PASS_S / 2)
    assert pace.may_read(0, is_light=is_light)
    reads(pace, PASS_S / 2)
    assert not pace.may_read(0, is_light=is_light)
    pace.wait("a", is_light=is_light)
    assert not pace.take("a", 0)
    pace.begin_pass()
    assert pace.take("a", 0)
    assert pace.waiting() == []


def test_nobody_overtakes_those_that_wait_but_light_ones_do(pace: Pace[str]) -> None:
    pace.wait("heavy", is_light=False)
    assert not pace.may_read(0, is_light=False)
    assert pace.may_read(0, is_light=True)
    pace.wait("light", is_light=True)
    assert not pace.may_read(0, is_light=True)
    pace.wait("last", is_light=False)
    assert taken(pace) == ["light", "heavy", "last"]


def test_while_it_is_crowded_heavy_ones_read_a_tenth_of_the_time(pace: Pace[str]) -> None:
    reads(pace, 0.001, is_crowded=True, now_s=1)
    assert not pace.may_read(1.0089, is_light=False)
    assert pace.may_read(1.0091, is_light=False)
    assert pace.may_read(1, is_light=True)
    pace.wait("heavy", is_light=False)
    assert pace.rests_s(1) == pytest.approx(0.009)
    pace.wait("light", is_light=True)
    assert pace.rests_s(1) == 0
    assert taken(pace, 1) == ["light"]
    assert taken(pace, 1.01) == ["heavy"]
    assert pace.rests_s(1.01) is None


def test_light_ones_read_as_if_it_were_not_crowded(pace: Pace[str]) -> None:
    reads(pace, 0.001, is_light=True, is_crowded=True)
    reads(pace, 0.001, is_crowded=False)
    assert pace.may_read(0, is_light=False)


def test_one_that_changes_waits_once_and_one_that_is_gone_no_more(pace: Pace[str]) -> None:
    pace.wait("a", is_light=False)
    pace.wait("a", is_light=True)
    pace.wait("b", is_light=False)
    assert pace.waiting() == ["a", "b"]
    pace.forget("b")
    assert taken(pace) == ["a"]
