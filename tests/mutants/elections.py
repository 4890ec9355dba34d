"""Rule 11 of the contract broken: what keeps the only member that can win from standing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.consensus.raft.engine import Raft
from tests.consensus.elections import StaleCandidates
from tests.mutants.mutant import EngineMutant


def a_later_term_restarts_the_election_timer() -> AbstractContextManager[Any]:
    adopt = Raft._adopt_term

    def adopt_and_restart(raft: Raft, term: int) -> None:
        adopt(raft, term)
        raft._restart_election_timer()

    return patch.object(Raft, "_adopt_term", adopt_and_restart)


MUTANTS = [
    EngineMutant(
        "a later term restarts the election timer",
        a_later_term_restarts_the_election_timer,
        "raft",
        7,
        scenario="bare engines, stale candidates",
        network="session",
        world=StaleCandidates,
    )
]
