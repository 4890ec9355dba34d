"""Figure 2 of the paper, message by message: one engine, and the test in its peers' place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    Durable,
    Entry,
    Extensions,
    Kind,
    Limits,
    Membership,
    Options,
    Proposal,
    ProposalId,
    Ready,
    Run,
    Send,
    StateRecord,
    TruncateRecord,
)
from ratified.consensus.entry import make_entry
from ratified.consensus.raft import decode_state
from ratified.consensus.raft.engine import Raft
from ratified.consensus.raft.extensions import PRODUCTION, RaftExtensions
from ratified.consensus.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CommitAdvanced,
    Heartbeat,
    HeartbeatResponse,
    Message,
    RequestVote,
    RequestVoteResponse,
)
from ratified.consensus.raft.state import HardState, encode_state
from ratified.consensus.replication.engine import Engine

MEMBERS = Membership((1, 2, 3))


def entry(index: int, term: int, data: bytes = b"") -> Entry:
    return make_entry(index, (term, 0), Kind.COMMAND, ProposalId(1, 1, index), data)


def engine(
    *,
    terms: Sequence[int] = (),
    term: int = 0,
    voted_for: int | None = None,
    extensions: Extensions | None = None,
    own: RaftExtensions = PRODUCTION,
    limits: Limits | None = None,
) -> Engine[Raft]:
    """Member 1 of three, at time 0, whose log has entries of these terms."""
    entries = [entry(index, each) for index, each in enumerate(terms, 1)]
    runs = [Run(each.index, each.index, each.era) for each in entries]
    state = encode_state(HardState(max([term, *terms]), voted_for))
    options = Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now + 1000,
        election_timeout_max_us=1000,
        election_timeout_min_us=1000,
        heartbeat_us=100,
        extensions=extensions or Extensions(),
        limits=limits or Limits(),
    )
    algorithm = partial(Raft, extensions=own)
    one = Engine(algorithm, 0, options, Durable(state, Base(0, NO_ERA, MEMBERS), runs, entries))
    one.ready()
    return one


def drain(one: Engine[Raft], now: int = 0) -> Ready:
    """The turn's Ready, its write durable at once."""
    ready = one.ready()
    assert ready is not None
    if ready.write is not None:
        one.persisted(now, ready.write.ticket)
    return ready


def answer(one: Engine[Raft], sender: int, message: Message) -> Any:
    """What goes back to the sender."""
    one.step(0, sender, message)
    ready = drain(one)
    (send,) = [*ready.send, *ready.send_after]
    assert send.to == sender
    return send.message


def leader(
    terms: Sequence[int] = (),
    limits: Limits | None = None,
    own: RaftExtensions = PRODUCTION,
    **extensions: bool,
) -> Engine[Raft]:
    """Member 1, elected by member 2, its no-op and first messages drained."""
    one = engine(terms=terms, extensions=Extensions(**extensions), own=own, limits=limits)
    one.campaign(0)
    drain(one)
    one.step(0, 2, RequestVoteResponse(one.status().era[0], True))
    assert one.leading is not None
    drain(one)
    return one


def append(term: int, prev: tuple[int, int], entries: Sequence[Entry] = (), commit: int = 0) -> AppendEntries:
    return AppendEntries(term, prev[0], prev[1], commit, 0, [each.encoded for each in entries])


def propose(one: Engine[Raft], *datas: bytes) -> None:
    one.propose(0, [Proposal(ProposalId(1, 1, 100 + number), data) for number, data in enumerate(datas)])


def sent(ready: Ready | None, kind: type) -> list[Send]:
    return [] if ready is None else [send for send in ready.send if isinstance(send.message, kind)]


# ------------------------------------------------------------------------------------------------- RequestVote


def test_one_vote_a_term() -> None:
    one = engine(term=4)
    assert answer(one, 2, RequestVote(5, 0, 0)) == RequestVoteResponse(5, True)
    assert answer(one, 3, RequestVote(5, 9, 5)) == RequestVoteResponse(5, False)
    assert answer(one, 2, RequestVote(5, 0, 0)) == RequestVoteResponse(5, True), "the same candidate, again"


def test_a_vote_survives_a_restart() -> None:
    one = engine(term=5, voted_for=3)
    assert answer(one, 2, RequestVote(5, 0, 0)) == RequestVoteResponse(5, False)
    assert answer(one, 3, RequestVote(5, 0, 0)) == RequestVoteResponse(5, True)


def test_an_old_term_gets_no_vote() -> None:
    assert answer(engine(term=5), 2, RequestVote(4, 9, 4)) == RequestVoteResponse(5, False)


