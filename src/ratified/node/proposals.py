"""The open proposals of one group's clients on this node, and how each of them ends (rule 7 of the contract).

A proposal is *waiting* (it has never left this node under its present id), *addressed* to the leader of an era
(proposed on the own engine, or forwarded), or over. It ends

- done, when the entry with its id was applied here;
- refused, only while it waits, or when its leader said that it will never take it: nothing of it happens;
- unknown, at its deadline, when the replica stops, or when a snapshot is installed, once it is addressed: it may be
  delivered yet, or be in the snapshot.

When the engine says that an addressed one is *lost* (it can never be delivered any more), it waits again, under a new
id: so no two ids of one request are ever both deliverable, and the client notices nothing.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from ratified.consensus.contract import Era, Kind, Proposal, ProposalId, Size, Sizes
from ratified.machine import NoResult, Result
from ratified.node.ports import Outcome, Reason
from ratified.node.requests import OpenRequest, Requests

_DONE = Outcome.DONE
_MEMBERSHIP = Kind.MEMBERSHIP


class ProposalIds:
    """Gives out this start's proposal ids, for all groups."""

    def __init__(self, member: int, incarnation: int) -> None:
        self.member = member
        self.incarnation = incarnation
        self._sequence = 0

    def next(self) -> int:
        """The sequence of an id that was never given out before."""
        self._sequence += 1
        return self._sequence

    def named(self, sequence: int, data: bytes, kind: Kind = Kind.COMMAND) -> Proposal:
        """A proposal under the id with this sequence."""
        return Proposal(ProposalId(self.member, self.incarnation, sequence), data, kind)


Lost = Callable[[Era, int | None, tuple[int, Era]], bool]


class Proposals:
    """All open proposals of one replica's clients, by the sequence of their id, ascending."""

    def __init__(self, ids: ProposalIds, requests: Requests) -> None:
        self._ids = ids
        self._requests = requests
        self._waiting: OrderedDict[int, OpenRequest] = OrderedDict()
        """Taken from its front, which a plain ``dict`` finds behind all that were deleted there."""
        self._addressed: dict[int, OpenRequest] = {}
        self._taken: list[tuple[int, int, Sequence[OpenRequest | None]]] = []
        """Runs of those that were taken one after another: first index, a count, requests. A heap."""
        self._runs = count()
        self._swept_era: Era | None = None

    def __len__(self) -> int:
        return len(self._waiting) + len(self._addressed)

    @property
    def waiting(self) -> bool:
        return bool(self._waiting)

    def submit(self, request: OpenRequest) -> None:
        """Have it wait for a leader."""
        request.sequence = sequence = self._ids.next()
        self._waiting[sequence] = request

    def waiting_up_to(self, count_max: int, bytes_max: int) -> list[OpenRequest]:
        """The oldest that wait: at most so many, and about so many bytes, but at least one.

        A change of the members comes alone.
        """
        batch: list[OpenRequest] = []
        size = 0
        for request in self._waiting.values():
            size += len(request.data)
            alone = request.kind is _MEMBERSHIP
            if len(batch) >= count_max or (batch and (alone or size > bytes_max)):
                break
            batch.append(request)
            if alone:
                break
        return batch

    def addressed(self, batch: Sequence[OpenRequest], era: Era) -> None:
        """The oldest that wait are on their way to the leader of ``era``: from now on they may happen."""
        if len(batch) == len(self._waiting):
            self._addressed.update(self._waiting)
            self._waiting = OrderedDict()
        else:
            for request in batch:
                self._addressed[request.sequence] = self._waiting.pop(request.sequence)
        for request in batch:
            request.era = era

    def taken(self, batch: Sequence[OpenRequest | None], first: int) -> None:
        """Their leader took them, in order, from index ``first`` on; None: one that waits for this no longer."""
        for index, request in enumerate(batch, first):
            if request is not None:
                request.index = index
        if self._addressed:
            heapq.heappush(self._taken, (first, next(self._runs), batch))

    def never_taken(self, request: OpenRequest, reason: Reason) -> None:
        """Its leader will never take it: refused for a reason the client must know, or else it waits again."""
        if reason is Reason.NONE:
            self._wait_again(request)
        else:
            self.forget(request)
            self._requests.refuse(request, reason)

    def applied(self, sequence: int, result: Result) -> None:
        request = self._addressed.pop(sequence, None)
        if request is None:
            return
        if isinstance(result, NoResult):
            self._requests.end(request, _DONE, result.why.encode(), Reason.FAILED)
        else:
            self._requests.end(request, _DONE, result)
        self._forget_runs()

    def find_lost(self, lost: Lost, delivered: tuple[int, Era]) -> bool:
        """After a delivery, results matched: whatever can never be delivered any more waits again.

        Only a delivery of another era, or one that has reached an index at which something was taken, can make a
        difference, so the common case looks at nothing. True: something waits again.
        """
        index, era = delivered
        suspects: list[OpenRequest] = []
        if era != self._swept_era:
            self._swept_era = era
            suspects = list(self._addressed.values())
        while self._taken and self._taken[0][0] <= index:
            first, order, run = heapq.heappop(self._taken)
            reached = index + 1 - first
            suspects += [
                request
                for at, request in enumerate(run[:reached], first)
                if request is not None and not request.ended and request.index == at
            ]
            if reached < len(run):
                heapq.heappush(self._taken, (index + 1, order, run[reached:]))
        return self.check_lost(suspects, lost, delivered)

    def check_lost(self, suspects: Iterable[OpenRequest], lost: Lost, delivered: tuple[int, Era]) -> bool:
        """Those of them that can never be delivered any more wait again. True: there are any."""
        found = False
        for request in suspects:
            if request.era is not None and lost(request.era, request.index, delivered):
                self._wait_again(request)
                found = True
        return found

    def give_up(self, request: OpenRequest, reason: Reason) -> None:
        """End it without a result: refused if it never left this node, else unknown."""
        self.forget(request)
        if request.era is not None:
            self._requests.end(request, Outcome.UNKNOWN, b"", reason)
        else:
            self._requests.refuse(request, Reason.NO_LEADER if reason is Reason.TIMED_OUT else reason)

    def give_up_all(self, reason: Reason) -> None:
        for request in [*self._addressed.values(), *self._waiting.values()]:
            self.give_up(request, reason)

    def end_addressed(self, reason: Reason) -> None:
        """A snapshot takes the place of what was to be delivered: whether they are in it nobody knows."""
        for request in list(self._addressed.values()):
            self.give_up(request, reason)

    def refuse_waiting(self, reason: Reason) -> None:
        for request in list(self._waiting.values()):
            self.give_up(request, reason)

    def forget(self, request: OpenRequest) -> None:
        """Nobody waits for the result; what was addressed may happen all the same."""
        del (self._waiting if request.era is None else self._addressed)[request.sequence]
        self._forget_runs()

    def _forget_runs(self) -> None:
        """None is of use once none is open: where they were taken the log may never get to, or much later."""
        if not self._addressed:
            self._taken.clear()

    def sizes(self) -> Sizes:
        return {
            "proposals that wait": Size(len(self._waiting)),
            "proposals addressed": Size(len(self._addressed)),
            "runs of proposals taken": Size(len(self._taken)),
        }

    def _wait_again(self, request: OpenRequest) -> None:
        """Under a new id."""
        self.forget(request)
        request.era = None
        request.index = None
        self.submit(request)
