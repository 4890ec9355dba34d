"""Linearizable reads of one group's clients (rules 7 and 8 of the contract).

The reads of one turn share one barrier: asked of the own engine if it leads, else of the leader's replica. Reads that
come while no leader is known wait, and share one barrier when there is one. No answer, or "not confirmed": the barrier
is asked again, when the leader changes and by a timer, until the deadlines of its reads. Any answer to any asking of a
barrier will do: each was asked after its reads had arrived, and a barrier may be answered twice. What is confirmed is
read from the store once ``applied`` has reached the barrier's index.

An answer with a *limbo* (log leases) is one for those reads that no entry of it touches, as the store judges. Others
are read once limbo is applied, or the barrier is asked again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from ratified.consensus.contract import Engine, Kind, Limbo, Size, Sizes
from ratified.machine import Store, Touches
from ratified.node.barriers import Barriers
from ratified.node.config import NodeLimits
from ratified.node.forwarding import Send
from ratified.node.ports import Reason, Work
from ratified.node.requests import OpenRequest, Requests
from ratified.node.retries import Retries
from ratified.wire.peer import Barrier, BarrierAnswer, LimboAnswer

_PRUNED_MIN = 1024
"""So many reads wait for a leader before those whose time has passed are looked for among them."""


class ReadBarrier:
    """The barrier of reads that are asked for together."""

    __slots__ = ("reads", "tokens")

    def __init__(self, reads: list[OpenRequest]) -> None:
        self.reads = reads
        self.tokens: list[int] = []
        """Under which leaders' replicas were asked."""


