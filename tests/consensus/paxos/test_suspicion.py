"""Rules 11 and 14 on Multi-Paxos, message by message: one engine, and the test in its peers' place.

T, the shortest election timeout, is 1000 here and so is every other one; a heartbeat is 100.
"""

from __future__ import annotations

from functools import partial

import pytest

from ratified.consensus.contract import Engine, Limits
from ratified.consensus.engines import ENGINES
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
    Message,
    Nack,
    Prepare,
    Probe,
    ProbeAnswer,
    Promise,
    Resign,
)
from ratified.consensus.paxos.state import AcceptorState, encode_state
from ratified.consensus.replication.suspicion import Verdict
from tests.consensus.contract.harness import ELECTION_US as KIT_ELECTION_US
from tests.consensus.contract.harness import HEARTBEAT_US as KIT_HEARTBEAT_US
from tests.consensus.contract.harness import Cluster
from tests.consensus.paxos.hand import ELECTION_US, HEARTBEAT_US, Hand, entry, log
from tests.consensus.paxos.test_protocol import accept

HALF_HEARTBEAT = HEARTBEAT_US // 2


def step_at(hand: Hand, now: int, sender: int, message: Message) -> None:
    """It arrives at ``now``, and what it makes the disk write is durable at once."""
    hand.now = now
    hand.step(sender, message)
    hand.sync()


def lose_session(hand: Hand, now: int, member: int) -> None:
    hand.now = now
    hand.driver.connect(member, None)
    hand.drain()


def pass_time(hand: Hand, until: int) -> None:
    """Every deadline up to then passes."""
    while (deadline := hand.engine.deadline) is not None and deadline <= until:
        hand.tick(max(deadline, hand.now))
        hand.sync()
    hand.now = until


def asked(hand: Hand, until: int) -> list[int]:
    """The rounds of the probes to member 2 that leave by then."""
    hand.sent.clear()
    pass_time(hand, until)
    return [message.round for message in hand.take(Probe, 2) if isinstance(message, Probe)]


def follower(now: int = 0) -> Hand:
    """Member 1, which follows member 2 in ballot 5.2."""
    hand = Hand()
    step_at(hand, now, 2, Heartbeat((5, 2), 0, 0))
    hand.sent.clear()
    return hand


def verdict(hand: Hand, now: int, sender: int = 3) -> Verdict:
    """What it answers when it is asked."""
    hand.sent.clear()
    step_at(hand, now, sender, Probe((9, 3), 1))
    (answer,) = hand.take(ProbeAnswer, sender)
    assert isinstance(answer, ProbeAnswer)
    assert answer.round == 1
    return answer.verdict


# ---------------------------------------------------------------------------------------------------------- answering


def test_a_probe_changes_no_promise_and_no_timer() -> None:
    hand = Hand()
    deadline = hand.engine.deadline
    step_at(hand, 10, 2, Probe((9, 2), 7))
    assert hand.take(ProbeAnswer) == [ProbeAnswer((0, 0), 7, Verdict.GRANTED)]
    step_at(hand, 10, 2, ProbeAnswer((9, 2), 7, Verdict.HEARS))
    step_at(hand, 10, 2, Resign((9, 2), 0))
    assert hand.engine.status().era == (0, 0)
    assert hand.engine.deadline == deadline
    assert hand.candidate() == (1, 1), "nor is it anything to outbid"


def test_a_probe_names_a_promise_that_is_durable() -> None:
    hand = Hand()
    hand.step(2, Prepare((5, 2), 1))
    hand.step(3, Probe((0, 0), 1))
    (answer,) = hand.take(ProbeAnswer)
    assert isinstance(answer, ProbeAnswer)
    assert answer.ballot == (0, 0)


def test_who_hears_a_leader_refuses_until_the_shortest_timeout_has_passed() -> None:
    hand = follower(now=100)
    verdicts = [verdict(hand, at) for at in (100, 100 + ELECTION_US - 1, 100 + ELECTION_US)]
    assert verdicts == [Verdict.HEARS, Verdict.HEARS, Verdict.GRANTED]


