"""A node's turns, on an asyncio loop.

1. Whatever is offered in one pass of the loop goes into one turn, which the next pass runs: one batch for the log, one
   write per connection.
2. Between two turns the loop serves its sockets, however much work is left.
3. A turn takes so many inputs that it should last about ``TURN_US``; how many that is, is measured all the time.
4. Jobs leave first, so that the disk works while the rest is handed over; replies leave last, in a callback of their
   own: an exception in a caller's callback is the loop's to report, and disturbs neither the node nor another caller.
5. An exception out of a turn is a defect, or the store's environment has failed; either stops this node as a crash
   would.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter_ns

import lmdb
import msgspec

from ratified.node.node import Node
from ratified.node.ports import Input, Notice, Reply
from ratified.runtime.checkpoint import CheckpointLane
from ratified.runtime.clock import boottime_us
from ratified.runtime.disk import DiskThread
from ratified.runtime.transport import PeerTransport

TURN_US = 2_000
"""How long a turn should last."""
SLOW_APPLY_US = 100_000
"""As etcd counts a slow apply."""
TURN_CLASSES_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Up to how long the turns of a class last, by which they are counted; a last class has all that are longer."""


class TurnBudget:
    """How many inputs the next turn may take, from what inputs have cost so far."""

    INPUTS_MIN = 16
    INPUTS_MAX = 4096

    def __init__(self) -> None:
        self.inputs_max = 64
        # Decaying sums, not a mean of means: one completion may cause the work of hundreds of requests taken earlier.
        self._us = float(TURN_US)
        self._inputs = float(self.inputs_max)

    def spent(self, inputs: int, us: float) -> None:
        if not inputs:
            return
        self._us = self._us * 7 / 8 + us
        self._inputs = self._inputs * 7 / 8 + inputs
        affordable = int(TURN_US * self._inputs / max(self._us, 1.0))
        self.inputs_max = min(max(affordable, self.INPUTS_MIN), self.INPUTS_MAX)


class TurnCounters(msgspec.Struct):
    """What this loop has done since its start."""

    turns: int = 0
    inputs: int = 0
    jobs: int = 0
    busy_us: int = 0
    """Time spent in turns, hand-over of jobs and frames included."""
    slow_applies: int = 0
    """Turns of more than ``SLOW_APPLY_US`` in which entries were applied."""
    classes: list[int] = msgspec.field(default_factory=lambda: [0] * (len(TURN_CLASSES_MS) + 1))
    """Turns by how long they lasted, as ``TURN_CLASSES_MS`` says."""


class NodeLoop:
    """Runs ``node``'s turns on ``loop``.

    ``on_reply`` gets the replies one by one, ``on_crash`` the exception that ended a turn.
    """

    def __init__(
        self,
        node: Node,
        loop: asyncio.AbstractEventLoop,
        disk: DiskThread,
        checkpoints: CheckpointLane,
        peers: PeerTransport,
        *,
        on_reply: Callable[[Reply], None],
        on_notice: Callable[[Notice], None],
        on_stopped: Callable[[], None],
        on_removed: Callable[[], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self.counters = TurnCounters()
        self._node = node
        self._loop = loop
        self._disk = disk
        self._checkpoints = checkpoints
        self._peers = peers
        self._on_reply = on_reply
        self._on_notice = on_notice
        self._on_stopped = on_stopped
        self._on_removed = on_removed
        self._on_crash = on_crash
        self._budget = TurnBudget()
        self._offered = 0
        self._turn_due = False
        self._halted = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_deadline = 0
        self._replies: deque[Reply] = deque()

    @property
    def waiting(self) -> int:
        """Inputs that no turn has taken yet."""
        return self._offered

    def offer(self, item: Input) -> None:
        self._node.offer(item)
        self._offered += 1
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def offer_all(self, items: Sequence[Input]) -> None:
        for item in items:
            self.offer(item)

    def wake(self) -> None:
        """Run a turn soon, though nothing was offered."""
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def halt(self) -> None:
        """Run no further turn. Replies that a turn has given are still handed over."""
        self._halted = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._turn_due = False
        if self._halted:
            return
        began = perf_counter_ns()
        applied = self._node.applied_entries
        inputs = min(self._offered, self._budget.inputs_max)
        self._offered -= inputs
        try:
            more = self._take_turn()
        except lmdb.Error as error:  # the disk's doing: one clear line, and nothing for the loop to report
            self._on_crash(error)
            return
        except BaseException as error:
            self._on_crash(error)
            raise
        us = (perf_counter_ns() - began) // 1000
        if us > SLOW_APPLY_US and self._node.applied_entries != applied:
            self.counters.slow_applies += 1
        self._budget.spent(inputs, us)
        self.counters.turns += 1
        self.counters.inputs += inputs
        self.counters.busy_us += us
        self.counters.classes[bisect_left(TURN_CLASSES_MS, us / 1000)] += 1
        if more or self._offered:
            self.wake()

    def _take_turn(self) -> bool:
        outputs = self._node.turn(boottime_us(), self._budget.inputs_max)
        if outputs.jobs:
            self.counters.jobs += len(outputs.jobs)
            self._disk.submit(outputs.jobs)
        if outputs.checkpoint is not None:
            self._checkpoints.begin(outputs.checkpoint)
        if outputs.admitted:
            self._peers.admit(outputs.admitted)
        if outputs.peers is not None:
            self._peers.know(outputs.peers)
        if outputs.challenges:
            self._peers.challenge(outputs.challenges)
        if outputs.frames:
            self._peers.send(outputs.frames)
        for hangup in outputs.closes:
            self._peers.hang_up(hangup.connection, hangup.reason)
        if outputs.replies:
            if not self._replies:
                self._loop.call_soon(self._hand_over)
            self._replies.extend(outputs.replies)
        for notice in outputs.notices:
            self._on_notice(notice)
        if not self._offered:
            self._peers.resume_reading()
        self._arm(outputs.deadline)
        if outputs.removed:
            self._on_removed()
        if outputs.stopped:
            self._on_stopped()
        return outputs.more

    def _hand_over(self) -> None:
        replies = self._replies
        try:
            while replies:
                self._on_reply(replies.popleft())
        finally:
            if replies:
                self._loop.call_soon(self._hand_over)

    def _arm(self, deadline: int | None) -> None:
        """Have a timer that fires no later than ``deadline``; one that fires too early arms itself again."""
        if deadline is None or self._halted:
            return
        if self._timer is not None:
            if self._timer_deadline <= deadline:
                return
            self._timer.cancel()
        self._timer_deadline = deadline
        # The loop's clock counts from another moment and stands still in a suspended machine; after a resume the
        # timer is late at most by what was left of it, which the node takes like any late turn.
        # Whole milliseconds, as uvloop counts them: rounded up, so that it does not fire again and again just before.
        delay_ms = max(deadline - boottime_us() + 999, 0) // 1000
        self._timer = self._loop.call_later(delay_ms / 1000, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        deadline = self._node.deadline
        if deadline is None:
            return
        if deadline <= boottime_us():
            self.wake()
        else:
            self._arm(deadline)