class LinearizableReads:
    def __init__(
        self,
        engine: Engine,
        store: Store,
        requests: Requests,
        barriers: Barriers,
        limits: NodeLimits,
        read: Callable[[int, OpenRequest], None],
        *,
        send: Send,
        retry_us: int,
    ) -> None:
        self._engine = engine
        self._store = store
        self._requests = requests
        self._barriers = barriers
        self._limits = limits
        self._read = read
        """What a read is given to once it is confirmed and applied."""
        self._send = send
        self._leader: int | None = None
        self._new: list[OpenRequest] = []
        self._prune_at = _PRUNED_MIN
        """How many new reads there are when those that have ended are dropped: that costs O(1) a read."""
        self._unanswered: Retries[ReadBarrier] = Retries(retry_us)
        self._asked: dict[int, ReadBarrier] = {}
        """The unanswered, by each token under which a leader's replica was asked."""
        self._confirmed: list[tuple[int, int, ReadBarrier]] = []
        """Index, a count, and the barrier. A heap."""
        self._confirmations = count()
        self._judged: tuple[tuple[int, Limbo], Touches] | None = None
        """What was in limbo last, and what the store says of it."""

    def submit(self, request: OpenRequest) -> None:
        self._new.append(request)
        if len(self._new) >= self._prune_at:
            self._new = [read for read in self._new if not read.ended]
            self._prune_at = max(_PRUNED_MIN, 2 * len(self._new))

    def on_barrier_answer(self, now: int, message: BarrierAnswer | LimboAnswer) -> None:
        """A leader's replica answers; perhaps an earlier leader's, to an earlier asking."""
        barrier = self._asked.get(message.token)
        if barrier is not None:
            limbo = message.limbo if isinstance(message, LimboAnswer) else None
            self._on_index(barrier, now, message.index, limbo)

    def leader_changed(self, now: int, leader: int | None) -> None:
        """Ask again whoever leads now; what was asked of the own engine is answered by the engine itself."""
        self._leader = leader
        self._unanswered.all_at_once()

    def refuse_all(self, reason: Reason) -> None:
        barriers = [*self._unanswered, *(barrier for _, _, barrier in self._confirmed)]
        for request in [*self._new, *(read for barrier in barriers for read in barrier.reads)]:
            if not request.ended:
                self._requests.refuse(request, reason)

    def sizes(self) -> Sizes:
        return {
            "reads that wait for a leader": Size(len(self._new)),
            "read barriers unanswered": Size(len(self._unanswered) + len(self._asked)),
            "read barriers confirmed": Size(len(self._confirmed)),
        }

    # ---- once a turn

    @property
    def deadline(self) -> int | None:
        if self._new and self._knows_leader:
            return 0
        return self._unanswered.deadline

    @property
    def _knows_leader(self) -> bool:
        return self._leader is not None or self._engine.leading is not None

    def flush(self, now: int) -> None:
        """Ask for everything that has arrived, if anybody may answer, and again for what is due."""
        if self._new and self._knows_leader:
            barrier, self._new = ReadBarrier(self._new), []
            self._prune_at = _PRUNED_MIN
            self._ask(now, barrier)
        if self._unanswered:
            self._retry(now)

    def serve(self, now: int) -> None:
        confirmed = self._confirmed
        while confirmed and confirmed[0][0] <= self._store.applied:
            _, _, barrier = heapq.heappop(confirmed)
            if barrier in self._unanswered:
                self._answered(barrier)
            for read in barrier.reads:
                if not read.ended:
                    self._read(now, read)

    # ---- barriers

    def _ask(self, now: int, barrier: ReadBarrier) -> None:
        """Ask the leader, whoever that is; with none known the next change asks."""
        self._unanswered.later(now, barrier)
        if self._engine.leading is not None:
            self._barriers.feed(now, partial(self._on_index, barrier))
        elif self._leader is not None:
            token = self._barriers.next_token()
            self._asked[token] = barrier
            barrier.tokens.append(token)
            self._send(self._leader, Barrier(token))

    def _retry(self, now: int) -> None:
        for barrier in self._unanswered.due(now):
            barrier.reads = [read for read in barrier.reads if not read.ended]
            if barrier.reads:
                self._ask(now, barrier)
            else:
                self._answered(barrier)

    def _on_index(self, barrier: ReadBarrier, now: int, index: int | None, limbo: Limbo | None) -> None:
        if barrier not in self._unanswered:
            return
        if index is None:
            self._unanswered.later(now, barrier)
            return
        self._answered(barrier)
        reads, barrier.reads = barrier.reads, []
        if limbo is not None and self._store.applied < limbo.last:
            reads, touched = self._judge(index, limbo, reads)
            if touched:
                waiting = ReadBarrier(touched)
                self._unanswered.later(now, waiting)
                self._confirm(limbo.last, waiting)
        if reads:
            self._confirm(index, ReadBarrier(reads))

    def _confirm(self, index: int, barrier: ReadBarrier) -> None:
        heapq.heappush(self._confirmed, (index, next(self._confirmations), barrier))

    def _judge(
        self, index: int, limbo: Limbo, reads: Sequence[OpenRequest]
    ) -> tuple[list[OpenRequest], list[OpenRequest]]:
        """Of those that still wait: what no entry of limbo touches, and the others."""
        touches = self._what_touches(index, limbo)
        untouched: list[OpenRequest] = []
        touched: list[OpenRequest] = []
        for read in [read for read in reads if not read.ended]:
            may_be_served = read.work is Work.READ and touches is not None and not touches(read.data)
            (untouched if may_be_served else touched).append(read)
        return untouched, touched

    def _what_touches(self, index: int, limbo: Limbo) -> Touches | None:
        """None: what is in limbo is not here, or too much to be looked at in one turn, or the node's own, which shows
        in what it says beside the store (the members)."""
        if self._judged is not None and self._judged[0] == (index, limbo):
            return self._judged[1]
        limits = self._limits
        entries = self._engine.limbo(index, limbo) if limbo.last - index <= limits.limbo_entries_max else None
        if entries is None or sum(len(entry.data) for entry in entries) > limits.limbo_bytes_max:
            return None
        if any(entry.kind is Kind.NODE for entry in entries):
            return None
        touches = self._store.touched_by([entry.data for entry in entries if entry.kind is Kind.COMMAND])
        self._judged = (index, limbo), touches
        return touches

    def _answered(self, barrier: ReadBarrier) -> None:
        """It needs no further answer."""
        self._unanswered.drop(barrier)
        for token in barrier.tokens:
            del self._asked[token]
