"""Progress of rule 14 where members see each other only in part: the three topologies of Omni-Paxos, chains, bridges,
and every graph of five members, in virtual time.

A run elects a leader among members that all see each other, gives the lead to the chosen one, lets some followers fall
behind, and cuts. From then on no two election time-outs may pass without a commit, and after at most one election
nobody else may be elected, for as long as the topology lasts; nor when it heals.

The cut is silent, or the sessions across it end (what TCP gives when a host answers with a reset, or a failure
detector). The topologies are those of Omni-Paxos (Ng, Haridi, Carbone, EuroSys 2023).

``python -m tests.models.topologies --seeds N`` prints a table; ``--graphs`` visits every graph of five members.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, permutations

from tests.models.raft_member import Rule, Timing
from tests.models.raft_world import Hostility, World

Edges = frozenset[tuple[int, int]]

WARM_UP = 10
"""Commits before the cut."""
WATCHED = 10
"""For how many shortest time-outs a topology lasts."""
MAJORITY = 3


@dataclass(frozen=True, slots=True)
class Topology:
    """Who sees whom after the cut."""

    name: str
    members: int
    leader: int
    """Who leads at the cut."""
    edges: Edges
    behind: tuple[int, ...] = ()
    """Who lacks the last committed entries at the cut."""

    @property
    def leader_sees_majority(self) -> bool:
        return self.leader in self.hubs

    @property
    def hubs(self) -> list[int]:
        """Members that see a majority, themselves counted."""
        return [
            member
            for member in range(self.members)
            if 1 + sum(member in edge for edge in self.edges) > self.members // 2
        ]


def edges(*pairs: str) -> Edges:
    """Pairs as two letters each, in their order."""
    return frozenset(("ABCDE".index(pair[0]), "ABCDE".index(pair[1])) for pair in pairs)


A, B, C, D, E = range(5)
TOPOLOGIES = (
    # Omni-Paxos, EuroSys 2023: only A sees a majority, and still hears the leader C, who does not.
    Topology("quorum loss", 5, C, edges("AB", "AC", "AD", "AE")),
    Topology("quorum loss, hub behind", 5, C, edges("AB", "AC", "AD", "AE"), (A,)),
    # The leader C is gone; only A sees a majority, and B and E have entries that A lacks.
    Topology("constrained election", 5, C, edges("AB", "AD", "AE"), (A,)),
    Topology("constrained election, two behind", 5, C, edges("AB", "AD", "AE"), (A, D)),
    # The leader B and C do not see each other, both see A.
    Topology("chained", 3, B, edges("AB", "AC")),
    Topology("chained, middle behind", 3, B, edges("AB", "AC"), (A,)),
    Topology("chain of five, led from an end", 5, A, edges("AB", "BC", "CD", "DE")),
    Topology("chain of five, led from beside an end", 5, B, edges("AB", "BC", "CD", "DE")),
    Topology("chain of five, led from the middle", 5, C, edges("AB", "BC", "CD", "DE")),
    Topology("bridge, led from a side", 5, A, edges("AB", "AC", "BC", "CD", "CE", "DE")),
    Topology("bridge, led from the bridge", 5, C, edges("AB", "AC", "BC", "CD", "CE", "DE")),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    stalled: int
    """The longest time without a commit, from the cut on, while the topology lasts (microseconds)."""
    elections: int
    """After the cut."""
    healed_elections: int
    """Elections after everybody sees everybody again."""
    messages_per_heartbeat: float


def run(
    topology: Topology,
    seed: int,
    rule: Rule,
    *,
    notice: bool,
    timing: Timing | None = None,
    hostility: Hostility | None = None,
) -> Outcome:
    """One cut, watched for a while, and healed."""
    world = World(topology.members, seed, rule, timing, hostility)
    timeout, heartbeat = world.timing.timeout, world.timing.heartbeat
    world.propose_every(heartbeat // 2)
    world.run(30 * timeout, lambda: len(world.commits) >= WARM_UP)
    world.install(topology.leader)
    world.run(world.now + 30 * timeout, lambda: leads(world, topology.leader))
    world.run(world.now + 3 * heartbeat)
    for member in topology.behind:
        world.cut.add((topology.leader, member))
    world.run(world.now + heartbeat)
    world.cut.clear()
    world.keep(topology.edges, notice=notice)
    cut_at, elections, messages = world.now, len(world.elections), world.messages
    end = cut_at + WATCHED * timeout
    world.run(end)
    times = [cut_at, *[time for time, _, _ in world.commits if time > cut_at + heartbeat // 4], end]
    stalled = max(after - before for before, after in pairwise(times))
    changes = len(world.elections) - elections
    rate = (world.messages - messages) / (WATCHED * timeout / heartbeat)
    world.keep(frozenset(combinations(range(topology.members), 2)), notice=notice)
    world.run(end + 5 * timeout)
    return Outcome(stalled, changes, len(world.elections) - elections - changes, rate)


@dataclass(frozen=True, slots=True)
class Outage:
    """What the death of a leader cost."""

    microseconds: int | None
    """Until something new was committed; None: not within 20 time-outs."""
    elections: int


def outage(
    seed: int,
    rule: Rule,
    members: int = 5,
    *,
    notice: bool = True,
    timing: Timing | None = None,
    hostility: Hostility | None = None,
) -> Outage:
    """Kill the leader of a cluster whose members all see each other."""
    world = World(members, seed, rule, timing, hostility)
    timeout = world.timing.timeout
    world.propose_every(world.timing.heartbeat // 5)
    world.run(40 * timeout, lambda: len(world.commits) >= WARM_UP)
    world.run(world.now + timeout)
    if world.leader is None:
        return Outage(None, len(world.elections))
    killed_at, elections = world.now, len(world.elections)
    term = world.leader.term
    world.kill(world.leader.number, sessions_end=notice)
    world.run(killed_at + 20 * timeout, lambda: bool(world.commits) and world.commits[-1][2] > term)
    again = world.commits[-1][2] > term
    took = world.now - killed_at
    world.run(world.now + timeout)
    return Outage(took if again else None, len(world.elections) - elections)


def leads(world: World, number: int) -> bool:
    """Does that one lead, and has it committed in its term?"""
    leader = world.leader
    return (
        leader is not None
        and leader.number == number
        and leader.commit > 0
        and (leader.log[leader.commit - 1] == leader.term)
    )


def every_graph() -> Iterator[Topology]:
    """Every graph of five members in which some member sees a majority, with A leading, up to the others' names; each
    of the others behind or not is drawn by the graph's number."""
    pairs = list(combinations(range(5), 2))
    seen: set[Edges] = set()
    for number in range(1 << len(pairs)):
        graph = frozenset(pair for bit, pair in enumerate(pairs) if number >> bit & 1)
        form = _form(graph)
        if form in seen:
            continue
        seen.add(form)
        topology = Topology(f"graph {number}", 5, A, graph)
        for behind in ((), tuple(topology.hubs[:2]), (B, C)):
            lagging = tuple(member for member in behind if member != A)
            if topology.hubs:
                yield replace(topology, name=f"graph {number}, behind {lagging}", behind=lagging)


