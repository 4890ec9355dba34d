"""The small parts: zxids, the state record, where two histories meet, links."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import NO_ERA, Base, Durable, Entry, Limits, Membership, Run
from ratified.consensus.replication.history import History
from ratified.consensus.replication.state import StateFormatError
from ratified.consensus.zab import decode_state, zxid
from ratified.consensus.zab.link import Answers, Lane, Link
from ratified.consensus.zab.state import EpochState, encode_state
from tests.consensus.zab.alone import Alone, entry


def log(*epochs: int, base: int = 0, base_epoch: int = 0) -> History:
    entries: list[Entry] = [entry(index, each) for index, each in enumerate(epochs, base + 1)]
    runs = [Run(each.index, each.index, each.era) for each in entries]
    era = (base_epoch, 0) if base else NO_ERA
    return History(Durable(b"", Base(base, era, Membership((1, 2, 3))), runs, entries, (), base), Limits())


def test_a_zxid_has_the_epoch_above_and_the_counter_below() -> None:
    assert zxid.pack(3, 5) == 0x3_0000_0005
    assert zxid.unpack(0x3_0000_0005) == (3, 5)
    assert zxid.pack(1, zxid.COUNTER_MAX) < zxid.pack(2, 0)
    assert zxid.pack(zxid.EPOCH_MAX, zxid.COUNTER_MAX) == 2**64 - 1
    for epoch, counter in ((2**32, 0), (0, 2**32), (-1, 0)):
        with pytest.raises(AssertionError):
            zxid.pack(epoch, counter)


def test_the_state_is_sixteen_bytes_and_comes_back() -> None:
    state = EpochState(accepted_epoch=7, current_epoch=5, origin=2**40)
    assert len(encode_state(state)) == 16
    assert decode_state(encode_state(state)) == state
    assert decode_state(b"") == EpochState()
    with pytest.raises(StateFormatError, match="16 bytes, this one has 3"):
        decode_state(b"abc")


def test_zxids_are_computed_from_epoch_and_index() -> None:
    core = Alone(1, 1, 3, 3, 3).engine._algorithm.core
    assert [core.zxid_at(index) for index in range(6)] == [
        0,
        zxid.pack(1, 1),
        zxid.pack(1, 2),
        zxid.pack(3, 1),
        zxid.pack(3, 2),
        zxid.pack(3, 3),
    ]


def test_where_an_epoch_begins_is_unknown_once_it_is_compacted_away() -> None:
    assert log(1, 1, 3).origin_of((3, 0)) == 2
    assert log(1, 1, 3).origin_of((1, 0)) == 0
    assert log(1, 1, 3).origin_of((2, 0)) is None
    assert log(4, 6, base=10, base_epoch=4).origin_of((4, 0)) is None
    assert log(4, 6, base=10, base_epoch=4).origin_of((6, 0)) == 11


@pytest.mark.parametrize(
    ("leader", "follower", "meet"),
    [
        ((1, 1, 3), (1, 1, 3), 3),
        ((1, 1, 3), (1, 1), 2),
        ((1, 1), (1, 1, 3), 2),
        ((1, 1, 3, 3), (1, 1, 2, 2, 2), 2),
        ((1, 1, 2, 2, 2), (1, 1, 3, 3), 2),
        ((1, 2, 2, 4), (1, 2, 3, 3, 3), 2),
        ((1, 2, 2, 4, 4), (1, 2, 2, 2, 2), 3),
        ((1, 2, 2, 2, 2), (1, 2, 2, 4, 4), 3),
        ((2, 2), (1, 1), 0),
        ((1, 1), (2, 2), 0),
        ((), (1,), 0),
        ((1,), (), 0),
    ],
)
def test_histories_meet_in_the_followers_last_epoch_or_where_it_begins(
    leader: tuple[int, ...], follower: tuple[int, ...], meet: int
) -> None:
    told = log(*follower)
    assert log(*leader).meet(told.last_era, told.last_origin, told.last) == meet


def test_an_epoch_that_begins_below_the_base_is_told_to_begin_there() -> None:
    """What is at the base is committed, so a later leader has this epoch."""
    assert log(4, 4, base=10, base_epoch=4).last_origin == 10
    assert log(base=10, base_epoch=4).last_origin == 10
    assert log(4, 6, base=10, base_epoch=4).last_origin == 11


def test_a_link_counts_each_lane_by_itself() -> None:
    sender, receiver = Link(7), Link(7)
    assert [sender.next(Lane.AT_ONCE), sender.next(Lane.AT_ONCE), sender.next(Lane.AFTER_WRITE)] == [1, 2, 1]
    assert receiver.follows(Lane.AFTER_WRITE, 1)
    assert receiver.follows(Lane.AT_ONCE, 1)
    assert not receiver.follows(Lane.AT_ONCE, 1), "a repetition"
    assert not receiver.follows(Lane.AT_ONCE, 3), "a gap"
    assert receiver.follows(Lane.AT_ONCE, 2)


def test_answers_have_left_when_the_ticket_of_their_turn_is_durable() -> None:
    answers = Answers()
    answers.made()
    answers.made()
    answers.durable(9)
    assert answers.left == 0, "their turn has not ended"
    answers.turn_ends(10)
    answers.made()
    answers.turn_ends(11)
    answers.durable(10)
    assert answers.left == 2
    answers.durable(11)
    assert answers.left == 3
