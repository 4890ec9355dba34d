"""The ZAB lab: ticks, a heap of messages, and the canonical dump ``DSEZAB01``.

In a tick: what is due is proposed at the leader of the latest epoch (then the lowest id), if there is one; every
message due is delivered, in the order (delivery time, sender, sequence); then the nodes tick in id order. The sessions
open in the node phase of tick 0, where every node starts its election, and never end: ``partition`` drops messages
inside them. ZAB asks for sessions that keep order, so a message whose delay would let it overtake an earlier one of
its pair arrives together with that. The disk is infinitely fast: after every input each write is reported durable.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Sequence

import msgspec

from ratified.consensus import zab
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
from ratified.consensus.zab.messages import Message
from ratified.lab.cases import Case
from ratified.lab.numbers import sm

HEARTBEAT_TICKS = 50
ELECTION_TICKS = 150
MAGIC = b"DSEZAB01"
_ROLES = {"looking": 0, "following": 1, "leading": 2}


class LabNode:
    """One engine, and its history as the engine asked for it to be written."""

    def __init__(self, case: Case, member: int) -> None:
        self.member = member
        self.history: list[Entry] = []
        self.state = zab.decode_state(b"")
        self._peers = [peer for peer in range(case.nodes) if peer != member]

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
        self.engine = zab.Engine(0, options, Durable(b"", Base(0, NO_ERA, membership)))

    def open_sessions(self, now: int) -> None:
        """One with each other node, for the whole run."""
        for peer in self._peers:
            self.engine.peer(now, peer, 1)

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

    def zxid(self, index: int) -> tuple[int, int]:
        """(epoch, counter) of the entry at ``index``, counted from its epoch's first entry; (0, 0) for none."""
        if index == 0:
            return 0, 0
        epoch = self.history[index - 1].era[0]
        first = next(entry.index for entry in self.history if entry.era[0] == epoch)
        return epoch, index - first + 1

    def _write(self, write: Write) -> None:
        for record in write.records:
            match record:
                case StateRecord(data):
                    self.state = zab.decode_state(data)
                case TruncateRecord(first):
                    del self.history[first - 1 :]
                case Entry():
                    assert record.index == len(self.history) + 1
                    self.history.append(record)


class ZabLab:
    """One run of a case."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._cut = frozenset(case.partition)
        self.nodes = [LabNode(case, member) for member in range(case.nodes)]
        self._heap: list[tuple[int, int, int, int, Message]] = []
        self._arrives: dict[tuple[int, int], int] = {}
        """When the latest message of each pair arrives; no later one arrives before it."""
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
            for node in self.nodes:
                if now == 0:
                    node.open_sessions(now)
                node.engine.tick(now)
                self._send(node, now)

    def dump(self) -> bytes:
        """The end state, byte for byte as the lab publishes it."""
        parts = [MAGIC, struct.pack("<I", len(self.nodes))]
        for node in self.nodes:
            status, state = node.engine.status(), node.state
            last, committed = node.zxid(len(node.history)), node.zxid(status.commit)
            head = (node.member, _ROLES[status.role], state.current_epoch, state.accepted_epoch)
            parts.append(struct.pack("<IBIIIIIII", *head, *last, *committed, len(node.history)))
            for entry in node.history:
                parts += [struct.pack("<III", *node.zxid(entry.index), len(entry.data)), entry.data]
        return b"".join(parts)

    def end_state(self) -> dict[str, object]:
        """The end state for people."""
        leader = self._leader()
        return {
            "leader": None if leader is None else leader.member,
            "nodes": [msgspec.to_builtins(_NodeEnd.of(node, node.engine.status())) for node in self.nodes],
        }

    def _leader(self) -> LabNode | None:
        leaders = [node for node in self.nodes if node.engine.leading is not None]
        return max(leaders, key=lambda node: (node.engine.leading, -node.member), default=None)

    def _propose(self, now: int) -> None:
        leader = self._leader()
        if leader is None:
            return
        for number in self._waiting:
            proposal = Proposal(ProposalId(leader.member, 1, number + 1), b"zab-%d" % number)
            taken = leader.engine.propose(now, [proposal])
            assert isinstance(taken, Taken)
            self._send(leader, now)
        self._waiting = []

    def _deliver(self, now: int) -> None:
        while self._heap and self._heap[0][0] <= now:
            _, sender, _, to, message = heapq.heappop(self._heap)
            if (sender, to) not in self._cut:
                self.nodes[to].engine.step(now, sender, message)
                self._send(self.nodes[to], now)

    def _send(self, node: LabNode, now: int) -> None:
        for send in node.settle(now):
            pair = (node.member, send.to)
            delay = 1 + sm(self._case.seed ^ node.member ^ send.to ^ self._sent) % 3
            self._arrives[pair] = max(now + delay, self._arrives.get(pair, 0))
            heapq.heappush(self._heap, (self._arrives[pair], node.member, self._sent, send.to, send.message))
            self._sent += 1


class _NodeEnd(msgspec.Struct, frozen=True):
    member: int
    role: str
    current_epoch: int
    accepted_epoch: int
    leader: int | None
    last: tuple[int, int]
    committed: tuple[int, int]

    @classmethod
    def of(cls, node: LabNode, status: Status) -> _NodeEnd:
        state = node.state
        last, committed = node.zxid(len(node.history)), node.zxid(status.commit)
        return cls(node.member, status.role, state.current_epoch, state.accepted_epoch, status.leader, last, committed)


def run_zab(case: Case) -> ZabLab:
    """Run a case to its end."""
    lab = ZabLab(case)
    lab.run()
    return lab
