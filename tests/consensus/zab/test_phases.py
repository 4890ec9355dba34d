"""The paper's steps and ZooKeeper's election, message by message: one engine, and the test in its peers' place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ratified.consensus.contract import U64_MAX, Membership, Refused, RefusedReason, StateRecord, Taken, TruncateRecord
from ratified.consensus.replication.suspicion import Verdict
from ratified.consensus.zab import zxid
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckHistory,
    AckNewLeader,
    Candidacy,
    CEpoch,
    Commit,
    Ending,
    Fitness,
    History,
    LinkBroken,
    Mode,
    NewEpoch,
    NewLeader,
    Ping,
    Pong,
    Probe,
    ProbeAnswer,
    Propose,
    Pull,
    Resign,
    Standing,
    UpToDate,
    Vote,
)
from ratified.consensus.zab.state import EpochState, decode_state
from tests.consensus.zab.alone import NOTHING, Alone, entry, proposed


def of(kind: type, sent: list[tuple[int, Any]]) -> list[Any]:
    return [message for _, message in sent if isinstance(message, kind)]


# --------------------------------------------------------------------------------------------------- phase 0: election


def test_a_vote_is_first_for_oneself_and_then_for_the_greatest_seen() -> None:
    one = Alone(suspicion=False)
    one.engine.tick(1000)
    assert [vote.candidacy.member for vote in of(Vote, one.drain())] == [1, 1]
    one.now = 1000
    assert [vote.candidacy.member for vote in of(Vote, one.say(2, one.vote(2, round_=2)))] == [2, 2]


@pytest.mark.parametrize(
    ("greater", "smaller"),
    [
        (Candidacy(Fitness.READY, Ending(3, 1, 5), 1), Candidacy(Fitness.READY, Ending(2, 2, 9), 2)),
        (Candidacy(Fitness.READY, Ending(3, 2, 6), 1), Candidacy(Fitness.READY, Ending(3, 1, 9), 2)),
        (Candidacy(Fitness.READY, Ending(3, 2, 9), 1), Candidacy(Fitness.CAMPAIGNING, Ending(3, 2, 8), 2)),
        (Candidacy(Fitness.CAMPAIGNING, Ending(3, 2, 9), 1), Candidacy(Fitness.READY, Ending(3, 2, 9), 2)),
        (Candidacy(Fitness.READY, Ending(3, 2, 9), 2), Candidacy(Fitness.READY, Ending(3, 2, 9), 1)),
        (Candidacy(Fitness.READY, NOTHING, 1), Candidacy(Fitness.SLOW, Ending(3, 2, 9), 2)),
    ],
    ids=["current epoch", "last epoch", "last index", "campaign between equals", "id", "slow disk last"],
)
def test_the_order_of_candidacies(greater: Candidacy, smaller: Candidacy) -> None:
    assert greater.rank() > smaller.rank()


def test_a_quorum_of_votes_elects() -> None:
    one = Alone(suspicion=False)
    one.say(3, one.vote(3))
    assert one.role == "following"


def test_a_later_round_takes_along_and_an_earlier_one_is_told() -> None:
    one = Alone(suspicion=False)
    (vote, *_) = of(Vote, one.say(2, one.vote(2, round_=7)))
    assert vote.round == 7
    (told,) = of(Vote, one.say(3, one.vote(3, round_=6)))
    assert (told.round, told.candidacy.member) == (7, 2)


def test_nobody_is_voted_for_whom_there_is_no_session_with() -> None:
    one = Alone(suspicion=False)
    one.driver.connect(3, None)
    one.drain()
    assert one.say(2, one.vote(3)) == []
    assert one.role == "looking"


def test_a_follower_whose_session_with_the_leader_ends_begins_a_new_round() -> None:
    one = Alone(suspicion=False)
    one.follow(3)
    one.driver.connect(3, None)
    (vote,) = of(Vote, one.drain())
    assert (vote.round, vote.candidacy.member) == (2, 1)


def test_a_learner_joins_a_leader_and_is_never_one() -> None:
    learner = Alone(1, membership=Membership((2, 3), learners=(1,)), suspicion=False)
    learner.engine.campaign(0)
    learner.say(2, learner.vote(1, ending=Ending(1, 1, 1)))
    learner.say(3, learner.vote(1, ending=Ending(1, 1, 1)))
    assert learner.role == "looking"
    learner.follow(3)
    voter = Alone(membership=Membership((1, 3), learners=(2,)), suspicion=False)
    assert voter.say(2, voter.vote(2, ending=Ending(1, 1, 1))) == [], "it is not voted for"
    assert voter.role == "looking", "a learner's vote counts for nobody"


def test_a_member_alone_leads_at_once_but_not_while_its_disk_is_slow() -> None:
    one = Alone(membership=Membership((1,)))
    assert one.engine.leading == (1, 0)
    one.propose(b"a")
    one.turn()
    one.engine.tick(1000)
    assert one.role == "probing"
    deadline = one.engine.deadline
    assert deadline == 2000
    one.engine.tick(2000)
    assert one.role == "probing"
    one.now = 2500
    one.driver.complete()
    one.turn()
    one.engine.tick(3000)
    assert one.role == "leading"


def test_a_vote_says_what_the_disk_has_of_the_history() -> None:
    one = Alone(suspicion=False)
    one.broadcasting()
    one.propose(b"a")
    one.turn()
    one.engine.peer(0, 2, None)
    one.engine.tick(2000)
    sent = [send.message for send in one.turn().send]
    (vote,) = [message for message in sent if isinstance(message, Vote)]
    assert vote.candidacy.ending.last_index == 1, "the no-op is durable, the proposal is not"


def test_whoever_hears_a_leader_joins_it_at_once() -> None:
    one = Alone()
    (cepoch,) = of(CEpoch, one.say(2, Vote(9, Standing.LEADING, 4, one.candidacy(2))))
    assert cepoch.accepted_epoch == 0


def test_a_leader_of_an_earlier_epoch_is_not_joined_instead_of_a_later_one() -> None:
    """One that was cut off says that it leads until it finds out; going back and forth would keep everybody busy."""
    one = Alone(suspicion=False)
    one.say(2, Vote(9, Standing.LEADING, 20, one.candidacy(2)))
    assert one.say(3, Vote(9, Standing.LEADING, 19, one.candidacy(3))) == []
    assert one.engine._algorithm._follows(2)
    one.say(3, Vote(9, Standing.LEADING, 21, one.candidacy(3)))
    assert one.engine._algorithm._follows(3)


def test_a_follower_tells_those_who_look_whom_it_follows_and_joins_those_who_campaign() -> None:
    one = Alone(suspicion=False)
    one.follow(3)
    (told,) = of(Vote, one.say(2, one.vote(2, round_=5)))
    assert (told.standing, told.candidacy.member) == (Standing.FOLLOWING, 3)
    one.say(2, Vote(6, Standing.LOOKING, 0, Candidacy(Fitness.CAMPAIGNING, NOTHING, 2)))
    assert one.engine._algorithm.role.leader is None
    assert not one.engine._algorithm._follows(3)


@pytest.mark.parametrize("vote", ["a later round", "another candidate", "it follows somebody"])
def test_a_follower_whose_leader_does_not_lead_looks_again(vote: str) -> None:
    one = Alone(suspicion=False)
    one.follow(3)
    votes = {
        "a later round": one.vote(3, round_=3),
        "another candidate": one.vote(2),
        "it follows somebody": Vote(1, Standing.FOLLOWING, 0, one.candidacy(2)),
    }
    one.engine.step(0, 3, votes[vote])
    assert not (one.engine._algorithm._follows(3) and one.engine._algorithm.core.round == 1)


def test_an_old_leader_that_hears_of_a_later_epoch_looks_again() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.say(3, Vote(9, Standing.LEADING, epoch + 1, one.candidacy(3)))
    assert one.role == "following"
    assert one.engine.leading is None


# -------------------------------------------------------------------------------------------------- phase 1: discovery


def test_cepoch_says_the_last_epoch_accepted_and_waits_for_the_disk() -> None:
    one = Alone(1, state=EpochState(4, 1, 0))
    one.engine.step(0, 3, Vote(1, Standing.LEADING, 0, one.candidacy(3)))
    (send,) = one.turn().send_after
    assert send.message == CEpoch(1, 1, 4)


def test_newepoch_is_later_than_all_that_a_quorum_has_accepted() -> None:
    one = Alone(1, state=EpochState(4, 1, 0))
    one.elected()
    offer = one.connect(2, 7)
    assert offer is not None
    assert offer.epoch == 8


def test_newepoch_waits_until_the_leader_has_accepted_it_durably() -> None:
    one = Alone()
    one.elected()
    one.engine.step(0, 2, CEpoch(1, 1, 0))
    ready = one.turn()
    assert [type(send.message) for send in ready.send_after] == [NewEpoch]
    assert not ready.send
    assert ready.write is not None
    (record,) = ready.write.records
    assert isinstance(record, StateRecord)
    assert decode_state(record.data).accepted_epoch == 1


def test_an_epoch_is_accepted_with_its_history_told_when_both_are_durable() -> None:
    one = Alone(1, 1, 2)
    link = one.follow()
    one.engine.step(0, 3, NewEpoch(link, 1, 5))
    ready = one.turn()
    (send,) = ready.send_after
    assert send.message == AckEpoch(link, 2, 5, True, Ending(2, 2, 3), 2)
    assert ready.write is not None
    assert ready.after == ready.write.ticket


def test_an_epoch_below_the_accepted_one_is_not_accepted() -> None:
    one = Alone(1, state=EpochState(4, 1, 0))
    link = one.follow()
    assert of(AckEpoch, one.say(3, NewEpoch(link, 1, 3))) == []
    assert one.role == "probing"


def test_an_epoch_that_was_accepted_already_is_answered_and_does_not_count() -> None:
    one = Alone(1, state=EpochState(4, 1, 0))
    link = one.follow()
    ack = one.answer(3, NewEpoch(link, 1, 4))
    assert not ack.accepted_now
    two = Alone()
    two.elected()
    assert two.connect(2) == NewEpoch(1, 1, 1)
    assert of(NewLeader, two.say(2, two.ack_epoch(1, now=False))) == []


def test_a_leader_gives_up_for_a_better_history_only_of_who_accepts_its_epoch() -> None:
    for now, role in ((False, "leading"), (True, "probing")):
        one = Alone()
        one.elected()
        one.connect(2)
        one.connect(3)
        one.say(2, one.ack_epoch(1, Ending(1, 1, 3), now=now))
        assert one.role == role
    for now in (False, True):
        one = Alone()
        one.elected()
        one.connect(2)
        one.connect(3)
        one.say(2, one.ack_epoch(1, Ending(1, 1, 3), now=False))
        assert bool(of(NewLeader, one.say(3, one.ack_epoch(1, now=now)))) is now, "the other two are a quorum"


def test_a_leader_counts_its_own_acceptance_when_it_is_durable() -> None:
    one = Alone()
    one.elected()
    one.engine.step(0, 2, CEpoch(1, 1, 0))
    one.turn()
    one.engine.step(0, 2, one.ack_epoch(1))
    assert one.turn().send == ()
    one.driver.complete()
    assert [type(send.message) for send in one.turn().send] == [NewLeader]


def test_a_leader_gives_up_for_a_better_history() -> None:
    one = Alone(1)
    one.elected()
    one.connect(2, 1)
    better = Ending(1, 1, 2)
    sent = one.say(2, one.ack_epoch(2, better))
    assert of(NewLeader, sent) == []
    assert [resignation.epoch for resignation in of(Resign, sent)] == [2]
    assert [(to, pull.prev_index) for to, pull in sent if isinstance(pull, Pull)] == [(2, 1)], "it takes what it lacks"


def test_of_the_textbook_a_leader_gives_up_by_a_vote_for_who_has_the_better_history() -> None:
    one = Alone(1, suspicion=False)
    one.engine.campaign(one.now)
    one.drain()
    one.say(2, one.vote(1, round_=2))
    one.connect(2, 1)
    better = Ending(1, 1, 2)
    sent = one.say(2, one.ack_epoch(2, better))
    assert of(NewLeader, sent) == []
    assert {(vote.candidacy.member, vote.candidacy.ending) for vote in of(Vote, sent)} == {(2, better)}


def test_a_follower_that_has_accepted_a_later_epoch_makes_its_leader_begin_another() -> None:
    one = Alone()
    epoch = one.broadcasting()
    (probe, *_) = of(Probe, one.say(3, CEpoch(1, 1, epoch + 5)))
    assert one.role == "probing"
    one.say(2, ProbeAnswer(probe.round, Verdict.GRANTED, probe.ending))
    offer = one.connect(2, epoch, link=2)
    assert offer is not None
    assert offer.epoch == epoch + 6


def test_a_cepoch_that_comes_before_the_last_vote_is_kept() -> None:
    one = Alone(suspicion=False)
    assert one.say(3, CEpoch(1, 1, 0)) == []
    sent = one.say(2, one.vote(1))
    assert of(NewEpoch, sent) == [NewEpoch(1, 1, 1)]


# -------------------------------------------------------------------------------------------- phase 2: synchronisation


def test_diff_adds_what_is_missing_and_the_current_epoch_is_written_behind_it() -> None:
    one = Alone(1, 1)
    link = one.follow()
    one.answer(3, NewEpoch(link, 1, 5))
    one.engine.step(0, 3, NewLeader(link, 1, 5, Mode.DIFF, 1, 2, 4))
    assert one.engine.ready() is None, "nothing is acknowledged, and no epoch current, before the history is here"
    one.engine.step(0, 3, History(link, 2, [entry(3, 2).encoded, entry(4, 2).encoded]))
    ready = one.turn()
    assert ready.write is not None
    records = ready.write.records
    assert [type(record).__name__ for record in records] == ["Entry", "Entry", "StateRecord"]
    assert [type(send.message) for send in ready.send_after] == [AckHistory, AckNewLeader]
    last = records[-1]
    assert isinstance(last, StateRecord)
    assert decode_state(last.data) == EpochState(5, 5, 4)


def test_trunc_removes_what_the_leader_does_not_have() -> None:
    one = Alone(1, 1, 2)
    link = one.follow()
    one.answer(3, NewEpoch(link, 1, 5))
    one.engine.step(0, 3, NewLeader(link, 1, 5, Mode.TRUNC, 1, 2, 2))
    ready = one.turn()
    assert ready.write is not None
    assert ready.write.records[0] == TruncateRecord(3)
    assert [type(send.message) for send in ready.send_after] == [AckNewLeader]


@pytest.mark.parametrize(
    ("follower", "last_origin", "mode", "meet"),
    [
        (Ending(1, 1, 2), 0, Mode.DIFF, 2),
        (Ending(3, 3, 5), 3, Mode.DIFF, 5),
        (Ending(1, 1, 9), 0, Mode.TRUNC, 3),
        (Ending(2, 2, 5), 3, Mode.TRUNC, 3),
        (NOTHING, 0, Mode.DIFF, 0),
    ],
    ids=["behind", "equal", "ahead in an epoch", "an epoch the leader lacks", "empty"],
)
def test_where_the_histories_meet(follower: Ending, last_origin: int, mode: Mode, meet: int) -> None:
    """The leader's history: three entries of epoch 1, two of epoch 3."""
    one = Alone(1, 1, 1, 3, 3)
    one.elected()
    one.connect(2, 3)
    sent = one.say(2, one.ack_epoch(4, follower, last_origin))
    (message,) = of(NewLeader, sent)
    assert (message.mode, message.meet_index, message.origin) == (mode, meet, 5)
    history = of(History, sent)
    assert sum(len(each.entries) for each in history) == 5 - meet