def test_who_leads_refuses() -> None:
    hand = Hand()
    hand.lead_with()
    assert verdict(hand, 500) is Verdict.HEARS


def test_a_decision_of_the_leader_shows_that_it_lives() -> None:
    hand = follower()
    step_at(hand, 900, 2, Decided((5, 2), 0))
    assert verdict(hand, 1800) is Verdict.HEARS
    step_at(hand, 1850, 3, Decided((5, 2), 0))
    step_at(hand, 1850, 2, Decided((4, 2), 0))
    assert verdict(hand, 1900) is Verdict.GRANTED, "it is not for others, nor for another ballot, to say so"


def test_whoever_promised_refuses_for_a_heartbeat_and_knows_no_leader_then() -> None:
    """The candidate has a heartbeat to win; a grant would let another one outbid it in that moment."""
    hand = follower()
    step_at(hand, 10, 3, Prepare((6, 3), 1))
    assert verdict(hand, 10 + HEARTBEAT_US - 1) is Verdict.HEARS
    assert verdict(hand, 10 + HEARTBEAT_US) is Verdict.GRANTED


def test_a_prepare_that_is_repeated_gains_no_time_and_a_further_part_does() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1))
    step_at(hand, 0, 2, accept((5, 2), *[entry(slot, (5, 2), b"%d" % slot) for slot in (1, 2, 3)]))
    step_at(hand, 10, 3, Prepare((6, 3), 1))
    step_at(hand, 100, 3, Prepare((6, 3), 1))
    assert verdict(hand, 10 + HEARTBEAT_US) is Verdict.GRANTED
    assert hand.engine.deadline == 10 + ELECTION_US
    step_at(hand, 200, 3, Prepare((6, 3), 2))
    assert verdict(hand, 200 + HEARTBEAT_US - 1) is Verdict.HEARS
    assert hand.engine.deadline == 200 + ELECTION_US


# ------------------------------------------------------------------------------------------------------------- asking


def test_who_has_lost_the_session_with_its_leader_grants_and_asks_within_half_a_heartbeat() -> None:
    hand = follower()
    lose_session(hand, 10, 2)
    assert verdict(hand, 10) is Verdict.GRANTED
    assert asked(hand, 10 + HALF_HEARTBEAT)
    assert hand.engine.status().era == (5, 2)


def test_a_lost_session_with_anybody_else_says_nothing() -> None:
    hand = follower()
    lose_session(hand, 10, 3)
    assert asked(hand, ELECTION_US - 1) == []


def test_a_leader_that_is_heard_again_ends_the_suspicion() -> None:
    hand = follower()
    lose_session(hand, 10, 2)
    rounds = asked(hand, 100)
    step_at(hand, 100, 2, Heartbeat((5, 2), 0, 1))
    assert asked(hand, 100 + ELECTION_US - 1) == []
    for peer in (2, 3):
        step_at(hand, 1099, peer, ProbeAnswer((5, 2), rounds[-1], Verdict.GRANTED))
    assert hand.engine.status().role == "follower"
    assert hand.engine.status().era == (5, 2)


def test_the_resignation_of_the_leader_that_is_followed_makes_suspicious() -> None:
    hand = follower()
    step_at(hand, 10, 3, Resign((5, 2), 0))
    step_at(hand, 10, 2, Resign((4, 2), 0))
    assert hand.engine.status().leader == 2, "it is not for others, nor for another ballot, to say so"
    step_at(hand, 10, 2, Resign((5, 2), 0))
    assert hand.engine.status().leader is None
    assert asked(hand, 10 + HALF_HEARTBEAT)


def test_a_quorum_of_grants_begins_a_ballot_above_all_that_they_promised() -> None:
    hand = Hand()
    (round_,) = asked(hand, ELECTION_US)
    step_at(hand, 1001, 3, ProbeAnswer((8, 2), round_, Verdict.GRANTED))
    assert hand.take(Prepare) == [Prepare((9, 1), 1)] * 2


