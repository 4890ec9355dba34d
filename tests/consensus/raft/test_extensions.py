"""Extensions change when things are sent, never what is safe: the same trouble with each of them off, and with all."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import msgspec
import pytest

from ratified.consensus.contract import Extensions, Limits
from ratified.consensus.engines import ENGINES, EngineRow
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.extensions import RaftExtensions
from ratified.consensus.replication.engine import Engine
from tests.consensus.contract.harness import ELECTION_US, Cluster
from tests.consensus.contract.test_rules import SMALL, trouble

OFF = ["pipelining", "conflict_hints", "separate_heartbeats", "step_down_on_slow_disk", "check_quorum"]
OWN = RaftExtensions.__struct_fields__


def without(off: Collection[str]) -> tuple[EngineRow, Extensions]:
    """Raft without these, its own and those that engines share."""
    own = RaftExtensions(**{name: False for name in off if name in OWN})
    row = msgspec.structs.replace(ENGINES["raft"], engine=partial(Engine, partial(Raft, extensions=own)))
    return row, Extensions(**{name: False for name in off if name not in OWN})


@pytest.mark.parametrize("limits", [SMALL, Limits()], ids=["small limits", "default limits"])
@pytest.mark.parametrize("off", [*([each] for each in OFF), OFF], ids=lambda names: "+".join(names))
def test_trouble_without(off: list[str], limits: Limits) -> None:
    row, extensions = without(off)
    world = Cluster(row, 3, seed=len(off), limits=limits, extensions=extensions, turn_inputs_max=3)
    world.loss_percent = 10
    trouble(world, 80)


def test_the_textbook_serves_reads_from_its_first_commit_on() -> None:
    """Without a no-op nothing of the own term is committed until somebody proposes."""
    row, extensions = without([*OFF, "noop_on_election"])
    world = Cluster(row, extensions=extensions)
    world.run_until(lambda: any(member.leads() for member in world.members.values()))
    leader = next(member for member in world.members.values() if member.leads())
    leader.barrier(1)
    world.run_for(3 * ELECTION_US)
    assert 1 not in leader.reads
    leader.propose(b"a")
    world.run_until(lambda: 1 in leader.reads)
    assert leader.reads[1] == 1


def test_members_with_and_without_extensions_understand_one_another() -> None:
    world = Cluster(ENGINES["raft"], 3)
    for member in (1, 2, 3):
        world.crash(member)
        world.row, world.extensions = without(OFF if member == 2 else ())
        world.restart(member)
    for leader in (1, 2, 3):
        world.elect(leader)
        world.propose(b"%d" % leader)
        world.run_until_delivered(b"%d" % leader)
