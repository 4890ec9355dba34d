"""Rules 11 and 14 of the contract broken, between bare engines: when members stand, and when they do not."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.consensus.raft.engine import Raft
from ratified.consensus.replication.suspicion import Suspicion
from tests.consensus.elections import BrokenConnections, PartialTopologies, StaleCandidates
from tests.mutants.mutant import EngineMutant


def a_later_term_restarts_the_election_timer() -> AbstractContextManager[Any]:
    adopt = Raft._adopt_term

    def adopt_and_restart(raft: Raft, term: int) -> None:
        adopt(raft, term)
        raft._restart_election_timer()

    return patch.object(Raft, "_adopt_term", adopt_and_restart)


def stands_without_asking() -> AbstractContextManager[Any]:
    """A member that suspects its leader waits for no answer to its probe."""
    return patch.object(Suspicion, "has_quorum", lambda suspicion, *verdicts: True)


def asks_once_a_timeout() -> AbstractContextManager[Any]:
    """A member that was granted no candidacy waits for its election deadline until it asks again."""
    return patch.object(
        Suspicion, "_half_heartbeat", property(lambda suspicion: suspicion._member.options.election_timeout_max_us)
    )


def _topologies(engine: str, caught_by: int) -> EngineMutant:
    return EngineMutant(
        "asks once a timeout whether it would be elected",
        asks_once_a_timeout,
        engine,
        caught_by,
        scenario="bare engines, partial topologies",
        network="session",
        world=PartialTopologies,
    )


def _broken_connections(engine: str, caught_by: int) -> EngineMutant:
    return EngineMutant(
        "stands without asking",
        stands_without_asking,
        engine,
        caught_by,
        scenario="bare engines, broken connections",
        network="session",
        world=BrokenConnections,
    )


MUTANTS = [
    *[_broken_connections(engine, seed) for engine, seed in (("raft", 1), ("paxos", 1), ("zab", 12))],
    *[_topologies(engine, seed) for engine, seed in (("raft", 1), ("paxos", 1), ("zab", 11))],
    EngineMutant(
        "a later term restarts the election timer",
        a_later_term_restarts_the_election_timer,
        "raft",
        7,
        scenario="bare engines, stale candidates",
        network="session",
        world=StaleCandidates,
    ),
]
