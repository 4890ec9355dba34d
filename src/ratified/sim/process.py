"""A simulated machine: a disk, a store's environment, and a process with a node on it.

Rules:

1. The process is the production node, booted from the disk as the server boots it, driven by turns whose size and
   moment are drawn.
2. Disk operations complete one at a time, in the order given out, each as an event: a kill may fall between any two,
   and into a write, of which then a first part has got there.
3. A *stop* lets the node end in order, and its store is synced. A *kill* keeps all that was written, on the disk and
   in the store. The *loss of the machine* keeps, drops or tears what was not synced, scrambles a store that was in use,
   and starts under another boot id. A *pause* stops turns and nothing else.
4. The commit of a turn's transaction is a point where the process may be killed, just before it or just behind it.
5. A process that stops for ever (damage, a fatal notice) ends the run, unless the run expects it.
"""

from __future__ import annotations

import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Protocol

import msgspec

from ratified.check.violation import Violation
from ratified.machine import Store
from ratified.node.node import Node
from ratified.node.ports import Close, Connected, Input, JobDone, Notice, Outputs, Received, Reply
from ratified.sim.checkers import Checkers
from ratified.sim.disk import Disk
from ratified.sim.network import Network
from ratified.sim.trace import Trace
from ratified.sim.world import Concern, Stream, World
from ratified.storage import guard
from ratified.storage.files import Job, Op, SyncData, WriteAt, perform
from ratified.storage.format import SECTOR, segment_number
from ratified.storage.guard import StoreMark
from ratified.storage.memory import MemoryEnvironment
from ratified.storage.space import Space


class Killed(BaseException):
    """The process was killed in the middle of a turn. Like a signal it is no error that code may handle."""


class CommitKill(Enum):
    """Where the next commit of a store's transaction kills the process."""

    BEFORE = "before"
    AFTER = "after"


class KillableEnvironment:
    """The store's environment as one process sees it: its commit may kill."""

    def __init__(self, environment: MemoryEnvironment) -> None:
        self._environment = environment
        self.kill: CommitKill | None = None

    def space(self, number: int) -> Space:
        """The environment's."""
        return self._environment.space(number)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """The environment's, and perhaps the process's last."""
        with self._environment.transaction():
            yield
            if self.kill is CommitKill.BEFORE:
                raise Killed
        if self.kill is CommitKill.AFTER:
            raise Killed

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """The environment's."""
        with self._environment.savepoint():
            yield

    def abandon(self) -> None:
        """The environment's."""
        self._environment.abandon()

    def close(self) -> None:
        """The environment's."""
        self._environment.close()


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast machines are; microseconds."""

    turn_most_us: int = 50
    """A turn begins at most so long after something asked for it."""
    turn_inputs: tuple[int, ...] = (1, 2, 5, 1_000)
    """How many inputs a turn may take: one of these, drawn for each."""
    operation_most_us: int = 100
    sync_least_us: int = 100
    sync_most_us: int = 3_000
    slow_sync_chance: int = 0
    """Millionths: a sync that takes up to ``slow_sync_most_us``."""
    slow_sync_most_us: int = 500_000


class Clients(Protocol):
    """Who gets the replies."""

    def replied(self, member: int, reply: Reply) -> None:
        """A node replied."""

    def process_gone(self, member: int) -> None:
        """All requests open on this member's process ended without a reply."""


OpenStore = Callable[[int, Space], Store]
Boot = Callable[["Machine", KillableEnvironment, OpenStore], Node]


