"""The rules of *Paxos Made Simple*, message by message, on one engine driven by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import Entry, Kind, Limits, Refused, RefusedReason, Taken
from ratified.consensus.entry import decode_entry
from ratified.consensus.paxos.extensions import PaxosExtensions
from ratified.consensus.paxos.messages import (
    Accept,
    Accepted,
    Decided,
    Heartbeat,
    HeartbeatAnswer,
    Learn,
    Learned,
    Nack,
    Prepare,
    Promise,
)
from ratified.consensus.paxos.state import AcceptorState, encode_state
from tests.consensus.paxos.hand import HEARTBEAT_US, Hand, entry, log
from tests.mutants import paxos as mutants
from tests.mutants.mutant import Break


def accept(ballot: tuple[int, int], *entries: Entry, chosen: int = 0) -> Accept:
    return Accept(ballot, chosen, [each.encoded for each in entries])


def accepted_entries(hand: Hand, to: int) -> list[Entry]:
    return [
        decode_entry(each)
        for message in hand.take(Accept, to)
        if isinstance(message, Accept)
        for each in message.entries
    ]


# ------------------------------------------------------------------------------------------------------ the acceptor


def test_a_promise_and_an_acceptance_wait_for_the_disk() -> None:
    hand = Hand()
    hand.step(2, Prepare((1, 2), 1))
    assert hand.take(Promise) == []
    hand.sync()
    assert hand.take(Promise) == [Promise((1, 2), 1, 1, True, 0, [])]
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"a")))
    assert hand.take(Accepted) == []
    hand.sync()
    assert hand.take(Accepted) == [Accepted((1, 2), 1, 1)]


def test_what_is_below_the_promise_is_refused() -> None:
    hand = Hand()
    hand.step(3, Prepare((2, 3), 1))
    hand.sync()
    hand.take(Promise)
    hand.step(2, Prepare((2, 2), 1))
    hand.step(2, accept((2, 2), entry(1, (2, 2), b"a")))
    assert hand.take(Nack) == [Nack((2, 3)), Nack((2, 3))]
    assert hand.written == []


def test_a_promise_holds_after_a_restart() -> None:
    hand = Hand(log(state=encode_state(AcceptorState((5, 3), (0, 0), 0))))
    hand.step(2, Prepare((5, 2), 1))
    assert hand.take(Nack) == [Nack((5, 3))]


def test_a_promise_reports_everything_accepted_from_the_slot_asked_for_in_parts() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=2))
    values = [entry(slot, (1, 2), b"%d" % slot) for slot in (1, 2, 3, 4)]
    hand.step(2, accept((1, 2), *values))
    hand.sync()
    hand.take(Accepted)
    hand.step(3, Prepare((2, 3), 2))
    hand.sync()
    assert hand.take(Promise) == [Promise((2, 3), 2, 3, False, 0, [values[1].encoded, values[2].encoded])]
    hand.step(3, Prepare((2, 3), 4))
    assert hand.take(Promise) == [Promise((2, 3), 4, 4, True, 0, [values[3].encoded])]


def test_a_promise_reports_what_has_to_be_fetched_from_the_log() -> None:
    old = entry(1, (1, 2), b"old")
    hand = Hand(log(old, state=encode_state(AcceptorState((1, 2), (0, 0), 0))))
    hand.step(3, Prepare((2, 3), 1))
    hand.sync()
    assert hand.take(Promise) == []
    ((token, first, last),) = hand.fetches
    assert (first, last) == (1, 1)
    hand.engine.fetched(0, token, [old])
    hand.drain()
    assert hand.take(Promise) == [Promise((2, 3), 1, 1, True, 0, [old.encoded])]


def test_a_promise_that_was_fetched_waits_for_the_disk_too() -> None:
    old = entry(1, (1, 2), b"old")
    hand = Hand(log(old, state=encode_state(AcceptorState((1, 2), (0, 0), 0))))
    hand.step(3, Prepare((2, 3), 1))
    ((token, _, _),) = hand.fetches
    hand.engine.fetched(0, token, [old])
    hand.drain()
    assert hand.take(Promise) == [], "the log was read before the promise was written"
    hand.sync()
    assert hand.take(Promise) == [Promise((2, 3), 1, 1, True, 0, [old.encoded])]


def test_a_message_that_comes_twice_is_written_once_and_answered_twice() -> None:
    hand = Hand()
    message = accept((1, 2), entry(1, (1, 2), b"a"))
    hand.step(2, message)
    hand.step(2, message)
    hand.sync()
    assert len(hand.written) == 1
    assert hand.take(Accepted) == [Accepted((1, 2), 1, 1)] * 2


def test_slots_are_accepted_out_of_order_and_delivered_in_order() -> None:
    hand = Hand()
    hand.step(2, accept((1, 2), entry(2, (1, 2), b"b")))
    hand.step(2, Decided((1, 2), 2))
    hand.sync()
    assert hand.take(Accepted) == [Accepted((1, 2), 2, 2)]
    assert hand.delivered == []
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"a"), chosen=2))
    hand.sync()
    assert [each.data for each in hand.delivered] == [b"a", b"b"]


def test_a_slot_far_above_the_last_one_is_not_taken() -> None:
    hand = Hand(limits=Limits(gap_entries_max=10))
    hand.step(2, accept((1, 2), entry(11, (1, 2), b"a")))
    hand.step(2, accept((1, 2), entry(10, (1, 2), b"a")))
    hand.sync()
    assert hand.take(Accepted) == [Accepted((1, 2), 10, 10)]


def test_somebody_elses_ballot_is_dropped() -> None:
    hand = Hand()
    for message in (Prepare((1, 3), 1), accept((1, 3), entry(1, (1, 3), b"a")), Heartbeat((1, 3), 0, 0)):
        hand.step(2, message)
    assert hand.sent == []
    assert hand.engine.status().words["ignored: somebody else's ballot"] == "3"


def test_a_malformed_accept_changes_nothing() -> None:
    hand = Hand()
    good = entry(1, (1, 2), b"a")
    for entries in ([b"?"], [good.encoded, good.encoded], [entry(1, (1, 3), b"a").encoded], []):
        hand.step(2, Accept((1, 2), 0, entries))
    assert hand.sent == []
    assert hand.engine.status().era == (0, 0)


# ------------------------------------------------------------------------------------------------------ the proposer


def test_nobody_hears_of_a_ballot_before_it_is_durable() -> None:
    hand = Hand()
    hand.engine.campaign(0)
    hand.drain()
    assert hand.take(Prepare) == []
    hand.sync()
    assert hand.take(Prepare) == [Prepare((1, 1), 1)] * 2


def test_a_ballot_is_above_all_that_were_heard_of() -> None:
    hand = Hand()
    hand.step(3, Prepare((4, 3), 1))
    assert hand.candidate() == (5, 1)
    hand.step(2, Nack((9, 2)))
    assert hand.candidate() == (10, 1)


def test_without_outbid_hearsay_a_ballot_is_above_the_own_and_the_promised_one_only() -> None:
    hand = Hand(own=PaxosExtensions(outbid_hearsay=False))
    hand.step(3, Prepare((4, 3), 1))
    assert hand.candidate() == (5, 1)
    hand.step(2, Nack((9, 2)))
    assert hand.engine.status().role == "follower", "it gives way all the same"
    assert hand.candidate() == (6, 1)


def test_a_promise_that_comes_twice_is_one() -> None:
    hand = Hand(log(members=5))
    hand.candidate()
    hand.promise(2)
    hand.promise(2)
    assert hand.engine.leading is None
    hand.promise(3)
    assert hand.engine.leading is not None


def test_the_value_of_the_highest_ballot_is_proposed_again() -> None:
    hand = Hand(log(members=5))
    hand.step(3, Prepare((6, 3), 1))
    hand.candidate()
    hand.promise(2, 1, entry(1, (5, 2), b"highest"))
    hand.promise(3, 1, entry(1, (4, 4), b"latest"))
    assert [each.data for each in accepted_entries(hand, 2)] == [b"highest", b""]


def test_gaps_are_filled_with_no_ops_and_a_new_lead_begins_with_one() -> None:
    hand = Hand()
    ballot = hand.lead_with(entry(2, (0, 1), b"b"), entry(4, (0, 1), b"d"))
    slots = [(each.index, each.era, each.kind, each.data) for each in accepted_entries(hand, 3)]
    assert slots == [
        (1, ballot, Kind.NOOP, b""),
        (2, ballot, Kind.COMMAND, b"b"),
        (3, ballot, Kind.NOOP, b""),
        (4, ballot, Kind.COMMAND, b"d"),
        (5, ballot, Kind.NOOP, b""),
    ]
    assert hand.propose(b"e") == Taken(6)


def test_a_candidate_asks_for_every_part_of_a_promise_before_it_leads() -> None:
    hand = Hand()
    ballot = hand.candidate()
    hand.take(Prepare)
    first = entry(1, (0, 3), b"a")
    hand.step(2, Promise(ballot, 1, 1, False, 0, [first.encoded]))
    assert hand.engine.leading is None
    assert hand.take(Prepare, 2) == [Prepare(ballot, 2)]
    hand.tick(HEARTBEAT_US)
    assert hand.take(Prepare, 2) == [Prepare(ballot, 2)], "the part did not come: it is asked for again"
    hand.promise(2, 2)
    assert hand.engine.leading == ballot


def test_the_own_promise_counts_although_a_decision_came_before_it_was_durable() -> None:
    hand = Hand(log(members=5))
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"a")))
    hand.sync()
    hand.engine.campaign(0)
    hand.drain()
    hand.step(2, Decided((1, 2), 1))
    hand.sync()
    hand.promise(3)
    assert hand.engine.leading is None
    hand.promise(4)
    assert hand.engine.leading is not None


def test_a_candidate_first_learns_what_its_quorum_knows_to_be_chosen() -> None:
    hand = Hand()
    ballot = hand.candidate()
    hand.take(Prepare)
    hand.promise(2, 1, entry(3, (0, 2), b"c"), chosen=2)
    assert hand.engine.status().role == "candidate"
    assert hand.take(Learn, 2) == [Learn(1)]
    chosen = [entry(1, (0, 2), b"a"), entry(2, (0, 2), b"b")]
    hand.step(2, Learned(2, [each.encoded for each in chosen]))
    assert hand.engine.leading == ballot
    assert [each.index for each in accepted_entries(hand, 3)] == [3, 4]


def test_without_skip_chosen_every_slot_is_asked_for_reported_and_proposed_again() -> None:
    old = [entry(slot, (1, 2), b"%d" % slot) for slot in (1, 2)]
    hand = Hand(own=PaxosExtensions(skip_chosen=False), noop_on_election=False)
    hand.step(2, accept((1, 2), *old))
    hand.sync()
    hand.step(2, Decided((1, 2), 2))
    assert [each.data for each in hand.delivered] == [b"1", b"2"]
    hand.step(3, Prepare((2, 3), 1))
    hand.sync()
    assert hand.take(Promise) == [Promise((2, 3), 1, 2, True, 0, [each.encoded for each in old])]
    ballot = hand.candidate()
    assert hand.take(Prepare, 2) == [Prepare(ballot, 1)]
    hand.promise(2, 1, entry(3, (1, 2), b"3"))
    assert [(each.index, each.era, each.data) for each in accepted_entries(hand, 3)] == [
        (1, ballot, b"1"),
        (2, ballot, b"2"),
        (3, ballot, b"3"),
    ]
    hand.sync()
    hand.step(3, Accepted(ballot, 1, 3))
    assert [each.data for each in hand.delivered] == [b"1", b"2", b"3"]


def test_a_value_is_chosen_by_a_quorum_of_members_the_leaders_own_disk_among_them() -> None:
    hand = Hand(log(members=5))
    hand.candidate()
    hand.promise(2)
    hand.promise(3)
    ballot = hand.engine.leading
    assert ballot is not None
    for sender in (2, 2, 3):
        hand.step(sender, Accepted(ballot, 1, 1))
    assert hand.engine.status().commit == 0
    hand.sync()
    assert hand.engine.status().commit == 1
    assert hand.lead is not None
    assert hand.lead.serving


def test_slots_are_chosen_by_different_quorums() -> None:
    hand = Hand()
    ballot = hand.lead_with()
    hand.propose(b"a", b"b")
    hand.sync()
    hand.step(3, Accepted(ballot, 2, 3))
    assert hand.engine.status().commit == 0
    hand.step(2, Accepted(ballot, 1, 1))
    assert hand.engine.status().commit == 3


def test_what_was_lost_on_its_way_is_sent_again() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1))
    ballot = hand.lead_with()
    hand.propose(b"a", b"b")
    assert [each.index for each in accepted_entries(hand, 2)] == [1, 2, 3]
    hand.step(2, Accepted(ballot, 2, 2))
    assert [each.index for each in accepted_entries(hand, 2)] == [1], "answered behind it: it was lost"
    for beat in (1, 2, 3, 4):
        hand.tick(beat * HEARTBEAT_US)
    assert [each.index for each in accepted_entries(hand, 2)] == [3, 1], "no answer for long"


def under_way_after(hand: Hand, beats: int) -> int:
    """The bytes of all proposals that went to member 2 while member 3 answered everything and it nothing."""
    hand.sync()
    for beat in range(1, beats + 1):
        hand.step(3, HeartbeatAnswer(hand.engine.status().era, 0))
        hand.tick(beat * HEARTBEAT_US)
    return sum(len(each.encoded) for each in accepted_entries(hand, 2))


def silent_peer() -> None:
    limits = Limits(bytes_per_message_max=1000, inflight_bytes_max=4000, uncommitted_bytes_max=1 << 30)
    hand = Hand(limits=limits)
    hand.lead_with(promiser=3)
    for _ in range(100):
        hand.propose(bytes(900))
    assert under_way_after(hand, 100) < 4000 + 8 * 1000


def test_a_silent_peer_has_the_window_under_way_and_a_message_for_each_doubling_of_the_time() -> None:
    silent_peer()


def test_what_a_peer_that_is_heard_again_has_missed_is_sent_again_at_once() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1))
    ballot = hand.lead_with(promiser=3)
    under_way_after(hand, 90)
    hand.step(2, HeartbeatAnswer(ballot, 0))
    for beat in (91, 92):
        hand.step(3, HeartbeatAnswer(ballot, 0))
        hand.tick(beat * HEARTBEAT_US)
    assert [each.index for each in accepted_entries(hand, 2)] == [1]


def begins_small() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1, bytes_per_message_max=200, inflight_bytes_max=2000))
    ballot = hand.lead_with()
    hand.propose(*[bytes(100)] * 40)
    sent = accepted_entries(hand, 2)
    while len(sent) < 10:
        hand.step(2, Accepted(ballot, sent[0].index, sent[-1].index))
        for each in sent[:-1]:
            hand.step(2, Accepted(ballot, each.index, each.index))
        hand.step(2, Accepted(ballot, sent[-1].index, sent[-1].index))
        sent = accepted_entries(hand, 2)
        assert sent
    hand.driver.connect(2, None)
    hand.driver.connect(2, 7)
    hand.drain()
    assert sum(len(each.encoded) for each in accepted_entries(hand, 2)) <= 400


def test_a_window_begins_small_again_after_a_session_was_lost() -> None:
    begins_small()


@pytest.mark.parametrize(
    ("broken", "test"),
    [(mutants.resends_at_every_heartbeat, silent_peer), (mutants.window_keeps_its_size, begins_small)],
)
def test_a_broken_bound_is_seen(broken: Break, test: Callable[[], None]) -> None:
    with broken(), pytest.raises(AssertionError):
        test()


def test_what_is_under_way_to_a_peer_is_limited_in_bytes_too() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1, inflight_bytes_max=200))
    ballot = hand.lead_with()
    hand.step(2, Accepted(ballot, 1, 1))
    accepted_entries(hand, 2)
    hand.propose(bytes(100), bytes(100), bytes(100))
    assert [each.index for each in accepted_entries(hand, 2)] == [2, 3]
    hand.step(2, Accepted(ballot, 2, 2))
    assert [each.index for each in accepted_entries(hand, 2)] == [4]


def test_without_resend_nothing_is_sent_twice() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1), own=PaxosExtensions(resend=False))
    ballot = hand.lead_with()
    hand.propose(b"a", b"b")
    assert [each.index for each in accepted_entries(hand, 2)] == [1, 2, 3]
    hand.step(2, Accepted(ballot, 2, 2))
    for beat in (1, 2, 3):
        hand.tick(beat * HEARTBEAT_US)
    assert hand.take(Accept) == []


def test_a_peer_is_told_of_a_decision_when_it_has_accepted_the_value() -> None:
    for after_accepted, told in ((True, [2]), (False, [2, 3])):
        hand = Hand(own=PaxosExtensions(decided_after_accepted=after_accepted), noop_on_election=False)
        ballot = hand.lead_with()
        hand.propose(b"a")
        hand.sync()
        hand.sent.clear()
        hand.step(2, Accepted(ballot, 1, 1))
        assert [to for to, message in hand.sent if message == Decided(ballot, 1)] == told


def test_a_leader_gives_way_to_a_higher_ballot() -> None:
    hand = Hand()
    hand.lead_with()
    hand.step(3, Prepare((7, 3), 1))
    assert hand.engine.leading is None
    assert hand.propose(b"a") == Refused(RefusedReason.NOT_LEADER, None)


def test_a_leader_gives_way_when_an_answer_tells_of_a_higher_ballot() -> None:
    for message in (Nack((7, 3)), HeartbeatAnswer((7, 3), 1)):
        hand = Hand()
        hand.lead_with()
        hand.step(2, message)
        assert hand.engine.leading is None


# ------------------------------------------------------------------------------------------------------- the learner


def test_a_decided_says_nothing_of_a_value_accepted_in_an_older_ballot() -> None:
    hand = Hand()
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"old")))
    hand.sync()
    hand.step(3, Decided((2, 3), 1))
    assert hand.delivered == []
    hand.step(3, Heartbeat((2, 3), 1, 0))
    assert hand.take(Learn, 3) == [Learn(1)]
    hand.step(3, Learned(1, [entry(1, (2, 3), b"chosen").encoded]))
    assert hand.delivered == []
    hand.sync()
    assert [each.data for each in hand.delivered] == [b"chosen"]


def test_a_learned_value_does_not_lower_the_ballot_of_the_same_value() -> None:
    hand = Hand()
    hand.step(3, accept((5, 3), entry(1, (5, 3), b"v")))
    hand.sync()
    before = len(hand.written)
    hand.step(2, Learned(1, [entry(1, (4, 2), b"v").encoded]))
    assert len(hand.written) == before
    assert [each.data for each in hand.delivered] == [b"v"]


def test_a_learned_value_of_a_higher_ballot_is_a_promise_too() -> None:
    hand = Hand()
    hand.step(3, Learned(1, [entry(1, (4, 3), b"v").encoded]))
    hand.sync()
    hand.take(Learn)
    hand.step(2, Prepare((4, 2), 1))
    assert hand.take(Nack) == [Nack((4, 3))]


def test_learning_goes_on_until_nothing_is_missed() -> None:
    hand = Hand()
    hand.step(2, Heartbeat((1, 2), 3, 0))
    assert hand.take(Learn) == [Learn(1)]
    hand.step(2, Learned(3, [entry(1, (1, 2), b"a").encoded, entry(2, (1, 2), b"b").encoded]))
    assert hand.take(Learn) == [Learn(3)]


def test_nothing_is_asked_for_while_too_much_that_was_learned_waits_for_the_disk() -> None:
    hand = Hand(limits=Limits(undurable_bytes_max=1))
    hand.step(2, Heartbeat((1, 2), 3, 0))
    assert hand.take(Learn) == [Learn(1)]
    hand.step(2, Learned(3, [entry(1, (1, 2), b"a").encoded]))
    hand.step(2, Heartbeat((1, 2), 3, 0))
    assert hand.take(Learn) == []
    hand.sync()
    assert hand.take(Learn) == [Learn(2)]


def test_who_learns_is_told_from_the_log_what_is_no_longer_in_memory() -> None:
    values = [entry(slot, (1, 2), b"%d" % slot) for slot in (1, 2)]
    state = encode_state(AcceptorState((1, 2), (0, 0), 2))
    hand = Hand(log(*values, state=state), applied=2)
    hand.step(3, Learn(1))
    token, first, last = hand.fetches[-1]
    assert (first, last) == (1, 2)
    hand.engine.fetched(0, token, values[:1])
    hand.drain()
    assert hand.take(Learned) == [Learned(2, [values[0].encoded])]


def test_nothing_beyond_what_is_known_to_be_chosen_is_taught() -> None:
    hand = Hand()
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"a")))
    hand.step(3, Learn(1))
    hand.sync()
    assert hand.take(Learned) == []


def test_what_was_known_to_be_chosen_is_delivered_after_a_restart_and_nothing_else() -> None:
    values = [entry(slot, (1, 2), b"%d" % slot) for slot in (1, 2, 3)]
    hand = Hand(log(*values, state=encode_state(AcceptorState((1, 2), (0, 0), 2))))
    while hand.fetches:
        token, first, last = hand.fetches.pop()
        hand.engine.fetched(0, token, values[first - 1 : last])
        hand.drain()
    assert [each.index for each in hand.delivered] == [1, 2]


# --------------------------------------------------------------------------------------------- what is lost, and reads


def test_a_proposal_is_lost_when_its_slot_was_delivered_without_it_or_a_later_opening_was_and_not_before() -> None:
    engine = Hand().engine
    assert not engine.lost((9, 3), 7, (6, (9, 3)))
    assert engine.lost((9, 3), 7, (7, (9, 3)))
    assert not engine.lost((9, 3), None, (99, (9, 3))), "it may be in a higher slot"
    assert engine.lost((1, 2), None, (6, (9, 3)))
    assert engine.lost((1, 2), 7, (6, (9, 3)))


def test_a_read_needs_a_quorum_that_has_promised_nothing_higher() -> None:
    hand = Hand()
    ballot = hand.lead_with()
    hand.sync()
    hand.step(2, Accepted(ballot, 1, 1))
    hand.engine.read_barrier(0, 5)
    hand.drain()
    rounds = [message.round for message in hand.take(Heartbeat, 2) if isinstance(message, Heartbeat)]
    assert hand.reads == {}
    hand.step(2, HeartbeatAnswer(ballot, rounds[-1] - 1))
    assert hand.reads == {}
    hand.step(2, HeartbeatAnswer(ballot, rounds[-1]))
    assert hand.reads == {5: 1}


def test_an_answer_under_a_higher_promise_confirms_no_round_of_the_question() -> None:
    """Who asked may lead the higher ballot too by the time of the answer, and its rounds begin at 1 again."""
    hand = Hand()
    hand.step(2, Heartbeat((5, 2), 0, 1))
    hand.sync()
    hand.take(HeartbeatAnswer)
    hand.step(2, Heartbeat((1, 2), 0, 7))
    assert hand.take(HeartbeatAnswer) == [HeartbeatAnswer((5, 2), 0)]


def test_a_heartbeats_answer_waits_for_a_promise_that_is_not_durable() -> None:
    hand = Hand()
    hand.step(2, Heartbeat((1, 2), 0, 1))
    assert hand.take(HeartbeatAnswer) == []
    hand.sync()
    assert hand.take(HeartbeatAnswer) == [HeartbeatAnswer((1, 2), 1)]
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"a")))
    hand.step(2, Heartbeat((1, 2), 0, 2))
    assert hand.take(HeartbeatAnswer) == [HeartbeatAnswer((1, 2), 2)], "this one claims nothing that is not durable"
