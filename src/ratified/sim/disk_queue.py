"""What a machine's disk has been given to do.

Operations complete one at a time, in the order given out, each as an event: a kill may fall between any two, and into a
write, of which then a first part has got there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ratified.node.ports import JobDone
from ratified.sim.checkers import Checkers
from ratified.sim.disk import Disk
from ratified.sim.options import DiskOptions
from ratified.sim.world import Concern, Draws, World
from ratified.storage.files import Job, Op, Remove, SyncData, WriteAt, perform
from ratified.storage.format import SECTOR, segment_number


class DiskQueue:
    """The jobs of the process that runs."""

    def __init__(self, member: int, disk: Disk, options: DiskOptions, world: World, checkers: Checkers) -> None:
        self.options = options
        self.jobs: deque[Job] = deque()
        self.done: Callable[[JobDone], None] = lambda done: None
        """Called with every job that is carried out."""
        self._member = member
        self._disk = disk
        self._world = world
        self._checkers = checkers
        self._draws = Draws(world.seed, Concern.DISK, member)
        self._results: list[bytes | None] = []
        """Of the first job, so far."""
        self._process = 0
        self._hangs = False
        self._completes = False
        """An operation would have completed if the disk did not hang."""

    def give(self, job: Job) -> None:
        self.jobs.append(job)
        if len(self.jobs) == 1:
            self._begin_operation()

    def hang(self) -> None:
        """From now on nothing completes."""
        self._hangs = True

    @property
    def hangs(self) -> bool:
        return self._hangs

    def go_on(self) -> None:
        """After ``hang``."""
        self._hangs = False
        if self._completes:
            self._completes = False
            self._complete(self._process)

    def interrupt(self) -> bool:
        """The process is gone, and with it what it gave out; True where that cut a write of the log short."""
        torn = bool(self.jobs) and self._tear(self.jobs[0].ops[len(self._results)])
        self.jobs.clear()
        self._results = []
        self._process += 1
        self._completes = False
        return torn

    def _tear(self, op: Op) -> bool:
        if not isinstance(op, WriteAt):
            return False
        whole = len(op.data) // SECTOR
        sectors = self._draws.below(whole + 1)
        self._disk.kill(op, sectors)
        if sectors == whole:
            self._checkers.written(self._member, op)
        elif sectors:
            self._world.counters["writes torn"] += 1
        return True

    def _begin_operation(self) -> None:
        delay = self._duration(self.jobs[0].ops[len(self._results)])
        self._world.at(self._world.now + delay, self._member, self._member, self._complete, self._process)

    def _complete(self, process: int) -> None:
        if process != self._process:
            return
        if self._hangs:
            self._completes = True
            return
        job, results = self.jobs[0], self._results
        op = job.ops[len(results)]
        results.append(perform(self._disk, op))
        if isinstance(op, WriteAt) and segment_number(op.file) is not None:
            self._checkers.written(self._member, op)
        elif isinstance(op, SyncData):
            self._checkers.synced(self._member, op.file)
            self._world.counters["syncs"] += 1
        elif isinstance(op, Remove):
            self._world.counters["segments removed"] += 1
        if len(results) == len(job.ops):
            self.jobs.popleft()
            self._results = []
            self.done(JobDone(job.id, results))
        if self.jobs:
            self._begin_operation()

    def _duration(self, op: Op) -> int:
        options = self.options
        if not isinstance(op, SyncData):
            return 1 + self._draws.below(options.operation_most_us)
        if self._draws.chance(options.slow_sync_chance):
            self._world.counters["slow syncs"] += 1
            return self._draws.between(options.sync_least_us, options.slow_sync_most_us)
        return self._draws.between(options.sync_least_us, options.sync_most_us)
