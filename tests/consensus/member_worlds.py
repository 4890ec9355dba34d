"""The hostile world of ``world`` with members that come and go, for tests, mutants and searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.consensus.networks import Datagrams, Sessions
from tests.consensus.world import Network, World

NETWORKS: dict[str, Sequence[Callable[[World], Network]]] = {
    "raft": (Sessions, Datagrams),
    "paxos": (Sessions, Datagrams),
    "zab": (Sessions,),
}
"""ZAB stands on sessions."""


def member_world(engine: str, network: Callable[[World], Network], seed: int) -> World:
    """One to five voters at first, three more members, and a leader that is asked for thirty changes in a thousand
    steps."""
    return World(engine, network, seed, 1 + seed % 5, joiners=3, changes=30, strikes_every=1 + seed % 3)
