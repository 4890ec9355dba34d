"""A replicated state machine in the lab, with one stable leader, on any engine.

Rules:

1. Nothing here asks which protocol runs: an engine is a row of the table, and an era's first number is the lab's term.
2. Node 0 campaigns at tick 0 and leads era 1 throughout: nobody else's election deadline ever comes.
3. A message takes one tick, so that links keep their order. A link that is cut, or whose end is down, has no session: a
   new one begins when both ends are there again.
4. A node that starts again begins with an empty state machine, to which its log is replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Generic, TypeVar

from ratified.consensus.contract import Entry, Era, Status, Taken
from ratified.consensus.engines import EngineRow
from ratified.lab.cluster import LabCluster, textbook
from ratified.machine import Command, StateMachine, StateMachineStore

LEADER = 0
ERA_NUMBER = 1
NEVER = 2**62
SETTLE_TICKS_MAX = 10_000
"""In so many ticks a cluster without further proposals comes to rest, or something is wrong with its engine."""
M = TypeVar("M", bound=StateMachine)


class LabBroken(Exception):
    """The end state is none that a right engine can reach; the message says what is wrong."""


class ReplicatedCluster(Generic[M]):
    """All nodes with their state machines."""

    def __init__(self, row: EngineRow, nodes: int, seed: int, machine: Callable[[], M]) -> None:
        self.machines = [machine() for _ in range(nodes)]
        self._stores = [StateMachineStore(each) for each in self.machines]
        self._make_machine = machine
        self._isolated: Container[int] = ()
        self._proposed = 0
        options = [textbook(member, seed, _no_election, NEVER) for member in range(nodes)]
        self._cluster = LabCluster(row, options, lambda now, *_: now + 1, self._apply)
        self.nodes = self._cluster.nodes
        leader = self.nodes[LEADER]
        leader.feed(lambda engine, now: engine.campaign(now))
        self._until(lambda: leader.engine.leading is not None, "nobody leads")

    def _apply(self, member: int, entries: Sequence[Entry]) -> None:
        last = entries[-1]
        self._stores[member].apply([Command(entry.index, entry.data) for entry in entries], last.index, last.era)

    def statuses(self) -> list[Status]:
        """Every node's; all must be up."""
        return [node.engine.status() for node in self.nodes]

    def propose(self, data: bytes) -> None:
        """Have the leader take one command, and let time pass until it is committed. Raises ``LabBroken``."""
        self._proposed += 1
        answer = self._cluster.propose(LEADER, self._proposed, data)
        if not isinstance(answer, Taken):
            raise LabBroken(f"the leader does not take proposal {self._proposed}: {answer.reason}")
        leader = self.nodes[LEADER].engine
        self._until(lambda: leader.status().commit == self._proposed, f"proposal {self._proposed} is not committed")

    def finish(self) -> None:
        """Let time pass until every node has applied everything. Raises ``LabBroken``."""
        self._until(
            lambda: all(status.applied == self._proposed for status in self.statuses()),
            "not every node has applied everything",
        )
        for status in self.statuses():
            if status.era[0] != ERA_NUMBER:
                raise LabBroken(f"node {status.member} ends in era {status.era}, and era 1 was to last")

    # ----------------------------------------------------------------------------------------------------- faults

    def cut_off(self, minority: Container[int]) -> None:
        """Cut these nodes off from all others."""
        self._isolated = minority
        self._cluster.disconnect(lambda a, b: (a in minority) != (b in minority))

    def heal(self) -> None:
        """Undo ``cut_off``."""
        self._isolated = ()
        self._connect()

    def stop(self, member: int) -> None:
        self.nodes[member].crash()
        self._cluster.disconnect(lambda a, b: member in (a, b))

    def start(self, member: int) -> None:
        self.machines[member] = self._make_machine()
        self._stores[member] = StateMachineStore(self.machines[member])
        self.nodes[member].start(self._cluster.now)
        self._connect()

    def _connect(self) -> None:
        self._cluster.connect(lambda a, b: (a in self._isolated) == (b in self._isolated))

    # -------------------------------------------------------------------------------------------------------------

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        limit = self._cluster.now + SETTLE_TICKS_MAX
        while not done():
            if self._cluster.now == limit:
                status = self.nodes[LEADER].engine.status()
                raise LabBroken(f"{otherwise} after {SETTLE_TICKS_MAX} ticks: {status}")
            self._cluster.tick()


def _no_election(_now: int, _era: Era) -> int:
    return NEVER