def _form(graph: Edges) -> Edges:
    """The same for graphs that differ in the names of B to E only."""
    best: tuple[tuple[int, int], ...] | None = None
    for names in permutations(range(1, 5)):
        new = (0, *names)
        renamed = tuple(sorted((min(new[a], new[b]), max(new[a], new[b])) for a, b in graph))
        if best is None or renamed < best:
            best = renamed
    assert best is not None
    return frozenset(best)


RULE = Rule()
WITHOUT = {
    "the rule": RULE,
    "no probes": replace(RULE, probes=False),
    "no probes, no refusal": replace(RULE, probes=False, heeds_leader=False),
    "peers that hear a leader grant": replace(RULE, heeds_leader=False),
    "no check of the quorum": replace(RULE, checks_quorum=False),
    "quorum checked after two time-outs": replace(RULE, patience=2),
    "no Resign": replace(RULE, resigns=False),
    "no Pull": replace(RULE, pulls=False),
    "pull without a quorum": replace(RULE, pulls_with_quorum=False),
    "no draw before the first probe": replace(RULE, draws_first=False),
    "no draw between probes": replace(RULE, draws_again=False),
    "no draws": replace(RULE, draws_first=False, draws_again=False),
    "only the latest probe's answers count": replace(RULE, keeps_answers=False),
    "the draw does not widen": replace(RULE, widens=False),
    "voters do not yield": replace(RULE, yields_to_vote=False),
    "a later term restarts the timer": replace(RULE, restarts_on_term=True),
    "Paxos: logs do not matter": replace(RULE, learned_log=True),
}


