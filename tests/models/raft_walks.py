"""Long random runs of ``raft_member``: lost, repeated, late and reordered messages, slow disks, crashes that lose what
was not synced, sessions that end, and links that are cut in every way, with all oracles of ``raft_world``.

``python -m tests.models.raft_walks --walks N`` walks on and prints what was reached.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from ratified.consensus.draws import mix
from tests.models.raft_member import Rule, Timing
from tests.models.raft_world import Broken, Hostility, World

RULE = Rule(part=2)
WALK = 40
"""Shortest time-outs of one walk."""


def walk(seed: int, rule: Rule = RULE, members: int | None = None, timeouts: int = WALK) -> World:
    """One walk; raises ``Broken`` (or an assertion of the member) where an oracle is violated."""
    size = members or (3, 3, 4, 5, 5)[mix(seed, 100) % 5]
    timing = Timing(timeout=100_000, heartbeat=(10_000, 20_000, 33_000)[mix(seed, 101) % 3])
    hostility = Hostility(
        latency=(500, 2_000, 10_000)[mix(seed, 102) % 3],
        jitter=(0, 2_000, 20_000)[mix(seed, 103) % 3],
        loss=(0, 10_000, 100_000, 300_000)[mix(seed, 104) % 4],
        twice=(0, 20_000, 200_000)[mix(seed, 105) % 3],
        slow=(0, 20_000, 100_000)[mix(seed, 106) % 3],
        slow_most=(50_000, 300_000)[mix(seed, 107) % 2],
        sync=(200, 3_000, 10_000)[mix(seed, 108) % 3],
        sync_slow=(0, 10_000, 100_000)[mix(seed, 109) % 3],
        sync_slow_most=200_000,
    )
    world = World(size, seed, rule, timing, hostility)
    world.propose_every((3_000, 15_000)[mix(seed, 110) % 2])
    until = timeouts * timing.timeout
    _disturb(world, until)
    world.run(until)
    for number in range(size):
        world.note(number)
    return world


def _disturb(world: World, until: int) -> None:
    """Something happens to links, sessions and processes again and again."""
    size = world.size
    pairs = [(one, other) for one in range(size) for other in range(one + 1, size)]
    pause = world.timing.timeout * (1, 2, 4)[mix(world.seed, 111) % 3]

    def disturb() -> None:
        what = world.draw(10, 200)
        victim = world.draw(size, 201)
        if what < 4:
            kept = frozenset(pair for pair in pairs if world.draw(100, 202) < 60)
            world.keep(kept, notice=world.draw(2, 203) == 0)
        elif what < 5:
            world.keep(frozenset(pairs), notice=False)
        elif what < 6:
            one, other = world.draw(size, 204), world.draw(size, 205)
            if one != other:
                world.cut.add((one, other))  # one way
        elif what < 7:
            world.end_session(victim, world.draw(size, 206))
        else:
            leader = world.leader
            if leader is not None and world.draw(2, 207):
                victim = leader.number
            if world.members[victim] is not None:
                world.kill(victim, sessions_end=world.draw(2, 208) == 0)
                world.at(world.now + 1 + world.draw(2 * pause, 209), lambda: world.start(victim))
        if world.now < until:
            world.at(world.now + 1 + world.draw(pause, 210), disturb)

    world.at(world.timing.timeout, disturb)


BROKEN = {
    "entries are removed that the member knows to be committed": replace(RULE, keeps_known=False),
    "pull without a quorum, what is known removed": replace(RULE, keeps_known=False, pulls_with_quorum=False),
    "pull without a quorum, within the term": replace(RULE, leaves_term=False, pulls_with_quorum=False),
    "entries are removed without leaving the term": replace(RULE, leaves_term=False),
}
"""What long walks find, too."""


def main() -> None:
    """Walk from the command line."""
    parser = argparse.ArgumentParser(description="Random walks of Raft with rule 14")
    parser.add_argument("--walks", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--mutant", default=None, help="leave a condition out: " + ", ".join(BROKEN))
    arguments = parser.parse_args()
    rule = BROKEN[arguments.mutant] if arguments.mutant else RULE
    reached: dict[str, int] = {}
    elections = commits = entries = 0
    for seed in range(arguments.first, arguments.first + arguments.walks):
        try:
            world = walk(seed, rule)
        except (Broken, AssertionError) as broken:
            print(f"seed {seed}: {broken}")
            if arguments.mutant is None:
                raise
            return
        elections += len(world.elections)
        commits += len(world.commits)
        entries += max((index for _, index, _ in world.commits), default=0)
        for what, count in world.reached.items():
            reached[what] = reached.get(what, 0) + count
    print(f"{arguments.walks} walks, {elections} elections, {commits} commits of {entries} entries; {reached}")


if __name__ == "__main__":
    main()
