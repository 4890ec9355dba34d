"""Clients that hold a key under a lease, keep it alive for a while, and then watch it go.

A lease lives its full time after it was granted or last kept alive, by its grantor's clock (all clocks of this world go
alike). So whoever learns that it is gone, from whatever answer, may not learn so earlier than that after the last
grant or keep-alive that was answered was asked for.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from ratified.check.violation import Violation
from ratified.kv import commands, queries
from ratified.node.ports import Outcome, Reply, Request, Work
from ratified.sim.process import Machine
from ratified.sim.world import Concern, Stream, World
from ratified.wire.etcd.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    PutRequest,
    RangeRequest,
    RangeResponse,
)

SECOND_US = 1_000_000


class _Step(Enum):
    GRANT = "grant"
    PUT = "put"
    KEEP = "keep alive"
    LOOK = "look"


class Lessee:
    """One client; one lease after the other."""

    def __init__(
        self,
        number: int,
        token_first: int,
        world: World,
        machines: dict[int, Machine],
        group: int,
        timeout_us: int,
        counters: Counter[str],
    ) -> None:
        self.number = number
        self.group = group
        self.stopping = False
        self.token = token_first
        self.open = False
        self._world = world
        self._machines = machines
        self._members = tuple(machines)
        self._timeout_us = timeout_us
        self._counters = counters
        self._draws = Stream(world.seed, Concern.CLIENT, number)
        self._machine = machines[self._members[0]]
        self._asked_at = 0
        self._chunks: list[bytes] = []
        self._begin_lease()

    def _begin_lease(self) -> None:
        self._lease = 1 + self._draws.draw() % (2**62)
        self._ttl_s = 1 + self._draws.below(2)
        self._keeps = self._draws.below(6)
        self._step = _Step.GRANT
        self._alive_until = 0

    def act(self) -> None:
        """Take the next step, on a drawn node."""
        self._machine = self._machines[self._draws.pick(self._members)]
        if self.stopping or self.open:
            return
        if not self._machine.up:
            self._later()
            return
        self.token += 1
        self.open = True
        self._chunks = []
        self._asked_at = self._world.now
        work, data = self._request()
        deadline = self._world.now + self._timeout_us
        self._machine.offer(Request(self.token, self.group, work, data, deadline))
        self._world.at(deadline + self._timeout_us, self.number, self.number, self._give_up, self.token)

    def _request(self) -> tuple[Work, bytes]:
        key = b"lease-%d" % self._lease
        match self._step:
            case _Step.GRANT:
                grant = LeaseGrantRequest(ID=self._lease, TTL=self._ttl_s)
                return Work.PROPOSE, commands.lease_grant(grant, self._lease, 1)
            case _Step.PUT:
                put = PutRequest(key=key, value=b"held", lease=self._lease)
                return Work.PROPOSE, commands.put(put.SerializeToString())
            case _Step.KEEP:
                return Work.ASK, queries.keep_alive(LeaseKeepAliveRequest(ID=self._lease).SerializeToString())
            case _Step.LOOK:
                return Work.READ, queries.range_(RangeRequest(key=key).SerializeToString())

    def replied(self, reply: Reply) -> None:
        """The node replied."""
        if reply.outcome is Outcome.CHUNK:
            self._chunks.append(reply.data)
            return
        self.open = False
        if reply.outcome is Outcome.DONE:
            self._done(b"".join(self._chunks) + reply.data)
        elif reply.outcome is Outcome.UNKNOWN and self._step is _Step.GRANT:
            self._begin_lease()
        self._later()

    def _done(self, data: bytes) -> None:
        failed = data[0] != 0
        match self._step:
            case _Step.GRANT:
                self._counters["leases granted"] += 1
                self._lives()
                self._step = _Step.PUT
            case _Step.PUT:
                if failed:
                    self._gone()
                else:
                    self._step = _Step.KEEP
            case _Step.KEEP:
                # An error says nothing about the lease: another leader has begun.
                if failed:
                    return
                if LeaseKeepAliveResponse.FromString(data[1:]).TTL <= 0:
                    self._gone()
                    return
                self._counters["leases kept alive"] += 1
                self._lives()
                self._keeps -= 1
                if self._keeps <= 0:
                    self._step = _Step.LOOK
            case _Step.LOOK:
                if not failed and not RangeResponse.FromString(data[1:]).kvs:
                    self._gone()

    def _lives(self) -> None:
        self._alive_until = self._asked_at + self._ttl_s * SECOND_US

    def _gone(self) -> None:
        """An answer says that the lease is gone."""
        if self._world.now < self._alive_until:
            raise Violation(
                "leases",
                f"group {self.group}: a lease of {self._ttl_s} s was gone {self._alive_until - self._world.now} us "
                "before its time",
            )
        self._counters["leases expired"] += 1
        self._begin_lease()

    def process_gone(self, member: int) -> None:
        """The process on this member's machine is gone."""
        if self.open and self._machine.member == member:
            self._give_up(self.token)

    def _give_up(self, token: int) -> None:
        if self.open and token == self.token:
            self.open = False
            if self._step is _Step.GRANT:
                self._begin_lease()
            self._later()

    def _later(self) -> None:
        delay = 1 + self._draws.below(SECOND_US // 4)
        self._world.at(self._world.now + delay, self.number, self.number, self.act)
