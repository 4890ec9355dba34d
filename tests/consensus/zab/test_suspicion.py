"""Rule 14 on ZAB, message by message: probes, what a leader says that leads no longer, and no wait for a deadline where
a message says what is to be done."""

from __future__ import annotations

from ratified.consensus.contract import Membership
from ratified.consensus.replication.suspicion import Verdict
from ratified.consensus.zab.messages import (
    Candidacy,
    CEpoch,
    Ending,
    Fitness,
    NewEpoch,
    Ping,
    Pong,
    Probe,
    ProbeAnswer,
    Resign,
    Standing,
    Vote,
)
from ratified.consensus.zab.state import EpochState
from tests.consensus.zab.alone import NOTHING, Alone
from tests.consensus.zab.test_phases import of


def probe(one: Alone) -> Probe:
    """The next one that this member sends, when it is due."""
    deadline = one.engine.deadline
    assert deadline is not None
    one.now = max(one.now, deadline)
    one.engine.tick(one.now)
    (first, *_) = of(Probe, one.drain())
    assert isinstance(first, Probe)
    return first


def granted(asked: Probe) -> ProbeAnswer:
    return ProbeAnswer(asked.round, Verdict.GRANTED, asked.ending)


def test_nobody_stands_without_a_quorum_of_grants() -> None:
    one = Alone(1)
    asked = probe(one)
    one.say(2, ProbeAnswer(asked.round, Verdict.HEARS, asked.ending))
    one.say(3, ProbeAnswer(asked.round, Verdict.BEHIND, asked.ending))
    assert one.role == "probing"
    again = probe(one)
    sent = one.say(3, granted(again))
    assert one.role == "leading"
    assert {to for to, vote in sent if isinstance(vote, Vote) and vote.standing is Standing.LEADING} == {2, 3}


def test_an_answer_to_a_probe_of_an_earlier_series_counts_for_nothing() -> None:
    one = Alone(1)
    old = probe(one)
    link = one.follow(3)
    one.say(3, Resign(link, 1, 0, 0))
    assert one.role == "probing"
    one.say(2, granted(old))
    assert one.role == "probing"
    one.say(2, granted(probe(one)))
    assert one.role == "leading"


def test_who_hears_a_leader_refuses_until_the_shortest_timeout_has_passed() -> None:
    one = Alone()
    one.synchronised()
    assert one.answer(2, Probe(5, Ending(9, 9, 9))).verdict is Verdict.HEARS
    one.now = 1000
    assert one.answer(2, Probe(6, Ending(9, 9, 9))).verdict is Verdict.GRANTED


def test_a_link_that_broke_says_nothing_of_the_leader_while_the_session_lasts() -> None:
    asked = Probe(5, Ending(9, 9, 9))
    one = Alone()
    link = one.synchronised()
    one.say(3, Ping(link, 9, 0))
    assert one.role == "probing"
    assert one.answer(2, asked).verdict is Verdict.HEARS
    one.say(2, Resign(link, 1, 5, 0))
    assert one.answer(2, asked).verdict is Verdict.HEARS
    one.say(3, Resign(link, 1, 5, 0))
    assert one.answer(2, asked).verdict is Verdict.GRANTED
    two = Alone()
    two.say(3, Ping(two.synchronised(), 9, 0))
    two.driver.connect(3, None)
    two.drain()
    assert two.answer(2, asked).verdict is Verdict.GRANTED
    three = Alone()
    three.say(3, Ping(three.synchronised(), 9, 0))
    three.now = 1000
    assert three.answer(2, asked).verdict is Verdict.GRANTED


def test_who_hears_none_refuses_only_a_history_that_ranks_below() -> None:
    one = Alone(1, 2, 2)
    assert one.answer(2, Probe(5, Ending(2, 2, 3))).verdict is Verdict.GRANTED
    answer = one.answer(2, Probe(5, Ending(2, 2, 2)))
    assert (answer.verdict, answer.ending) == (Verdict.BEHIND, Ending(2, 2, 3))
    assert one.answer(2, Probe(5, Ending(3, 1, 1))).verdict is Verdict.GRANTED


def test_a_leader_tells_those_who_ask_that_it_leads() -> None:
    one = Alone()
    one.broadcasting()
    sent = one.say(3, Probe(5, NOTHING))
    assert [answer.verdict for answer in of(ProbeAnswer, sent)] == [Verdict.HEARS]
    assert [vote.standing for vote in of(Vote, sent)] == [Standing.LEADING]


def test_a_follower_looks_at_once_when_exactly_its_leader_resigns() -> None:
    one = Alone()
    link = one.synchronised()
    one.say(2, Resign(link, 1, 5, 0))
    one.say(3, Resign(link - 1, 1, 5, 0))
    assert one.role == "following"
    one.say(3, Resign(link, 1, 5, 0))
    assert one.role == "probing"
    asked = probe(one)
    assert one.now <= 50, "after a draw of half a heartbeat at most"
    one.say(2, granted(asked))
    assert one.role == "leading"