@pytest.mark.parametrize(
    ("last_index", "last_term", "granted"), [(2, 3, True), (3, 3, True), (1, 4, True), (1, 3, False), (9, 2, False)]
)
def test_a_vote_goes_to_a_log_that_is_at_least_as_up_to_date(last_index: int, last_term: int, granted: bool) -> None:
    one = engine(terms=[1, 3])
    assert answer(one, 2, RequestVote(9, last_index, last_term)) == RequestVoteResponse(9, granted)


def test_a_vote_that_is_given_restarts_the_election_timer_and_one_that_is_not_does_not() -> None:
    one = engine(terms=[1, 1])
    one.step(500, 2, RequestVote(1, 9, 1))
    assert one.deadline == 1500
    one.step(700, 3, RequestVote(1, 9, 1))
    assert one.deadline == 1500


def test_a_request_for_votes_waits_for_its_write() -> None:
    one = engine(terms=[1, 1])
    one.campaign(0)
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    assert [decode_state(each.data) for each in ready.write.records if isinstance(each, StateRecord)] == [
        HardState(2, voted_for=1)
    ]
    assert ready.after == ready.write.ticket
    assert [(send.to, send.message) for send in ready.send_after] == [
        (2, RequestVote(2, 2, 1)),
        (3, RequestVote(2, 2, 1)),
    ]
    assert not ready.send


def test_the_own_vote_counts_when_it_is_durable() -> None:
    one = engine()
    one.campaign(0)
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    one.step(0, 2, RequestVoteResponse(1, True))
    assert one.leading is None
    one.persisted(0, ready.write.ticket)
    assert one.leading == (1, 0)


def test_a_candidate_whose_requests_wait_for_the_disk_begins_no_further_term() -> None:
    one = engine(extensions=Extensions(suspicion=False))
    one.campaign(0)
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    one.tick(1000)
    assert one.status().era == (1, 0)
    one.persisted(1000, ready.write.ticket)
    one.tick(2000)
    assert one.status().era == (2, 0)


def test_votes_of_an_earlier_term_do_not_count() -> None:
    one = engine(extensions=Extensions(suspicion=False))
    one.campaign(0)
    drain(one)
    one.tick(1000)
    drain(one, 1000)
    one.step(1000, 2, RequestVoteResponse(1, True))
    assert one.leading is None
    one.step(1000, 2, RequestVoteResponse(2, True))
    assert one.leading == (2, 0)


# ------------------------------------------------------------------------------------------------ AppendEntries


def test_an_old_leader_is_told_the_term() -> None:
    one = engine(term=5)
    response = answer(one, 2, append(4, (0, 0)))
    assert (response.term, response.success) == (5, False)


def test_entries_behind_a_gap_are_refused_with_a_hint() -> None:
    one = engine(terms=[1, 1, 2])
    assert answer(one, 2, append(5, (9, 5), [entry(10, 5)])) == AppendEntriesResponse(5, False, 9, 0, 3, 2)


def test_a_hint_skips_a_whole_term_that_cannot_match() -> None:
    one = engine(terms=[1, 1, 4, 4, 4])
    assert answer(one, 2, append(5, (5, 3))) == AppendEntriesResponse(5, False, 5, 0, 2, 1)


def test_conflicting_entries_are_removed_and_replaced() -> None:
    one = engine(terms=[1, 2, 2])
    one.step(0, 2, append(3, (1, 1), [entry(2, 3), entry(3, 3)]))
    ready = drain(one)
    assert ready.write is not None
    assert ready.write.records[1:] == [TruncateRecord(2), entry(2, 3), entry(3, 3)]
    assert [send.message for send in ready.send_after] == [AppendEntriesResponse(3, True, 3, 0)]


def test_a_shorter_old_message_removes_nothing() -> None:
    one = engine(terms=[1, 1, 1])
    response = answer(one, 2, append(1, (0, 0), [entry(1, 1)]))
    assert response == AppendEntriesResponse(1, True, 1, 0)
    assert one.status().last == 3


def test_commit_is_bounded_by_what_was_compared() -> None:
    one = engine(terms=[1, 1, 1])
    one.step(0, 2, append(1, (0, 0), [entry(1, 1)], commit=3))
    assert one.status().commit == 1


def test_a_candidate_yields_to_the_leader_of_its_term() -> None:
    one = engine()
    one.campaign(0)
    drain(one)
    one.step(0, 2, append(1, (0, 0)))
    assert one.status().role == "follower"
    assert one.status().leader == 2