def test_no_ballot_begins_without_a_quorum_of_grants() -> None:
    hand = Hand()
    for now in range(1000, 9000, 100):
        for round_ in asked(hand, now):
            step_at(hand, now, 3, ProbeAnswer((8, 2), round_, Verdict.HEARS))
    assert hand.engine.status().era == (0, 0)


def test_grants_to_different_probes_of_one_suspicion_count_together_the_latest_of_each_peer() -> None:
    hand = Hand(log(members=5))
    (first,) = asked(hand, ELECTION_US)
    *_, later = asked(hand, 1500)
    step_at(hand, 1500, 2, ProbeAnswer((0, 0), later, Verdict.HEARS))
    step_at(hand, 1500, 2, ProbeAnswer((0, 0), first, Verdict.GRANTED))
    step_at(hand, 1500, 3, ProbeAnswer((0, 0), first, Verdict.GRANTED))
    assert hand.engine.status().role == "follower"
    step_at(hand, 1500, 4, ProbeAnswer((0, 0), later, Verdict.GRANTED))
    assert hand.engine.status().role == "candidate"


def test_answers_to_an_earlier_series_count_for_nothing() -> None:
    hand = Hand()
    (round_,) = asked(hand, ELECTION_US)
    step_at(hand, 1001, 3, Prepare((6, 3), 1))
    for peer in (2, 3):
        step_at(hand, 1002, peer, ProbeAnswer((0, 0), round_, Verdict.GRANTED))
        step_at(hand, 1002, peer, ProbeAnswer((0, 0), 10**9, Verdict.GRANTED))
    assert hand.engine.status().era == (6, 3), "it would depose the candidate that was just promised its ballot"


def test_nothing_is_asked_while_the_own_disk_does_not_answer() -> None:
    hand = follower()
    hand.step(2, accept((5, 2), entry(1, (5, 2), b"a")))
    lose_session(hand, 10, 2)
    hand.now = ELECTION_US
    hand.tick(ELECTION_US)
    assert hand.take(Probe) == []
    hand.sync()
    assert asked(hand, 1300)


# ---------------------------------------------------------------------------------------------------------- candidates


def test_a_prepare_that_is_not_answered_is_repeated_each_heartbeat_in_the_same_ballot() -> None:
    hand = Hand(log(members=5))
    ballot = hand.candidate()
    hand.promise(3)
    hand.sent.clear()
    pass_time(hand, 2 * HEARTBEAT_US)
    assert [to for to, message in hand.sent if message == Prepare(ballot, 1)] == [2, 4, 5] * 2


def test_a_prepare_is_repeated_on_a_new_session() -> None:
    hand = Hand(log(members=5))
    ballot = hand.candidate()
    hand.promise(3)
    hand.sent.clear()
    for peer in (2, 3):
        hand.driver.connect(peer, None)
        hand.driver.connect(peer, 7)
    hand.drain()
    assert [(to, message) for to, message in hand.sent if isinstance(message, Prepare)] == [(2, Prepare(ballot, 1))]


class FullLinks:
    """Earlier messages to everybody wait to be sent, until they are ``clear``."""

    clear = False

    def has_credit(self, member: int) -> bool:
        return self.clear

    def is_clear(self, member: int) -> bool:
        return self.clear


def test_nothing_is_repeated_over_a_link_that_still_carries_it() -> None:
    hand = Hand(links=FullLinks())
    hand.candidate()
    hand.sent.clear()
    pass_time(hand, 9 * HEARTBEAT_US)
    assert hand.take(Prepare) == []


def test_no_part_with_values_is_made_while_earlier_messages_wait_to_be_sent() -> None:
    """The candidate asks again, each heartbeat: parts would pile up on a slow link."""
    hand = Hand(links=FullLinks())
    hand.step(2, accept((1, 2), entry(1, (1, 2), b"a")))
    hand.step(3, Prepare((2, 3), 1))
    hand.sync()
    assert hand.take(Promise) == []
    hand.step(3, Prepare((2, 3), 2))
    assert hand.take(Promise) == [Promise((2, 3), 2, 2, True, 0, [])]


