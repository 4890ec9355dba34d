"""A cluster of the lab, on any engine: ticks, a heap of messages, disks that take no time.

In a tick every message that is due is delivered, in the order (delivery time, sender, sequence), and then the nodes
tick in the order of their ids. After every input its writes are durable, and what waited for them leaves. A node that
is down keeps its log and nothing else; a message whose session has ended is lost.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Container, Sequence
from functools import partial
from itertools import combinations
from typing import Any, Protocol, TypeAlias

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    ElectionDeadline,
    Engine,
    Entry,
    Kind,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Refused,
    Send,
    SnapshotTo,
    Taken,
)
from ratified.consensus.driver import Driver, DurableLog, Input, Ports
from ratified.consensus.engines import EngineRow

HEARTBEAT_TICKS = 50

Arrival: TypeAlias = Callable[[int, int, int, int], int]
"""When a message arrives: (now, sender, target, sequence) -> tick, later than now."""


def textbook(member: int, seed: int, election_deadline: ElectionDeadline, election_ticks_max: int) -> Options:
    """The lab's profile: the paper's algorithm, its times in ticks."""
    return Options(
        member=member,
        seed=seed,
        election_deadline=election_deadline,
        election_timeout_max_us=election_ticks_max,
        election_timeout_min_us=election_ticks_max,
        heartbeat_us=HEARTBEAT_TICKS,
    ).textbook()


class Snapshots(Protocol):
    """How states travel."""

    def send(self, sender: int, asked: SnapshotTo) -> None:
        """``sender`` is to send its state to a node that lacks what is gone from its log."""

    def install(self, member: int, base: Base) -> None:
        """``member``'s log begins behind ``base``: its store is to be switched."""


class LabCluster:
    """All nodes, and the messages between them. At first every node is up and has a session with each other."""

    def __init__(
        self,
        row: EngineRow,
        options: Sequence[Options],
        arrival: Arrival,
        apply: Callable[[int, Sequence[Entry]], None] = lambda node, entries: None,
        *,
        voters: int | None = None,
        snapshots: Snapshots | None = None,
    ) -> None:
        """``voters``: so many of the nodes are members at first (None: all); the others join when they are asked in."""
        self.now = 0
        self._snapshots = snapshots
        self._arrival = arrival
        self._apply = apply
        self._heap: list[tuple[int, int, int, Send, int]] = []
        """(delivery time, sender, sequence, message, session)."""
        self._sent = 0
        self._sessions_opened = 0
        members = Membership(tuple(each.member for each in options[:voters]))
        self.nodes = [
            Driver(row.textbook, each, DurableLog(_base(members, each.member)), self._ports(each.member))
            for each in options
        ]
        for node in self.nodes:
            node.start(0)
        self.connect(lambda a, b: True)

    def _ports(self, member: int) -> Ports:
        send, deliver = partial(self._send, member), partial(self._deliver, member)
        if self._snapshots is None:
            return Ports(send=send, deliver=deliver)
        snapshot_to, install = partial(self._snapshots.send, member), partial(self._snapshots.install, member)
        return Ports(send=send, deliver=deliver, snapshot_to=snapshot_to, install=install)

    def connect(self, wanted: Callable[[int, int], bool]) -> None:
        """Open a session on every wanted link that has none and both of whose ends are up."""
        for a, b in combinations(range(len(self.nodes)), 2):
            up = self.nodes[a].up and self.nodes[b].up
            if up and b not in self.nodes[a].sessions and wanted(a, b):
                self._sessions_opened += 1
                self.nodes[a].connect(b, self._sessions_opened)
                self.nodes[b].connect(a, self._sessions_opened)

    def disconnect(self, unwanted: Callable[[int, int], bool]) -> None:
        """End the sessions of these links; what is under way there is lost."""
        for a, node in enumerate(self.nodes):
            for b in [peer for peer in node.sessions if unwanted(a, peer)]:
                node.connect(b, None)

    def propose(self, member: int, sequence: int, data: bytes, kind: Kind = Kind.COMMAND) -> Taken | Refused:
        """Propose one command there, or a change of the members, the ``sequence``-th proposal of all."""
        proposal = Proposal(ProposalId(member, 1, sequence), data, kind)
        answer = self.nodes[member].engine.propose(self.now, [proposal])
        self.nodes[member].settle(self.now)
        return answer

    def tick(self, dropped: Container[tuple[int, int]] = ()) -> None:
        """Play this tick; the next one begins. Messages of the (sender, target)s in ``dropped`` are lost when due."""
        while self._heap and self._heap[0][0] <= self.now:
            _, sender, _, send, session = heapq.heappop(self._heap)
            if (sender, send.to) not in dropped and self.nodes[send.to].sessions.get(sender) == session:
                self.feed(send.to, partial(_step, sender, send.message))
        for member, node in enumerate(self.nodes):
            if node.up:
                self.feed(member, lambda engine, now: engine.tick(now))
        self.now += 1

    def feed(self, member: int, action: Input) -> None:
        """An input, and all that it leaves to do."""
        self.nodes[member].feed(action)
        self.nodes[member].settle(self.now)

    def _deliver(self, member: int, entries: Sequence[Entry]) -> int:
        self._apply(member, entries)
        return entries[-1].index

    def _send(self, sender: int, send: Send, session: int | None) -> None:
        if session is not None:
            arrival = self._arrival(self.now, sender, send.to, self._sent)
            heapq.heappush(self._heap, (arrival, sender, self._sent, send, session))
            self._sent += 1


def _base(members: Membership, member: int) -> Base:
    """Where a log begins: one that joins knows nobody who votes."""
    return Base(0, NO_ERA, members if member in members.voters else Membership(()))


def _step(sender: int, message: Any, engine: Engine, now: int) -> None:
    engine.step(now, sender, message)
