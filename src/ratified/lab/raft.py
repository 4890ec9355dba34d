"""The Raft lab: ticks, a heap of messages, and the canonical dump ``DSERAFT1``.

In a tick: what is due is proposed at the leader of the highest term (then the lowest id), if there is one; every
message due is delivered, in the order (delivery time, sender, sequence); then the nodes tick in id order. The disk is
infinitely fast: after every input each write is reported durable at once, which is the finest way to cut turns.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Sequence

import msgspec

from ratified.consensus import raft
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
    TruncateRecord,
    Write,
)
from ratified.consensus.raft.messages import Message
from ratified.lab.cases import Case
from ratified.lab.numbers import sm

HEARTBEAT_TICKS = 50
ELECTION_TICKS = 150
MAGIC = b"DSERAFT1"
_ROLES = {"follower": 0, "candidate": 1, "leader": 2}


class LabNode:
    """One engine, and its log as the engine asked for it to be written."""

    def __init__(self, case: Case, member: int) -> None:
        self.member = member
        self.log: list[Entry] = []
        self.state = raft.decode_state(b"")

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
        self.engine = raft.Engine(0, options, Durable(b"", Base(0, NO_ERA, membership)))

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
                self.engine.applied(now, ready.deliver[-1].index)
        return sent

    def _write(self, write: Write) -> None:
        for record in write.records:
            match record:
                case StateRecord(data):
                    self.state = raft.decode_state(data)
                case TruncateRecord(first):
                    del self.log[first - 1 :]
                case Entry():
                    assert record.index == len(self.log) + 1
                    self.log.append(record)


class RaftLab:
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
        parts = [MAGIC, struct.pack("<I", len(self._nodes))]
        for node in self._nodes:
            status = node.engine.status()
            voted_for = -1 if node.state.voted_for is None else node.state.voted_for
            head = (node.member, node.state.term, voted_for, _ROLES[status.role], status.commit, len(node.log))
            parts.append(struct.pack("<IQqBQI", *head))
            for entry in node.log:
                parts += [struct.pack("<QI", entry.era[0], len(entry.data)), entry.data]
        return b"".join(parts)

    def end_state(self) -> dict[str, object]:
        """The end state for people."""
        leader = self._leader()
        return {
            "leader": None if leader is None else leader.member,
            "nodes": [msgspec.to_builtins(_NodeEnd.of(node.engine.status())) for node in self._nodes],
        }

    def _leader(self) -> LabNode | None:
        leaders = [node for node in self._nodes if node.engine.leading is not None]
        return max(leaders, key=lambda node: (node.engine.leading, -node.member), default=None)

    def _propose(self, now: int) -> None:
        leader = self._leader()
        if leader is None:
            return
        for number in self._waiting:
            proposal = Proposal(ProposalId(leader.member, 1, number + 1), b"cmd-%d" % number)
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
            delay = 1 + sm(self._case.seed ^ node.member ^ send.to ^ now) % 3
            heapq.heappush(self._heap, (now + delay, node.member, self._sent, send.to, send.message))
            self._sent += 1


class _NodeEnd(msgspec.Struct, frozen=True):
    member: int
    role: str
    term: int
    leader: int | None
    commit: int
    last: int

    @classmethod
    def of(cls, status: Status) -> _NodeEnd:
        return cls(status.member, status.role, status.era[0], status.leader, status.commit, status.last)


def run_raft(case: Case) -> RaftLab:
    """Run a case to its end."""
    lab = RaftLab(case)
    lab.run()
    return lab
