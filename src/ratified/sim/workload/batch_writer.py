"""Clients that fill a range of keys, batch by batch, and delete many batches at once: long commands, which others see
whole or not at all.
"""

from __future__ import annotations

from ratified.kv import commands
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.answers import BATCH_KEYS, Answers
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import COMPACTIONS, Requester
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)

FIRST, END = b"m", b"n"
"""All keys of all batches."""
BATCHES_MOST = 40
DELETED_AT_ONCE = 8
"""Batches that one delete removes at most: a watch sends all events of a revision in one turn."""


class BatchWriter:
    """One client. A batch of unknown outcome may come back after the delete; it is whole even so."""

    def __init__(self, number: int, group: int, cluster: Cluster, answers: Answers) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._counters = cluster.world.counters
        self._answers = answers
        self._timeout_us = cluster.options.election_timeout_us
        self._batches = 1 + self.requester.draws.below(BATCHES_MOST)
        self._written = 0
        self._deleted = 0
        """Batches in this turn of writing all, and then of deleting all."""
        self._floor = 0

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        self._floor = self._answers.revisions.highest
        requester.ask(Work.PROPOSE, self._command(), self._timeout_us)
        # A process that does not even refuse is given up a while after the deadline it was given.
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    def _command(self) -> bytes:
        if self._written == self._batches:
            first, end = (b"m%02d" % batch for batch in (self._deleted, self._deleted + DELETED_AT_ONCE))
            return commands.delete_range(DeleteRangeRequest(key=first, range_end=end).SerializeToString())
        value = b"%d" % self.requester.token
        puts = [
            RequestOp(request_put=PutRequest(key=b"m%02d/%d" % (self._written, number), value=value))
            for number in range(BATCH_KEYS)
        ]
        return commands.txn(TxnRequest(success=puts).SerializeToString())

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE:
            self._done(body_of(b"".join(parts)))
        self._later()

    def _done(self, body: bytes) -> None:
        who = f"batch writer {self.requester.number}, request {self.requester.token}"
        if self._written == self._batches:
            deleted = DeleteRangeResponse.FromString(body)
            revision = deleted.header.revision
            self._answers.batches.deleted(revision, deleted.deleted)
            self._answers.revisions.answered(self._floor, revision, deleted.deleted > 0, who)
            self._counters["ranges deleted"] += deleted.deleted > 0
            self._deleted += DELETED_AT_ONCE
            if self._deleted >= self._batches:
                self._written = self._deleted = 0
                self._compact(revision)
        else:
            revision = TxnResponse.FromString(body).header.revision
            self._answers.revisions.answered(self._floor, revision, True, who)
            self._written += 1

    def _compact(self, revision: int) -> None:
        """Many rows are there to be removed now; nobody waits for the answer."""
        if not self.requester.stopped:
            command = commands.compact(CompactionRequest(revision=revision).SerializeToString())
            self.requester.ask_aside(self.requester.token + COMPACTIONS, Work.PROPOSE, command, self._timeout_us)

    def _later(self) -> None:
        self.requester.later(self._timeout_us // 8, self.act)
