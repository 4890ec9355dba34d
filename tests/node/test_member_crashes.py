"""A member crashes at every point of a change of the members: the one who leads it, one who follows, one who joins, and
one who is removed.

A crash falls between any two operations of its disk. The process is killed, or the machine is lost with all that was
not synced. The oracles of the simulated cluster watch: who is counted in which configuration, and what a start finds.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from unittest.mock import patch

import pytest

from ratified.consensus.engines import ENGINES
from ratified.node.changes import AddMember, RemoveMember, encode_asked
from ratified.node.ports import Work
from tests.node.cluster import MS, SECOND, Cluster
from tests.node.test_snapshot_crashes import WatchedDisk

PATIENCE_US = 20 * SECOND
OPERATIONS_MIN = 8
"""So many each of them has on its disk at least, while the members change."""


class Part(Enum):
    """Who crashes."""

    LEADS = "who leads"
    FOLLOWS = "who follows"
    JOINS = "who joins"
    IS_REMOVED = "who is removed"


class Replacement:
    """Member 4 takes the place of one that follows; whoever leads may change meanwhile."""

    def __init__(self, engine: str, part: Part) -> None:
        with patch("ratified.sim.machine.Disk", WatchedDisk):
            self.cluster = cluster = Cluster(engine=engine, durable=True, spares=1)
        leader = cluster.elect()
        cluster.propose(leader, b"before")
        self.removed, follower = (member for member in cluster.members if member != leader)
        self.member = {
            Part.LEADS: leader,
            Part.FOLLOWS: follower,
            Part.JOINS: 4,
            Part.IS_REMOVED: self.removed,
        }[part]
        disk = cluster.processes[self.member].disk
        assert isinstance(disk, WatchedDisk)
        self.disk = disk
        disk.operations = 0

    def run(self) -> None:
        """Until member 4 votes, and the other one has left."""
        cluster = self.cluster
        self._ask(AddMember(4, ("http://n004",), learner=False), lambda: self._has(4))
        cluster.processes[4].join(cluster.elect())
        cluster.run_until(lambda: self._votes(4), within_us=PATIENCE_US)
        self._ask(RemoveMember(self.removed), lambda: not self._has(self.removed))
        cluster.run_until(self._is_over, within_us=PATIENCE_US)

    def run_with_a_crash(self, at: int, *, is_lost: bool) -> None:
        """Behind the operation ``at`` of its disk."""
        machine, world = self.cluster.processes[self.member], self.cluster._world

        def crash() -> None:
            if is_lost:
                machine.lose(lambda choices: 0)
            else:
                machine.kill()
            world.at(world.now + 20 * MS, 0, 0, machine.start)

        def seen() -> None:
            if self.disk.operations == at:
                world.at(world.now, 0, 0, crash)

        self.disk.on_operation = seen
        self.run()
        assert self.disk.operations >= at
        self.cluster.run(100 * MS)
        staying = [member for member in self.cluster.members if member != self.removed]
        self.cluster.propose(self.cluster.elect(), b"behind")
        self.cluster.run_until(
            lambda: all(self._commands(member)[-1:] == [b"behind"] for member in (*staying, 4)), within_us=PATIENCE_US
        )
        assert self._commands(4)[0] == b"before"

    def _ask(self, asked: AddMember | RemoveMember, is_done: Callable[[], bool]) -> None:
        """As an operator would who hears that the outcome is unknown."""
        cluster = self.cluster
        while not is_done():
            leader = cluster.elect()
            token = cluster.submit(leader, encode_asked(asked), Work.MEMBERS, timeout_us=2 * SECOND)
            asked_of = cluster.node(leader)
            cluster.run_until(
                lambda token=token, leader=leader, asked_of=asked_of: (  # type: ignore[misc]
                    cluster.ended(token) or cluster.processes[leader].node is not asked_of
                )
            )
            cluster.run_until(lambda: bool(cluster.leader()))

    def _has(self, member: int) -> bool:
        return member in self.cluster.node(self.cluster.elect()).table().members

    def _votes(self, member: int) -> bool:
        leader = self.cluster.leader()
        return bool(leader) and member in self.cluster.node(leader).membership().voters

    def _is_over(self) -> bool:
        """Who is removed has heard so and has ended, or hears it when it is back."""
        leader = self.cluster.leader()
        return bool(leader) and self.cluster.node(leader).table().left == (self.removed,)

    def _commands(self, member: int) -> list[bytes]:
        machine = self.cluster.processes[member]
        return self.cluster.machine(member).commands if machine.up else []


@pytest.mark.parametrize("part", Part)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_change_of_the_members_ends_whoever_crashes_in_it(engine: str, part: Part) -> None:
    """By turns killed and lost."""
    build = partial(Replacement, engine, part)
    whole = build()
    whole.run()
    operations = whole.disk.operations
    assert operations >= OPERATIONS_MIN
    for at in range(1, operations + 1):
        build().run_with_a_crash(at, is_lost=at % 2 == 0)