def test_nothing_is_committed_before_a_quorum_has_acknowledged_newleader() -> None:
    """Raft's figure 8: an old entry on a quorum's disks is not committed by counting them."""
    one = Alone(1)
    one.elected()
    one.connect(2, 1)
    one.say(2, one.ack_epoch(2, Ending(1, 1, 1)))
    assert one.engine.status().commit == 0
    assert one.engine.leading is None
    one.say(2, AckNewLeader(1, 3, 2))
    assert one.engine.status().commit == 1
    assert one.engine.leading == (2, 0)


def test_a_leader_acknowledges_its_own_newleader_when_it_is_durable() -> None:
    one = Alone(1)
    one.elected()
    one.connect(2, 1)
    one.engine.step(0, 2, one.ack_epoch(2, Ending(1, 1, 1)))
    one.turn()
    one.engine.step(0, 2, AckNewLeader(1, 3, 2))
    assert one.engine.leading is None
    one.driver.complete()
    one.turn()
    assert one.engine.leading == (2, 0)


def test_uptodate_commits_the_initial_history_at_a_follower() -> None:
    one = Alone(1, 1)
    link = one.synchronised()
    assert link == 1
    assert one.engine.status().commit == 2
    assert one.engine.status().leader == 3


def test_a_follower_that_comes_late_is_synchronised_while_the_others_go_on() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.propose(b"a", b"b")
    one.drain()
    assert one.connect(3) == NewEpoch(1, 1, epoch)
    sent = one.say(3, one.ack_epoch(epoch))
    assert [type(message) for _, message in sent] == [NewLeader, Propose]
    assert len(sent[1][1].entries) == 3, "the no-op and what was proposed: of this epoch, so not initial history"
    sent = one.say(3, AckNewLeader(1, 3, epoch))
    assert [type(message) for _, message in sent] == [UpToDate]


