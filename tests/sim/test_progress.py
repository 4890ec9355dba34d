"""The check of progress under faults is fed by whole worlds: it finds a cluster that stands still before it heals."""

from __future__ import annotations

from unittest.mock import patch

from ratified.consensus.raft.engine import Raft
from ratified.sim.arguments import Arguments
from ratified.sim.simulation import simulate


def test_a_cluster_that_elects_nobody_any_more_is_found_while_faults_last() -> None:
    right = Raft._stand

    def stand(raft: Raft, term: int) -> None:
        if raft.core.log.commit < 3:
            right(raft, term)

    broken = []
    for seed in range(1, 9):
        with patch.object(Raft, "_stand", stand):
            report = simulate(Arguments(seed=seed, scenario="strangers", duration_us=6_000_000))
        broken += [] if report.broken is None else [report.broken[0]]
    assert "progress" in broken, broken
