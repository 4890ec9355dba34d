"""Clients whose puts go together, as one command, and whose gets go together, as one query.

Each has keys of its own. It puts all of them at a time, with one value, and reads them at once: what it reads was put
together, at revisions that follow each other, by its last write that was answered, or by one of unknown outcome.
"""

from __future__ import annotations

from ratified.check.violation import Violation
from ratified.kv import commands, queries
from ratified.kv.encoding import revision_of
from ratified.kv.plain import split_answers
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.answers import Answers
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import Requester
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import PutRequest, RangeRequest, RangeResponse

KEYS_MOST = 12
_WORKS = (Work.PROPOSE, Work.READ, Work.READ_LOCAL)


class Together:
    """One client."""

    def __init__(self, number: int, group: int, cluster: Cluster, answers: Answers) -> None:
        self.requester = Requester(number, group, cluster, self._ended)
        self._counters = cluster.world.counters
        self._answers = answers
        self._timeout_us = cluster.options.election_timeout_us
        self._keys = [b"p%d/%02d" % (number, each) for each in range(2 + self.requester.draws.below(KEYS_MOST - 1))]
        self._work = Work.PROPOSE
        self._floor = 0
        self._answered: bytes | None = None
        """The value of its last write that was answered; None: there was none."""
        self._unknown: dict[bytes, None] = {}
        """Values that may be written, or may still come."""

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process():
            self._later()
            return
        self._work = _WORKS[requester.draws.below(len(_WORKS))]
        self._floor = 0 if self._work is Work.READ_LOCAL else self._answers.revisions.highest
        requester.ask(self._work, self._asks(), self._timeout_us)
        # A process that does not even refuse is given up a while after the deadline it was given.
        requester.give_up_after(2 * self._timeout_us)

    def stop(self) -> None:
        self.requester.stop()

    def waiting(self) -> str | None:
        return None

    @property
    def _value(self) -> bytes:
        """Of the request under way, if it is a write."""
        return b"%d" % self.requester.token

    def _asks(self) -> bytes:
        if self._work is not Work.PROPOSE:
            asked = [RangeRequest(key=key, serializable=self._work is Work.READ_LOCAL) for key in self._keys]
            return queries.gets([queries.range_(each.SerializeToString()) for each in asked])
        value = b"%d" % (self.requester.token + 1)
        return commands.puts([commands.put(PutRequest(key=key, value=value).SerializeToString()) for key in self._keys])

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        if self._work is Work.PROPOSE and outcome is Outcome.UNKNOWN:
            self._unknown[self._value] = None
        elif outcome is Outcome.DONE:
            answer = b"".join(parts)
            body_of(answer)
            if self._work is Work.PROPOSE:
                self._written(revision_of(answer))
            else:
                self._read([RangeResponse.FromString(each) for each in split_answers(answer)])
        self._later()

    def _written(self, first: int) -> None:
        self._answered = self._value
        who = f"client {self.requester.number}, request {self.requester.token}"
        for revision in range(first, first + len(self._keys)):
            self._answers.revisions.answered(self._floor, revision, True, f"{who}, put {revision - first}")
        self._counters["puts together"] += len(self._keys)

    def _read(self, answers: list[RangeResponse]) -> None:
        """There may be too much to answer all."""
        revision = answers[0].header.revision
        self._counters["gets together"] += len(answers)
        if self._work is Work.READ:
            who = f"client {self.requester.number}, request {self.requester.token}"
            self._answers.revisions.answered(self._floor, revision, False, who)
        pairs = [answer.kvs[0] if answer.kvs else None for answer in answers]
        first = pairs[0]
        if first is None:
            if any(pair is not None for pair in pairs) or (self._work is Work.READ and self._answered is not None):
                raise self._broken(f"the first of its keys is not there, of {pairs}")
            return
        for number, (key, pair) in enumerate(zip(self._keys, pairs, strict=False)):
            if pair is None or (pair.key, pair.value, pair.mod_revision) != (
                key,
                first.value,
                first.mod_revision + number,
            ):
                raise self._broken(f"{key!r} was not put together with the first of its keys: {pairs}")
        self._is_of_late(first)

    def _is_of_late(self, pair: KeyValue) -> None:
        if self._work is Work.READ and pair.value != self._answered and pair.value not in self._unknown:
            raise self._broken(f"{pair} was read, and {self._answered!r} was answered last")

    def _broken(self, seen: str) -> Violation:
        return Violation("puts together", f"client {self.requester.number}: {seen}")

    def _later(self) -> None:
        self.requester.later(self._timeout_us // 8, self.act)
