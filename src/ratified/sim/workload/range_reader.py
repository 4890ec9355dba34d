"""Clients that read all keys of a kind at once, linearizably or locally: long ranges, in slices, while others write."""

from __future__ import annotations

from ratified.check.watches import Event
from ratified.kv import queries
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload import batch_writer
from ratified.sim.workload.answers import Answers
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import Requester
from ratified.wire.etcd.rpc_pb2 import RangeRequest, RangeResponse

REGISTERS = (b"k", b"l")
"""The keys of all register clients: first, and end."""
BATCHES = (batch_writer.FIRST, batch_writer.END)


class RangeReader:
    """One client; one read after the other, until it stops."""

    def __init__(self, number: int, group: int, cluster: Cluster, answers: Answers, *, lags: bool) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._counters = cluster.world.counters
        self._answers = answers
        self._timeout_us = cluster.options.election_timeout_us
        self._floor = 0
        self._range = REGISTERS
        self._lags = lags
        """Linearizable reads may be answered an earlier revision too, where what they show is as new as ever."""

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        locally = requester.draws.chance(500_000)
        self._floor = 0 if locally or self._lags else self._answers.revisions.highest
        self._range = BATCHES if requester.draws.chance(500_000) else REGISTERS
        request = RangeRequest(key=self._range[0], range_end=self._range[1], serializable=locally)
        work = Work.READ_LOCAL if locally else Work.READ
        requester.ask(work, queries.range_(request.SerializeToString()), self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE:
            response = RangeResponse.FromString(body_of(b"".join(parts)))
            pairs = [Event(pair.mod_revision, pair.key, pair.value) for pair in response.kvs]
            revision = response.header.revision
            if self._range is BATCHES:
                self._answers.batch_states.read(self._floor, revision, pairs)
                self._answers.batches.read(revision, pairs)
                self._counters["batches read"] += bool(pairs)
            else:
                self._answers.states.read(self._floor, revision, pairs)
            self._counters["range reads"] += 1
            self._counters["range reads in slices"] += len(parts) > 1
        self._later()

    def _later(self) -> None:
        self.requester.later(self._timeout_us, self.act)
