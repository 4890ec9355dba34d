"""Whole nodes by hand: the simulator's cluster in an orderly world, with equal delays everywhere and a filter on the
links.

What the simulator proves with chance, these tests show one claim at a time; its checks watch here too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count

import msgspec

from ratified.consensus.contract import Era, LeaseKind, Limits
from ratified.kv.limits import KvLimits
from ratified.machine import Command, Result, StateMachine, StateMachineStore, Store
from ratified.node.config import NodeConfig, NodeLimits
from ratified.node.node import Node
from ratified.node.ports import Input, Outcome, Reply, Request, Work
from ratified.sim.cluster import Cluster as SimulatedCluster
from ratified.sim.limits import SystemLimits
from ratified.sim.options import ClusterOptions, DiskOptions, NetworkOptions, ProcessOptions
from ratified.sim.world import World
from ratified.storage.files import Job
from ratified.storage.format import LogLimits
from ratified.storage.space import Space
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

    def restore(self, pieces: Iterable[bytes]) -> None:
        self.commands = b"".join(pieces).split(b"\n")


OpenStore = Callable[[int, int], Store]
Drop = Callable[[int, int, int, object], bool]


def journal(member: int, group: int) -> Store:
    return StateMachineStore(Journal())


class DurableStore(StateMachineStore):
    """A journal whose commands are rows of its space."""

    def __init__(self, space: Space) -> None:
        machine = Journal()
        machine.commands = [value for _, value in space.scan("journal", b"", None)]
        super().__init__(machine)
        self._space = space
        applied = space.get("meta", b"applied")
        if applied is not None:
            self._applied, *era = struct.unpack("<QQQ", applied)
            self._applied_era = (era[0], era[1])

    @property
    def durable(self) -> tuple[int, Era]:
        return self._applied, self._applied_era

    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        for command in commands:
            self._space.put("journal", b"%020d" % command.index, command.data)
        self._space.put("meta", b"applied", struct.pack("<QQQ", last_index, *era))
        return super().apply(commands, last_index, era)

    def _restore(self, snapshot: bytes, index: int, era: Era) -> None:
        super()._restore(snapshot, index, era)
        for key, _ in list(self._space.scan("journal", b"", None)):
            self._space.delete("journal", key)
        machine = self._machine
        assert isinstance(machine, Journal)
        for number, command in enumerate(machine.commands):
            self._space.put("journal", b"%020d" % number, command)
        self._space.put("meta", b"applied", struct.pack("<QQQ", index, *era))


class Cluster:
    def __init__(
        self,
        size: int = 3,
        groups: Sequence[int] = (0,),
        open_store: OpenStore = journal,
        limits: NodeLimits | None = None,
        engine_limits: Limits | None = None,
        inputs_max: int = 64,
        engine: str = "raft",
        durable: bool | Callable[[Space], Store] = False,
        client_urls: Mapping[int, tuple[str, ...]] | None = None,
        spares: int = 0,
        priorities: Mapping[int, int] | None = None,
        log_lease_us: int = 0,
    ) -> None:
        """``spares``: how many may join, once somebody has added them."""
        durably = DurableStore if isinstance(durable, bool) else durable
        self.replies: dict[int, list[Reply]] = {}
        self.answered_at: dict[int, int] = {}
        self.sent: list[tuple[int, int, int, object]] = []
        self.frames: list[tuple[int, int, Frame]] = []
        self.drop: Drop = lambda sender, to, group, message: False
        self._tokens = count(1)
        self._cuts: set[tuple[int, int]] = set()
        self._world = World(1, orderly=True)
        options = ClusterOptions(
            engine=engine,
            nodes=size,
            groups=len(groups),
            heartbeat_us=10 * MS,
            election_timeout_us=100 * MS,
            client_urls=client_urls or {},
            spares=spares,
            priorities=priorities or {},
            read_lease_us=log_lease_us,
            read_lease_kind=LeaseKind.LOG,
            limits=SystemLimits(
                engine=engine_limits or Limits(),
                node=limits or NodeLimits(),
                log=LogLimits(segment_bytes=1 << 16 if not durable else 1 << 12),
                kv=KvLimits(),
            ),
            open_store=lambda member, group, space: durably(space) if durable else open_store(member, group),
            process=ProcessOptions(turn_most_us=0, turn_inputs=(inputs_max,)),
            disk=DiskOptions(operation_most_us=1, sync_least_us=DISK_US, sync_most_us=DISK_US),
            network=NetworkOptions(
                latency_least_us=NET_US, latency_most_us=NET_US, redial_least_us=MS, redial_most_us=MS
            ),
        )
        cluster = SimulatedCluster(options, self._world, self._carry)
        self._network = cluster.network
        self.members = cluster.members
        self.processes = cluster.machines
        cluster.start(self)

    @property
    def now(self) -> int:
        return self._world.now

    # ---- processes

    def start(self, member: int) -> Node:
        self.processes[member].start()
        return self.node(member)

    def kill(self, member: int) -> None:
        self.processes[member].kill()
        self.release_disk(member)

    def node(self, member: int) -> Node:
        node = self.processes[member].node
        assert node is not None
        return node

    def config(self, member: int) -> NodeConfig:
        return self.node(member).config

    def machine(self, member: int, group: int = 0) -> Journal:
        store = self.processes[member].stores[group]
        assert isinstance(store, StateMachineStore)
        machine = store._machine
        assert isinstance(machine, Journal)
        return machine

    def leader(self, group: int = 0) -> int:
        """The member that serves in the latest era."""
        statuses = [machine.node.status().groups[group] for machine in self.processes.values() if machine.node]
        serving = [
            (status.engine.era, status.engine.member)
            for status in statuses
            if status.stopped is None and status.engine.leader == status.engine.member and status.engine.serving
        ]
        return max(serving)[1] if serving else 0

    def elect(self, group: int = 0) -> int:
        self.run_until(lambda: self.leader(group) != 0)
        return self.leader(group)

    def follower(self) -> int:
        return next(member for member in self.members if member != self.leader())

    def hold_disk(self, member: int) -> None:
        self.processes[member].disk_queue.hang()

    def release_disk(self, member: int) -> None:
        self.processes[member].disk_queue.go_on()

    def jobs(self, member: int) -> Sequence[Job]:
        """What the member's disk has still to do."""
        return tuple(self.processes[member].disk_queue.jobs)

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
        self.processes[member].offer(entered)

    def replied(self, member: int, reply: Reply) -> None:
        self.replies[reply.token].append(reply)
        self.answered_at[reply.token] = self.now

    def process_gone(self, member: int) -> None:
        """What was open gets no reply."""

    # ---- network

    def isolate(self, member: int) -> None:
        for other in self.members:
            if other != member:
                self._cut(member, other)
        self._network.break_all(member)

    def part(self, one: int, other: int) -> None:
        """Cut the link between these two, and break their connection."""
        self._cut(one, other)
        self._network.break_between(one, other)

    def _cut(self, one: int, other: int) -> None:
        for link in ((one, other), (other, one)):
            self._cuts.add(link)
            self._network.cut(*link)

    def heal(self, *members: int) -> None:
        """Mend what is cut between these members; without any, everything."""
        for link in sorted(self._cuts):
            if not members or (link[0] in members and link[1] in members):
                self._network.heal(*link)
                self._cuts.discard(link)

    def slow_down(self, bytes_per_second: int) -> None:
        """From now on every link carries no more, in each direction."""
        self._network.options = msgspec.structs.replace(self._network.options, bytes_per_second=bytes_per_second)

    def reconnect(self, one: int, other: int) -> None:
        """Break the present connection of two; the network makes a new one."""
        self._network.break_between(one, other)

    def _carry(self, sender: int, receiver: int, frame: Frame) -> Frame | None:
        self.frames.append((sender, receiver, frame))
        if not isinstance(frame, Batch):
            return frame
        passed = []
        for group, message in frame.messages:
            self.sent.append((sender, receiver, group, message))
            if not self.drop(sender, receiver, group, message):
                passed.append((group, message))
        return Batch(passed) if passed else None

    # ---- time

    def run_until(self, done: Callable[[], bool], within_us: int = 20 * SECOND) -> None:
        end = self.now + within_us
        while not done():
            assert self.now <= end, f"did not happen within {within_us} us"
            self._world.step()

    def run(self, for_us: int) -> None:
        self._world.run(self.now + for_us)