def test_a_follower_that_comes_back_counts_from_its_acknowledgement_of_newleader_on() -> None:
    """The paper's Q: what it holds of this epoch, it may have pulled."""
    one = Alone()
    epoch = one.broadcasting()
    one.say(2, Ack(1, 4, zxid.pack(epoch, 1)))
    one.propose(b"a")
    one.drain()
    one.connect(3)
    one.say(3, one.ack_epoch(epoch, Ending(epoch, epoch, 2)))
    assert one.engine.status().commit == 1
    one.say(3, AckNewLeader(1, 3, epoch))
    assert one.engine.status().commit == 2


# -------------------------------------------------------------------------------------------------- phase 3: broadcast


def test_propose_goes_at_once_and_is_committed_by_a_quorum_of_acks() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.say(2, Ack(1, 4, zxid.pack(epoch, 1)))
    assert one.propose(b"a") == Taken(2)
    ready = one.turn()
    (send,) = ready.send
    assert send.message == Propose(1, 5, zxid.pack(epoch, 2), send.message.entries)
    one.engine.step(0, 2, Ack(1, 5, zxid.pack(epoch, 2)))
    assert one.engine.status().commit == 1, "the own copy counts when it is durable"
    one.driver.complete()
    (send,) = one.turn().send
    assert send.message == Commit(1, 6, zxid.pack(epoch, 2))


