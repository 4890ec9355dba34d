"""A load for measuring: puts of equal size at fixed moments, asked of member after member."""

from __future__ import annotations

import msgspec

from ratified.kv import commands
from ratified.node.ports import Outcome, Reply, Request, Work
from ratified.sim.cluster import Cluster
from ratified.wire.etcd.rpc_pb2 import PutRequest

CLIENT = 1_000
"""The clients' id in the world, behind all members'."""
KEYS = 100
VALUE_BYTES = 256
TIMEOUT_US = 7_000_000
"""As a server gives its clients' requests."""


class Written(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An acknowledged write: when, and how long after it was asked for (microseconds)."""

    done_us: int
    latency_us: int


class Load:
    """All clients of a cluster of one group."""

    def __init__(self, cluster: Cluster, every_us: int, puts_at_once: int) -> None:
        self.open: dict[int, tuple[int, int, bytes]] = {}
        """By token: when it was asked for, of whom, and the command."""
        self.written: list[Written] = []
        self.unacknowledged = 0
        """Writes that ended in another way: refused, unknown, or with the process that had taken them."""
        self.avoided: int | None = None
        """Whom to ask no more; None: ask everybody."""
        self._world = cluster.world
        self._cluster = cluster
        self._machines = cluster.machines
        self._requests = cluster.checkers.requests[0]
        self._every_us = every_us
        self._puts_at_once = puts_at_once
        self._until_us = 0
        self._token_last = 0

    def begin(self, until_us: int) -> None:
        """Put, from now until then."""
        self._until_us = until_us
        self._act()

    def replied(self, member: int, reply: Reply) -> None:
        asked = self.open.pop(reply.token, None)
        if asked is None:
            return
        since_us, _, command = asked
        if reply.outcome is Outcome.DONE:
            self._requests.done(command)
            self.written.append(Written(self._world.now, self._world.now - since_us))
            return
        self.unacknowledged += 1
        if reply.outcome is Outcome.REFUSED:
            self._requests.refused(command)

    def process_gone(self, member: int) -> None:
        for token in [token for token, (_, asked, _) in self.open.items() if asked == member]:
            del self.open[token]
            self.unacknowledged += 1

    def _act(self) -> None:
        for _ in range(self._puts_at_once):
            self._put()
        if self._world.now + self._every_us < self._until_us:
            self._world.at(self._world.now + self._every_us, CLIENT, CLIENT, self._act)

    def _put(self) -> None:
        self._token_last += 1
        token = self._token_last
        members = [member for member in self._cluster.members if member != self.avoided]
        machine = self._machines[members[token % len(members)]]
        value = (b"%d " % token).ljust(VALUE_BYTES, b".")
        command = commands.put(PutRequest(key=b"k%02d" % (token % KEYS), value=value).SerializeToString())
        self._requests.requested(command)
        self.open[token] = (self._world.now, machine.member, command)
        machine.offer(Request(token, 0, Work.PROPOSE, command, self._world.now + TIMEOUT_US))