def test_without_resend_no_prepare_is_repeated() -> None:
    hand = Hand(own=PaxosExtensions(resend=False))
    hand.candidate()
    hand.sent.clear()
    pass_time(hand, 9 * HEARTBEAT_US)
    hand.driver.connect(2, 7)
    hand.drain()
    assert hand.take(Prepare) == []


def test_nothing_is_repeated_while_the_ballot_waits_for_the_disk() -> None:
    hand = Hand()
    hand.engine.campaign(0)
    hand.drain()
    for _ in range(30):
        assert hand.engine.deadline is not None
        hand.tick(hand.engine.deadline)
    assert hand.engine.status().era == (1, 1), "nor is another ballot begun behind it"
    hand.sync()
    assert hand.take(Prepare) == [Prepare((1, 1), 1)] * 2


def test_a_candidate_begins_no_other_ballot_before_a_whole_election_timeout_has_brought_it_nothing() -> None:
    hand = Hand()
    ballot = hand.candidate()
    assert asked(hand, ELECTION_US - 1) == []
    hand.step(2, Promise(ballot, 1, 1, False, 0, [entry(1, (0, 2), b"a").encoded]))
    assert asked(hand, ELECTION_US + 900) == []
    rounds = asked(hand, 2 * ELECTION_US)
    assert rounds
    assert hand.engine.status().role == "candidate", "what comes late counts all the same"
    hand.step(3, ProbeAnswer((4, 2), rounds[-1], Verdict.GRANTED))
    assert hand.engine.status().era == (5, 1)


def test_a_candidate_wins_by_a_report_that_took_longer_than_an_election_timeout() -> None:
    hand = Hand()
    ballot = hand.candidate()
    assert asked(hand, 5 * ELECTION_US), "it asks whether it may begin another ballot, and nobody grants that"
    hand.step(2, Promise(ballot, 1, 1, True, 0, [entry(1, (0, 2), b"a").encoded]))
    assert hand.engine.status().role == "leader"
    assert hand.engine.status().era == ballot


def test_who_still_sends_a_candidate_its_report_refuses_others_and_asks_for_nothing() -> None:
    links = FullLinks()
    hand = Hand(links=links)
    step_at(hand, 0, 3, Prepare((5, 3), 1))
    assert asked(hand, 5 * ELECTION_US) == []
    assert verdict(hand, 5 * ELECTION_US, sender=2) is Verdict.HEARS
    links.clear = True
    assert verdict(hand, 5 * ELECTION_US, sender=2) is Verdict.GRANTED
    assert asked(hand, 6 * ELECTION_US)


def test_nobody_waits_for_a_candidate_that_lacks_chosen_values_too() -> None:
    hand = Hand(log(entry(1, (0, 2), b"a"), entry(2, (0, 2), b"b")), links=FullLinks())
    step_at(hand, 0, 2, Heartbeat((0, 2), 2, 0))
    step_at(hand, 0, 3, Prepare((5, 3), 1))
    assert verdict(hand, ELECTION_US, sender=2) is Verdict.GRANTED


def test_a_candidate_that_has_much_to_learn_goes_on_and_grants_whoever_has_it() -> None:
    hand = Hand()
    ballot = hand.candidate()
    hand.promise(2, 1, chosen=99)
    for slot in range(1, 21):
        step_at(hand, 200 * slot, 2, Learned(99, [entry(slot, (0, 2), b"a").encoded]))
        assert verdict(hand, 200 * slot) is Verdict.GRANTED
        pass_time(hand, 200 * slot + 199)
    assert hand.engine.status().role == "candidate"
    assert hand.engine.status().era == ballot


