"""Rule 13: births, openings, and what is void."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import NO_ERA, Base, Entry, Era, Kind, Membership, ProposalId
from ratified.consensus.driver import DurableLog
from ratified.consensus.entry import EntryFormatError, decode_entry, make_entry
from ratified.consensus.paxos.fence import Fence
from ratified.consensus.paxos.messages import Accept, Accepted, Decided, Learn, Learned, Promise
from ratified.consensus.paxos.state import AcceptorState, encode_state
from tests.consensus.paxos.hand import Hand

E1, E2, E3, E4 = (1, 1), (2, 2), (3, 3), (4, 1)


def value(slot: int, ballot: Era, birth: Era | None, data: bytes = b"v") -> Entry:
    return make_entry(slot, ballot, Kind.COMMAND, ProposalId(9, 1, 1), data, birth=birth)


def noop(slot: int, ballot: Era, birth: Era | None) -> Entry:
    return make_entry(slot, ballot, Kind.NOOP, None, b"", birth=birth)


def delivered(fence: Fence, *chosen: Entry) -> list[tuple[Era, bytes | None]]:
    """The era of each, and its data; None: it is a no-op."""
    return [(each.era, None if each.kind is Kind.NOOP else each.data) for each in fence.on_delivery(chosen)]


def promised(ballot: Era, members: int = 3) -> Hand:
    """Member 1, which will begin a later ballot."""
    voters = tuple(range(1, members + 1))
    return Hand(DurableLog(Base(0, NO_ERA, Membership(voters)), encode_state(AcceptorState(ballot, NO_ERA, 0))))


def proposed(hand: Hand) -> list[tuple[Kind, Era | None]]:
    accepts = [message for message in hand.take(Accept, 2) if isinstance(message, Accept)]
    return [(each.kind, each.birth) for message in accepts for each in map(decode_entry, message.entries)]


# ----------------------------------------------------------------------------------------------------- the one encoding


def test_a_birth_is_16_bytes_before_the_data_and_the_kinds_highest_bit_says_so() -> None:
    born, unborn = value(7, E2, E1, b"data"), value(7, E2, None, b"data")
    assert decode_entry(born.encoded) == born
    assert decode_entry(unborn.encoded) == unborn
    head = bytearray(unborn.encoded[:53])
    head[24] |= 0x80
    assert born.encoded == bytes(head) + b"".join(part.to_bytes(8, "little") for part in E1) + b"data"


@pytest.mark.parametrize("end", [53, 60, 68, 70])
def test_an_entry_that_ends_in_the_middle_of_its_birth_or_data_is_refused(end: int) -> None:
    with pytest.raises(EntryFormatError):
        decode_entry(value(7, E2, E1, b"data").encoded[:end])


# ------------------------------------------------------------------------------------------------------------- the rule


def test_what_is_born_below_the_latest_opening_is_a_no_op_and_all_has_the_fence_as_its_era() -> None:
    assert delivered(
        Fence(NO_ERA),
        noop(1, E1, E1),
        value(2, E1, E1, b"in time"),
        value(3, E3, E2, b"revived before its ballot is opened"),
        noop(4, E4, E3),
        value(5, E4, E2, b"dead"),
        noop(6, E4, NO_ERA),
        value(7, E4, E3, b"of the opened ballot"),
        noop(8, E4, E2),
        value(9, E4, E4, b"born later"),
    ) == [
        (E1, None),
        (E1, b"in time"),
        (E1, b"revived before its ballot is opened"),
        (E3, None),
        (E3, None),
        (E3, None),
        (E3, b"of the opened ballot"),
        (E3, None),
        (E3, b"born later"),
    ]


def test_a_membership_is_void_like_any_other_proposal() -> None:
    change = make_entry(1, E1, Kind.MEMBERSHIP, ProposalId(9, 1, 1), b"", birth=E1)
    assert [entry.kind for entry in Fence(E2).on_delivery([change])] == [Kind.NOOP]


def test_what_was_written_before_there_were_births_is_never_void_and_never_an_opening() -> None:
    assert delivered(Fence(E2), value(1, E1, None), noop(2, E3, None)) == [(E2, b"v"), (E2, None)]


def test_the_encoding_that_is_delivered_is_the_logs() -> None:
    dead = value(1, E3, E1)
    (as_delivered,) = Fence(E2).on_delivery([dead])
    assert (as_delivered.proposal, as_delivered.data) == (None, b"")
    assert decode_entry(as_delivered.encoded) == dead


# ---------------------------------------------------------------------------------------------------------- a proposer


def test_a_leader_keeps_births_fills_gaps_with_nothings_and_opens_behind_all_that_it_found() -> None:
    hand = promised(E3)
    assert hand.lead_with(value(1, E1, E1), noop(3, E2, E1), value(4, E2, None)) == E4
    hand.propose(b"x")
    assert proposed(hand) == [
        (Kind.COMMAND, E1),
        (Kind.NOOP, NO_ERA),
        (Kind.NOOP, E1),
        (Kind.COMMAND, None),
        (Kind.NOOP, E4),
        (Kind.COMMAND, E4),
    ]


def test_a_leader_serves_when_it_has_delivered_its_opening() -> None:
    hand = Hand()
    ballot = hand.lead_with()
    hand.step(2, Accepted(ballot, 1, 1))
    assert not hand.engine.status().serving, "the own disk does not have it"
    hand.sync()
    assert hand.engine.status().serving
    assert [entry.era for entry in hand.delivered] == [ballot]


def test_what_was_dead_is_told_and_reported_as_it_is_in_the_log() -> None:
    dead = value(2, E2, E1)
    log = DurableLog(Base(0, NO_ERA, Membership((1, 2, 3))), encode_state(AcceptorState(E2, NO_ERA, 2)))
    log.take([noop(1, E2, E2), dead])
    hand = Hand(log)
    for token, first, last in hand.fetches:
        hand.engine.fetched(0, token, log.in_order()[first - 1 : last])
    hand.drain()
    assert [entry.kind for entry in hand.delivered] == [Kind.NOOP, Kind.NOOP]
    hand.step(3, Learn(2))
    token, _, _ = hand.fetches[-1]
    hand.engine.fetched(0, token, [dead])
    hand.drain()
    assert hand.take(Learned) == [Learned(2, [dead.encoded])]


def test_a_value_that_says_it_was_born_in_a_later_ballot_is_dropped() -> None:
    hand = Hand()
    hand.step(2, Accept(E2, 0, [value(1, E2, E3).encoded]))
    assert hand.written == []
    assert hand.engine.status().words["ignored: Accept: a value that was born in a later era"] == "1"


# ------------------------------------------------------------------------------------------------------------ a restart


def test_a_restart_goes_on_with_the_fence_that_the_store_remembers() -> None:
    hand = Hand()
    hand.step(2, Accept(E2, 0, [noop(1, E2, E2).encoded]))
    hand.step(2, Decided(E2, 1))
    hand.sync()
    # Another proposer's phase 1 finds the opening and the acceptor writes it under a later ballot: that proves nothing.
    hand.step(3, Accept(E3, 1, [noop(1, E3, E2).encoded, value(2, E3, E1).encoded]))
    hand.sync()
    assert hand.driver.delivered == (1, E2)
    hand.driver.crash()
    hand.driver.start(0, applied=1)
    hand.engine = hand.driver.engine
    hand.step(3, Decided(E3, 2))
    assert hand.driver.delivered == (2, E2)
    assert [entry.kind for entry in hand.delivered] == [Kind.NOOP, Kind.NOOP]


# --------------------------------------------------------------------------------- why learners and not proposers mark


def test_a_dead_value_that_is_chosen_by_a_proposer_that_saw_no_opening_is_void_when_the_opening_is_revived() -> None:
    """Five members. e1 took v in slot 2, which only member 1 accepted; e2 opened in slot 1, which only members 2 and 3
    accepted, so that v can be called lost once that is chosen. e3 hears 1, 4 and 5: it finds v and no opening, and has
    v chosen in slot 2. e4 hears 2: it revives the opening, and slot 1 is delivered at last, and then v."""
    hand = promised(E3, members=5)
    dead = value(2, E3, E1)
    assert hand.candidate() == E4
    for promiser, found in ((2, [noop(1, E2, E2)]), (4, [dead])):
        hand.step(promiser, Promise(E4, 1, 2, True, 0, [each.encoded for each in found]))
    hand.sync()
    for acceptor in (2, 4):
        hand.step(acceptor, Accepted(E4, 1, 3))
    hand.sync()
    assert hand.engine.lost(E1, None, (1, E2)), "which an origin was told after slot 1"
    assert [(entry.kind, entry.era) for entry in hand.delivered] == [
        (Kind.NOOP, E2),
        (Kind.NOOP, E2),
        (Kind.NOOP, E4),
    ]
