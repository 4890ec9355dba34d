"""One rule of Multi-Paxos broken each: in whole-node worlds (``MUTANTS``), and between bare engines by the
engine's own tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle
from typing import Any
from unittest.mock import patch

from ratified.consensus.contract import NO_ERA, Durable, Entry, Era
from ratified.consensus.entry import make_entry, memory_bytes
from ratified.consensus.paxos.acceptor import Acceptor
from ratified.consensus.paxos.candidate import Candidate
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.engine import Paxos
from ratified.consensus.paxos.fence import Fence
from ratified.consensus.paxos.leader import Leader
from ratified.consensus.paxos.learner import Learner
from ratified.consensus.paxos.messages import HeartbeatAnswer, Prepare, Promise
from ratified.consensus.paxos.progress import PeerProgress
from ratified.consensus.paxos.slots import Slots
from ratified.consensus.paxos.spans import Spans
from ratified.consensus.paxos.state import AcceptorState
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.proposals import noop
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.suspicion import Suspicion
from ratified.consensus.replication.window import Window
from tests.mutants.mutant import Break, EngineMutant, Mutant


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


def fetched_promise_at_once() -> AbstractContextManager[Any]:
    """The part of a promise that had to be read from the log leaves although the promise is not durable."""
    send = Paxos._send_fetched_part

    def send_part(paxos: Paxos, proposer: int, part: Promise) -> None:
        if proposer == paxos.core.member.id:
            send(paxos, proposer, part)
        else:
            paxos.core.outbox.send(proposer, part)

    return patch.object(Paxos, "_send_fetched_part", send_part)


def lost_while_the_slot_is_open() -> AbstractContextManager[Any]:
    return patch.object(Paxos, "lost", lambda _self, era, _index, delivered: delivered[1] >= era)


def lost_by_slot_alone() -> AbstractContextManager[Any]:
    """No danger, and no use where the slot is not known: the fence is not asked."""

    def lost(_self: Paxos, _era: Era, index: int | None, delivered: tuple[int, Era]) -> bool:
        return index is not None and delivered[0] >= index

    return patch.object(Paxos, "lost", lost)


@contextmanager
def void_where_a_proposer_says_so() -> Iterator[None]:
    """A leader marks what it proposes again below the openings that it knows; learners go by the mark alone."""
    marked: set[tuple[int, Era]] = set()
    openings: dict[Era, Era] = {}
    again = Leader._again

    def _again(self: Leader, slot: int, found: Entry) -> Entry:
        fence = self._core.fence
        known = openings.setdefault(self.ballot, fence.era)
        if found.birth is not None and fence.opens(found):
            openings[self.ballot] = known = max(known, found.birth)
        if found.proposal is not None and found.birth is not None and found.birth < known:
            marked.add((slot, self.ballot))
        return again(self, slot, found)

    with (
        patch.object(Leader, "_again", _again),
        patch.object(Fence, "voids", lambda _self, chosen: (chosen.index, chosen.era) in marked),
    ):
        yield


def never_void() -> AbstractContextManager[Any]:
    return patch.object(Fence, "voids", lambda _self, _chosen: False)


def births_rewritten_where_proposed_again() -> AbstractContextManager[Any]:
    def again(self: Leader, slot: int, found: Entry) -> Entry:
        return make_entry(slot, self.ballot, found.kind, found.proposal, found.data, birth=self.ballot)

    return patch.object(Leader, "_again", again)


def opened_in_the_first_gap() -> AbstractContextManager[Any]:
    """And so before what phase 1 found behind that."""

    def fill_gap(self: Leader, slot: int) -> None:
        self._put([noop(slot, self.ballot, birth=self.ballot)])

    return patch.object(Leader, "_fill_gap", fill_gap)


def fence_forgotten_on_restart() -> AbstractContextManager[Any]:
    return patch.object(Core, "fence_at_start", lambda _self, _durable: NO_ERA)


def fence_derived_from_the_log() -> AbstractContextManager[Any]:
    def fence_at_start(_self: Core, durable: Durable) -> Era:
        return next((run.era for run in durable.runs if run.first <= durable.applied <= run.last), durable.base.era)

    return patch.object(Core, "fence_at_start", fence_at_start)


def taught_as_delivered() -> AbstractContextManager[Any]:
    """The filter acts before delivery: Learned carries a no-op in the place of what is void."""
    tell = Learner._tell

    def _tell(self: Learner, learner: int, entries: Sequence[Entry]) -> None:
        voids = self._core.fence.voids
        tell(self, learner, [noop(each.index, each.era, birth=NO_ERA) if voids(each) else each for each in entries])

    return patch.object(Learner, "_tell", _tell)


def decided_trusted_for_an_older_value() -> AbstractContextManager[Any]:
    return patch.object(Learner, "trusts", lambda _self, _accepted, _decided: True)


def resends_at_every_heartbeat() -> AbstractContextManager[Any]:
    return patch.object(PeerProgress, "patience_after", lambda _self, _beats: 1)


def window_keeps_its_size() -> AbstractContextManager[Any]:
    return patch.object(Window, "bytes_first", lambda self: self._limits.inflight_bytes_max)


def evicts_by_sorting() -> AbstractContextManager[Any]:
    def evict(self: Slots) -> None:
        for slot in sorted(self._entries):
            if self._bytes - self.undurable_bytes <= self._limits.tail_bytes_max:
                return
            if slot not in self._undurable:
                self._bytes -= memory_bytes(len(self._entries.pop(slot).encoded), 1)

    return patch.object(Slots, "evict", evict)


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


def acceptances_of_an_earlier_leadership_counted() -> AbstractContextManager[Any]:
    """Rule 14: an answer counts for the leadership that it answers."""
    return patch.object(Paxos, "leader_of", lambda self, _ballot: self.leading)


def heartbeat_answers_of_an_earlier_leadership_counted() -> AbstractContextManager[Any]:
    """The same, of read rounds: each leadership counts them from 1."""

    def on_heartbeat_answer(self: Paxos, sender: int, message: HeartbeatAnswer) -> None:
        if self.leading is not None and message.ballot[1] == self.core.member.id:
            self.leading.on_heartbeat_answer(sender, message)
        else:
            self._give_way(message.ballot)

    return patch.object(Paxos, "_on_heartbeat_answer", on_heartbeat_answer)


def promises_counted_whose_chosen_values_are_unknown() -> AbstractContextManager[Any]:
    """Who closes a prefix reports nothing of it."""
    return patch.object(Candidate, "_counted", property(lambda self: self._promised))


def own_promise_dropped_when_more_is_chosen() -> AbstractContextManager[Any]:
    """The own report is asked for from the slot that was the first open one when the ballot began."""

    def is_own_report_due(self: Candidate, ticket: int) -> bool:
        return self._core.closed + 1 == self.first and due(self, ticket)

    due = Candidate.is_own_report_due
    return patch.object(Candidate, "is_own_report_due", is_own_report_due)


def prepare_not_repeated() -> AbstractContextManager[Any]:
    """Neither a heartbeat later nor on a new session."""
    return patch.multiple(Candidate, ask_again=Candidate._arm, on_session=lambda _self, _acceptor: None)


def stands_without_grants() -> AbstractContextManager[Any]:
    return patch.object(Suspicion, "has_quorum", lambda _self, *_verdicts: True)


def grants_while_a_leader_is_heard() -> AbstractContextManager[Any]:
    return patch.object(Paxos, "_hears_leader", False)


def grants_right_after_a_promise() -> AbstractContextManager[Any]:
    """The member that was promised its ballot is about to lead."""
    return patch.object(Suspicion, "yields", False)


def reports_under_way_hold_nobody_back() -> AbstractContextManager[Any]:
    """Who still sends a candidate what it must know lets others begin a ballot, or begins one itself."""
    return patch.object(Acceptor, "is_reporting", False)


def candidates_give_up() -> AbstractContextManager[Any]:
    """A candidate that a whole election timeout has brought nothing is none any more."""
    on_election_timeout = Paxos._on_election_timeout

    def gives_up(paxos: Paxos) -> None:
        if isinstance(paxos.role, Candidate) and not paxos.role.waits_for_disk:
            paxos._become_follower(None)
        on_election_timeout(paxos)

    return patch.object(Paxos, "_on_election_timeout", gives_up)


def resigns_in_silence() -> AbstractContextManager[Any]:
    return patch.object(Leader, "resign", lambda _self: None)


def hearsay_restarts_the_election_timer() -> AbstractContextManager[Any]:
    """Rule 11: only a promise given, the leader, or progress of the own phase 1 does."""

    def become_follower(self: Paxos, leader: int | None) -> None:
        becomes(self, leader)
        self._restart_election_timer()

    becomes = Paxos._become_follower
    return patch.object(Paxos, "_become_follower", become_follower)


def _mutant(name: str, breaks: Break, scenario: str, network: str, caught_by: int, **more: Any) -> Mutant:
    return Mutant(name, breaks, scenario, network, caught_by, seeds=500, engine="paxos", **more)


MUTANTS: list[Mutant | EngineMutant] = [
    _mutant("forgets its promise on restart", promise_forgotten_on_restart, "everything", "session", 1),
    _mutant(
        "takes the latest instead of the highest value",
        latest_instead_of_highest_value,
        "leader-failures",
        "datagram",
        23,
        nodes=5,
    ),
    EngineMutant("leaves gaps open", gaps_left_open, "paxos", 11),
    _mutant("delivers over a gap", delivered_over_a_gap, "everything", "datagram", 3),
    _mutant("accepts below its promise", accept_taken_below_the_promise, "everything", "session", 3),
    _mutant("counts messages instead of members", quorum_counted_by_messages, "everything", "session", 3),
    _mutant("prepares before its ballot is durable", prepare_before_its_ballot_is_durable, "everything", "session", 1),
    _mutant("sends a fetched promise at once", fetched_promise_at_once, "everything", "session", 4),
    _mutant("says lost while the slot is open", lost_while_the_slot_is_open, "everything", "session", 3),
    _mutant("voids what a proposer marked", void_where_a_proposer_says_so, "everything", "session", 15, rests=False),
    _mutant("voids nothing", never_void, "everything", "session", 11),
    _mutant("rewrites births", births_rewritten_where_proposed_again, "everything", "session", 1),
    EngineMutant("opens in a gap", opened_in_the_first_gap, "paxos", 11),
    _mutant("forgets the fence on restart", fence_forgotten_on_restart, "everything", "session", 1),
    _mutant("derives the fence from its log", fence_derived_from_the_log, "everything", "session", 54),
    _mutant("teaches as it delivers", taught_as_delivered, "everything", "session", 1),
    _mutant("trusts Decided for an older value", decided_trusted_for_an_older_value, "everything", "session", 19),
    _mutant(
        "counts promises that close what it does not know",
        promises_counted_whose_chosen_values_are_unknown,
        "leader-failures",
        "session",
        1400,
        rests=False,
    ),
    _mutant(
        "counts its own accept before it is durable", own_accept_counted_before_durable, "everything", "session", 1
    ),
]
