"""How soon bare engines have a leader, where nothing but the engines themselves is in the way."""

from __future__ import annotations

from ratified.check.violation import Violation
from ratified.consensus.contract import NO_ERA, Base, Extensions, Kind
from ratified.consensus.draws import mix
from ratified.consensus.driver import DurableLog
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import make_entry
from ratified.consensus.raft import state as raft
from tests.consensus.contract.harness import ELECTION_US, Cluster

MEMBERS = 7
ALIVE = (1, 2, 3, 4)
LEADER_TIMEOUTS = 9
"""Shortest election timeouts within which somebody serves: of 400 seeds half needed 2.0, one 6.3. Without rule 11 half
of them need 5.9 (``bench/elections.py --no-suspicion --deadline-restarts``), and many 20."""


class StaleCandidates:
    """Four of seven members, on Raft without probes: one has an entry more than the others, who stood in vain a drawn
    number of times, so that their later terms reach the only one that can win."""

    def __init__(self, engine: str, seed: int) -> None:
        self._cluster = Cluster(ENGINES[engine], MEMBERS, seed=seed, extensions=Extensions(suspicion=False))
        cluster = self._cluster
        cluster.crash(*cluster.members)
        best = ALIVE[mix(seed, 1) % len(ALIVE)]
        for id_ in ALIVE:
            member = cluster.members[id_]
            entries = [make_entry(index, (1, 0), Kind.NOOP, None, b"") for index in range(1, 2 + (id_ == best))]
            terms_since = 0 if id_ == best else mix(seed, 2, id_) % 5
            state = raft.encode_state(raft.HardState(1 + terms_since))
            member.driver.log = DurableLog(Base(0, NO_ERA, cluster.membership), state, entries)

    def run(self, steps: int) -> None:
        """From their start to a leader."""
        cluster = self._cluster
        cluster.restart(*ALIVE)
        began = cluster.now
        cluster.run_for(LEADER_TIMEOUTS * ELECTION_US)
        if cluster.leader() is None:
            raise Violation("election", f"nobody leads after {(cluster.now - began) / ELECTION_US:.1f} timeouts")

    def heal(self) -> None:
        """There is no trouble."""
