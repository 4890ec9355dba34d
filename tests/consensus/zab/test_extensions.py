"""Extensions change when a leader gives up and when it serves, never what is safe: the same trouble without them."""

from __future__ import annotations

import msgspec
import pytest

from ratified.consensus.contract import Extensions, Limits
from ratified.consensus.engines import ENGINES
from tests.consensus.contract.harness import ELECTION_US, Cluster
from tests.consensus.contract.test_rules import SMALL, trouble

OFF = ["noop_on_election", "step_down_on_slow_disk", "check_quorum"]


@pytest.mark.parametrize("limits", [SMALL, Limits()], ids=["small limits", "default limits"])
@pytest.mark.parametrize("off", [*([each] for each in OFF), OFF], ids=lambda names: "+".join(names))
def test_trouble_without(off: list[str], limits: Limits) -> None:
    extensions = msgspec.structs.replace(Extensions(), **dict.fromkeys(off, False))
    world = Cluster(ENGINES["zab"], 3, seed=len(off), limits=limits, extensions=extensions, turn_inputs_max=3)
    trouble(world, 80)


def test_the_textbook_serves_when_a_quorum_has_acknowledged_newleader() -> None:
    """The acknowledgements of NEWLEADER commit the initial history in the new epoch: no entry of its own is needed."""
    extensions = msgspec.structs.replace(Extensions(), noop_on_election=False)
    world = Cluster(ENGINES["zab"], extensions=extensions)
    first = world.elect(1)
    world.propose(b"a")
    world.run_until_delivered(b"a")
    world.run_for(ELECTION_US)
    second = world.elect(2)
    assert second.running.status().last == first.running.status().last == 1
    second.barrier(1)
    world.run_until(lambda: 1 in second.reads)
    assert second.reads[1] == 1
