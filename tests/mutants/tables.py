"""Something is left behind, one kind each: tables that do not return to their size when all is done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from heapq import heappush
from typing import Any
from unittest.mock import patch

from ratified.consensus.contract import ReadIndex
from ratified.consensus.paxos.slots import Slots
from ratified.consensus.replication.history import History
from ratified.consensus.replication.outbox import Outbox
from ratified.node.barriers import Barriers
from ratified.node.forwarding import LeaderForwards
from ratified.node.local_reads import LocalReads
from ratified.node.peers import PeerSessions
from ratified.node.proposals import Proposals
from ratified.node.questions import Questions
from ratified.node.reads import LinearizableReads, ReadBarrier
from ratified.node.requests import OpenRequest
from ratified.node.timers import Timer
from tests.mutants.mutant import Mutant


def keeps_forwards_of_an_ended_era() -> AbstractContextManager[Any]:
    era_is = LeaderForwards.era_is

    def only_a_new_one_clears(forwards: LeaderForwards, leading: Any) -> None:
        if leading is not None:
            era_is(forwards, leading)

    return patch.object(LeaderForwards, "era_is", only_a_new_one_clears)


def keeps_barriers_that_were_answered() -> AbstractContextManager[Any]:
    def on_read_indexes(barriers: Barriers, now: int, reads: Sequence[ReadIndex]) -> None:
        for read in reads:
            barriers._waiting[read.token](now, read.index, read.limbo)

    return patch.object(Barriers, "on_read_indexes", on_read_indexes)


def keeps_questions_that_were_answered() -> AbstractContextManager[Any]:
    def take_back(questions: Questions, token: int) -> OpenRequest:
        questions._retries.drop(token)
        return questions._carried[token]

    return patch.object(Questions, "_take_back", take_back)


def keeps_askings_of_a_read_barrier() -> AbstractContextManager[Any]:
    def answered(reads: LinearizableReads, barrier: ReadBarrier) -> None:
        reads._unanswered.drop(barrier)

    return patch.object(LinearizableReads, "_answered", answered)


@contextmanager
def keeps_runs_of_proposals_that_have_ended() -> Iterator[None]:
    """Also of those that a late answer says were taken."""

    def taken(proposals: Proposals, batch: Sequence[OpenRequest | None], first: int) -> None:
        for index, request in enumerate(batch, first):
            if request is not None:
                request.index = index
        heappush(proposals._taken, (first, next(proposals._runs), batch))

    with (
        patch.object(Proposals, "_forget_runs", lambda proposals: None),
        patch.object(Proposals, "taken", taken),
    ):
        yield


def keeps_holds_of_streams_that_have_ended() -> AbstractContextManager[Any]:
    def forget(reads: LocalReads, stream: OpenRequest) -> None:
        reads._timers.stop(Timer.CONTINUATION, stream.token)
        del reads._streams[id(stream.continuation)]
        reads._runnable.pop(stream.token, None)

    return patch.object(LocalReads, "_forget", forget)


def keeps_connections_that_have_ended() -> AbstractContextManager[Any]:
    disconnected = PeerSessions.disconnected

    def stays(peers: PeerSessions, now: int, number: int) -> None:
        connection = peers._connections.get(number)
        disconnected(peers, now, number)
        if connection is not None and connection.hello is None:
            peers._connections[number] = connection

    return patch.object(PeerSessions, "disconnected", stays)


def keeps_purposes_of_fetches() -> AbstractContextManager[Any]:
    def take_purpose(outbox: Outbox, token: int) -> Any:
        purpose = outbox._purposes[token]
        del outbox._tokens[purpose]
        return purpose

    return patch.object(Outbox, "take_purpose", take_purpose)


def keeps_the_whole_history_in_memory() -> AbstractContextManager[Any]:
    return patch.object(History, "evict", lambda history: None)


def keeps_all_slots_in_memory() -> AbstractContextManager[Any]:
    return patch.object(Slots, "evict", lambda slots: None)


MUTANTS = [
    Mutant("keeps forwards of an ended era", keeps_forwards_of_an_ended_era, "partitions", "session", 19),
    Mutant("keeps barriers that were answered", keeps_barriers_that_were_answered, "fault-free", "session", 1),
    Mutant("keeps questions that were answered", keeps_questions_that_were_answered, "fault-free", "session", 2),
    Mutant("keeps the askings of a read barrier", keeps_askings_of_a_read_barrier, "fault-free", "session", 1),
    Mutant(
        "keeps runs of ended proposals",
        keeps_runs_of_proposals_that_have_ended,
        "machine-losses",
        "datagram",
        109,
        duration_us=1_000_000,
    ),
    Mutant("keeps holds of ended streams", keeps_holds_of_streams_that_have_ended, "fault-free", "session", 1),
    Mutant("keeps connections of nobody", keeps_connections_that_have_ended, "strangers", "session", 1),
    Mutant("keeps purposes of fetches", keeps_purposes_of_fetches, "crashes", "session", 1),
    Mutant("keeps the whole history in memory", keeps_the_whole_history_in_memory, "fault-free", "session", 1),
    Mutant("keeps all slots in memory", keeps_all_slots_in_memory, "fault-free", "session", 1, engine="paxos"),
]