def test_a_candidate_whose_quorum_reports_part_by_part_refuses_others() -> None:
    """Another one would have to hear the same reports, and this one's would be lost."""
    hand = Hand()
    ballot = hand.candidate()
    for slot in range(1, 21):
        step_at(hand, 90 * slot, 2, Promise(ballot, slot, slot, False, 0, [entry(slot, (0, 2), b"a").encoded]))
        assert verdict(hand, 90 * slot + 80) is Verdict.HEARS
    assert hand.engine.status().era == ballot


def test_an_overtaken_candidate_leaves_the_other_one_a_heartbeat_and_no_whole_timeout() -> None:
    for message in (Nack((7, 3)), Prepare((7, 3), 1), HeartbeatAnswer((7, 3), 0)):
        hand = Hand()
        hand.candidate()
        step_at(hand, 90, 3, message)
        assert asked(hand, 90 + HEARTBEAT_US - 1) == [], message
        assert asked(hand, 90 + 3 * HEARTBEAT_US), message


def test_the_own_promise_counts_whatever_is_chosen_while_the_ballot_is_written() -> None:
    """With one of three dead it is needed."""
    value = entry(1, (1, 2), b"a")
    for message in (Decided((1, 2), 1), Learned(1, [value.encoded])):
        hand = Hand()
        hand.step(2, accept((1, 2), value))
        hand.sync()
        hand.engine.campaign(0)
        hand.drain()
        hand.step(2, message)
        assert hand.engine.status().commit == 1
        hand.sync()
        hand.promise(3)
        assert hand.engine.leading is not None, message


def test_the_own_promise_counts_although_the_store_holds_what_it_must_report() -> None:
    """The fetch is under way when more is chosen; whatever it then brings, the own report is asked for again."""
    values = [entry(slot, (1, 2), b"%d" % slot) for slot in (1, 2)]
    hand = Hand(log(*values, state=encode_state(AcceptorState((1, 2), (0, 0), 0))))
    hand.candidate()
    hand.promise(3)
    ((token, first, last),) = hand.fetches
    hand.step(2, Decided((1, 2), 2))
    hand.engine.fetched(0, token, values[first - 1 : last])
    hand.drain()
    assert hand.engine.leading is not None


def test_a_quorum_that_closes_nothing_unknown_is_enough() -> None:
    """Who told of chosen values is gone: the candidate waits for no one that another quorum can do without."""
    hand = Hand(log(members=5))
    hand.candidate()
    hand.promise(2, 1, chosen=9)
    hand.promise(3, 1, entry(1, (0, 3), b"a"))
    assert hand.take(Learn, 2), "it would rather learn"
    assert hand.engine.status().role == "candidate"
    hand.promise(4)
    ballot = hand.engine.leading
    assert ballot is not None
    (message,) = hand.take(Accept, 5)
    assert isinstance(message, Accept)
    assert [(each.index, each.data) for each in map(decode_entry, message.entries)] == [(1, b"a"), (2, b"")]


