"""Elections that only the engines themselves could delay (rule 11 of the contract)."""

import pytest

from tests.consensus.elections import StaleCandidates


@pytest.mark.parametrize("seed", range(1, 31))
def test_stale_candidates_do_not_keep_the_only_member_that_can_win_from_standing(seed: int) -> None:
    StaleCandidates("raft", seed).run(0)
