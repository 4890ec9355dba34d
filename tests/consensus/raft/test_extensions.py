"""Extensions change when things are sent, never what is safe: the same trouble with each of them off, and with all."""

from __future__ import annotations

import msgspec
import pytest

from ratified.consensus.contract import Extensions, Limits
from ratified.consensus.engines import ENGINES
from tests.consensus.contract.harness import ELECTION_US, Cluster
from tests.consensus.contract.test_rules import SMALL, trouble

OFF = ["pipelining", "conflict_hints", "separate_heartbeats", "step_down_on_slow_disk", "check_quorum"]


@pytest.mark.parametrize("limits", [SMALL, Limits()], ids=["small limits", "default limits"])
@pytest.mark.parametrize("off", [*([each] for each in OFF), OFF], ids=lambda names: "+".join(names))
def test_trouble_without(off: list[str], limits: Limits) -> None:
    extensions = msgspec.structs.replace(Extensions(), **dict.fromkeys(off, False))
    world = Cluster(ENGINES["raft"], 3, seed=len(off), limits=limits, extensions=extensions, turn_inputs_max=3)
    world.loss_percent = 10
    trouble(world, 80)


def test_the_textbook_serves_reads_from_its_first_commit_on() -> None:
    """Without a no-op nothing of the own term is committed until somebody proposes."""
    extensions = msgspec.structs.replace(Extensions(), **dict.fromkeys([*OFF, "noop_on_election"], False))
    world = Cluster(ENGINES["raft"], extensions=extensions)
    world.run_until(lambda: any(member.leads() for member in world.members.values()))
    leader = next(member for member in world.members.values() if member.leads())
    leader.barrier(1)
    world.run_for(3 * ELECTION_US)
    assert 1 not in leader.reads
    leader.propose(b"a")
    world.run_until(lambda: 1 in leader.reads)
    assert leader.reads[1] == 1


def test_members_with_and_without_extensions_understand_one_another() -> None:
    world = Cluster(ENGINES["raft"], 3, extensions=Extensions())
    plain = msgspec.structs.replace(Extensions(), **dict.fromkeys(OFF, False))
    for member in (1, 2, 3):
        world.crash(member)
        world.extensions = plain if member == 2 else Extensions()
        world.restart(member)
    for leader in (1, 2, 3):
        world.elect(leader)
        world.propose(b"%d" % leader)
        world.run_until_delivered(b"%d" % leader)
