"""How soon bare engines have a leader, and for how long, where nothing but the engines themselves is in the way."""

from __future__ import annotations

from itertools import combinations

from ratified.check.violation import Violation
from ratified.consensus.contract import NO_ERA, Base, Era, Extensions, Kind
from ratified.consensus.draws import mix
from ratified.consensus.driver import DurableLog
from ratified.consensus.engines import ENGINES
from ratified.consensus.entry import make_entry
from ratified.consensus.raft import state as raft
from tests.consensus.contract.harness import ELECTION_US, HEARTBEAT_US, Cluster
from tests.models.topologies import TOPOLOGIES, Topology

STALL_MAX_US = 2 * ELECTION_US
STEP_US = HEARTBEAT_US // 4
MEMBERS = 7
ALIVE = (1, 2, 3, 4)
LEADER_TIMEOUTS = 9
"""Shortest election timeouts within which somebody serves: of 400 seeds half needed 2.0, one 6.3. Without rule 11 half
of them need 5.9 (``bench/elections.py --no-suspicion --deadline-restarts``), and many 20."""


class Watch:
    """Proposes wherever somebody leads, and notes eras and commits."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._proposed = 0
        self.eras: set[Era] = set()
        """Those in which somebody served."""
        self.stalled_us = 0
        """The longest time without a delivery anywhere."""

    def run_for(self, duration_us: int) -> None:
        cluster = self._cluster
        end = cluster.now + duration_us
        delivered, since = cluster.highest_delivered, cluster.now
        while cluster.now < end:
            for member in cluster.members.values():
                if member.leads():
                    self._proposed += 1
                    member.propose(b"%d" % self._proposed)
            cluster.run_for(STEP_US)
            self.eras |= {each.running.status().era for each in cluster.members.values() if each.serves()}
            if cluster.highest_delivered > delivered:
                delivered, since = cluster.highest_delivered, cluster.now
            self.stalled_us = max(self.stalled_us, cluster.now - since)


def cut(engine: str, topology: Topology, seed: int, *, notice: bool) -> tuple[Watch, Cluster]:
    """A cluster led by the chosen member, some members behind, at the moment of the cut."""
    cluster = Cluster(ENGINES[engine], topology.members, seed=seed)
    leader = topology.leader + 1
    cluster.elect(leader)
    Watch(cluster).run_for(3 * HEARTBEAT_US)
    everybody = list(combinations(cluster.members, 2))
    behind = {member + 1 for member in topology.behind}
    cluster.keep([pair for pair in everybody if not (leader in pair and behind & {*pair})], notice=False)
    Watch(cluster).run_for(HEARTBEAT_US)
    cluster.keep(everybody, notice=True)
    cluster.keep([(one + 1, other + 1) for one, other in topology.edges], notice=notice)
    return Watch(cluster), cluster


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


class PartialTopologies:
    """Members that see each other only in part, in one topology after another by the seed; links end or fall silent."""

    def __init__(self, engine: str, seed: int) -> None:
        topology = TOPOLOGIES[seed % len(TOPOLOGIES)]
        self._watch, self._cluster = cut(engine, topology, seed, notice=seed // len(TOPOLOGIES) % 2 == 0)
        self._name = topology.name

    def run(self, steps: int) -> None:
        """For ten timeouts in it."""
        watch = self._watch
        before = {each.running.status().era for each in self._cluster.members.values() if each.serves()}
        watch.run_for(10 * ELECTION_US)
        if watch.stalled_us > STALL_MAX_US:
            stalled = watch.stalled_us / ELECTION_US
            raise Violation("election", f"{self._name}: nothing was delivered for {stalled:.1f} timeouts")
        if len(watch.eras - before) > 1:
            raise Violation("a lead without a fault stays", f"{self._name}: leaders of {watch.eras - before}")

    def heal(self) -> None:
        """Everybody sees everybody again, and who leads goes on."""
        led = set(self._watch.eras)
        self._cluster.heal()
        self._watch.run_for(5 * ELECTION_US)
        if self._watch.eras != led:
            raise Violation("a lead without a fault stays", f"{self._name}: {self._watch.eras - led} after {led}")


class BrokenConnections:
    """A leader whose connections to its followers break, one at a time, and come back: a quorum hears it always."""

    def __init__(self, engine: str, seed: int) -> None:
        self._seed = seed
        self._cluster = Cluster(ENGINES[engine], 3 + 2 * (seed % 2), seed=seed)
        self._leader = self._cluster.elect()
        self._watch = Watch(self._cluster)
        self._watch.run_for(ELECTION_US)

    def run(self, steps: int) -> None:
        """Twenty times."""
        cluster, leader = self._cluster, self._leader.id
        pairs = list(combinations(cluster.members, 2))
        followers = [member for member in cluster.members if member != leader]
        for time in range(20):
            follower = followers[mix(self._seed, 1, time) % len(followers)]
            cluster.keep([pair for pair in pairs if set(pair) != {leader, follower}], notice=True)
            self._watch.run_for(1 + mix(self._seed, 2, time) % (2 * HEARTBEAT_US))
            cluster.heal()
            self._watch.run_for(HEARTBEAT_US)
        if len(self._watch.eras) > 1:
            raise Violation("a lead without a fault stays", f"leaders of {sorted(self._watch.eras)}")

    def heal(self) -> None:
        """It is whole."""
