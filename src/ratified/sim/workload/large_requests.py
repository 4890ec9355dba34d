"""A client of few bytes and much work: long transactions, counts at old revisions, answers that are too large.

None of it changes anything, but for one large value; and whatever is asked, no turn of a node is long, and what would
be too large is refused as such.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ratified.check.violation import Violation
from ratified.kv import commands, queries
from ratified.kv.cost import TXN_RESPONSE_BYTES_MAX
from ratified.kv.encoding import failure, response
from ratified.kv.errors import EtcdError
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload import batch_writer
from ratified.sim.workload.answers import BATCH_KEYS, Answers
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import Requester
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)

_LARGE = b"large"
_LARGE_BYTES = 100_000
_ABSENT = b"nobody puts this"
_COMPARES = 4
_COUNTS = 4
_OPERATIONS = 1 + TXN_RESPONSE_BYTES_MAX // _LARGE_BYTES
"""As many answers with the large value are too large together."""
_NOTHING = RequestOp(request_delete_range=DeleteRangeRequest(key=_ABSENT))
"""Makes a transaction one that writes."""


class _Question(NamedTuple):
    work: Work
    request: bytes
    answered: Callable[[bytes], None]


class LargeRequests:
    """One client; ``large``: the large value may be sent."""

    def __init__(self, number: int, group: int, cluster: Cluster, answers: Answers, *, large: bool) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._counters = cluster.world.counters
        self._answers = answers
        self._timeout_us = cluster.options.election_timeout_us
        self._kinds = [self._long_comparison, self._long_read, self._old_count, *([self._too_large] if large else [])]
        self._answered: Callable[[bytes], None]
        self._is_large_put = False

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        work, request, self._answered = self._kinds[requester.draws.below(len(self._kinds))]()
        requester.ask(work, request, self._timeout_us)
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if outcome is Outcome.DONE:
            self._answered(b"".join(parts))
        self._later()

    def _later(self) -> None:
        self.requester.later(2 * self._timeout_us, self.act)

    # -- what is asked, and what is answered ----------------------------------------------------------------------

    def _long_comparison(self) -> _Question:
        """Holds for every pair, so it looks at all of them, again and again."""
        first, end = batch_writer.FIRST, batch_writer.END
        holds = Compare(key=first, range_end=end, target=Compare.VERSION, result=Compare.GREATER, version=0)
        transaction = TxnRequest(compare=[holds] * _COMPARES, success=[_NOTHING], failure=[_NOTHING])
        return _Question(Work.PROPOSE, commands.txn(transaction.SerializeToString()), self._compared)

    def _compared(self, answer: bytes) -> None:
        body_of(answer)
        self._counters["long comparisons"] += 1

    def _long_read(self) -> _Question:
        count = RequestOp(request_range=_batches(limit=1, sort_order=RangeRequest.DESCEND))
        transaction = TxnRequest(success=[count] * _COUNTS)
        return _Question(Work.READ, queries.txn(transaction.SerializeToString()), self._read)

    def _read(self, answer: bytes) -> None:
        counts = [each.response_range.count for each in TxnResponse.FromString(body_of(answer)).responses]
        if len(counts) != _COUNTS or counts != [counts[0]] * _COUNTS or counts[0] % BATCH_KEYS:
            raise Violation("answers", f"a transaction that only reads has counted the same keys as {counts}")
        self._counters["long transactions read"] += 1

    def _old_count(self) -> _Question:
        revision = 1 + self.requester.draws.below(self._answers.revisions.highest + 1)
        count = _batches(count_only=True, revision=revision)
        return _Question(Work.READ, queries.range_(count.SerializeToString()), self._counted)

    def _counted(self, answer: bytes) -> None:
        try:
            count = RangeResponse.FromString(response(answer)).count
        except EtcdError as error:
            if error.text not in (errors.COMPACTED.text, errors.FUTURE_REVISION.text):
                raise Violation("answers", f"a count at an old revision was answered with {error}") from error
            return
        if count % BATCH_KEYS:
            raise Violation("answers", f"at an old revision there were {count} keys, which is a part of a batch")
        self._counters["counts at old revisions"] += 1

    def _too_large(self) -> _Question:
        if not self._is_large_put:
            put = PutRequest(key=_LARGE, value=bytes(_LARGE_BYTES))
            return _Question(Work.PROPOSE, commands.put(put.SerializeToString()), self._put)
        get = RequestOp(request_range=RangeRequest(key=_LARGE))
        transaction = TxnRequest(success=[_NOTHING, *[get] * _OPERATIONS])
        return _Question(Work.PROPOSE, commands.txn(transaction.SerializeToString()), self._was_too_large)

    def _put(self, answer: bytes) -> None:
        body_of(answer)
        self._is_large_put = True

    def _was_too_large(self, answer: bytes) -> None:
        if answer != failure(EtcdError(*errors.REQUEST_TOO_LARGE)):
            raise Violation("answers", f"an answer of {_OPERATIONS * _LARGE_BYTES} bytes was not refused")
        self._counters["answers too large"] += 1


def _batches(**more: Any) -> RangeRequest:
    return RangeRequest(key=batch_writer.FIRST, range_end=batch_writer.END, **more)