def test_a_follower_acknowledges_when_it_is_durable_and_delivers_when_it_is_committed() -> None:
    one = Alone()
    link = one.synchronised()
    one.engine.step(0, 3, proposed(link, 3, 5, 0, 1, 2))
    ready = one.turn()
    (send,) = ready.send_after
    assert send.message == Ack(link, 4, zxid.pack(5, 2))
    one.engine.step(0, 3, Commit(link, 4, zxid.pack(5, 1)))
    assert one.engine.ready() is None, "committed, and not durable here"
    one.driver.complete()
    assert [each.index for each in one.turn().deliver] == [1]


def test_counters_that_are_used_up_force_a_new_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zxid, "COUNTER_MAX", 3)
    one = Alone()
    one.broadcasting()
    assert one.propose(b"a") == Taken(2)
    assert one.propose(b"b", b"c") == Refused(RefusedReason.NOT_LEADER, None)
    assert one.role == "probing"


def test_pings_confirm_the_epoch_and_wait_for_no_disk() -> None:
    one = Alone()
    link = one.synchronised()
    one.engine.step(0, 3, proposed(link, 3, 5, 0, 1))
    one.turn()
    one.engine.step(0, 3, Ping(link, 1, 7))
    (send,) = one.turn().send
    assert send.message == Pong(link, 1, 5, 7, 0)


