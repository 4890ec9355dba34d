"""Whole nodes around a heap of events: real planner, real engine, simulated disks, perfect links with a filter.

Small on purpose: what the simulator proves with chance, these tests show one claim at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count

from ratified.consensus.contract import Limits, Membership
from ratified.consensus.engines import ENGINES
from ratified.machine import StateMachine, StateMachineStore, Store
from ratified.node.boot import boot
from ratified.node.config import NodeConfig, NodeLimits
from ratified.node.node import Node
from ratified.node.ports import (
    Connected,
    Disconnected,
    Input,
    JobDone,
    Notice,
    Outcome,
    Outputs,
    Received,
    Reply,
    Request,
    Work,
)
from ratified.sim.disk import Disk
from ratified.storage.files import Job, perform
from ratified.storage.format import LogLimits
from ratified.storage.identity import Identity, create
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.peer import Batch, Frame

MS = 1000
SECOND = 1_000_000
DISK_US = 300
NET_US = 500


class Journal(StateMachine):
    """Remembers every command, in order; ``boom`` cannot be applied."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def apply(self, command: bytes) -> bytes:
        if command == b"boom":
            raise ZeroDivisionError("boom was applied")
        self.commands.append(command)
        return b"%d" % len(self.commands)

    def query(self, request: bytes) -> bytes:
        if request == b"boom":
            raise KeyError("boom was asked for")
        return b",".join(self.commands)

    def snapshot(self) -> bytes:
        return b"\n".join(self.commands)

    def restore(self, snapshot: bytes) -> None:
        self.commands = snapshot.split(b"\n")


class Process:
    """One node with its disk and what is under way around it."""

    def __init__(self, member: int) -> None:
        self.member = member
        self.disk = Disk()
        self.environment = MemoryEnvironment()
        self.node: Node | None = None
        self.generation = 0
        self.starts = 0
        self.stores: dict[int, Store] = {}
        self.notices: list[Notice] = []
        self.jobs_held: list[Job] | None = None
        self.turn_at: int | None = None
        self.stopped = False


class Link:
    """One connection, seen from both ends."""

    def __init__(self, number: int, low: int, high: int) -> None:
        self.number = number
        self.ends = (low, high)
        self.open = True

    def other(self, member: int) -> int:
        return self.ends[1] if member == self.ends[0] else self.ends[0]


OpenStore = Callable[[int, int], Store]
Drop = Callable[[int, int, int, object], bool]


def journal(member: int, group: int) -> Store:
    return StateMachineStore(Journal())


