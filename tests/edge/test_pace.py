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
    return list(pace.turns(lambda: now_s))


@pytest.mark.parametrize("is_light", [False, True])
def test_a_pass_reads_for_so_long_and_then_waits_for_the_next(pace: Pace[str], is_light: bool) -> None:
    reads(pace, PASS_S / 2)
    assert pace.may_read(0, is_light=is_light)
    reads(pace, PASS_S / 2)
    assert not pace.may_read(0, is_light=is_light)
    pace.wait("a", is_light=is_light)
    assert taken(pace) == ["a"]
    assert taken(pace) == []
    reads(pace, PASS_S)
    pace.end_pass()
    assert pace.may_read(0, is_light=is_light)


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


def test_those_for_whom_a_pass_has_no_time_wait_for_the_next(pace: Pace[str]) -> None:
    for each in ("a", "b", "c"):
        pace.wait(each, is_light=True)
    turns = pace.turns(lambda: 0)
    assert next(turns) == "a"
    reads(pace, PASS_S, is_light=True)
    assert list(turns) == []
    assert taken(pace) == ["b", "c"]


@pytest.mark.parametrize("is_crowded", [False, True])
def test_heavy_ones_have_their_turns_however_many_light_ones_there_are(pace: Pace[str], is_crowded: bool) -> None:
    light = [f"light {number}" for number in range(200)]
    for each in light:
        pace.wait(each, is_light=True)
    pace.wait("heavy", is_light=False)
    now_s, heavy_at = 0.0, []

    def clock() -> float:
        return now_s

    for number in range(100):
        for each in pace.turns(clock):
            is_light = each != "heavy"
            now_s += 0.00005
            pace.has_read(now_s, 0.00005, is_light=is_light, is_crowded=is_crowded)
            pace.wait(each, is_light=is_light)
            heavy_at += [] if is_light else [number]
    assert len(set(heavy_at)) == 10


def test_one_that_changes_waits_once_and_one_that_is_gone_no_more(pace: Pace[str]) -> None:
    for each in ("a", "b", "c"):
        pace.wait(each, is_light=False)
    pace.reclassify("c", is_light=True)
    pace.reclassify("a", is_light=False)
    pace.reclassify("d", is_light=True)
    pace.forget("b")
    assert taken(pace) == ["c", "a"]
