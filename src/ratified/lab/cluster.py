"""A replicated cluster of the lab with one stable leader, on any engine.

Rules:

1. Nothing here asks which protocol runs: an engine is a row of the table, and an era's first number is the lab's term.
2. Member 0 campaigns at tick 0 and leads era 1 throughout: nobody else's election deadline ever comes.
3. A message takes one tick, so that links keep their order. A link that is cut, or whose end is down, has no session:
   what was under way is lost, and a new session begins when both ends are there again.
4. Disks are infinitely fast. A node that is down keeps its log and nothing else; it starts again from that.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Generic, TypeVar

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Durable,
    Engine,
    Entry,
    Era,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Run,
    Send,
    StateRecord,
    Status,
    Taken,
    TruncateRecord,
    Write,
)
from ratified.consensus.engines import EngineRow
from ratified.lab.numbers import sm
from ratified.machine import Command, StateMachine, StateMachineStore

LEADER = 0
ERA_NUMBER = 1
HEARTBEAT_TICKS = 50
NEVER = 2**62
SETTLE_TICKS_MAX = 10_000
"""In so many ticks a cluster without further proposals comes to rest, or something is wrong with its engine."""
_INCREMENT = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1
M = TypeVar("M", bound=StateMachine)


class LabBroken(Exception):
    """The end state is none that a right engine can reach; the message says what is wrong."""


def draws(seed: int) -> Iterator[int]:
    """The lab's one generator with state: ``state += 0x9E37...15``, and out comes its mixture."""
    state = seed
    while True:
        yield sm(state)
        state = (state + _INCREMENT) & _MASK


class LabReplica(Generic[M]):
    """One member: its engine and state machine, while it is up, and its log for ever."""

    def __init__(self, row: EngineRow, members: int, member: int, seed: int, machine: Callable[[], M]) -> None:
        self.member = member
        self.log: dict[int, Entry] = {}
        self.machine = machine()
        self._row = row
        self._make_machine = machine
        self._base = Base(0, NO_ERA, Membership(tuple(range(members))))
        self._state = b""
        self._options = Options.textbook(
            member=member,
            seed=seed,
            election_deadline=_no_election,
            election_timeout_us=NEVER,
            heartbeat_us=HEARTBEAT_TICKS,
        )
        self.engine: Engine | None = None

    @property
    def entries(self) -> Sequence[Entry]:
        """The log, in the order of the indexes."""
        return [self.log[index] for index in sorted(self.log)]

    @property
    def status(self) -> Status:
        """The running engine's."""
        assert self.engine is not None, "a node that is down has no status"
        return self.engine.status()

    def start(self, now: int) -> None:
        """Start from what the log has; the state machine begins anew, and the log is replayed to it."""
        self.machine = self._make_machine()
        self._store = StateMachineStore(self.machine)
        entries = self.entries
        runs: list[Run] = []
        for era, group in groupby(entries, key=lambda entry: entry.era):
            indexes = [entry.index for entry in group]
            runs.append(Run(indexes[0], indexes[-1], era))
        self.engine = self._row.engine(now, self._options, Durable(self._state, self._base, runs, entries))

    def stop(self) -> None:
        """The process ends; what was written stays."""
        self.engine = None

    def settle(self, now: int) -> Sequence[Send]:
        """Everything that leaves after an input, with a disk and a state machine that take no time."""
        engine = self.engine
        assert engine is not None, "a node that is down is given nothing"
        sent: list[Send] = []
        while (ready := engine.ready()) is not None:
            sent += ready.send
            if ready.write is not None:
                self._write(ready.write)
                engine.persisted(now, ready.write.ticket)
            sent += ready.send_after
            if ready.deliver:
                commands = [Command(entry.index, entry.data) for entry in ready.deliver]
                self._store.apply(commands, commands[-1].index)
                engine.applied(now, commands[-1].index)
        return sent

    def _write(self, write: Write) -> None:
        for record in write.records:
            match record:
                case StateRecord(data):
                    self._state = data
                case TruncateRecord(first):
                    self.log = {index: entry for index, entry in self.log.items() if index < first}
                case Entry():
                    self.log[record.index] = record
                case BaseRecord():
                    raise LabBroken(f"member {self.member} asks to cut its log, which nobody has offered")


def _no_election(_now: int, _era: Era) -> int:
    return NEVER


