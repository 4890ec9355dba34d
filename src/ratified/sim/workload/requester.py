"""One client's way to the nodes: one request under way, on a drawn node, under a token of its own.

A token's upper half is the number of the client that asked (0: the register clients together), its lower half is the
client's own.
"""

from __future__ import annotations

from collections.abc import Callable

from ratified.node.ports import Cancel, GoOn, Hold, Outcome, Reply, Request, Work
from ratified.sim.cluster import Cluster
from ratified.sim.world import Concern, Draws

NUMBER_SHIFT = 32
COMPACTIONS = 1 << 31
"""Added to a token: a compaction, whose answer nobody waits for."""


class Requester:
    """``ended`` is called with how each request ended and all parts of its answer; ``got``, if there is one, takes the
    parts of an answer that come before its end."""

    def __init__(
        self,
        number: int,
        group: int,
        cluster: Cluster,
        ended: Callable[[Outcome, list[bytes]], None],
        got: Callable[[bytes], None] | None = None,
    ) -> None:
        self.number = number
        self.draws = Draws(cluster.world.seed, Concern.CLIENT, number)
        self.token = number << NUMBER_SHIFT
        """Of the request under way, or the last one."""
        self.open = False
        self.stopped = False
        self._group = group
        self._world = cluster.world
        self._cluster = cluster
        self._machines = cluster.machines
        self._machine = cluster.machines[cluster.members[0]]
        self._parts: list[bytes] = []
        self._got = got if got is not None else self._keep
        self._ended = ended
        self._aside: dict[int, Callable[[bytes], None]] = {}
        """By token, who takes the answer of a request that was asked beside the one under way."""

    @property
    def member(self) -> int:
        """Whom the request was asked of."""
        return self._machine.member

    def find_process(self) -> bool:
        """Draw a node to ask; False: no process runs there."""
        self._machine = self._machines[self.draws.pick(self._cluster.members)]
        return self._machine.up

    def ask(self, work: Work, data: bytes, timeout_us: int) -> None:
        """Ask the node that was found."""
        self.token += 1
        self.open = True
        self._parts = []
        self.ask_aside(self.token, work, data, timeout_us)

    def ask_aside(
        self, token: int, work: Work, data: bytes, timeout_us: int, got: Callable[[bytes], None] | None = None
    ) -> None:
        """Ask the same node for something else; nobody waits for the answer, and ``got`` takes it if it comes before
        the end of the request under way."""
        if got is not None:
            self._aside[token] = got
        self._machine.offer(Request(token, self._group, work, data, self._world.now + timeout_us))

    def hold(self) -> None:
        """Take no further part of the answer for now."""
        self._machine.offer(Hold((self.token,)))

    def go_on(self) -> None:
        self._machine.offer(GoOn((self.token,)))

    def cancel(self) -> None:
        self._machine.offer(Cancel(self.token))

    def stop(self) -> None:
        """Ask for nothing further; what is under way may end."""
        self.stopped = True

    def leave(self) -> None:
        """Wait for nothing any more either."""
        self.stop()
        if self.open:
            self.cancel()
            self.open = False

    def later(self, most_us: int, action: Callable[[], None]) -> None:
        """Act in a drawn time, unless this client has stopped by then."""
        delay = 1 + self.draws.below(most_us)
        self._world.at(self._world.now + delay, self.number, self.number, self._act, action)

    def _act(self, action: Callable[[], None]) -> None:
        if not self.stopped:
            action()

    def replied(self, reply: Reply) -> None:
        """A node replied; what nobody waits for any more is dropped."""
        if not self.open:
            return
        if reply.token != self.token:
            if reply.outcome is Outcome.CHUNK and reply.token in self._aside:
                self._aside.pop(reply.token)(reply.data)
        elif reply.outcome is Outcome.CHUNK:
            self._got(reply.data)
        else:
            if reply.data:
                self._parts.append(reply.data)
            self.end(reply.outcome)

    def process_gone(self, member: int) -> None:
        if self.open and self.member == member:
            self.end(Outcome.UNKNOWN)

    def give_up_after(self, time_us: int) -> None:
        """Wait no longer than that for the request under way."""
        self._world.at(self._world.now + time_us, self.number, self.number, self.give_up, self.token)

    def give_up(self, token: int) -> None:
        """Wait no longer for the request with this token."""
        if self.open and token == self.token:
            self.end(Outcome.UNKNOWN)

    def end(self, outcome: Outcome) -> None:
        self.open = False
        self._aside.clear()
        self._ended(outcome, self._parts)

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