class Cluster:
    def __init__(
        self,
        size: int = 3,
        groups: Sequence[int] = (0,),
        open_store: OpenStore = journal,
        limits: NodeLimits | None = None,
        engine_limits: Limits | None = None,
        inputs_max: int = 64,
    ) -> None:
        self.now = 0
        self.members = tuple(range(1, size + 1))
        self.processes = {member: Process(member) for member in self.members}
        self.replies: dict[int, list[Reply]] = {}
        self.answered_at: dict[int, int] = {}
        self.sent: list[tuple[int, int, int, object]] = []
        self.frames: list[tuple[int, int, Frame]] = []
        self.drop: Drop = lambda sender, to, group, message: False
        self.cuts: set[frozenset[int]] = set()
        self.inputs_max = inputs_max
        self._open_store = open_store
        self._limits = limits or NodeLimits()
        self._engine_limits = engine_limits or Limits()
        self._log_limits = LogLimits(segment_bytes=1 << 16)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = count()
        self._tokens = count(1)
        self._link_numbers = count(1)
        self._links: dict[int, Link] = {}
        for process in self.processes.values():
            identity = Identity(7, process.member, bytes([process.member]) * 16, "raft")
            create(process.disk, identity, {group: Membership(self.members) for group in groups}, self._log_limits)
        for member in self.members:
            self.start(member)

    # ---- processes

    def config(self, member: int) -> NodeConfig:
        process = self.processes[member]
        return NodeConfig(
            cluster=7,
            member=member,
            name=f"n{member}",
            directory=bytes([member]) * 16,
            start=1000 * member + process.starts,
            seed=1,
            engine=ENGINES["raft"],
            peers=self.members,
            client_urls=(f"http://n{member}",),
            heartbeat_us=10 * MS,
            election_timeout_us=100 * MS,
            limits=self._limits,
            log_limits=self._log_limits,
            engine_limits=self._engine_limits,
        )

    def start(self, member: int) -> Node:
        process = self.processes[member]
        process.starts += 1
        process.stopped = False
        process.stores = {}

        def open_store(group: int, space: object) -> Store:
            process.stores[group] = self._open_store(member, group)
            return process.stores[group]

        process.node = boot(self.now, process.disk, self.config(member), process.environment, open_store)
        self.wake(member)
        self._dial_all(member)
        return process.node

    def kill(self, member: int) -> None:
        process = self.processes[member]
        process.node = None
        process.generation += 1
        process.turn_at = None
        process.jobs_held = None
        for link in list(self._links.values()):
            if member in link.ends:
                self._break(link)

    def node(self, member: int) -> Node:
        node = self.processes[member].node
        assert node is not None
        return node

    def machine(self, member: int, group: int = 0) -> Journal:
        store = self.processes[member].stores[group]
        assert isinstance(store, StateMachineStore)
        machine = store._machine
        assert isinstance(machine, Journal)
        return machine

    def leader(self, group: int = 0) -> int:
        """The member that serves in the latest era."""
        serving = [
            (status.era, status.member)
            for status in (
                process.node.status().groups[group].engine
                for process in self.processes.values()
                if process.node is not None and process.node.status().groups[group].stopped is None
            )
            if status.leader == status.member and status.serving
        ]
        return max(serving)[1] if serving else 0

    def elect(self, group: int = 0) -> int:
        self.run_until(lambda: self.leader(group) != 0)
        return self.leader(group)

    def follower(self) -> int:
        return next(member for member in self.members if member != self.leader())

    def hold_disk(self, member: int) -> None:
        self.processes[member].jobs_held = []

    def release_disk(self, member: int) -> None:
        process = self.processes[member]
        held, process.jobs_held = process.jobs_held or [], None
        for job in held:
            self._carry_out(process, job)

    # ---- clients

    def submit(
        self, member: int, data: bytes, work: Work = Work.PROPOSE, timeout_us: int = SECOND, group: int = 0
    ) -> int:
        token = next(self._tokens)
        self.replies[token] = []
        self.offer(member, Request(token, group, work, data, self.now + timeout_us))
        return token

    def outcome(self, token: int) -> Reply:
        """Run until the request has ended."""
        self.run_until(lambda: self.ended(token))
        return self.replies[token][-1]

    def ended(self, token: int) -> bool:
        return bool(self.replies[token]) and self.replies[token][-1].outcome is not Outcome.CHUNK

    def propose(self, member: int, data: bytes, timeout_us: int = SECOND) -> Reply:
        return self.outcome(self.submit(member, data, Work.PROPOSE, timeout_us))

    def offer(self, member: int, entered: Input) -> None:
        self.node(member).offer(entered)
        self.wake(member)

    # ---- network

    def cut(self, one: int, other: int) -> None:
        self.cuts.add(frozenset((one, other)))
        for link in list(self._links.values()):
            if set(link.ends) == {one, other}:
                self._break(link)

    def isolate(self, member: int) -> None:
        for other in self.members:
            if other != member:
                self.cut(member, other)

    def heal(self) -> None:
        self.cuts.clear()
        for member in self.members:
            self._dial_all(member)

    def reconnect(self, one: int, other: int) -> None:
        """Break the present connection of two and make a new one."""
        self.cut(one, other)
        self.cuts.clear()
        self._dial_all(one)
        self._dial_all(other)

    def _dial_all(self, member: int) -> None:
        for other, process in self.processes.items():
            if other == member or process.node is None or self.processes[member].node is None:
                continue
            low, high = min(member, other), max(member, other)
            if frozenset((low, high)) in self.cuts or any(
                set(link.ends) == {low, high} for link in self._links.values()
            ):
                continue
            link = Link(next(self._link_numbers), low, high)
            self._links[link.number] = link
            self.offer(low, Connected(link.number, high))
            self.offer(high, Connected(link.number, None))

    def _break(self, link: Link) -> None:
        link.open = False
        self._links.pop(link.number, None)
        for end in link.ends:
            if self.processes[end].node is not None:
                self.offer(end, Disconnected(link.number))

    def _transmit(self, sender: int, link: Link, frame: Frame) -> None:
        receiver = link.other(sender)
        self.frames.append((sender, receiver, frame))
        if isinstance(frame, Batch):
            passed = []
            for group, message in frame.messages:
                self.sent.append((sender, receiver, group, message))
                if not self.drop(sender, receiver, group, message):
                    passed.append((group, message))
            if not passed:
                return
            frame = Batch(passed)
        arriving = Received(link.number, frame)
        generation = self.processes[receiver].generation

        def arrive() -> None:
            process = self.processes[receiver]
            if link.open and process.node is not None and process.generation == generation:
                self.offer(receiver, arriving)

        self.at(self.now + NET_US, arrive)

    # ---- time

    def at(self, time: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._sequence), action))

    def wake(self, member: int, time: int | None = None) -> None:
        """Let the node take a turn at ``time``, or now."""
        process = self.processes[member]
        time = self.now if time is None else max(time, self.now)
        if process.turn_at is not None and process.turn_at <= time:
            return
        process.turn_at = time
        generation = process.generation

        def take() -> None:
            if process.generation == generation and process.turn_at == time:
                process.turn_at = None
                self._turn(process)

        self.at(time, take)

    def run_until(self, done: Callable[[], bool], within_us: int = 20 * SECOND) -> None:
        end = self.now + within_us
        while not done():
            assert self._events, "nothing is left to happen"
            time, _, action = heapq.heappop(self._events)
            assert time <= end, f"did not happen within {within_us} us"
            self.now = time
            action()

    def run(self, for_us: int) -> None:
        end = self.now + for_us
        while self._events and self._events[0][0] <= end:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = end

    def _turn(self, process: Process) -> None:
        node = process.node
        if node is not None:
            self._carry(process, node.turn(self.now, self.inputs_max))

    def _carry(self, process: Process, outputs: Outputs) -> None:
        for job in outputs.jobs:
            if process.jobs_held is not None:
                process.jobs_held.append(job)
            else:
                self._carry_out(process, job)
        for outgoing in outputs.frames:
            link = self._links.get(outgoing.connection)
            if link is not None:
                self._transmit(process.member, link, outgoing.frame)
        for reply in outputs.replies:
            self.replies[reply.token].append(reply)
            self.answered_at[reply.token] = self.now
        process.notices += outputs.notices
        process.stopped = outputs.stopped
        for hangup in outputs.closes:
            link = self._links.pop(hangup.connection, None)
            if link is not None:
                self.at(self.now + 2 * NET_US, lambda link=link: self._break(link))  # type: ignore[misc]
        if outputs.more:
            self.wake(process.member)
        elif outputs.deadline is not None:
            self.wake(process.member, outputs.deadline)

    def _carry_out(self, process: Process, job: Job) -> None:
        generation = process.generation

        def finish() -> None:
            if process.generation == generation:
                results = [perform(process.disk, op) for op in job.ops]
                self.offer(process.member, JobDone(job.id, results))

        self.at(self.now + DISK_US, finish)
