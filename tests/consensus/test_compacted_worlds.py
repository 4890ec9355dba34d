"""Logs that are cut in a hostile world: up to the lowest checkpoint of all members nothing is missed.

Every world of ``world.World`` takes checkpoints and cuts; here each rule of that is broken, and the worlds show it.
What is cut beyond a member's checkpoint comes to it by a snapshot: ``test_snapshot_worlds``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.check.violation import Violation
from ratified.consensus.engines import ENGINES
from ratified.consensus.paxos.progress import PeerProgress as PaxosProgress
from ratified.consensus.raft.progress import PeerProgress as RaftProgress
from ratified.consensus.replication.journal import Journal
from tests.consensus.networks import Sessions
from tests.consensus.world import Member, World

SEEDS = 40


def caught(engine: str, seeds: int = SEEDS) -> int | None:
    """The first seed whose world shows what is broken; None: none does."""
    for seed in range(seeds):
        world = World(engine, Sessions, seed)
        try:
            world.run(1500)
            world.heal()
        except (AssertionError, Violation, StopIteration, KeyError):
            return seed
    return None


def cut_at(chosen: Callable[[World, Member], tuple[int, tuple[int, int]]]) -> Callable[[World, Member], None]:
    def compact(world: World, member: Member) -> None:
        index, era = chosen(world, member)
        if member.driver.up and index > member.driver.log.base.index:
            member.driver.feed(lambda engine, now: engine.compacted(now, index, era))

    return compact


@pytest.mark.parametrize("engine", ENGINES)
def test_worlds_take_checkpoints_and_cut(engine: str) -> None:
    world = World(engine, Sessions, 3)
    world.run(2500)
    world.heal()
    assert world.counts["checkpoints"] > 5
    assert world.counts["compactions"] > 5
    assert all(member.driver.log.base.index for member in world.members.values())


@pytest.mark.parametrize("engine", ENGINES)
def test_cutting_above_the_checkpoint_is_caught(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is applied everywhere is not enough: a store that is discarded is then older than its log."""

    def applied_by_all(world: World, member: Member) -> tuple[int, tuple[int, int]]:
        return min(each.driver.delivered for each in world.members.values())

    monkeypatch.setattr("tests.consensus.world.CHECKPOINTS", range(20, 23))
    monkeypatch.setattr(World, "_compact", cut_at(applied_by_all))
    assert caught(engine) is not None


@pytest.mark.parametrize("engine", ["raft", "zab"])
def test_a_base_that_is_not_written_is_caught(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "compact", lambda journal, base: journal.history.compact(base))
    world = World(engine, Sessions, 3)
    world.run(2500)
    assert world.counts["compactions"]
    assert not any(member.driver.log.base.index for member in world.members.values())


def test_a_leader_of_raft_that_sends_from_below_its_base_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RaftProgress, "compacted", lambda progress, base: None)
    assert caught("raft", 100) is not None


def test_a_leader_of_paxos_that_sends_again_what_is_gone_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PaxosProgress, "skip_to", lambda progress, slot: None)
    assert caught("paxos", 100) is not None
