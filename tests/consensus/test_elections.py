"""Elections that only the engines themselves could delay, or begin (rules 11 and 14 of the contract)."""

import pytest

from tests.consensus.contract.harness import PROBING
from tests.consensus.elections import BrokenConnections, StaleCandidates


@pytest.mark.parametrize("seed", range(1, 31))
def test_stale_candidates_do_not_keep_the_only_member_that_can_win_from_standing(seed: int) -> None:
    StaleCandidates("raft", seed).run(0)


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("engine", PROBING)
def test_a_leader_that_a_quorum_hears_stays_whatever_connections_break(engine: str, seed: int) -> None:
    BrokenConnections(engine, seed).run(0)
