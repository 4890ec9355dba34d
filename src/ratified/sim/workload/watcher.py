"""Clients that watch all keys of a group, on one node after the other, and go on from where they were.

A watch ends with its node, with its request, or because its client wants to be somewhere else; the next one begins at
the revision after the last one seen. Only a compaction may take revisions from it.

Beside its watch a client asks again and again how far its stream has come; what it is told, it must have seen. Now and
then it takes nothing for a while: the events wait on the node, and the answers must wait behind them.
"""

from __future__ import annotations

from functools import partial
from itertools import count

from ratified.check.violation import Violation
from ratified.check.watches import Event
from ratified.kv import commands, queries
from ratified.node.ports import Outcome, Work
from ratified.sim.cluster import Cluster
from ratified.sim.workload.answers import Answers
from ratified.sim.workload.kv_api import body_of
from ratified.sim.workload.requester import COMPACTIONS, Requester
from ratified.wire.etcd.kv_pb2 import Event as EventMessage
from ratified.wire.etcd.rpc_pb2 import CompactionRequest, WatchCreateRequest, WatchResponse

PROGRESS = 1 << 30
"""Added to the tokens of requests for progress, which are counted on from there."""
ASKS_A_MOVE = 10
"""How often a client asks for progress, at least, in the longest time that it may stay where it is."""
COMPACTION_KEEPS = 10
MOVE_TIMEOUTS = 5
"""Election timeouts that a watch may stay where it is."""
HOLD_CHANCE = 300_000
"""That a client takes nothing for a while, each time it has asked for progress."""
ALL = b"\x00"
"""As first key and as end of a range: everything, in etcd's language."""


class Watcher:
    """A client that watches, and watches again behind the last revision that it has seen."""

    def __init__(self, number: int, group: int, cluster: Cluster, answers: Answers) -> None:
        self.requester = Requester(number, group, cluster, self._ended, self._got)
        self.seen: int | None = None
        """The last revision seen, or at which the first watch began; None: none has begun yet."""
        self._told = 0
        """The last revision that an answer to a request for progress said."""
        self._progress_tokens = count(self.requester.token + PROGRESS)
        self._compacts = True
        self._world = cluster.world
        self._answers = answers
        self._move_most_us = MOVE_TIMEOUTS * cluster.options.election_timeout_us
        self._ask_most_us = self._move_most_us // ASKS_A_MOVE

    def act(self) -> None:
        requester = self.requester
        if not requester.find_process() or requester.open:
            self._later()
            return
        self._world.counters["watches"] += 1
        request = WatchCreateRequest(key=ALL, range_end=ALL, start_revision=0 if self.seen is None else self.seen + 1)
        requester.ask(Work.READ_LOCAL, queries.watch(requester.number, request.SerializeToString()), self._move_most_us)
        delay = 1 + requester.draws.below(self._move_most_us)
        self._world.at(self._world.now + delay, requester.number, requester.member, self._move, requester.token)
        requester.later(self._ask_most_us, partial(self._ask_progress, requester.token))

    def stop(self) -> None:
        """From now on nothing is compacted away; watching goes on."""
        self._compacts = False

    def waiting(self) -> str | None:
        if self.seen is not None and min(self.seen, self._told) >= self._answers.revisions.highest:
            return None
        return f"watch {self.requester.number} stands at revision {self.seen}, and was told so at {self._told}"

    def _got(self, part: bytes) -> None:
        response = WatchResponse.FromString(body_of(part))
        revision = response.header.revision
        watch = f"watch {self.requester.number}"
        if response.canceled:
            if not response.compact_revision:
                raise Violation("watches", f"{watch} was cancelled: {response.cancel_reason}")
            self._world.counters["watches compacted"] += 1
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
            self._world.counters["watch events"] += len(events)
            self.seen = self._answers.watches.responded(watch, self.seen, events, revision)

    def _ask_progress(self, token: int) -> None:
        requester = self.requester
        if not requester.open or token != requester.token:
            return
        query = queries.progress(requester.number)
        asked = next(self._progress_tokens)
        requester.ask_aside(asked, Work.READ_LOCAL, query, self._move_most_us, self._got_progress)
        if requester.draws.chance(HOLD_CHANCE):
            self._world.counters["watches held"] += 1
            requester.hold()
            requester.later(self._ask_most_us, partial(self._go_on, token))
        requester.later(self._ask_most_us, partial(self._ask_progress, token))

    def _got_progress(self, part: bytes) -> None:
        response = WatchResponse.FromString(body_of(part))
        assert self.seen is not None, "a stream stands nowhere before its watch was created"
        self._world.counters["progress answers"] += 1
        self._told = response.header.revision
        self._answers.watches.responded(f"watch {self.requester.number}", self.seen, (), self._told)

    def _go_on(self, token: int) -> None:
        if self.requester.open and token == self.requester.token:
            self.requester.go_on()

    def _move(self, token: int) -> None:
        """Somewhere else, perhaps right back; sometimes with a compaction, so that others must look where they are."""
        requester = self.requester
        if not requester.open or token != requester.token:
            return
        requester.cancel()
        if self._compacts and (self.seen or 0) > COMPACTION_KEEPS and requester.draws.chance(200_000):
            request = CompactionRequest(revision=(self.seen or 0) - requester.draws.below(COMPACTION_KEEPS))
            command = commands.compact(request.SerializeToString())
            requester.ask_aside(token + COMPACTIONS, Work.PROPOSE, command, self._move_most_us)
        requester.end(Outcome.UNKNOWN)

    def _ended(self, outcome: Outcome, parts: list[bytes]) -> None:
        self._later()

    def _later(self) -> None:
        self.requester.later(self._move_most_us // 4, self.act)