def test_who_does_not_lead_says_so_to_whoever_opens_a_link() -> None:
    one = Alone()
    assert one.answer(2, CEpoch(7, 1, 3)) == Resign(7, 1, 0, 0)
    one.follow(3)
    assert one.answer(2, CEpoch(8, 1, 3)) == Resign(8, 1, 0, 0)


def test_a_leader_says_to_its_followers_that_it_resigns_and_lets_them_go_first() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.engine.disk_full(0, True)
    one.engine.tick(100)
    one.now = 100
    (to, resignation), *_ = [(to, each) for to, each in one.drain() if isinstance(each, Resign)]
    assert (to, resignation.epoch) == (2, epoch)
    assert one.engine.deadline == 1100, "it waits for its own election deadline"


def test_a_leader_whose_oldest_write_waits_an_election_timeout_resigns_and_does_not_ask() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.propose(b"a")
    one.turn()
    one.engine.step(900, 2, Pong(1, 1, epoch, 0, 0))
    one.engine.tick(1000)
    one.now = 1000
    assert [type(send.message) for send in one.turn().send if send.to == 2] == [Resign]
    assert one.role == "probing"
    one.engine.tick(2000)
    one.now = 2000
    assert not one.turn().send


def test_of_two_that_stand_the_one_of_the_greater_id_goes_on() -> None:
    one = Alone()
    one.say(2, granted(probe(one)))
    assert one.role == "leading"
    one.say(3, Vote(0, Standing.LEADING, 0, one.candidacy(3)))
    assert one.role == "following"
    other = Alone()
    other.follow(3)
    other.say(2, Vote(0, Standing.LEADING, 0, other.candidacy(2)))
    assert other.engine._algorithm._follows(3)


def test_who_was_told_to_lead_is_followed_in_place_of_a_leader_that_is_heard() -> None:
    one = Alone()
    one.synchronised()
    one.say(2, Vote(0, Standing.LEADING, 5, one.candidacy(2)))
    assert one.engine._algorithm._follows(3)
    one.say(2, Vote(0, Standing.LEADING, 5, Candidacy(Fitness.CAMPAIGNING, NOTHING, 2)))
    assert one.engine._algorithm._follows(2)


def test_an_epoch_that_its_quorum_accepted_before_is_followed_by_the_next_one_at_once() -> None:
    """A session lost in discovery: the follower comes back, has accepted the epoch, and does not count for it."""
    one = Alone()
    one.elected()
    offer = one.connect(2)
    assert offer is not None
    assert offer.epoch == 1
    one.driver.connect(2, None)
    one.driver.connect(2, 12)
    one.drain()
    assert one.connect(2, 1, link=1) == NewEpoch(1, 1, 1)
    sent = one.say(2, one.ack_epoch(1, now=False))
    assert [type(message) for to, message in sent if to == 2] == [Resign, Vote]
    offer = one.connect(2, 1, link=2)
    assert offer is not None
    assert offer.epoch == 2
    assert one.now == 0


def test_a_leader_waits_for_a_history_that_takes_longer_than_a_timeout_while_a_quorum_answers() -> None:
    one = Alone(1, state=EpochState(1, 1, 0))
    one.elected()
    offer = one.connect(2)
    assert offer is not None
    one.say(2, one.ack_epoch(offer.epoch))
    for number in range(1, 10):
        one.now += 900
        one.engine.tick(one.now)
        one.say(2, Pong(1, number, offer.epoch, 0, 0))
    assert one.role == "leading"
    one.now += 1000
    one.engine.tick(one.now)
    one.drain()
    assert one.role == "probing"


def test_who_does_not_vote_is_offered_an_epoch_that_a_quorum_has_accepted() -> None:
    """Else it could follow no other leader than one that never led, and the next leader had to begin anew for it."""
    one = Alone(membership=Membership((1, 2), learners=(3,)))
    one.elected()
    assert one.connect(2) == NewEpoch(1, 1, 1)
    assert one.connect(3) is None
    sent = one.say(2, one.ack_epoch(1))
    assert [to for to, message in sent if isinstance(message, NewEpoch)] == [3]


def test_an_observer_asks_whom_to_follow_and_never_stands() -> None:
    one = Alone(1, membership=Membership((2, 3), learners=(1,)))
    asked = probe(one)
    one.say(2, granted(asked))
    one.say(3, granted(asked))
    assert one.role == "probing"
    one.follow(3)


def test_the_textbook_follower_of_an_earlier_round_hears_that_its_leader_abdicates() -> None:
    one = Alone(suspicion=False)
    one.engine.tick(1000)
    one.now = 1000
    one.drain()
    one.say(3, Vote(1, Standing.LEADING, 0, one.candidacy(3)))
    assert one.role == "following"
    one.say(3, one.vote(3, round_=2))
    assert not one.engine._algorithm._follows(3) or one.engine._algorithm.core.round > 2


def test_a_message_over_the_link_ends_the_suspicion() -> None:
    one = Alone(1, state=EpochState(1, 1, 0))
    link = one.follow()
    one.say(3, NewEpoch(link, 1, 5))
    one.say(3, Ping(link, 1, 0))
    assert one.engine._algorithm._suspicion.active is False
    assert one.engine.deadline == 1000