def test_a_round_is_confirmed_by_a_quorum_that_answers_it() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.say(2, Ack(1, 4, zxid.pack(epoch, 1)))
    one.engine.read_barrier(0, 77)
    (ping,) = of(Ping, one.drain())
    one.engine.step(0, 2, Pong(1, 1, epoch, ping.round - 1, 0))
    assert one.turn().reads == ()
    one.engine.step(0, 2, Pong(1, 2, epoch, ping.round, 0))
    (read,) = one.turn().reads
    assert (read.token, read.index) == (77, 1)


def test_without_a_noop_a_leader_serves_when_its_initial_history_is_committed() -> None:
    one = Alone(1, noop_on_election=False)
    one.broadcasting()
    status = one.engine.status()
    assert (status.serving, status.commit, status.last) == (True, 1, 1)


def test_a_leader_that_hears_no_quorum_for_an_election_timeout_looks_again() -> None:
    one = Alone()
    one.broadcasting()
    for now in range(100, 1000, 100):
        one.engine.tick(now)
        one.now = now
        one.drain()
    assert one.role == "leading"
    one.engine.tick(1000)
    assert one.role == "probing"


def test_a_follower_that_hears_nothing_looks_again() -> None:
    one = Alone()
    link = one.synchronised()
    one.now = 900
    one.say(3, Ping(link, 1, 0))
    one.engine.tick(1000)
    assert one.role == "following"
    one.engine.tick(1900)
    assert one.role == "probing"


