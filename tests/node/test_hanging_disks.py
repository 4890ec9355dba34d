"""Disks that answer nothing: what is refused, and what every table holds afterwards."""

from __future__ import annotations

from collections import Counter

import pytest

from ratified.consensus.contract import Limits
from ratified.consensus.engines import ENGINES
from ratified.node.ports import Outcome
from tests.node.cluster import MS, SECOND, Cluster

LIMITS = Limits(uncommitted_bytes_max=200_000)
COMMAND = bytes(100)


@pytest.mark.parametrize("engine", ENGINES)
def test_while_both_followers_disks_hang_proposals_are_refused_beyond_a_bound_and_all_tables_empty(engine: str) -> None:
    cluster = Cluster(engine=engine, engine_limits=LIMITS)
    leader = cluster.elect()
    for member in cluster.members:
        if member != leader:
            cluster.hold_disk(member)
    tokens = []
    for _ in range(40):
        tokens += [cluster.submit(leader, COMMAND, timeout_us=SECOND) for _ in range(100)]
        cluster.run(10 * MS)
    cluster.run(2 * SECOND)
    ends = Counter(cluster.replies[token][-1].outcome for token in tokens)
    assert 100 < ends[Outcome.UNKNOWN] < 1_000, ends
    assert ends[Outcome.REFUSED] == 4_000 - ends[Outcome.UNKNOWN]
    for member in cluster.members:
        cluster.release_disk(member)
    leader = cluster.elect()
    assert cluster.propose(leader, b"after", timeout_us=5 * SECOND).outcome is Outcome.DONE
    cluster.run(SECOND)
    for member in cluster.members:
        node = cluster.node(member)
        replica = node._replicas[0]
        proposals = replica._proposals
        assert len(node._requests) == 0
        assert len(proposals) == 0
        assert sum(len(run) for _, _, run in proposals._taken) == 0
        assert replica.engine.status().commit == replica.engine.status().last
        assert not replica._awaiting_write
        assert not any(origin.held for origin in replica._inbound._origins.values())
        assert all(session.queue.waiting_bytes == 0 for session in node._peers._sessions.values())
        assert len(node._timers._times[-1]) == 0