def test_the_own_report_in_600_parts_is_a_loop() -> None:
    hand = Hand(limits=Limits(entries_per_message_max=1))
    values = [entry(slot, (1, 2), b"%d" % slot) for slot in range(1, 601)]
    hand.step(2, accept((1, 2), *values))
    hand.sync()
    ballot = hand.candidate()
    hand.promise(3)
    assert hand.engine.leading == ballot


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_candidate_far_behind_delays_nobody(seed: int) -> None:
    """It stands as soon as the leader has died, and would learn for 20 election timeouts before it can lead."""
    cluster = Cluster(ENGINES["paxos"], 3, seed=seed, limits=Limits(entries_per_message_max=1))
    cluster.elect(1)
    cluster.keep([(1, 2)], notice=True)
    for number in range(500):
        cluster.propose(b"%d" % number)
        cluster.run_for(KIT_HEARTBEAT_US // 4)
    cluster.keep([(1, 2), (2, 3)], notice=True)
    cluster.crash(1)
    cluster.members[3].feed(lambda engine, now: engine.campaign(now))
    cluster.run_until(lambda: cluster.leader() is not None, KIT_ELECTION_US)


# ----------------------------------------------------------------------------------------------------- rule 11, leaders


def test_a_higher_ballot_does_not_restart_the_election_timer() -> None:
    for message in (
        Nack((9, 3)),
        HeartbeatAnswer((9, 3), 0),
        Learned(1, [entry(1, (9, 3), b"a").encoded]),
        Decided((9, 2), 0),
        ProbeAnswer((9, 3), 1, Verdict.GRANTED),
    ):
        hand = Hand()
        step_at(hand, 400, 2, message)
        assert hand.engine.deadline == ELECTION_US, message
    hand = Hand()
    step_at(hand, 300, 2, Prepare((9, 2), 1))
    step_at(hand, 400, 3, Prepare((8, 3), 1))
    assert hand.engine.deadline == 300 + ELECTION_US, "nor does one that is refused"


def test_a_leader_that_a_higher_ballot_deposes_waits_a_whole_timeout() -> None:
    hand = Hand()
    hand.lead_with()
    step_at(hand, 700, 2, HeartbeatAnswer((9, 3), 0))
    assert hand.engine.deadline == 700 + ELECTION_US


def test_a_leader_whose_followers_are_silent_resigns() -> None:
    hand = Hand()
    ballot = hand.lead_with()
    hand.sync()
    while hand.engine.leading is not None:
        hand.sent.clear()
        assert hand.engine.deadline is not None
        hand.tick(hand.engine.deadline)
    assert hand.take(Resign) == [Resign(ballot, 0)] * 2
    assert hand.engine.deadline == hand.now + ELECTION_US, "it is not suspicious at once"


@pytest.mark.parametrize("full", [True, False])
def test_a_leader_whose_disk_fills_resigns(*, full: bool) -> None:
    def disk_full(engine: Engine, now: int) -> None:
        engine.disk_full(now, full)

    hand = Hand()
    ballot = hand.lead_with()
    hand.sync()
    hand.sent.clear()
    hand.driver.feed(disk_full)
    hand.drain()
    hand.tick(HEARTBEAT_US)
    assert hand.take(Resign) == ([Resign(ballot, 0)] * 2 if full else [])


# ------------------------------------------------------------------------------------ answers to an earlier leadership


def leads_again(hand: Hand) -> tuple[tuple[int, int], tuple[int, int]]:
    """Member 1 leads, is deposed, and leads again: its two ballots."""
    first = hand.lead_with()
    hand.propose(b"a")
    hand.sync()
    hand.step(3, Prepare((first[0] + 1, 3), 1))
    hand.sync()
    second = hand.lead_with(promiser=3)
    hand.sync()
    hand.sent.clear()
    return first, second


def test_an_acceptance_of_an_earlier_leadership_counts_for_nothing() -> None:
    hand = Hand()
    first, second = leads_again(hand)
    hand.step(2, Accepted(first, 1, 2))
    assert hand.engine.status().commit == 0
    hand.step(2, Accepted(second, 1, 2))
    assert hand.engine.status().commit == 2


def test_a_heartbeats_answer_of_an_earlier_leadership_confirms_no_read() -> None:
    hand = Hand()
    first, second = leads_again(hand)
    hand.step(2, Accepted(second, 1, 3))
    hand.driver.feed(partial(_ask_barrier, token=5))
    hand.drain()
    hand.step(2, HeartbeatAnswer(first, 1))
    assert hand.reads == {}
    hand.step(2, HeartbeatAnswer(second, 1))
    assert list(hand.reads) == [5]


def _ask_barrier(engine: Engine, now: int, token: int) -> None:
    engine.read_barrier(now, token)


def test_without_the_extension_a_member_answers_and_does_not_ask() -> None:
    hand = Hand(suspicion=False)
    assert verdict(hand, 0) is Verdict.GRANTED
    step_at(hand, 0, 2, Heartbeat((5, 2), 0, 0))
    lose_session(hand, 10, 2)
    assert hand.engine.deadline == ELECTION_US
    hand.tick(ELECTION_US)
    assert hand.engine.status().era == (6, 1)
