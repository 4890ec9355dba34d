"""The lane in which a machine's checkpoints are taken, beside its log's.

Each operation is an event: a kill may fall between any two, and into a write, of which then a first part has got there.
A copy fails where that is asked for, as on a disk without room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ratified.node.ports import CheckpointDone
from ratified.sim.disk import Disk
from ratified.sim.options import DiskOptions
from ratified.sim.world import Concern, Draws, World
from ratified.storage.checkpoint import discard
from ratified.storage.files import Op, WriteAt, perform
from ratified.storage.format import SECTOR


class CheckpointLane:
    """The checkpoint of the process that runs, if one is being taken."""

    def __init__(self, member: int, disk: Disk, options: DiskOptions, world: World) -> None:
        self.done: Callable[[CheckpointDone], None] = lambda done: None
        """Called with the end of each."""
        self._member = member
        self._disk = disk
        self._options = options
        self._world = world
        self._draws = Draws(world.seed, Concern.CHECKPOINT, member)
        self._ops: Iterator[Op] | None = None
        self._next: Op | None = None
        self._process = 0
        self._fails = False

    @property
    def is_busy(self) -> bool:
        return self._ops is not None

    def fail(self) -> None:
        """The next operation fails."""
        self._fails = True

    def mend(self) -> None:
        """After ``fail``."""
        self._fails = False

    def begin(self, ops: Iterator[Op]) -> None:
        self._ops = ops
        self._fetch()

    def interrupt(self) -> None:
        """The process is gone."""
        if self._next is not None:
            self._world.counters["checkpoints interrupted"] += 1
            if isinstance(self._next, WriteAt):
                self._disk.kill(self._next, self._draws.below(len(self._next.data) // SECTOR + 1))
        self._ops = self._next = None
        self._process += 1

    def _fetch(self) -> None:
        assert self._ops is not None, "a checkpoint is being taken"
        self._next = next(self._ops, None)
        if self._next is None:
            self._world.counters["checkpoints"] += 1
            self._end(CheckpointDone())
        else:
            delay = self._draws.between(1, self._options.sync_most_us)
            self._world.at(self._world.now + delay, self._member, self._member, self._complete, self._process)

    def _complete(self, process: int) -> None:
        if process != self._process:
            return
        assert self._next is not None, "an operation is under way"
        if self._fails:
            self._fails = False
            self._world.counters["checkpoints failed"] += 1
            discard(self._disk)
            self._end(CheckpointDone("No space left on device"))
            return
        perform(self._disk, self._next)
        self._fetch()

    def _end(self, done: CheckpointDone) -> None:
        self._ops = self._next = None
        self.done(done)
