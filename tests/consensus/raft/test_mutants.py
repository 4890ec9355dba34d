"""Each rule, broken on purpose: the contract kit must notice. (The simulator has the same mutants and more.)"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ratified.consensus.contract import Entry, Era
from ratified.consensus.engines import ENGINES
from ratified.consensus.raft.core import Core
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.leader import Leader
from ratified.consensus.raft.messages import AppendEntriesResponse, HeartbeatResponse, RequestVote, RequestVoteResponse
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.history import History
from ratified.consensus.replication.outbox import Outbox
from ratified.consensus.replication.reads import ReadRounds
from ratified.consensus.replication.suspicion import Suspicion
from ratified.consensus.replication.writes import Writes
from tests.consensus.contract import test_reads, test_replication, test_rules
from tests.consensus.contract.harness import Cluster
from tests.consensus.raft import test_figure_2, test_suspicion

Test = Callable[[Callable[..., Cluster]], None]


def build(members: int = 3, **options: Any) -> Cluster:
    return Cluster(ENGINES["raft"], members, **options)


def at_once(kind: type) -> Callable[[Outbox, int, Any], None]:
    """What waits for the disk leaves at once, if it is of this kind."""
    after = Outbox.send_after

    def send_after(outbox: Outbox, to: int, message: Any) -> None:
        (outbox.send if isinstance(message, kind) else after.__get__(outbox))(to, message)

    return send_after


def skip_what_is_there(log: History, entries: Sequence[Entry]) -> int:
    return sum(entry.index <= log.last for entry in entries)


def when_a_later_term_begins(raft: Raft, era: Era, _index: int | None, _delivered: tuple[int, Era]) -> bool:
    return raft.core.era > era


def alone(test: Callable[[], None]) -> Test:
    """A test that needs no cluster."""
    return lambda build: test()


MUTANTS: dict[str, tuple[type, str, Any, Test]] = {
    "vote twice in a term": (
        Core,
        "may_vote_for",
        lambda core, candidate: True,
        alone(test_figure_2.test_one_vote_a_term),
    ),
    "RequestVote before its write": (
        Outbox,
        "send_after",
        at_once(RequestVote),
        alone(test_figure_2.test_a_request_for_votes_waits_for_its_write),
    ),
    "vote before its write": (
        Outbox,
        "send_after",
        at_once(RequestVoteResponse),
        test_rules.test_rule_3_nobody_leads_by_votes_that_are_not_durable,
    ),
    "append response before its write": (
        Outbox,
        "send_after",
        at_once(AppendEntriesResponse),
        test_rules.test_rule_3_a_commit_needs_a_quorum_of_disks,
    ),
    "heartbeat's answer before its term is durable": (
        Outbox,
        "send_after",
        at_once(HeartbeatResponse),
        alone(test_figure_2.test_a_heartbeats_answer_waits_while_its_term_is_not_durable),
    ),
    "commit an older term by counting": (
        Leader,
        "may_commit",
        lambda leader, index: True,
        alone(test_figure_2.test_figure_8_an_entry_of_an_older_term_is_not_committed_by_counting),
    ),
    "deliver what is not durable here": (
        Engine,
        "deliverable",
        lambda engine: engine._algorithm.core.log.commit,
        test_rules.test_rule_5_what_is_committed_elsewhere_is_not_delivered_before_it_is_durable_here,
    ),
    "no truncation on conflict": (
        History,
        "first_new",
        skip_what_is_there,
        test_replication.test_a_new_leader_replaces_what_the_old_one_could_not_commit,
    ),
    "durable index not clipped": (
        Writes,
        "clip",
        lambda writes, last: None,
        test_rules.test_rule_4_a_write_in_flight_stands_for_nothing_that_was_truncated,
    ),
    "count an acknowledgement of an earlier term": (
        Raft,
        "leader_of",
        lambda raft, term: raft.leading,
        alone(test_figure_2.test_an_acknowledgement_of_an_earlier_term_counts_for_nothing),
    ),
    "count a heartbeat's answer of an earlier term": (
        Raft,
        "leader_of",
        lambda raft, term: raft.leading,
        alone(test_figure_2.test_a_heartbeats_answer_of_an_earlier_term_confirms_no_read),
    ),
    "stand without a quorum of grants": (
        Suspicion,
        "has_quorum",
        lambda suspicion, *verdicts: True,
        alone(test_suspicion.test_no_term_begins_without_a_quorum_of_grants),
    ),
    "refuse nobody while a leader is heard": (
        Suspicion,
        "hears",
        lambda suspicion, leader: False,
        alone(test_suspicion.test_who_hears_a_leader_refuses_until_the_shortest_timeout_has_passed),
    ),
    "read before the first commit of the term": (
        ReadRounds,
        "may_begin",
        lambda reads, serving: True,
        test_reads.test_rule_8_nothing_is_confirmed_before_the_leader_serves,
    ),
    "read without a quorum round": (
        ReadRounds,
        "is_confirmed",
        lambda reads: True,
        test_reads.test_rule_8_a_leader_that_was_cut_off_confirms_nothing,
    ),
    "lost said too early": (
        Raft,
        "lost",
        when_a_later_term_begins,
        test_rules.test_rule_7_a_proposal_of_an_old_era_that_survived_is_delivered_and_never_lost,
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_kit_catches_the_mutant(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, method, broken, test = MUTANTS[name]
    test(build)
    monkeypatch.setattr(owner, method, broken)
    with pytest.raises(AssertionError):
        test(build)
