"""The Multi-Paxos lab: ticks, a heap of messages, and the canonical dump ``DSEPAX01``.

In a tick: what is due is proposed at the leader with the lowest id, if there is one; every message due is delivered,
in the order (delivery time, sender, sequence); then the nodes tick in id order. The disk is infinitely fast: after
every input each write is reported durable at once. The lab's slots begin at 0, the engine's indexes at 1.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Sequence

import msgspec

from ratified.consensus import paxos
from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Entry,
    Era,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Send,
    StateRecord,
    Status,
    Taken,
    Write,
)
from ratified.consensus.paxos.messages import Message
from ratified.lab.cases import Case
from ratified.lab.numbers import sm

HEARTBEAT_TICKS = 50
ELECTION_TICKS = 150
MAGIC = b"DSEPAX01"
_ROLES = {"follower": 0, "candidate": 1, "leader": 2}


class LabNode:
    """One engine, and what it asked to be written."""

    def __init__(self, case: Case, member: int) -> None:
        self.member = member
        self.accepted: dict[int, Entry] = {}
        self.learned: list[Entry] = []
        self.state = paxos.decode_state(b"")

        def election_deadline(now: int, _era: Era) -> int:
            return now + ELECTION_TICKS + sm(case.seed ^ member ^ now) % ELECTION_TICKS

        options = Options.textbook(
            member=member,
            seed=case.seed,
            election_deadline=election_deadline,
            election_timeout_us=2 * ELECTION_TICKS,
            heartbeat_us=HEARTBEAT_TICKS,
        )
        membership = Membership(tuple(range(case.nodes)))
        self.engine = paxos.Engine(0, options, Durable(b"", Base(0, NO_ERA, membership)))

    def settle(self, now: int) -> Sequence[Send]:
        """Everything that leaves after an input, with a disk and a state machine that take no time."""
        sent: list[Send] = []
        while (ready := self.engine.ready()) is not None:
            sent += ready.send
            if ready.write is not None:
                self._write(ready.write)
                self.engine.persisted(now, ready.write.ticket)
            sent += ready.send_after
            if ready.deliver:
                self.learned += ready.deliver
                self.engine.applied(now, ready.deliver[-1].index)
        return sent

    def dump(self) -> bytes:
        """The node's part of the dump."""
        role = _ROLES[self.engine.status().role]
        accepted = [self.accepted[index] for index in sorted(self.accepted)]
        parts = [
            struct.pack("<III", self.member, *self.state.promised),
            struct.pack("<BIII", role, *self.state.own, len(accepted)),
        ]
        for entry in accepted:
            parts += [struct.pack("<QIII", entry.index - 1, *entry.era, len(entry.data)), entry.data]
        parts.append(struct.pack("<I", len(self.learned)))
        for entry in self.learned:
            parts += [struct.pack("<QI", entry.index - 1, len(entry.data)), entry.data]
        return b"".join(parts)

    def _write(self, write: Write) -> None:
        for record in write.records:
            match record:
                case StateRecord(data):
                    self.state = paxos.decode_state(data)
                case Entry():
                    self.accepted[record.index] = record


class PaxosLab:
    """One run of a case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._cut = frozenset(case.partition)
        self._nodes = [LabNode(case, member) for member in range(case.nodes)]
        self._heap: list[tuple[int, int, int, int, Message]] = []
        self._sent = 0
        self._waiting: list[int] = []

    def run(self) -> None:
        """All ticks of the case."""
        case = self._case
        due = [(i + 1) * case.rounds // (case.proposals + 1) for i in range(case.proposals)]
        for now in range(case.rounds):
            self._waiting += [i for i, time in enumerate(due) if time == now]
            self._propose(now)
            self._deliver(now)
            for node in self._nodes:
                node.engine.tick(now)
                self._send(now, node)

    def dump(self) -> bytes:
        """The end state, byte for byte as the lab publishes it."""
        return MAGIC + struct.pack("<I", len(self._nodes)) + b"".join([node.dump() for node in self._nodes])

    def end_state(self) -> dict[str, object]:
        """The end state for people."""
        leader = self._leader()
        return {
            "leader": None if leader is None else leader.member,
            "nodes": [msgspec.to_builtins(_NodeEnd.of(node)) for node in self._nodes],
        }

    def _leader(self) -> LabNode | None:
        return next((node for node in self._nodes if node.engine.leading is not None), None)

    def _propose(self, now: int) -> None:
        leader = self._leader()
        if leader is None:
            return
        for number in self._waiting:
            proposal = Proposal(ProposalId(leader.member, 1, number + 1), b"val-%d" % number)
            taken = leader.engine.propose(now, [proposal])
            assert isinstance(taken, Taken)
            self._send(now, leader)
        self._waiting = []

    def _deliver(self, now: int) -> None:
        while self._heap and self._heap[0][0] <= now:
            _, sender, _, to, message = heapq.heappop(self._heap)
            if (sender, to) not in self._cut:
                self._nodes[to].engine.step(now, sender, message)
                self._send(now, self._nodes[to])

    def _send(self, now: int, node: LabNode) -> None:
        for send in node.settle(now):
            delay = 1 + sm(self._case.seed ^ node.member ^ send.to ^ self._sent) % 3
            heapq.heappush(self._heap, (now + delay, node.member, self._sent, send.to, send.message))
            self._sent += 1


class _NodeEnd(msgspec.Struct, frozen=True):
    member: int
    role: str
    promised: Era
    own: Era
    leader: int | None
    accepted: int
    learned: int

    @classmethod
    def of(cls, node: LabNode) -> _NodeEnd:
        status: Status = node.engine.status()
        state = node.state
        return cls(
            status.member, status.role, state.promised, state.own, status.leader, len(node.accepted), len(node.learned)
        )


def run_paxos(case: Case) -> PaxosLab:
    """Run a case to its end."""
    lab = PaxosLab(case)
    lab.run()
    return lab
