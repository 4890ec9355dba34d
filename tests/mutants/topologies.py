"""Rule 14 of the contract broken: members that see each other only in part get no leader, or one after the other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.consensus.raft.engine import Raft
from ratified.consensus.replication.suspicion import Suspicion
from tests.mutants.mutant import Mutant


def pulls_nothing() -> AbstractContextManager[Any]:
    """Who alone reaches a quorum, and is behind, asks nobody for what is missing."""
    return patch.object(Raft, "_ask_for_entries", lambda raft: None)


def grants_probes_while_a_leader_is_heard() -> AbstractContextManager[Any]:
    return patch.object(Suspicion, "hears", lambda suspicion, leader: False)


MUTANTS = [
    Mutant("pulls nothing", pulls_nothing, "partial-topologies", "session", 69, duration_us=4_000_000),
    Mutant(
        "grants probes while a leader is heard",
        grants_probes_while_a_leader_is_heard,
        "partial-topologies",
        "session",
        2,
    ),
]
