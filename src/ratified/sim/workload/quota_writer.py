"""Clients of a store that may only grow so far: they fill it, and make room again when it is full.

As the server does, each put first asks the node how large its store is, and is refused where that is more than the
quota. Who is refused deletes all that it wrote, compacts, and waits until the nodes have room again. That they have it
soon, with nothing else to do, is judged when the world has healed: there each fills the store once more.
"""

from __future__ import annotations

from enum import Enum

from ratified.kv import commands, queries
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.options import QuotaOptions
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import Requester
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    StatusResponse,
)

FIRST, END = b"q", b"r"
"""All keys that these clients write."""
ROOM_TIMEOUTS = 10
"""Election timeouts after which a client deletes and compacts once more, while faults last."""


class _Step(Enum):
    LOOK = "look how large the store is"
    PUT = "put"
    DELETE = "delete all"
    COMPACT = "compact"
    WAIT = "wait for room"


class QuotaWriter:
    """One client; its keys are its own."""

    def __init__(self, number: int, group: int, cluster: Cluster, options: QuotaOptions) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._world = cluster.world
        self._machines = cluster.machines
        self._group = group
        self._options = options
        self._timeout_us = cluster.options.election_timeout_us
        self._step = _Step.LOOK
        self._revision = 0
        """Of the delete."""
        self._compacted_at = 0
        """When the store had nothing left to keep."""
        self._is_last = False
        """The world has healed: once more, and then no more."""

    def act(self) -> None:
        if self._step is _Step.WAIT and self._is_last:
            return  # waiting() looks
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        work = Work.READ_LOCAL if self._step in (_Step.LOOK, _Step.WAIT) else Work.PROPOSE
        requester.ask(work, self._request(), self._timeout_us)
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self._is_last = True
        if self.requester.open:
            self.requester.end(Outcome.UNKNOWN)
        self._step = _Step.LOOK

    def waiting(self) -> str | None:
        """Who has no room, although nothing is left that the store must keep."""
        if self._step is not _Step.WAIT:
            return f"the writer of group {self._group} that fills its store has yet to {self._step.value}"
        sizes = {member: self._size_bytes(member) for member in self._machines}
        full = {member: size for member, size in sizes.items() if size > self._options.quota_bytes}
        if not full:
            return None
        return (
            f"members have no room in group {self._group} below {self._options.quota_bytes} bytes, "
            f"{(self._world.now - self._compacted_at) / self._timeout_us:.1f} election timeouts after all was deleted "
            f"and compacted: {full}"
        )

    def _size_bytes(self, member: int) -> int:
        store = self._machines[member].stores.get(self._group)
        if store is None:
            return 0
        answer = store.read(self._world.now, queries.status())
        assert isinstance(answer, bytes), "the status is short"
        return StatusResponse.FromString(body_of(answer)).dbSize

    def _request(self) -> bytes:
        match self._step:
            case _Step.LOOK | _Step.WAIT:
                return queries.status()
            case _Step.PUT:
                key = FIRST + b"%d" % self.requester.token
                return commands.put(PutRequest(key=key, value=bytes(self._options.value_bytes)).SerializeToString())
            case _Step.DELETE:
                return commands.delete_range(DeleteRangeRequest(key=FIRST, range_end=END).SerializeToString())
            case _Step.COMPACT:
                return commands.compact(CompactionRequest(revision=self._revision).SerializeToString())

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE:
            self._done(b"".join(parts))
        self._later()

    def _done(self, answer: bytes) -> None:
        match self._step:
            case _Step.LOOK:
                self._step = _Step.PUT if self._has_room(answer) else _Step.DELETE
            case _Step.PUT:
                self._world.counters["puts into a store with room"] += 1
                self._step = _Step.LOOK
            case _Step.DELETE:
                self._world.counters["stores full"] += 1
                self._revision = DeleteRangeResponse.FromString(body_of(answer)).header.revision
                self._step = _Step.COMPACT
            case _Step.COMPACT:  # refused, if another client has compacted what is later
                self._compacted_at = self._world.now
                self._step = _Step.WAIT
            case _Step.WAIT if self._has_room(answer):
                self._world.counters["stores with room again"] += 1
                self._step = _Step.LOOK
            case _Step.WAIT if self._world.now > self._compacted_at + ROOM_TIMEOUTS * self._timeout_us:
                self._step = _Step.DELETE

    def _has_room(self, answer: bytes) -> bool:
        return StatusResponse.FromString(body_of(answer)).dbSize <= self._options.quota_bytes

    def _later(self) -> None:
        self.requester.later(self._timeout_us // 10, self.act)
