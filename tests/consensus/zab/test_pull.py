"""Pull (rule 14) on ZAB, message by message: one engine, and the test in its peers' place."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from ratified.consensus.contract import Entry, Limits, StateRecord, TruncateRecord
from ratified.consensus.replication.pull import Pulling
from ratified.consensus.replication.suspicion import Verdict
from ratified.consensus.zab.core import ORIGIN_CUT_OFF
from ratified.consensus.zab.messages import Ending, Mode, NewEpoch, NewLeader, Probe, ProbeAnswer, Pull, PullAnswer
from ratified.consensus.zab.state import EpochState, decode_state
from tests.consensus.zab.alone import Alone, entry
from tests.consensus.zab.test_phases import of
from tests.consensus.zab.test_suspicion import probe


def behind(one: Alone, ending: Ending, sender: int = 2) -> Pull:
    """What the member asks whose probe is refused because the history of ``sender`` ends so."""
    asked = probe(one)
    (pull,) = of(Pull, one.say(sender, ProbeAnswer(asked.round, Verdict.BEHIND, ending)))
    assert isinstance(pull, Pull)
    return pull


def follows(pull: Pull, current: int, origin: int, *epochs: int) -> PullAnswer:
    """Entries of these epochs follow what was asked for."""
    encoded = [entry(index, epoch).encoded for index, epoch in enumerate(epochs, pull.prev_index + 1)]
    return PullAnswer(pull.round, True, pull.prev_index, pull.prev_epoch, current, origin, entries=encoded)


def epochs_of(one: Alone) -> list[int]:
    return [each.era[0] for each in one.driver.log.in_order()]


def state_of(one: Alone) -> EpochState:
    return one.engine._algorithm.core.state


def test_it_takes_what_ranks_above_with_the_epoch_and_asks_again_when_that_is_durable() -> None:
    one = Alone(1, 1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(2, 2, 4))
    assert (pull.prev_index, pull.prev_epoch) == (2, 1)
    sent = one.say(2, follows(pull, 2, 3, 1, 2))
    assert epochs_of(one) == [1, 1, 1, 2]
    assert state_of(one) == EpochState(2, 2, 3)
    assert {type(message) for _, message in sent} == {Probe}, "nobody is told"
    assert {asked.ending for asked in of(Probe, sent)} == {Ending(2, 2, 4)}


def test_one_write_raises_the_accepted_epoch_first_and_adopts_behind_the_initial_history() -> None:
    one = Alone(1, 1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(3, 3, 3))
    refusal = PullAnswer(pull.round, False, pull.prev_index, pull.prev_epoch, 3, 2, hint_index=1, hint_epoch=1)
    (pull,) = of(Pull, one.say(2, refusal))
    one.engine.step(one.now, 2, follows(pull, 3, 2, 2, 3))
    write = one.turn().write
    assert write is not None
    accepted, truncated, initial, adopted, proposed = write.records
    assert isinstance(accepted, StateRecord)
    assert decode_state(accepted.data) == EpochState(3, 1, 0)
    assert truncated == TruncateRecord(2)
    assert isinstance(initial, Entry)
    assert isinstance(adopted, StateRecord)
    assert decode_state(adopted.data) == EpochState(3, 3, 2)
    assert isinstance(proposed, Entry)
    assert (initial.era, proposed.era) == ((2, 0), (3, 0))


def test_a_long_initial_history_comes_in_parts_and_the_epoch_with_the_last() -> None:
    one = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(3, 2, 4))
    (more,) = of(Pull, one.say(2, follows(pull, 3, 4, 1, 2)))
    assert (more.prev_index, more.prev_epoch) == (3, 2)
    assert state_of(one) == EpochState(3, 1, 0), "accepted, and not current"
    one.say(2, follows(more, 3, 4, 2))
    assert state_of(one) == EpochState(3, 3, 4)
    assert epochs_of(one) == [1, 1, 2, 2]


def test_who_has_a_part_of_a_later_initial_history_follows_no_leader_of_its_entries_epoch() -> None:
    """Entries of a later epoch than the current one were synchronised by a leader of a still later one: a leader of
    their own epoch might count this member for entries that are not its own."""
    one = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(1, 2, 4))
    one.say(2, follows(pull, 1, 0, 2, 2, 2))
    assert epochs_of(one) == [1, 2, 2, 2]
    assert state_of(one) == EpochState(3, 1, 0)


def test_nothing_is_removed_that_is_known_here_to_be_committed() -> None:
    one = Alone(1, 1, state=EpochState(1, 1, 0), applied=2)
    pull = behind(one, Ending(3, 2, 4))
    refusal = PullAnswer(pull.round, False, pull.prev_index, pull.prev_epoch, 3, 4, hint_index=1, hint_epoch=1)
    (pull,) = of(Pull, one.say(2, refusal))
    one.say(2, follows(pull, 3, 4, 2, 2, 2))
    assert epochs_of(one) == [1, 1]
    assert state_of(one) == EpochState(1, 1, 0)
    two = Alone(1, 1, state=EpochState(1, 1, 0), applied=2)
    pull = behind(two, Ending(3, 2, 4))
    (pull,) = of(Pull, two.say(2, refusal))
    broken = patch.object(Pulling, "keeps_committed", lambda pulling, first: True)
    with broken, pytest.raises(AssertionError, match="is committed and must never be removed"):
        two.say(2, follows(pull, 3, 4, 2, 2, 2))


def test_a_history_that_does_not_rank_above_is_not_taken() -> None:
    one = Alone(1, 1, 2, 2, state=EpochState(2, 2, 2))
    asked = probe(one)
    assert of(Pull, one.say(2, ProbeAnswer(asked.round, Verdict.BEHIND, Ending(2, 2, 4)))) == []


def test_the_longer_history_of_an_earlier_epoch_is_cut_where_the_later_one_ends() -> None:
    one = Alone(1, 1, 1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(2, 1, 2))
    assert (pull.prev_index, pull.prev_epoch) == (2, 1)
    one.say(2, follows(pull, 2, 2))
    assert epochs_of(one) == [1, 1]
    assert state_of(one) == EpochState(2, 2, 2)


@pytest.mark.parametrize("role", ["following", "leading"])
def test_nothing_is_taken_in_mid_count_or_while_a_leader_is_followed(role: str) -> None:
    one = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(1, 1, 3))
    if role == "following":
        one.follow(3)
    else:
        one.engine.campaign(one.now)
        one.drain()
    assert one.role == role
    one.say(2, follows(pull, 1, 0, 1, 1))
    assert epochs_of(one) == [1]


def test_an_answer_to_another_question_or_from_another_member_is_dropped() -> None:
    one = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(1, 1, 3))
    one.say(3, follows(pull, 1, 0, 1, 1))
    one.say(2, PullAnswer(pull.round - 1, True, 1, 1, 1, 0, entries=[entry(2, 1).encoded]))
    one.say(2, PullAnswer(pull.round, True, 0, 0, 1, 0, entries=[entry(1, 1).encoded]))
    assert epochs_of(one) == [1]
    one.say(2, follows(pull, 1, 0, 1, 1))
    assert epochs_of(one) == [1, 1, 1]


def test_the_same_member_is_asked_until_the_pull_is_over_whoever_answers_first_in_a_later_series() -> None:
    one = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(one, Ending(3, 2, 4))
    one.now = 1000
    asked = probe(one)
    assert of(Pull, one.say(3, ProbeAnswer(asked.round, Verdict.BEHIND, Ending(3, 2, 5)))) != [], "2 is silent"
    two = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(two, Ending(3, 2, 4))
    asked = probe(two)
    sent = two.say(3, ProbeAnswer(asked.round, Verdict.BEHIND, Ending(3, 2, 5)))
    assert {to for to, message in sent if isinstance(message, Pull)} == {2}
    two.say(2, follows(pull, 3, 4, 1, 2, 2))
    assert epochs_of(two) == [1, 1, 2, 2]


def test_who_answers_no_probe_for_half_a_timeout_or_has_lost_its_session_is_asked_no_longer() -> None:
    for lost, after in ((False, 500), (True, 1)):
        one = Alone(1, state=EpochState(1, 1, 0))
        behind(one, Ending(3, 2, 4))
        if lost:
            one.driver.connect(2, None)
            one.drain()
        probe(one)
        one.now += after
        asked = probe(one)
        sent = one.say(3, ProbeAnswer(asked.round, Verdict.BEHIND, Ending(3, 2, 3)))
        assert [to for to, message in sent if isinstance(message, Pull)] == [3]


def test_what_was_cut_below_its_epochs_initial_history_gives_that_epoch_to_nobody() -> None:
    """A follower in synchronisation with a later epoch keeps its current epoch, without what that began with."""
    one = Alone(1, 1, 1, state=EpochState(3, 3, 3))
    link = one.follow()
    one.say(3, NewEpoch(link, 1, 5))
    one.say(3, NewLeader(link, 1, 5, Mode.TRUNC, 1, 2, 4))
    assert state_of(one) == EpochState(5, 3, ORIGIN_CUT_OFF)
    answer = one.answer(2, Pull(1, 1, 1))
    assert (answer.current_epoch, answer.origin) == (3, ORIGIN_CUT_OFF)
    two = Alone(1, state=EpochState(1, 1, 0))
    pull = behind(two, Ending(3, 1, 2))
    two.say(2, follows(pull, 3, ORIGIN_CUT_OFF, 1))
    assert state_of(two) == EpochState(3, 1, 0)


def test_whoever_is_asked_answers_with_what_follows_or_with_where_the_histories_can_meet() -> None:
    one = Alone(1, 1, 3, state=EpochState(3, 3, 2))
    answer = one.answer(2, Pull(1, 1, 1))
    assert (answer.fits, answer.current_epoch, answer.origin, len(answer.entries)) == (True, 3, 2, 2)
    answer = one.answer(2, Pull(1, 3, 2))
    assert (answer.fits, answer.hint_index, answer.hint_epoch) == (False, 2, 1)
    small = Alone(1, 1, 1, limits=Limits(entries_per_message_max=1))
    assert len(small.answer(2, Pull(1, 1, 1)).entries) == 1
