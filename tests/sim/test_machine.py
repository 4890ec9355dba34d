"""A simulated machine's store: where a commit kills, and what a lost machine leaves."""

import pytest

from ratified.sim.machine import CommitKill, KillableEnvironment, Killed
from ratified.sim.world import Concern, Draws
from ratified.storage.memory import MemoryEnvironment


def kept(where: CommitKill | None) -> bytes | None:
    rows = MemoryEnvironment()
    environment = KillableEnvironment(rows)
    environment.kill = where
    space = environment.space(1)
    try:
        with environment.transaction():
            space.put("t", b"k", b"v")
    except Killed:
        rows.abandon()
    return rows.space(1).get("t", b"k")


def test_a_kill_before_the_commit_keeps_nothing_and_behind_it_everything() -> None:
    assert kept(CommitKill.BEFORE) is None
    assert kept(CommitKill.AFTER) == b"v"
    assert kept(None) == b"v"


def test_being_killed_is_no_error_that_code_could_handle() -> None:
    assert not issubclass(Killed, Exception)
    environment = KillableEnvironment(MemoryEnvironment())
    environment.kill = CommitKill.BEFORE
    with pytest.raises(Killed), environment.transaction():
        pass


def test_a_lost_machine_leaves_a_store_with_rows_missing() -> None:
    rows = MemoryEnvironment()
    with rows.transaction():
        for number in range(50):
            rows.space(1).put("t", b"%d" % number, b"v")
    lost = 0
    for seed in range(10):
        rows.scramble(Draws(seed, Concern.MACHINE_LOSS).below)
        left = len(list(rows.space(1).scan("t", b"", None)))
        lost += 50 - left
    assert lost > 0
