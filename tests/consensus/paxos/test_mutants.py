"""Each rule of the protocol, broken on purpose, is caught: by an invariant, an assertion, or by standing still."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import NO_ERA, Entry, Era
from ratified.consensus.paxos.acceptor import Acceptor
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.engine import Engine
from ratified.consensus.paxos.leader import Leader
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import Prepare
from ratified.consensus.paxos.spans import Spans
from ratified.consensus.paxos.state import AcceptorState
from tests.consensus.paxos.world import World

Break = Callable[[pytest.MonkeyPatch], None]
SEEDS_MAX = 120


def promise_forgotten_on_restart(patch: pytest.MonkeyPatch) -> None:
    def promise_at_start(_core: Core, state: AcceptorState) -> Era:
        return state.own if state.own < state.promised else NO_ERA

    patch.setattr(Core, "promise_at_start", promise_at_start)


def latest_instead_of_highest_value(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Candidate, "prefers", lambda _self, _reported, _known: True)


def lowest_instead_of_highest_value(patch: pytest.MonkeyPatch) -> None:
    def prefers(_self: Candidate, reported: Entry, known: Entry) -> bool:
        return reported.era < known.era

    patch.setattr(Candidate, "prefers", prefers)


def gaps_left_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leader, "_fill_gap", lambda _self, _slot: None)


def delivered_over_a_gap(patch: pytest.MonkeyPatch) -> None:
    def first_open(self: Leader) -> int:
        slot = self._core.chosen + 1
        while slot < self._next and self._quorum_reach(slot) < slot:
            slot += 1
        return slot

    patch.setattr(Leader, "first_open", first_open)


def accept_taken_below_the_promise(patch: pytest.MonkeyPatch) -> None:
    def may_accept(self: Acceptor, ballot: Era) -> bool:
        core = self._core
        if ballot < core.promised:
            core.promised = ballot
        return True

    patch.setattr(Acceptor, "may_accept", may_accept)


def quorum_counted_by_messages(patch: pytest.MonkeyPatch) -> None:
    turns = cycle(range(1000))

    def credited(self: Leader, _sender: int) -> int:
        return sorted(self._peers)[next(turns) % len(self._peers)]

    patch.setattr(Leader, "credited", credited)


def prepare_before_its_ballot_is_durable(patch: pytest.MonkeyPatch) -> None:
    def ask(self: Candidate, acceptor: int, first: int) -> None:
        self._asked[acceptor] = first
        self._core.send(acceptor, Prepare(self.ballot, first))

    patch.setattr(Candidate, "ask", ask)


def lost_while_the_slot_is_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "lost", lambda _self, era, _index, delivered: delivered[1] > era)


def decided_trusted_for_an_older_value(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Learner, "trusts", lambda _self, _accepted, _decided: True)


def own_accept_counted_before_durable(patch: pytest.MonkeyPatch) -> None:
    def accepted_by(self: Leader, member: int) -> Spans:
        if member != self._core.member:
            return self._peers[member].accepted
        spans = Spans()
        spans.add(self._first, max(self._next - 1, self._first))
        return spans

    patch.setattr(Leader, "accepted_by", accepted_by)


def delivered_before_durable(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Core, "deliverable", property(lambda self: self.chosen))


def reads_without_a_round(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leader, "round_is_confirmed", lambda _self: True)


def reads_before_serving(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Leader, "may_serve_reads", lambda _self: True)


MUTANTS: tuple[Break, ...] = (
    promise_forgotten_on_restart,
    latest_instead_of_highest_value,
    lowest_instead_of_highest_value,
    gaps_left_open,
    delivered_over_a_gap,
    accept_taken_below_the_promise,
    quorum_counted_by_messages,
    prepare_before_its_ballot_is_durable,
    lost_while_the_slot_is_open,
    decided_trusted_for_an_older_value,
    own_accept_counted_before_durable,
    delivered_before_durable,
    reads_without_a_round,
    reads_before_serving,
)


def lives(seed: int) -> bool:
    """Does nothing go wrong with this seed?"""
    world = World(seed)
    try:
        world.run(1200)
        world.heal(1500)
    except (AssertionError, Violation):
        return False
    return True


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_caught(mutant: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    caught = next((seed for seed in range(SEEDS_MAX) if not lives(seed)), None)
    assert caught is not None, f"survived {SEEDS_MAX} seeds"