class LabCluster(Generic[M]):
    """All replicas, and the messages between them."""

    def __init__(self, row: EngineRow, nodes: int, seed: int, machine: Callable[[], M]) -> None:
        self.now = 0
        self.replicas = [LabReplica(row, nodes, member, seed, machine) for member in range(nodes)]
        self._sessions: dict[tuple[int, int], int] = {}
        self._cut: set[frozenset[int]] = set()
        self._session_last = 0
        self._heap: list[tuple[int, int, int, int, int, Any]] = []
        self._sent = 0
        self._proposed = 0
        for replica in self.replicas:
            replica.start(0)
        self._connect()
        leader = self.replicas[LEADER].engine
        assert leader is not None, "everybody was started"
        leader.campaign(0)
        self._send(self.replicas[LEADER])
        self._until(lambda: leader.leading is not None, "nobody leads")

    def propose(self, data: bytes) -> None:
        """Have the leader take one command, and let time pass until it is committed."""
        leader = self.replicas[LEADER]
        assert leader.engine is not None, "the leader is never down"
        self._proposed += 1
        taken = leader.engine.propose(self.now, [Proposal(ProposalId(LEADER, 1, self._proposed), data)])
        if not isinstance(taken, Taken):
            raise LabBroken(f"the leader does not take proposal {self._proposed}: {taken.reason}")
        self._send(leader)
        self._until(lambda: leader.status.commit == self._proposed, f"proposal {self._proposed} is not committed")

    def tick(self) -> None:
        """One tick: what is due arrives, then the nodes tick in the order of their ids."""
        self.now += 1
        while self._heap and self._heap[0][0] <= self.now:
            _, sender, _, to, session, message = heapq.heappop(self._heap)
            if self._sessions.get((sender, to)) == session:
                replica = self.replicas[to]
                assert replica.engine is not None, "both ends of a session are up"
                replica.engine.step(self.now, sender, message)
                self._send(replica)
        for replica in self.replicas:
            if replica.engine is not None:
                replica.engine.tick(self.now)
                self._send(replica)

    def finish(self) -> None:
        """Let time pass until every replica has applied everything. Raises ``LabBroken``."""
        self._until(
            lambda: all(replica.status.applied == self._proposed for replica in self.replicas),
            "not every replica has applied everything",
        )
        for replica in self.replicas:
            if replica.status.era[0] != ERA_NUMBER:
                raise LabBroken(f"member {replica.member} ends in era {replica.status.era}, and era 1 was to last")

    # -----------------------------------------------------------------------------------------------------------
    # Faults

    def cut_off(self, minority: Sequence[int]) -> None:
        """Cut these members off from all others."""
        self._cut = {
            frozenset((inside, outside))
            for inside in minority
            for outside in range(len(self.replicas))
            if outside not in minority
        }
        self._disconnect(lambda a, b: frozenset((a, b)) in self._cut)

    def heal(self) -> None:
        """Undo ``cut_off``."""
        self._cut = set()
        self._connect()

    def stop(self, member: int) -> None:
        """End this member's process."""
        self.replicas[member].stop()
        self._disconnect(lambda a, b: member in (a, b))

    def start(self, member: int) -> None:
        """Start it again."""
        self.replicas[member].start(self.now)
        self._send(self.replicas[member])
        self._connect()

    # -----------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Open a session on every link that can have one and has none."""
        for a in self.replicas:
            for b in self.replicas[a.member + 1 :]:
                pair = (a.member, b.member)
                if a.engine is None or b.engine is None or frozenset(pair) in self._cut or pair in self._sessions:
                    continue
                self._session_last += 1
                self._sessions[pair] = self._sessions[pair[::-1]] = self._session_last
                a.engine.peer(self.now, b.member, self._session_last)
                b.engine.peer(self.now, a.member, self._session_last)
                self._send(a)
                self._send(b)

    def _disconnect(self, gone: Callable[[int, int], bool]) -> None:
        for one, other in [pair for pair in self._sessions if gone(*pair)]:
            del self._sessions[one, other]
            replica = self.replicas[one]
            if replica.engine is not None:
                replica.engine.peer(self.now, other, None)
                self._send(replica)

    def _send(self, replica: LabReplica[M]) -> None:
        for send in replica.settle(self.now):
            session = self._sessions.get((replica.member, send.to))
            if session is not None:
                row = (self.now + 1, replica.member, self._sent, send.to, session, send.message)
                heapq.heappush(self._heap, row)
                self._sent += 1

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        limit = self.now + SETTLE_TICKS_MAX
        while not done():
            if self.now == limit:
                raise LabBroken(f"{otherwise} after {SETTLE_TICKS_MAX} ticks: {self.replicas[LEADER].status}")
            self.tick()
