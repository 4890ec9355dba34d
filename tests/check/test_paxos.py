"""Each invariant of Multi-Paxos is found broken where it is broken."""

from __future__ import annotations

import pytest

from ratified.check.paxos import PaxosChecks
from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Era, Kind, Membership, Record, StateRecord
from ratified.consensus.entry import make_entry
from ratified.consensus.paxos.messages import Accept, Accepted, Decided, Learned, Prepare, Promise
from ratified.consensus.paxos.state import AcceptorState, encode_state


def entry(slot: int, era: Era, data: bytes = b"v") -> Entry:
    return make_entry(slot, era, Kind.COMMAND, None, data)


def state(promised: Era, own: Era = (0, 0), chosen: int = 0) -> StateRecord:
    return StateRecord(encode_state(AcceptorState(promised, own, chosen)))


def checks(*written: tuple[int, Record]) -> PaxosChecks:
    """Three members, who wrote this, durably."""
    group = PaxosChecks(Membership((1, 2, 3)))
    for member, record in written:
        write(group, member, record)
    return group


def write(group: PaxosChecks, member: int, *records: Record) -> None:
    group.asked_to_write(member, records)
    for record in records:
        group.durable(member, record)


def test_a_promise_never_falls_a_restart_between_or_not() -> None:
    group = checks((1, state((2, 2))))
    group.started(1, 0)
    with pytest.raises(Violation, match="promise monotone"):
        group.asked_to_write(1, [state((1, 3))])


def test_nothing_is_accepted_below_the_promise_but_what_is_chosen() -> None:
    group = checks((1, state((3, 3))), (2, state((1, 2), (1, 2))), (3, state((1, 2))))
    group.leaves(3, 2, Promise((1, 2), 1, 1, True, 0, []))
    with pytest.raises(Violation, match="an accept respects the promise"):
        group.asked_to_write(1, [entry(1, (1, 2))])
    write(group, 2, entry(1, (1, 2)))
    write(group, 3, entry(1, (1, 2)))
    group.asked_to_write(1, [entry(1, (1, 2))])


def test_a_slot_has_one_value_in_one_ballot() -> None:
    group = checks((1, state((1, 2))), (3, state((1, 2))))
    write(group, 1, entry(1, (1, 2), b"a"))
    with pytest.raises(Violation, match="one value per slot and ballot"):
        group.asked_to_write(3, [entry(1, (1, 2), b"b")])
    with pytest.raises(Violation, match="one value per slot and ballot"):
        group.leaves(2, 1, Accept((1, 2), 0, [entry(1, (1, 2), b"b").encoded]))


def test_a_proposer_may_not_pass_over_what_its_quorum_reported() -> None:
    group = checks((2, state((1, 1))), (2, entry(1, (1, 1), b"a")), (2, state((2, 3))), (3, state((2, 3), (2, 3))))
    group.leaves(2, 3, Promise((2, 3), 1, 1, True, 0, [entry(1, (1, 1), b"a").encoded]))
    group.asked_to_write(3, [entry(1, (2, 3), b"a")])
    with pytest.raises(Violation, match="P2c"):
        group.asked_to_write(3, [entry(1, (2, 3), b"a"), entry(2, (2, 3)), entry(1, (3, 3), b"b")])


def test_a_proposer_needs_the_reports_of_a_quorum() -> None:
    group = checks((3, state((2, 3), (2, 3))))
    with pytest.raises(Violation, match="P2c"):
        group.asked_to_write(3, [entry(1, (2, 3))])


def test_what_is_chosen_stays_so() -> None:
    group = checks((1, state((1, 1))), (2, state((1, 1))))
    for member in (1, 2):
        group.durable(member, entry(1, (1, 1), b"a"))
    group.durable(2, entry(1, (2, 2), b"b"))
    with pytest.raises(Violation, match="chosen is for ever"):
        group.durable(3, entry(1, (2, 2), b"b"))


def test_what_is_said_to_be_chosen_is() -> None:
    group = checks()
    group.durable(1, entry(1, (1, 1)))
    with pytest.raises(Violation, match="chosen is for ever"):
        group.leaves(1, 2, Decided((1, 1), 1))
    group.durable(2, entry(1, (1, 1)))
    group.leaves(1, 2, Decided((1, 1), 1))
    with pytest.raises(Violation, match="teaches what is not chosen"):
        group.leaves(1, 2, Learned(1, [entry(1, (3, 1), b"other").encoded]))


def test_what_a_disk_does_not_have_is_not_claimed() -> None:
    group = checks((1, state((1, 2))))
    for message in (
        Prepare((1, 1), 1),
        Promise((1, 3), 1, 1, True, 0, []),
        Promise((1, 2), 1, 1, True, 0, [entry(1, (1, 1)).encoded]),
        Accepted((1, 2), 1, 1),
    ):
        with pytest.raises(Violation, match="nothing early"):
            group.leaves(1, 2, message)


def test_a_promise_hides_nothing() -> None:
    group = checks((1, state((1, 2))), (1, entry(1, (1, 2))), (1, state((2, 3))))
    with pytest.raises(Violation, match="hides slot 1"):
        group.leaves(1, 3, Promise((2, 3), 1, 1, True, 0, []))


def test_only_what_is_chosen_and_on_the_own_disk_is_delivered() -> None:
    group = checks()
    with pytest.raises(Violation, match="not chosen so"):
        group.delivered(1, [entry(1, (1, 1))])
    for member in (2, 3):
        group.durable(member, entry(1, (1, 1)))
    with pytest.raises(Violation, match="not on its disk"):
        group.delivered(1, [entry(1, (1, 1))])
