"""Clients that hold keys under a lease, keep it alive for a while, and then watch them go.

A lease lives its full time after it was granted or last kept alive, by its grantor's clock (all clocks of this world go
alike). So whoever learns that it is gone, from whatever answer, may not learn so earlier than that after the last
grant or keep-alive that was answered was asked for. A lease's keys come in one transaction and go in one revision: they
are seen together, or not at all.
"""

from __future__ import annotations

from enum import Enum

from ratified.check.violation import Violation
from ratified.kv import commands, queries
from ratified.machine import Continuation
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import Requester
from ratified.wire.etcd.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
)

SECOND_US = 1_000_000
KEYS = 3
"""Of each lease."""


class _Step(Enum):
    GRANT = "grant"
    PUT = "put"
    KEEP = "keep alive"
    LOOK = "look"


class LeaseHolder:
    """One client; one lease after the other."""

    def __init__(self, number: int, group: int, cluster: Cluster) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._world = cluster.world
        self._machine = cluster.machines[cluster.members[0]]
        self._group = group
        self._timeout_us = cluster.options.election_timeout_us
        self._asked_at = 0
        self._begin_lease()

    def _begin_lease(self) -> None:
        draws = self.requester.draws
        self._lease = 1 + draws.draw() % (2**62)
        self._ttl_s = 1 + draws.below(2)
        self._keeps = draws.below(6)
        self._step = _Step.GRANT
        self._alive_until = 0

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        self._asked_at = self._world.now
        requester.ask(*self._request(), self._timeout_us)
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        """Leases that nobody keeps alive any more, and that have not expired yet."""
        store = self._machine.stores.get(self._group)
        answer = b"" if store is None else _whole(store.read(self._world.now, queries.leases()))
        left = len(LeaseLeasesResponse.FromString(body_of(answer)).leases) if answer else 0
        return f"{left} leases have not expired in group {self._group}" if left else None

    def _request(self) -> tuple[Work, bytes]:
        prefix = b"lease-%d/" % self._lease
        match self._step:
            case _Step.GRANT:
                grant = LeaseGrantRequest(ID=self._lease, TTL=self._ttl_s)
                return Work.PROPOSE, commands.lease_grant(grant, self._lease, 1)
            case _Step.PUT:
                puts = [PutRequest(key=prefix + b"%d" % at, value=b"held", lease=self._lease) for at in range(KEYS)]
                transaction = TxnRequest(success=[RequestOp(request_put=put) for put in puts])
                return Work.PROPOSE, commands.txn(transaction.SerializeToString())
            case _Step.KEEP:
                return Work.ASK, queries.keep_alive(LeaseKeepAliveRequest(ID=self._lease).SerializeToString())
            case _Step.LOOK:
                held = RangeRequest(key=prefix, range_end=prefix + b"\xff")
                return Work.READ, queries.range_(held.SerializeToString())

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE:
            self._done(b"".join(parts))
        elif outcome is Outcome.UNKNOWN and self._step is _Step.GRANT:
            self._begin_lease()
        self._later()

    def _done(self, data: bytes) -> None:
        failed = data[0] != 0
        match self._step:
            case _Step.GRANT:
                self._world.counters["leases granted"] += 1
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
                self._world.counters["leases kept alive"] += 1
                self._lives()
                self._keeps -= 1
                if self._keeps <= 0:
                    self._step = _Step.LOOK
            case _Step.LOOK:
                if not failed:
                    self._looked(len(RangeResponse.FromString(data[1:]).kvs))

    def _looked(self, found: int) -> None:
        if found not in (0, KEYS):
            raise Violation("leases", f"group {self._group}: {found} of the {KEYS} keys of a lease were there")
        if not found:
            self._gone()

    def _lives(self) -> None:
        self._alive_until = self._asked_at + self._ttl_s * SECOND_US

    def _gone(self) -> None:
        """An answer says that the lease is gone."""
        if self._world.now < self._alive_until:
            raise Violation(
                "leases",
                f"group {self._group}: a lease of {self._ttl_s} s was gone {self._alive_until - self._world.now} us "
                "before its time",
            )
        self._world.counters["leases expired"] += 1
        self._begin_lease()

    def _later(self) -> None:
        self.requester.later(SECOND_US // 4, self.act)


def _whole(answer: bytes | Continuation) -> bytes:
    """All parts of an answer."""
    if isinstance(answer, bytes):
        return answer
    parts: list[bytes] = []
    finished = False
    while not finished:
        chunks, finished = answer.advance(0, 1, 1)
        parts += chunks
    return b"".join(parts)