def test_an_append_response_waits_for_the_write_of_its_entries() -> None:
    one = engine(term=1)
    one.step(0, 2, append(1, (0, 0), [entry(1, 1)]))
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    assert ready.after == ready.write.ticket
    assert not ready.send
    assert [send.message for send in ready.send_after] == [AppendEntriesResponse(1, True, 1, 0)]


MALFORMED = {
    "a gap": append(3, (1, 1), [entry(3, 2)]),
    "terms that decrease": append(3, (1, 1), [entry(2, 3), entry(3, 2)]),
    "an entry of the future": append(3, (1, 1), [entry(2, 4)]),
    "a previous term of the future": append(3, (9, 4)),
    "garbage": AppendEntries(3, 1, 1, 0, 0, [b"garbage"]),
    "a membership": append(3, (1, 1), [make_entry(2, (3, 0), Kind.MEMBERSHIP, None, b"")]),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_no_correct_leader_sends_changes_nothing_and_is_counted(name: str) -> None:
    one = engine(terms=[1, 2], term=3)
    one.step(0, 2, MALFORMED[name])
    ready = one.ready()
    assert ready is None or (ready.write is None and not ready.send and not ready.send_after)
    assert one.status().last == 2
    assert [word for word in one.status().words if word.startswith("ignored")]


# ------------------------------------------------------------------------------------------------------ leaders


def test_a_new_leader_appends_a_noop_and_sends_it_at_once() -> None:
    one = engine(terms=[1])
    one.campaign(0)
    drain(one)
    one.step(0, 2, RequestVoteResponse(2, True))
    ready = drain(one)
    noop = make_entry(2, (2, 0), Kind.NOOP, None, b"")
    assert ready.write is not None
    assert ready.write.records == [noop]
    appends = sent(ready, AppendEntries)
    assert [(send.to, send.message) for send in appends] == [
        (2, append(2, (1, 1), [noop])),
        (3, append(2, (1, 1), [noop])),
    ]
    assert appends[0].message is appends[1].message, "one message, so that it can be encoded once"


def test_one_turns_proposals_leave_in_one_message_beside_the_own_write() -> None:
    one = leader()
    propose(one, b"a", b"b")
    propose(one, b"c")
    ready = one.ready()
    assert ready is not None
    assert ready.write is not None
    assert len(ready.write.records) == 3
    assert [len(send.message.entries) for send in sent(ready, AppendEntries)] == [3, 3]


def test_figure_8_an_entry_of_an_older_term_is_not_committed_by_counting() -> None:
    one = leader(terms=[1, 2], noop_on_election=False)
    one.step(0, 2, AppendEntriesResponse(3, True, 2, 0))
    assert one.status().commit == 0
    propose(one, b"of the own term")
    drain(one)
    one.step(0, 2, AppendEntriesResponse(3, True, 3, 0))
    assert one.status().commit == 3


def test_a_refusal_leads_back_by_one_without_hints() -> None:
    one = leader(terms=[1, 1, 1], own=RaftExtensions(conflict_hints=False))
    one.step(0, 2, AppendEntriesResponse(2, False, 3, 0))
    (probe,) = sent(one.ready(), AppendEntries)
    assert (probe.to, probe.message.prev_index) == (2, 2)


def test_a_refusal_with_a_hint_leads_back_in_one_step() -> None:
    one = leader(terms=[1, 1, 1, 3, 3, 3])
    one.step(0, 2, AppendEntriesResponse(4, False, 6, 0, 5, 2))
    (probe,) = sent(one.ready(), AppendEntries)
    assert probe.message == append(4, (3, 1))


def test_only_one_probe_is_under_way_and_old_refusals_do_not_count() -> None:
    one = leader(terms=[1, 1, 1, 1])
    one.step(0, 2, AppendEntriesResponse(2, False, 4, 0, 2, 1))
    assert len(sent(one.ready(), AppendEntries)) == 1
    one.step(0, 2, AppendEntriesResponse(2, False, 5, 0, 2, 1))
    propose(one, b"a")
    assert [send.to for send in sent(one.ready(), AppendEntries)] == [3]
    one.step(0, 2, AppendEntriesResponse(2, True, 2, 0))
    (rest,) = sent(one.ready(), AppendEntries)
    assert (rest.message.prev_index, len(rest.message.entries)) == (2, 4)


def test_entries_are_sent_ahead_of_the_answers_within_the_window() -> None:
    one = leader()
    for number in range(100):
        propose(one, b"%d" % number)
        one.ready()
    assert one.status().progress[2].next == 65, "64 messages, the no-op's among them"
    one.step(0, 2, AppendEntriesResponse(1, True, 64, 0))
    (rest,) = sent(one.ready(), AppendEntries)
    assert (rest.message.prev_index, len(rest.message.entries)) == (64, 37)


def test_the_window_is_bounded_in_bytes_too() -> None:
    one = leader(limits=Limits(bytes_per_message_max=1000, inflight_bytes_max=2000))
    one.step(0, 2, AppendEntriesResponse(1, True, 1, 0))
    propose(one, *[bytes(447)] * 20)
    assert [len(send.message.entries) for send in sent(one.ready(), AppendEntries) if send.to == 2] == [2, 2]
    one.step(0, 2, AppendEntriesResponse(1, True, 3, 0))
    assert [len(send.message.entries) for send in sent(one.ready(), AppendEntries) if send.to == 2] == [2]


def test_one_message_is_sent_however_large_its_entry_is() -> None:
    one = leader(limits=Limits(bytes_per_message_max=1, inflight_bytes_max=1))
    one.step(0, 2, AppendEntriesResponse(1, True, 1, 0))
    propose(one, bytes(5000), bytes(5000))
    assert [len(send.message.entries) for send in sent(one.ready(), AppendEntries) if send.to == 2] == [1]


def test_a_lost_message_is_noticed_at_a_heartbeat() -> None:
    one = leader()
    propose(one, b"lost")
    one.ready()
    one.step(0, 2, AppendEntriesResponse(1, True, 1, 0))
    one.ready()
    one.tick(100)
    one.ready()
    one.tick(200)
    question = next(send for send in sent(one.ready(), AppendEntries) if send.to == 2)
    assert (question.message.prev_index, question.message.entries) == (2, [])
    one.step(200, 2, AppendEntriesResponse(1, False, 2, 0, 1, 1))
    one.ready()
    one.step(200, 2, AppendEntriesResponse(1, True, 1, 0))
    (again,) = sent(one.ready(), AppendEntries)
    assert (again.message.prev_index, len(again.message.entries)) == (1, 1)


def test_a_new_session_leads_back_to_what_was_acknowledged() -> None:
    one = leader()
    one.step(0, 2, AppendEntriesResponse(1, True, 1, 0))
    propose(one, b"under way")
    one.ready()
    one.peer(0, 2, None)
    one.peer(0, 2, 7)
    (probe,) = sent(one.ready(), AppendEntries)
    assert (probe.to, probe.message.prev_index, probe.message.entries) == (2, 1, [])


def test_a_leader_that_hears_no_quorum_stops_leading() -> None:
    one = leader()
    for now in range(100, 1000, 100):
        one.tick(now)
        one.ready()
        assert one.leading is not None
    one.tick(1000)
    assert one.leading is None


def test_a_leader_that_one_of_two_peers_answers_goes_on() -> None:
    one = leader()
    for now in range(100, 5000, 100):
        one.tick(now)
        one.ready()
        one.step(now, 3, HeartbeatResponse(1, 0))
    assert one.leading is not None


def test_answers_that_no_correct_peer_gives_are_dropped() -> None:
    one = leader()
    one.step(0, 2, AppendEntriesResponse(1, True, 99, 0))
    one.step(0, 2, HeartbeatResponse(1, 99))
    one.step(0, 9, HeartbeatResponse(1, 0))
    one.step(0, 2, append(1, (0, 0)))
    assert one.status().commit == 0
    assert one.leading == (1, 0)
    assert len([word for word in one.status().words if word.startswith("ignored")]) == 4


# --------------------------------------------------------------------------------------------------- heartbeats


def test_a_heartbeats_answer_goes_at_once() -> None:
    one = engine(term=2)
    one.step(0, 2, Heartbeat(2, 0, 5))
    ready = one.ready()
    assert ready is not None
    assert [send.message for send in ready.send] == [HeartbeatResponse(2, 5)]


def test_a_heartbeats_answer_waits_while_its_term_is_not_durable() -> None:
    one = engine(term=2)
    one.step(0, 2, Heartbeat(3, 0, 5))
    ready = one.ready()
    assert ready is not None
    assert not ready.send
    assert [send.message for send in ready.send_after] == [HeartbeatResponse(3, 5)]


@pytest.mark.parametrize("question", [Heartbeat(1, 0, 7), AppendEntries(1, 0, 0, 0, 7, [])])
def test_an_answer_in_a_later_term_confirms_no_round_of_the_question(question: Message) -> None:
    """Who asked may lead this later term too by the time of the answer, and its rounds begin at 1 again."""
    one = engine(term=2)
    response = answer(one, 2, question)
    assert (response.term, response.round) == (2, 0)


def test_a_question_of_an_earlier_lead_confirms_no_read_of_a_later_one() -> None:
    """Member 1 leads term 1 and, elected again, term 2; member 2 answers late what it was asked in term 1, and has
    long voted for the leader of term 3 when member 1 begins the round of term 2 that has the same number."""
    peer = engine(term=2)
    late = answer(peer, 1, Heartbeat(1, 0, 1))
    one = engine(term=1)
    one.campaign(0)
    drain(one)
    one.step(0, 2, RequestVoteResponse(2, True))
    drain(one)
    one.step(0, 2, AppendEntriesResponse(2, True, 1, 0))
    drain(one)
    assert one.status().serving
    one.read_barrier(0, 5)
    drain(one)
    one.step(0, 2, late)
    ready = one.ready()
    assert ready is None or not ready.reads


def test_a_peer_is_told_the_commit_index_once_when_nothing_else_carries_it() -> None:
    one = leader()
    one.step(0, 2, AppendEntriesResponse(1, True, 1, 0))
    (told,) = sent(one.ready(), CommitAdvanced)
    assert (told.to, told.message) == (2, CommitAdvanced(1, 1))
    assert one.ready() is None
    one.step(0, 3, AppendEntriesResponse(1, True, 1, 0))
    assert [send.to for send in sent(one.ready(), CommitAdvanced)] == [3]
    propose(one, b"a")
    assert sent(one.ready(), CommitAdvanced) == [], "the entries carry it"


def test_a_follower_delivers_what_it_is_told_was_committed() -> None:
    one = engine(terms=[1, 1])
    one.step(0, 2, CommitAdvanced(1, 2))
    ready = one.ready()
    assert ready is not None
    assert [each.index for each in ready.deliver] == [1, 2]
    assert not ready.send
    assert not ready.send_after


def test_a_heartbeat_never_commits_beyond_the_log() -> None:
    one = engine(terms=[1])
    one.step(0, 2, Heartbeat(1, 2, 0))
    assert one.status().commit == 0


# ----------------------------------------------------------------------------- answers to an earlier leadership


def leads_again() -> Engine[Raft]:
    """Member 1 led term 1, in which it sent entries up to 3, lost them, and leads term 3 with other ones."""
    one = leader()
    propose(one, b"a", b"b")
    drain(one)
    told = append(2, (0, 0), [entry(1, 2)])
    assert answer(one, 3, told) == AppendEntriesResponse(2, True, 1, 0)
    one.campaign(0)
    drain(one)
    one.step(0, 2, RequestVoteResponse(3, True))
    propose(one, b"c")
    drain(one)
    assert one.leading == (3, 0)
    return one


def test_an_acknowledgement_of_an_earlier_term_counts_for_nothing() -> None:
    one = leads_again()
    one.step(0, 2, AppendEntriesResponse(1, True, 3, 0))
    one.ready()
    assert one.status().commit == 0


def test_a_heartbeats_answer_of_an_earlier_term_confirms_no_read() -> None:
    one = leads_again()
    one.step(0, 2, AppendEntriesResponse(3, True, 3, 0))
    one.read_barrier(0, 7)
    drain(one)
    one.step(0, 2, HeartbeatResponse(1, 1))
    ready = one.ready()
    assert ready is None or not ready.reads
    one.step(0, 2, HeartbeatResponse(3, 1))
    ready = one.ready()
    assert ready is not None
    assert [read.index for read in ready.reads] == [3]


def test_what_was_fetched_in_an_earlier_lead_is_sent_to_nobody() -> None:
    one = leader(terms=[1, 1, 1], limits=Limits(tail_bytes_max=1))
    log = one._algorithm.core.log

    def wants_everything(term: int) -> Ready:
        """Member 2 has nothing."""
        one.step(0, 2, AppendEntriesResponse(term, False, log.last - 1, 0, 0, 0))
        drain(one)
        one.step(0, 2, AppendEntriesResponse(term, True, 0, 0))
        return drain(one)

    (old,) = wants_everything(2).fetch
    one.step(0, 3, append(3, (1, 1), [entry(2, 3)]))
    drain(one)
    one.campaign(0)
    drain(one)
    one.step(0, 2, RequestVoteResponse(4, True))
    drain(one)
    (new,) = wants_everything(4).fetch
    assert old.first == new.first == 1
    one.fetched(0, old.token, [entry(index, 1) for index in range(1, old.last + 1)])
    ready = one.ready()
    assert ready is None or not [send for send in ready.send if isinstance(send.message, AppendEntries)]
    one.fetched(0, new.token, [entry(1, 1)])
    (send,) = [send for send in drain(one).send if isinstance(send.message, AppendEntries) and send.message.entries]
    assert send.message.entries == [entry(1, 1).encoded]