# ------------------------------------------------------------------------------------------------------- FIFO, checked


@pytest.mark.parametrize("seq", [2, 4], ids=["a repetition", "a gap"])
def test_a_follower_counts_what_is_out_of_order_and_leaves(seq: int) -> None:
    one = Alone()
    link = one.synchronised()
    one.say(3, proposed(link, seq, 5, 0, 1))
    assert one.ignored() == {"FIFO: a gap or a repetition": "1"}
    assert one.role == "probing"
    assert one.engine.status().last == 0


@pytest.mark.parametrize("seq", [3, 5], ids=["a repetition", "a gap"])
def test_a_leader_counts_what_is_out_of_order_and_lets_the_follower_go(seq: int) -> None:
    one = Alone()
    epoch = one.broadcasting()
    sent = one.say(2, Ack(1, seq, zxid.pack(epoch, 1)))
    assert one.ignored() == {"FIFO: a gap or a repetition": "1"}
    assert one.engine.status().progress == {}
    assert (2, LinkBroken(1, 1)) in sent, "the follower need not wait to find out"
    assert one.engine.status().commit == 0


def test_a_follower_whose_leader_broke_the_link_looks_for_whom_to_follow_and_grants_no_other_member_the_lead() -> None:
    one = Alone()
    link = one.synchronised()
    one.say(3, LinkBroken(link - 1, 1))
    assert one.role == "following", "of an earlier link"
    sent = one.say(3, LinkBroken(link, 1))
    assert one.role == "probing"
    assert [to for to, each in sent if isinstance(each, Probe)] == [2, 3]
    assert one.answer(2, Probe(5, NOTHING)).verdict is Verdict.HEARS


def test_an_answer_that_got_lost_is_missed_although_none_follows() -> None:
    one = Alone()
    epoch = one.broadcasting()
    one.engine.tick(100)
    one.now = 100
    one.drain()
    one.say(2, Pong(1, 1, epoch, 0, 4))  # CEPOCH, ACKEPOCH and the ACK of NEWLEADER arrived
    assert one.ignored() == {"FIFO: an answer is missing": "1"}
    assert one.engine.status().progress == {}


def test_a_message_of_a_link_that_ended_says_nothing() -> None:
    one = Alone()
    link = one.synchronised()
    one.say(3, proposed(link + 1, 3, 5, 0, 1))
    one.say(3, proposed(link - 1, 3, 5, 0, 1))
    assert (one.ignored(), one.role, one.engine.status().last) == ({}, "following", 0)


def test_a_new_session_ends_the_link() -> None:
    one = Alone()
    one.synchronised()
    one.driver.connect(3, 99)
    one.turn()
    assert one.role == "probing"


# ------------------------------------------------------------------------------------------ what no correct peer sends


