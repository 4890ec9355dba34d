"""One rule of Multi-Paxos broken each: in whole-node worlds (``MUTANTS``), and between bare engines by the
engine's own tests."""

from __future__ import annotations

from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any
from unittest.mock import patch

from ratified.consensus.contract import NO_ERA, Entry, Era
from ratified.consensus.paxos.acceptor import Acceptor
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.leader import Leader
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import Prepare
from ratified.consensus.paxos.spans import Spans
from ratified.consensus.paxos.state import AcceptorState
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.reads import ReadRounds
from tests.mutants.mutant import Break, Mutant


def promise_forgotten_on_restart() -> AbstractContextManager[Any]:
    def promise_at_start(_core: Core, state: AcceptorState) -> Era:
        return state.own if state.own < state.promised else NO_ERA

    return patch.object(Core, "promise_at_start", promise_at_start)


def latest_instead_of_highest_value() -> AbstractContextManager[Any]:
    return patch.object(Candidate, "prefers", lambda _self, _reported, _known: True)


def lowest_instead_of_highest_value() -> AbstractContextManager[Any]:
    def prefers(_self: Candidate, reported: Entry, known: Entry) -> bool:
        return reported.era < known.era

    return patch.object(Candidate, "prefers", prefers)


def gaps_left_open() -> AbstractContextManager[Any]:
    return patch.object(Leader, "_fill_gap", lambda _self, _slot: None)


def delivered_over_a_gap() -> AbstractContextManager[Any]:
    def first_open(self: Leader) -> int:
        slot = self._core.slots.chosen + 1
        while slot < self._next and self._quorum_reach(slot) < slot:
            slot += 1
        return slot

    return patch.object(Leader, "first_open", first_open)


def accept_taken_below_the_promise() -> AbstractContextManager[Any]:
    def may_accept(self: Acceptor, ballot: Era) -> bool:
        core = self._core
        if ballot < core.promised:
            core.promised = ballot
        return True

    return patch.object(Acceptor, "may_accept", may_accept)


def quorum_counted_by_messages() -> AbstractContextManager[Any]:
    turns = cycle(range(1000))

    def credited(self: Leader, _sender: int) -> int:
        return sorted(self._peers.table)[next(turns) % len(self._peers.table)]

    return patch.object(Leader, "credited", credited)


def prepare_before_its_ballot_is_durable() -> AbstractContextManager[Any]:
    def ask(self: Candidate, acceptor: int, first: int) -> None:
        self._asked[acceptor] = first
        self._core.outbox.send(acceptor, Prepare(self.ballot, first))

    return patch.object(Candidate, "ask", ask)


def lost_while_the_slot_is_open() -> AbstractContextManager[Any]:
    return patch.object(Paxos, "lost", lambda _self, era, _index, delivered: delivered[1] > era)


def decided_trusted_for_an_older_value() -> AbstractContextManager[Any]:
    return patch.object(Learner, "trusts", lambda _self, _accepted, _decided: True)


def own_accept_counted_before_durable() -> AbstractContextManager[Any]:
    def accepted_by(self: Leader, member: int) -> Spans:
        if member != self._core.member.id:
            return self._peers.table[member].accepted
        spans = Spans()
        spans.add(self._first, max(self._next - 1, self._first))
        return spans

    return patch.object(Leader, "accepted_by", accepted_by)


def delivered_before_durable() -> AbstractContextManager[Any]:
    return patch.object(Engine, "deliverable", lambda self: self._algorithm.core.log.commit)


def reads_without_a_round() -> AbstractContextManager[Any]:
    return patch.object(ReadRounds, "is_confirmed", lambda _self: True)


def reads_before_serving() -> AbstractContextManager[Any]:
    return patch.object(ReadRounds, "may_begin", lambda _self, _serving: True)


def _mutant(name: str, breaks: Break, scenario: str, network: str, caught_by: int, **more: Any) -> Mutant:
    return Mutant(name, breaks, scenario, network, caught_by, seeds=500, engine="paxos", **more)


MUTANTS = [
    _mutant("forgets its promise on restart", promise_forgotten_on_restart, "everything", "session", 1),
    _mutant(
        "takes the latest instead of the highest value",
        latest_instead_of_highest_value,
        "leader-failures",
        "datagram",
        2,
        nodes=5,
    ),
    _mutant("leaves gaps open", gaps_left_open, "everything", "datagram", 30),
    _mutant("delivers over a gap", delivered_over_a_gap, "everything", "datagram", 2),
    _mutant("accepts below its promise", accept_taken_below_the_promise, "everything", "session", 1),
    _mutant("counts messages instead of members", quorum_counted_by_messages, "everything", "session", 1),
    _mutant("prepares before its ballot is durable", prepare_before_its_ballot_is_durable, "everything", "session", 1),
    _mutant("says lost while the slot is open", lost_while_the_slot_is_open, "everything", "session", 3),
    _mutant("trusts Decided for an older value", decided_trusted_for_an_older_value, "everything", "session", 18),
    _mutant(
        "counts its own accept before it is durable", own_accept_counted_before_durable, "everything", "session", 1
    ),
]
