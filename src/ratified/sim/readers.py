"""Clients that read all keys at once, linearizably or locally: long ranges, in slices, while others write."""

from __future__ import annotations

from collections import Counter

from ratified.check.revisions import Revisions
from ratified.check.states import States
from ratified.check.watches import Event
from ratified.kv import queries
from ratified.node.ports import Outcome, Reply, Request, Work
from ratified.sim.kv_words import body_of
from ratified.sim.process import Machine
from ratified.sim.world import Concern, Stream, World
from ratified.wire.etcd.rpc_pb2 import RangeRequest, RangeResponse

FIRST, END = b"k", b"l"
"""The keys of all register clients."""


class Reader:
    """One client; one read after the other, until it stops."""

    def __init__(
        self,
        number: int,
        token_first: int,
        world: World,
        machines: dict[int, Machine],
        group: int,
        revisions: Revisions,
        states: States,
        timeout_us: int,
        counters: Counter[str],
    ) -> None:
        self.number = number
        self.group = group
        self.token = token_first
        self.open = False
        self.stopping = False
        self._world = world
        self._machines = machines
        self._members = tuple(machines)
        self._machine = machines[self._members[0]]
        self._revisions = revisions
        self._states = states
        self._timeout_us = timeout_us
        self._counters = counters
        self._draws = Stream(world.seed, Concern.CLIENT, number)
        self._chunks: list[bytes] = []
        self._floor = 0

    def act(self) -> None:
        """Read, on a drawn node."""
        self._machine = self._machines[self._draws.pick(self._members)]
        if self.stopping or self.open:
            return
        if not self._machine.up:
            self._later()
            return
        self.token += 1
        self.open = True
        self._chunks = []
        locally = self._draws.chance(500_000)
        self._floor = 0 if locally else self._revisions.highest
        request = RangeRequest(key=FIRST, range_end=END, serializable=locally)
        work = Work.READ_LOCAL if locally else Work.READ
        deadline = self._world.now + self._timeout_us
        query = queries.range_(request.SerializeToString())
        self._machine.offer(Request(self.token, self.group, work, query, deadline))

    def replied(self, reply: Reply) -> None:
        """The node replied."""
        if reply.outcome is Outcome.CHUNK:
            self._chunks.append(reply.data)
            return
        self.open = False
        if reply.outcome is Outcome.DONE:
            response = RangeResponse.FromString(body_of(b"".join(self._chunks) + reply.data))
            pairs = [Event(pair.mod_revision, pair.key, pair.value) for pair in response.kvs]
            self._states.read(self._floor, response.header.revision, pairs)
            self._counters["whole reads"] += 1
            self._counters["whole reads in slices"] += len(self._chunks) > 1
        self._later()

    def process_gone(self, member: int) -> None:
        """The process on this member's machine is gone."""
        if self.open and self._machine.member == member:
            self.open = False
            self._later()

    def _later(self) -> None:
        delay = 1 + self._draws.below(self._timeout_us)
        self._world.at(self._world.now + delay, self.number, self.number, self.act)