def summary(outcomes: list[Outcome], timeout: int) -> str:
    """One line of a table."""
    stalled = sorted(outcome.stalled / timeout for outcome in outcomes)
    elections = [outcome.elections for outcome in outcomes]
    return (
        f"longest stall {stalled[len(stalled) // 2]:5.2f} (worst {stalled[-1]:5.2f}) time-outs, "
        f"elections {sum(elections) / len(elections):5.2f} (most {max(elections):3}), "
        f"{max(outcome.healed_elections for outcome in outcomes)} after healing, "
        f"{sum(outcome.messages_per_heartbeat for outcome in outcomes) / len(outcomes):5.1f} messages a heartbeat"
    )


def table_of_outages(seeds: int) -> None:
    """What the death of a leader costs, by links and by rule."""
    heartbeat = Timing().heartbeat
    slow = {one_way: Hostility(latency=one_way, jitter=one_way // 8) for one_way in (30_000, 60_000, 150_000)}
    for members in (3, 5):
        for name in (
            "the rule",
            "no draw before the first probe",
            "no draw between probes",
            "no draws",
            "voters do not yield",
            "the draw does not widen",
        ):
            print(f"{members} members, {name:32} {outages(seeds, WITHOUT[name], members)}", flush=True)
    print(f"5 members, silent, {'the rule':32} {outages(seeds, RULE, notice=False)}", flush=True)
    for one_way, hostility in slow.items():
        for name in ("the rule", "only the latest probe's answers count", "the draw does not widen"):
            timing = Timing(10 * heartbeat, heartbeat)
            result = outages(seeds, WITHOUT[name], timing=timing, hostility=hostility)
            print(f"5 members, {one_way // 1000} ms one way, {name:38} {result}", flush=True)


def outages(
    seeds: int,
    rule: Rule,
    members: int = 5,
    *,
    notice: bool = True,
    timing: Timing | None = None,
    hostility: Hostility | None = None,
) -> str:
    """One line of a table."""
    runs = [
        outage(seed, rule, members, notice=notice, timing=timing, hostility=hostility) for seed in range(1, seeds + 1)
    ]
    took = sorted(run.microseconds / 1000 for run in runs if run.microseconds is not None)
    if not took:
        return "never"
    never = f", {len(runs) - len(took)} of {len(runs)} never" if len(took) < len(runs) else ""
    return (
        f"median {took[len(took) // 2]:5.0f} ms, p90 {took[len(took) * 9 // 10]:5.0f}, most {took[-1]:5.0f}{never}; "
        f"elections {sum(run.elections for run in runs) / len(runs):.2f}"
    )


def main() -> None:
    """Print tables from the command line."""
    parser = argparse.ArgumentParser(description="Run rule 14 in partial topologies")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--graphs", action="store_true", help="every graph of five members, with the rule as it is")
    parser.add_argument("--outages", action="store_true", help="the death of a leader instead")
    parser.add_argument("--only", default="", help="this rule: words of its name")
    arguments = parser.parse_args()
    timeout = Timing().timeout
    if arguments.outages:
        table_of_outages(arguments.seeds)
        return
    if arguments.graphs:
        for notice in (True, False):
            worst: list[tuple[float, int, str, int]] = []
            runs = 0
            for topology in every_graph():
                for seed in range(1, arguments.seeds + 1):
                    outcome = run(topology, seed, RULE, notice=notice)
                    runs += 1
                    worst.append((outcome.stalled / timeout, outcome.elections, topology.name, seed))
            worst.sort()
            most = max(worst, key=lambda each: each[1])
            print(f"sessions end: {notice}; {runs} runs; slowest {worst[-1]}; most elections {most}", flush=True)
            for each in worst[-5:]:
                print("   ", each)
        return
    for name, rule in WITHOUT.items():
        if arguments.only not in name:
            continue
        for topology in TOPOLOGIES:
            for notice in (True, False):
                outcomes = [run(topology, seed, rule, notice=notice) for seed in range(1, arguments.seeds + 1)]
                kind = "sessions end" if notice else "silent"
                print(f"{name:35} {topology.name:38} {kind:13} {summary(outcomes, timeout)}", flush=True)


if __name__ == "__main__":
    main()
