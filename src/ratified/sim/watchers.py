"""Clients that watch all keys of a group, on one node after the other, and go on from where they were.

A watch ends with its node, with its request, or because its client wants to be somewhere else; the next one begins at
the revision after the last one seen. Only a compaction may take revisions from it.
"""

from __future__ import annotations

from collections import Counter

from ratified.check.violation import Violation
from ratified.check.watches import Event, Watches
from ratified.kv import commands, queries
from ratified.node.ports import Cancel, Outcome, Reply, Request, Work
from ratified.sim.kv_words import body_of
from ratified.sim.process import Machine
from ratified.sim.world import Concern, Stream, World
from ratified.wire.etcd.kv_pb2 import Event as EventMessage
from ratified.wire.etcd.rpc_pb2 import CompactionRequest, WatchCreateRequest, WatchResponse

COMPACTIONS = 1 << 31
"""Added to a token: a request whose answer nobody waits for."""
COMPACTION_KEEPS = 10
ALL = b"\x00"
"""As first key and as end of a range: everything, in etcd's language."""


class Watcher:
    """One client."""

    def __init__(
        self,
        number: int,
        token_first: int,
        world: World,
        machines: dict[int, Machine],
        group: int,
        checks: Watches,
        move_most_us: int,
        counters: Counter[str],
    ) -> None:
        self.number = number
        self.seen: int | None = None
        """The last revision seen, or at which the first watch began; None: none has begun yet."""
        self.open = False
        self.compacting = True
        """Do compactions belong to what it does?"""
        self._token_first = token_first
        self._world = world
        self._machines = machines
        self._members = tuple(machines)
        self.group = group
        self._checks = checks
        self._move_most_us = move_most_us
        self._counters = counters
        self._draws = Stream(world.seed, Concern.CLIENT, number)
        self._machine = machines[self._members[0]]
        self._watches = 0

    @property
    def token(self) -> int:
        """The request under way; each watch has its own."""
        return self._token_first + self._watches

    def begin(self) -> None:
        """Watch, on a drawn node."""
        self._machine = self._machines[self._draws.pick(self._members)]
        if self.open or not self._machine.up:
            self._later()
            return
        self._watches += 1
        self.open = True
        self._counters["watches"] += 1
        request = WatchCreateRequest(key=ALL, range_end=ALL, start_revision=0 if self.seen is None else self.seen + 1)
        query = queries.watch(self.number, request.SerializeToString())
        deadline = self._world.now + self._move_most_us
        self._machine.offer(Request(self.token, self.group, Work.READ_LOCAL, query, deadline))
        delay = 1 + self._draws.below(self._move_most_us)
        self._world.at(self._world.now + delay, self.number, self._machine.member, self._move, self.token)

    def replied(self, reply: Reply) -> None:
        """The node replied to the watch under way."""
        if reply.outcome is Outcome.CHUNK:
            self._got(WatchResponse.FromString(body_of(reply.data)))
            return
        self._ended()

    def process_gone(self, member: int) -> None:
        """The process on this member's machine is gone."""
        if self.open and self._machine.member == member:
            self._ended()

    def _got(self, response: WatchResponse) -> None:
        revision = response.header.revision
        if response.canceled:
            if not response.compact_revision:
                raise Violation("watches", f"watch {self.number} was cancelled: {response.cancel_reason}")
            self._counters["watches compacted"] += 1
            self.seen = response.compact_revision - 1
        elif response.created:
            # Where the first watch begins: everything behind this revision must come.
            self.seen = revision if self.seen is None else self.seen
        else:
            assert self.seen is not None, "a watch says first that it was created"
            events = [
                Event(e.kv.mod_revision, e.kv.key, None if e.type == EventMessage.DELETE else e.kv.value)
                for e in response.events
            ]
            self._counters["watch events"] += len(events)
            self.seen = self._checks.responded(f"watch {self.number}", self.seen, events, revision)

    def _move(self, token: int) -> None:
        """Somewhere else, perhaps right back; sometimes with a compaction, so that others must look where they are."""
        if not self.open or token != self.token:
            return
        self._machine.offer(Cancel(token))
        if self.compacting and (self.seen or 0) > COMPACTION_KEEPS and self._draws.chance(200_000):
            request = CompactionRequest(revision=(self.seen or 0) - self._draws.below(COMPACTION_KEEPS))
            command = commands.compact(request.SerializeToString())
            deadline = self._world.now + self._move_most_us
            self._machine.offer(Request(self.token + COMPACTIONS, self.group, Work.PROPOSE, command, deadline))
        self._ended()

    def _ended(self) -> None:
        self.open = False
        self._later()

    def _later(self) -> None:
        delay = 1 + self._draws.below(self._move_most_us // 4)
        self._world.at(self._world.now + delay, self.number, self.number, self.begin)