class Machine:
    """One member's machine, with or without a running process."""

    def __init__(
        self,
        member: int,
        world: World,
        network: Network,
        checkers: Checkers,
        pace: Pace,
        boot: Boot,
        open_store: OpenStore,
        counters: Counter[str],
        trace: Trace,
    ) -> None:
        self.member = member
        self.disk = Disk()
        self.environment = MemoryEnvironment()
        self.boot_id = 1
        self.starts = 0
        self.node: Node | None = None
        self.stores: dict[int, Store] = {}
        self.killed = True
        """How the last process ended: killed, and not with its machine; nor in the middle of a write."""
        self.paused = False
        self.clients: Clients
        self.store_mark: StoreMark | None = None
        self._world = world
        self._network = network
        self._checkers = checkers
        self.pace = pace
        self._boot = boot
        self._open_store = open_store
        self._counters = counters
        self._trace = trace
        self._process: KillableEnvironment | None = None
        self._jobs: deque[tuple[Job, list[bytes | None]]] = deque()
        self._turn_wanted = False
        self._down_us = 0
        self._inode = 1
        self._armed: int | None = None
        self._deadline: int | None = None
        self._checked: dict[int, int] = {}
        self._turns = Stream(world.seed, Concern.TURN, member)
        self._disk_draws = Stream(world.seed, Concern.DISK, member)
        self._loss_draws = Stream(world.seed, Concern.MACHINE_LOSS, member)

    # -----------------------------------------------------------------------------------------------------------
    # Life and death

    @property
    def up(self) -> bool:
        """A process runs."""
        return self.node is not None

    def start(self) -> None:
        """Start a process, if none runs."""
        if self.node is not None:
            return
        self.starts += 1
        self._counters["process starts"] += 1
        self._guard_store()
        self._process = KillableEnvironment(self.environment)
        self.stores = {}
        try:
            self.node = self._boot(self, self._process, self._open)
        except Violation:
            raise
        except Exception as error:
            raise self._found(error) from error
        self._checked = {}
        self._trace.event(self._world.now, self.member, "started", start=self.starts)
        self._check_digests()
        self._network.machine_up(self.member)
        self._want_turn()

    def _guard_store(self) -> None:
        """As the server does: use the store only if it is the marked one of this boot, else begin an empty one."""
        present = StoreMark(b"%d" % self.boot_id, self.member, self._inode, clean=False)
        if guard.store_usable(self.store_mark, present) is not None:
            self._counters["stores begun anew"] += 1
            self._inode += 1
            self.environment = MemoryEnvironment()
        self.store_mark = StoreMark(present.boot_id, self.member, self._inode, clean=False)

    def kill(self) -> None:
        """SIGKILL: what was written stays, on the disk and in the store."""
        if self.node is None:
            return
        self._counters["kills"] += 1
        self._trace.event(self._world.now, self.member, "killed")
        self.killed = not self._interrupt_disk()
        self._process_ends(silent=False)
        self.environment.abandon()

    def stop(self, down_us: int) -> None:
        """SIGTERM: the node ends what is open and writes its mark; the process ends when it has, and starts again."""
        if self.node is not None:
            self._counters["stops"] += 1
            self._down_us = down_us
            self.offer(Close())

    def _stopped(self) -> None:
        """The node says that everything is durable and closed."""
        self._trace.event(self._world.now, self.member, "stopped")
        assert self._process is not None
        self._process.close()
        present = self.store_mark
        assert present is not None
        self.store_mark = StoreMark(present.boot_id, present.device, present.inode, clean=True)
        self.killed = True
        self._process_ends(silent=False)
        self._world.at(self._world.now + self._down_us, 0, self.member, self.start)

    def kill_at_commit(self, where: CommitKill, down_us: int) -> None:
        """Kill the process at the next commit of its store, and start it again so much later."""
        if self._process is not None:
            self._process.kill = where
            self._down_us = down_us

    def spare(self) -> None:
        """Do not kill the process at its next commit after all."""
        if self._process is not None:
            self._process.kill = None

    def lose(self) -> None:
        """The power is gone: of what was not synced anything may be lost, and the store cannot be trusted."""
        self._counters["machine losses"] += 1
        self._trace.event(self._world.now, self.member, "machine lost")
        self._interrupt_disk()
        self.killed = False
        if self.node is not None:
            self._process_ends(silent=True)
        self.environment.abandon()
        self.disk.lose_machine(self._loss_draws.below)
        if self.store_mark is not None and not self.store_mark.clean:
            self.environment.scramble(self._loss_draws.below)
        self.boot_id += 1

    def pause(self) -> None:
        """SIGSTOP: no turn runs; what arrives waits."""
        self.paused = True
        self._counters["pauses"] += 1
        self._trace.event(self._world.now, self.member, "paused")

    def resume(self) -> None:
        """SIGCONT."""
        if self.paused:
            self.paused = False
            self._trace.event(self._world.now, self.member, "resumed")
            if self.node is not None:
                self._turn_wanted = False
                self._want_turn()

    def _interrupt_disk(self) -> bool:
        """Drop what the disk has to do; True where it was in the middle of a write of the log."""
        if not self._jobs:
            return False
        job, results = self._jobs[0]
        op = job.ops[len(results)]
        self._jobs.clear()
        if not isinstance(op, WriteAt):
            return False
        sectors = self._disk_draws.below(len(op.data) // SECTOR + 1)
        self.disk.kill(op, sectors)
        if sectors == len(op.data) // SECTOR:
            self._checkers.written(self.member, op)
        elif sectors:
            self._counters["writes torn"] += 1
        return True

    def _process_ends(self, *, silent: bool) -> None:
        self.node = None
        self._process = None
        self.stores = {}
        self._turn_wanted = False
        self._armed = None
        self.paused = False
        self._jobs.clear()
        self._network.machine_down(self.member, silent=silent)
        self.clients.process_gone(self.member)

    def _found(self, error: Exception) -> Violation:
        """What is raised in a node's code is what this run has found."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Violation(
            "no node crashes",
            f"member {self.member}: {type(error).__name__}: {error} "
            f"(in {where.name}, {Path(where.filename).name}, line {where.lineno})",
        )

    def _open(self, group: int, space: Space) -> Store:
        store = self._open_store(group, space)
        self.stores[group] = store
        return store

    # -----------------------------------------------------------------------------------------------------------
    # Turns

    def offer(self, given: Input) -> None:
        """An input for the node, if one runs."""
        if self.node is not None:
            if isinstance(given, Received):
                self._checkers.arrives(self.member, given.frame)
            elif isinstance(given, Connected):
                self._checkers.connected(self.member, given.connection)
            self.node.offer(given)
            self._want_turn()

    def _want_turn(self) -> None:
        if not self._turn_wanted:
            self._turn_wanted = True
            delay = self._turns.below(self.pace.turn_most_us + 1)
            self._world.at(self._world.now + delay, self.member, self.member, self._turn, self.starts)

    def _turn(self, start: int) -> None:
        node = self.node
        if node is None or start != self.starts or self.paused:
            return
        self._turn_wanted = False
        self._counters["turns"] += 1
        try:
            outputs = node.turn(self._world.now, self._turns.pick(self.pace.turn_inputs))
        except Violation:
            raise
        except Exception as error:
            raise self._found(error) from error
        except Killed:
            self._counters["kills at a commit"] += 1
            self.kill()
            self._world.at(self._world.now + self._down_us, 0, self.member, self.start)
            return
        self._check_digests()
        self._carry_out(outputs)

    def _carry_out(self, outputs: Outputs) -> None:
        member = self.member
        for job in outputs.jobs:
            self._give_to_disk(job)
        for outgoing in outputs.frames:
            target = self._network.peer_of(member, outgoing.connection)
            if target is not None:
                self._checkers.leaves(member, outgoing.connection, target, outgoing.frame)
                self._network.send(member, outgoing.connection, outgoing.frame)
        for hangup in outputs.closes:
            self._network.hang_up(member, hangup.connection)
        for reply in outputs.replies:
            self.clients.replied(member, reply)
        for notice in outputs.notices:
            self._noticed(notice)
        if outputs.stopped:
            self._stopped()
            return
        if outputs.more:
            self._want_turn()
        self._arm(outputs.deadline)

    def _noticed(self, notice: Notice) -> None:
        self._counters["notices"] += 1
        self._trace.event(self._world.now, self.member, "notice", text=notice.text)
        if notice.fatal:
            raise Violation("no node stops by itself", f"member {self.member}: {notice.text}")

    def _arm(self, deadline: int | None) -> None:
        self._deadline = deadline
        if deadline is None or (self._armed is not None and self._armed <= deadline):
            return
        self._armed = max(deadline, self._world.now)
        self._world.at(self._armed, self.member, self.member, self._ring, self.starts, self._armed)

    def _ring(self, start: int, armed: int) -> None:
        if self.node is None or start != self.starts or armed != self._armed:
            return
        self._armed = None
        if self._deadline is not None and self._deadline > self._world.now:
            self._arm(self._deadline)
        elif self._deadline is not None:
            self._want_turn()

    def _check_digests(self) -> None:
        for group, store in self.stores.items():
            applied = store.applied
            if self._checked.get(group) != applied:
                self._checked[group] = applied
                self._checkers.digest(self.member, group, applied, store.digest())

    # -----------------------------------------------------------------------------------------------------------
    # The disk

    def _give_to_disk(self, job: Job) -> None:
        self._jobs.append((job, []))
        if len(self._jobs) == 1:
            self._next_operation()

    def _next_operation(self) -> None:
        job, results = self._jobs[0]
        delay = self._duration(job.ops[len(results)])
        self._world.at(self._world.now + delay, self.member, self.member, self._operated, self.starts)

    def _operated(self, start: int) -> None:
        if self.node is None or start != self.starts:
            return
        job, results = self._jobs[0]
        op = job.ops[len(results)]
        results.append(perform(self.disk, op))
        if isinstance(op, WriteAt) and segment_number(op.file) is not None:
            self._checkers.written(self.member, op)
        elif isinstance(op, SyncData):
            self._checkers.synced(self.member, op.file)
            self._counters["syncs"] += 1
        if len(results) == len(job.ops):
            self._jobs.popleft()
            self.offer(JobDone(job.id, results))
            if not self._jobs:
                return
        self._next_operation()

    def _duration(self, op: Op) -> int:
        pace = self.pace
        if not isinstance(op, SyncData):
            return 1 + self._disk_draws.below(pace.operation_most_us)
        if self._disk_draws.chance(pace.slow_sync_chance):
            self._counters["slow syncs"] += 1
            return self._disk_draws.between(pace.sync_least_us, pace.slow_sync_most_us)
        return self._disk_draws.between(pace.sync_least_us, pace.sync_most_us)
