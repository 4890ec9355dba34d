"""Rule 14 on Raft, message by message: one engine, and the test in its peers' place.

T, the shortest election timeout, is 1000 here and so is every other one; a heartbeat is 100.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.consensus.contract import Extensions
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Heartbeat,
    HeartbeatResponse,
    Message,
    Probe,
    ProbeAnswer,
    RequestVote,
    RequestVoteResponse,
    Resign,
)
from ratified.consensus.replication.engine import Engine
from ratified.consensus.replication.suspicion import Verdict
from tests.consensus.raft.test_figure_2 import append, drain, engine, leader

HALF_HEARTBEAT = 50


def told(one: Engine[Raft], sender: int, message: Message, now: int = 0) -> list[Message]:
    """What leaves when this arrives, the write durable at once."""
    one.step(now, sender, message)
    ready = one.ready()
    if ready is None:
        return []
    if ready.write is not None:
        one.persisted(now, ready.write.ticket)
    return [send.message for send in (*ready.send, *ready.send_after)]


def follower(now: int = 0, terms: Sequence[int] = (5,)) -> Engine[Raft]:
    """Member 1 with a log of these terms, which follows member 2 in term 5."""
    one = engine(terms=terms, term=5)
    told(one, 2, append(5, (len(terms), terms[-1])), now)
    return one


def probes(one: Engine[Raft], now: int) -> list[Probe]:
    """What it asks by then."""
    found: list[Probe] = []
    while one.deadline is not None and one.deadline <= now:
        at = one.deadline
        one.tick(at)
        ready = one.ready()
        if ready is not None:
            if ready.write is not None:
                one.persisted(at, ready.write.ticket)
            found += [send.message for send in ready.send if isinstance(send.message, Probe)]
    return found


def test_a_probe_changes_no_term_and_no_timer() -> None:
    one = engine(terms=[5])
    deadline = one.deadline
    (reply,) = told(one, 2, Probe(9, 1, 1, 5), now=10)
    assert reply == ProbeAnswer(5, 1, Verdict.GRANTED, 1, 5)
    assert one.status().era == (5, 0)
    assert one.deadline == deadline
    assert told(one, 2, ProbeAnswer(9, 1, Verdict.HEARS, 1, 5), now=10) == []
    assert told(one, 2, Resign(9, 0), now=10) == []
    assert one.status().era == (5, 0)


@pytest.mark.parametrize(
    ("last", "verdict"),
    [
        ((2, 5), Verdict.GRANTED),
        ((1, 6), Verdict.GRANTED),
        ((3, 5), Verdict.GRANTED),
        ((1, 5), Verdict.BEHIND),
        ((9, 4), Verdict.BEHIND),
    ],
)
def test_a_probe_is_granted_where_the_log_would_get_the_vote(last: tuple[int, int], verdict: Verdict) -> None:
    (reply,) = told(engine(terms=[5, 5]), 3, Probe(5, 7, *last))
    assert reply == ProbeAnswer(5, 7, verdict, 2, 5)


def test_who_hears_a_leader_refuses_until_the_shortest_timeout_has_passed() -> None:
    one = follower(now=100)
    verdicts = [told(one, 3, Probe(5, at, 9, 9), now=at) for at in (100, 1099, 1100)]
    assert [reply.verdict for (reply,) in verdicts if isinstance(reply, ProbeAnswer)] == [
        Verdict.HEARS,
        Verdict.HEARS,
        Verdict.GRANTED,
    ]


def test_who_leads_refuses() -> None:
    (reply,) = told(leader(), 3, Probe(0, 1, 9, 9))
    assert isinstance(reply, ProbeAnswer)
    assert reply.verdict is Verdict.HEARS


def test_who_has_lost_the_session_with_its_leader_grants_and_asks_within_half_a_heartbeat() -> None:
    one = follower()
    one.peer(10, 2, None)
    (reply,) = told(one, 3, Probe(5, 1, 9, 9), now=10)
    assert isinstance(reply, ProbeAnswer)
    assert reply.verdict is Verdict.GRANTED
    assert len(probes(one, 10 + HALF_HEARTBEAT)) >= 2, "one to each peer"


def test_a_lost_session_with_anybody_else_says_nothing() -> None:
    one = follower()
    one.peer(10, 3, None)
    assert probes(one, 999) == []


def test_a_leader_that_is_heard_again_ends_the_suspicion() -> None:
    one = follower()
    one.peer(10, 2, None)
    asked = probes(one, 100)
    told(one, 2, Heartbeat(5, 0, 1), now=100)
    assert asked
    assert probes(one, 1099) == []
    for peer in (2, 3):
        assert told(one, peer, ProbeAnswer(5, asked[-1].round, Verdict.GRANTED, 1, 5), now=1000) == []
    assert one.status().role == "follower"


def test_the_resignation_of_the_leader_that_is_followed_makes_suspicious() -> None:
    one = follower()
    told(one, 3, Resign(5, 0), now=10)
    told(one, 2, Resign(4, 0), now=10)
    assert one.status().leader == 2, "it is not for others, nor for another term, to say so"
    told(one, 2, Resign(5, 0), now=10)
    assert one.status().leader is None
    assert probes(one, 10 + HALF_HEARTBEAT)


def test_a_quorum_of_grants_begins_a_term_later_than_all_that_they_know() -> None:
    one = engine(terms=[5])
    (probe, _) = probes(one, 1000)
    sent = told(one, 3, ProbeAnswer(8, probe.round, Verdict.GRANTED, 1, 5), now=1001)
    assert sent == [RequestVote(9, 1, 5)] * 2
    assert one.status().role == "candidate"


def test_no_term_begins_without_a_quorum_of_grants() -> None:
    one = engine(terms=[5])
    for now in range(1000, 9000, 100):
        for probe in probes(one, now):
            told(one, 3, ProbeAnswer(8, probe.round, Verdict.HEARS, 1, 5), now=now)
    assert one.status().era == (5, 0)


def test_grants_to_different_probes_of_one_suspicion_count_together() -> None:
    """Else a round trip longer than the pause between probes means that nobody is ever elected."""
    one = engine(terms=[5])
    (first, _) = probes(one, 1000)
    assert len(probes(one, 1500)) > 4
    told(one, 2, ProbeAnswer(5, first.round, Verdict.GRANTED, 1, 5), now=1500)
    assert one.status().role == "candidate"


def test_the_latest_answer_of_a_peer_counts() -> None:
    one = engine(terms=[5])
    (first, _) = probes(one, 1000)
    (*_, later) = probes(one, 1500)
    told(one, 2, ProbeAnswer(5, later.round, Verdict.HEARS, 1, 5), now=1500)
    told(one, 2, ProbeAnswer(5, first.round, Verdict.GRANTED, 1, 5), now=1500)
    assert one.status().role == "follower"


def test_answers_to_an_earlier_series_count_for_nothing() -> None:
    one = engine(terms=[5])
    (probe, _) = probes(one, 1000)
    told(one, 2, ProbeAnswer(5, probe.round, Verdict.GRANTED, 1, 5), now=1001)
    assert one.status().era == (6, 0)
    told(one, 3, ProbeAnswer(5, probe.round, Verdict.GRANTED, 1, 5), now=1002)
    assert one.status().era == (6, 0)


def test_an_answer_to_a_probe_that_never_left_counts_for_nothing() -> None:
    one = engine(terms=[5])
    probes(one, 1000)
    told(one, 2, ProbeAnswer(5, 10**9, Verdict.GRANTED, 1, 5), now=1001)
    assert one.status().era == (5, 0)


def test_a_candidate_stays_one_and_begins_a_further_term_only_by_grants() -> None:
    one = engine(terms=[5])
    one.campaign(0)
    drain(one)
    asked = probes(one, 5000)
    assert asked
    assert one.status().era == (6, 0)
    told(one, 2, RequestVoteResponse(6, True), now=5000)
    assert one.leading == (6, 0), "a late vote counts"


def test_nothing_is_asked_while_the_request_for_votes_waits_for_the_disk() -> None:
    one = engine(terms=[5])
    one.campaign(0)
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    at = 0
    for _ in range(30):
        at = one.deadline or at
        one.tick(at)
        assert one.ready() is None
    one.persisted(at, ready.write.ticket)
    assert probes(one, at + 2000)


def test_whoever_voted_for_another_leaves_it_a_heartbeat() -> None:
    one = follower()
    one.peer(10, 2, None)
    told(one, 3, RequestVote(6, 1, 5), now=11)
    assert probes(one, 110) == []
    assert probes(one, 111 + HALF_HEARTBEAT)


def test_whoever_voted_refuses_for_a_heartbeat() -> None:
    """The candidate has a heartbeat to win; a grant would let another one begin a later term in that moment."""
    one = follower()
    told(one, 3, RequestVote(6, 1, 5), now=10)
    verdicts = [told(one, 2, Probe(6, at, 9, 9), now=at) for at in (109, 110)]
    assert [reply.verdict for (reply,) in verdicts if isinstance(reply, ProbeAnswer)] == [
        Verdict.HEARS,
        Verdict.GRANTED,
    ]


def test_a_later_term_does_not_restart_the_election_timer() -> None:
    for message in (
        RequestVote(9, 0, 0),
        RequestVoteResponse(9, False),
        AppendEntriesResponse(9, False, 1, 0),
        HeartbeatResponse(9, 0),
    ):
        one = engine(terms=[5])
        told(one, 2, message, now=400)
        assert one.status().era == (9, 0)
        assert one.deadline == 1000, message


def test_a_leader_that_a_later_term_deposes_waits_a_whole_timeout() -> None:
    one = leader()
    one.step(700, 2, HeartbeatResponse(9, 0))
    assert one.deadline == 1700


def test_a_leader_whose_followers_are_silent_resigns() -> None:
    one = leader()
    sent: list[Message] = []
    at = 0
    while one.leading is not None:
        at = one.deadline or at
        one.tick(at)
        ready = drain(one, at)
        sent += [send.message for send in ready.send]
    assert sent[-2:] == [Resign(1, 0)] * 2
    assert one.deadline == at + 1000, "it is not suspicious at once"


def test_without_the_extension_a_member_answers_and_does_not_ask() -> None:
    one = engine(terms=[5], extensions=Extensions(suspicion=False))
    (reply,) = told(one, 3, Probe(5, 1, 1, 5))
    assert isinstance(reply, ProbeAnswer)
    told(one, 2, AppendEntries(5, 1, 5, 0, 0, []))
    one.peer(10, 2, None)
    assert one.deadline == 1000
    one.tick(1000)
    assert one.status().era == (6, 0)
