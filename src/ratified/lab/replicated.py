"""A replicated state machine in the lab, with one stable leader, on any engine.

Rules:

1. Nothing here asks which protocol runs: an engine is a row of the table, and an era's first number is the lab's term.
2. Node 0 campaigns at tick 0 and leads era 1 throughout: nobody else's election deadline ever comes.
3. A message takes one tick, so that links keep their order. A link that is cut, or whose end is down, has no session: a
   new one begins when both ends are there again.
4. A node that starts again begins with an empty state machine, to which its log is replayed; where the log begins
   behind a snapshot, with that.
5. A snapshot takes one tick, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Generic, TypeVar

from msgspec.structs import replace

from ratified.consensus.contract import (
    Base,
    Change,
    Engine,
    Entry,
    Era,
    Kind,
    Membership,
    RefusedReason,
    SnapshotTo,
    Status,
    Taken,
)
from ratified.consensus.engines import EngineRow
from ratified.consensus.entry import encode_change
from ratified.lab.cluster import LabCluster, textbook
from ratified.machine import Command, StateMachine, StateMachineStore, pieces_of

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

    def __init__(
        self,
        row: EngineRow,
        nodes: int,
        seed: int,
        machine: Callable[[], M],
        *,
        voters: int | None = None,
        heartbeats_answered: bool = False,
    ) -> None:
        """``voters``: so many of the nodes are members at first (None: all).

        ``heartbeats_answered`` is the one extension that changing members on Paxos needs: a leader has to know what is
        chosen at the others for good.
        """
        self.machines = [machine() for _ in range(nodes)]
        self._stores = [StateMachineStore(each) for each in self.machines]
        self._make_machine = machine
        self._isolated: Container[int] = ()
        self._proposed = 0
        self._last = 0
        """The index of the latest entry that was asked for."""
        self._states: dict[int, bytes] = {}
        """Snapshots, by their names."""
        self._due: list[tuple[int, SnapshotTo]] = []
        """Snapshots on their way: from whom, to whom."""
        options = [textbook(member, seed, _no_election, NEVER) for member in range(nodes)]
        if heartbeats_answered:
            options = [replace(each, extensions=replace(each.extensions, separate_heartbeats=True)) for each in options]
        self._cluster = LabCluster(row, options, lambda now, *_: now + 1, self._apply, voters=voters, snapshots=self)
        self.nodes = self._cluster.nodes
        leader = self.nodes[LEADER]
        leader.feed(lambda engine, now: engine.campaign(now))
        self._until(lambda: leader.engine.leading is not None, "nobody leads")

    def _apply(self, member: int, entries: Sequence[Entry]) -> None:
        last = entries[-1]
        commands = [Command(entry.index, entry.data) for entry in entries if entry.kind is Kind.COMMAND]
        self._stores[member].apply(commands, last.index, last.era)

    def statuses(self) -> list[Status]:
        """Every node's; all must be up."""
        return [node.engine.status() for node in self.nodes]

    def members(self) -> list[int]:
        """Who is a member, as the leader sees it."""
        membership = self.nodes[LEADER].engine.status().membership
        return sorted({*membership.voters, *membership.outgoing, *membership.learners})

    def propose(self, data: bytes) -> None:
        """Have the leader take one command, and let time pass until it is committed. Raises ``LabBroken``."""
        self._propose(data, Kind.COMMAND)

    def change(self, after: Membership) -> None:
        """Have the leader change the members, and let time pass until the change is over. Raises ``LabBroken``."""
        leader = self.nodes[LEADER].engine
        self._propose(encode_change(Change(leader.status().membership, after)), Kind.MEMBERSHIP)
        self._until(lambda: leader.status().membership == after, f"the change to {after} has no end")
        self._last = leader.status().last

    def _propose(self, data: bytes, kind: Kind) -> None:
        self._proposed += 1
        self._until(lambda: self._is_taken(data, kind), f"a change is under way, and proposal {self._proposed} waits")
        leader = self.nodes[LEADER].engine
        self._until(lambda: leader.status().commit >= self._last, f"proposal {self._proposed} is not committed")

    def _is_taken(self, data: bytes, kind: Kind) -> bool:
        answer = self._cluster.propose(LEADER, self._proposed, data, kind)
        if isinstance(answer, Taken):
            self._last = answer.first
            return True
        if answer.reason is RefusedReason.CHANGE_UNDER_WAY:
            return False
        raise LabBroken(f"the leader does not take proposal {self._proposed}: {answer.reason}")

    def catch_up(self) -> None:
        """Let time pass until every member that is up has applied everything. Raises ``LabBroken``."""
        up = [node.engine for member in self.members() if (node := self.nodes[member]).up]
        self._until(
            lambda: all(engine.status().applied == self._last for engine in up), "not every node has applied everything"
        )

    def finish(self) -> None:
        """Let time pass until every member has applied everything. Raises ``LabBroken``."""
        self.catch_up()
        for status in self.statuses():
            if status.era[0] != ERA_NUMBER:
                raise LabBroken(f"node {status.member} ends in era {status.era}, and era 1 was to last")

    # -------------------------------------------------------------------------------------------------- snapshots

    def cut(self) -> None:
        """Once all members that are up have applied everything it goes from their logs, as if checkpoints held it."""
        self.catch_up()
        for node in [node for node in self.nodes if node.up]:
            node.feed(partial(_compacted, *node.delivered))
            node.settle(self._cluster.now)

    def send(self, sender: int, asked: SnapshotTo) -> None:
        self._due.append((sender, asked))

    def install(self, member: int, base: Base) -> None:
        self._load(member, base)
        self.nodes[member].installed(base)

    def _load(self, member: int, base: Base) -> None:
        self.machines[member].restore((self._states[base.snapshot],))
        self._stores[member].apply([], base.index, base.era)

    def _carry_snapshots(self) -> None:
        due, self._due = self._due, []
        for sender, asked in due:
            ok = self._arrives(sender, asked.member)
            self._cluster.feed(sender, partial(_sent, asked, ok))

    def _arrives(self, sender: int, receiver: int) -> bool:
        """A state, at a node that may refuse it, or be down."""
        source, target = self.nodes[sender], self.nodes[receiver]
        if not target.up:
            return False
        index, era = source.delivered
        name = len(self._states) + 1
        self._states[name] = b"".join(pieces_of(self.machines[sender]))
        base = Base(index, era, source.engine.membership_at(index), name)
        refused = target.engine.snapshot_offered(self._cluster.now, sender, base)
        refused = refused or target.engine.snapshot_received(self._cluster.now, sender, base)
        target.settle(self._cluster.now)
        return refused is None or refused.reason is RefusedReason.NOT_NEEDED

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
        base = self.nodes[member].log.base
        if base.snapshot:
            self._load(member, base)
        self.nodes[member].start(self._cluster.now, applied=base.index)
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
            self._carry_snapshots()


def _compacted(index: int, era: Era, engine: Engine, now: int) -> None:
    engine.compacted(now, index, era)


def _sent(asked: SnapshotTo, ok: bool, engine: Engine, now: int) -> None:
    engine.snapshot_sent(now, asked.member, asked.index, ok)


def _no_election(_now: int, _era: Era) -> int:
    return NEVER