@pytest.mark.parametrize(
    "message",
    [
        Propose(1, 3, zxid.pack(5, 2), [entry(2, 5).encoded]),
        Propose(1, 3, zxid.pack(5, 1), [entry(2, 5).encoded]),
        Propose(1, 3, zxid.pack(5, 1), [entry(1, 4).encoded]),
        Propose(1, 3, zxid.pack(4, 1), [entry(1, 5).encoded]),
        Propose(1, 3, zxid.pack(5, 1), [entry(1, 5).encoded, entry(3, 5).encoded]),
        Propose(1, 3, zxid.pack(5, 1), [entry(1, 5).encoded, entry(2, 6).encoded]),
        Propose(1, 3, zxid.pack(5, 1), [b"garbage"]),
        Propose(1, 3, zxid.pack(5, 1), []),
        Commit(1, 3, zxid.pack(5, 1)),
        Commit(1, 3, zxid.pack(4, 0)),
        UpToDate(1, 3, zxid.pack(5, 0)),
        History(1, 3, [entry(1, 4).encoded]),
        NewLeader(1, 3, 5, Mode.DIFF, 0, 0, 0),
        NewLeader(1, 3, 6, Mode.DIFF, 0, 0, 0),
    ],
    ids=str,
)
def test_a_follower_drops_what_no_leader_sends_and_looks_again(message: Any) -> None:
    one = Alone()
    one.synchronised()
    one.say(3, message)
    assert sum(int(count) for count in one.ignored().values()) == 1
    assert one.role == "probing"
    assert (one.engine.status().last, one.engine.status().commit) == (0, 0)


@pytest.mark.parametrize(
    "message",
    [
        NewLeader(1, 1, 6, Mode.DIFF, 2, 3, 3),
        NewLeader(1, 1, 5, Mode.DIFF, 1, 2, 3),
        NewLeader(1, 1, 5, Mode.TRUNC, 0, 0, 3),
        NewLeader(1, 1, 5, Mode.TRUNC, 2, 2, 3),
        NewLeader(1, 1, 5, Mode.DIFF, 2, 9, 9),
        Ping(1, 1, 0),
    ],
    ids=["another epoch", "DIFF over a tail", "below the commit", "another history", "beyond the end", "PING early"],
)
def test_a_follower_keeps_its_history_from_a_newleader_that_cannot_be(message: Any) -> None:
    one = Alone(1, 1, 2, applied=1)
    link = one.follow()
    if not isinstance(message, Ping):
        one.say(3, NewEpoch(link, 1, 5))
    one.say(3, message)
    assert sum(int(count) for count in one.ignored().values()) == 1
    assert one.engine.status().last == 3
    assert one.role == "probing"


@pytest.mark.parametrize(
    "message",
    [
        Ack(1, 4, zxid.pack(1, 5)),
        Ack(1, 4, zxid.pack(2, 1)),
        AckNewLeader(1, 4, 1),
        AckHistory(1, 4, 0),
        AckEpoch(1, 4, 1, True, NOTHING, 0),
        Pong(1, 1, 1, 9, 0),
        Pong(1, 1, 2, 0, 0),
        CEpoch(1, 5, 0),
    ],
    ids=str,
)
def test_a_leader_drops_what_no_follower_sends_and_lets_it_go(message: Any) -> None:
    one = Alone()
    assert one.broadcasting() == 1
    one.say(2, message)
    assert sum(int(count) for count in one.ignored().values()) == 1
    assert one.engine.status().progress == {}
    assert one.engine.status().commit == 0


def test_what_comes_without_a_session_is_counted_and_dropped() -> None:
    one = Alone()
    one.driver.connect(3, None)
    one.drain()
    one.say(3, one.vote(3))
    one.say(9, one.vote(9))
    assert one.ignored() == {"a message from no session": "2"}


def test_a_vote_may_be_for_any_member_id_of_64_bits() -> None:
    candidacy = msgspec.structs.replace(Alone().candidacy(1), member=U64_MAX)
    vote = Vote(1, Standing.LOOKING, 0, candidacy)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(vote), type=Vote) == vote


def test_numbers_that_fit_no_record_are_refused_by_the_decoder() -> None:
    for message in (CEpoch(1, 1, 2**32), CEpoch(-1, 1, 0), Vote(2**63, Standing.LOOKING, 0, Alone().candidacy(1))):
        with pytest.raises(msgspec.ValidationError):
            msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=type(message))
