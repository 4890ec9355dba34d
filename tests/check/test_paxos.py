"""Each invariant of Multi-Paxos is found broken where it is broken."""

from __future__ import annotations

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Era, Kind, Record, StateRecord
from ratified.consensus.entry import make_entry
from ratified.consensus.paxos.messages import Accept, Accepted, Decided, Learned, Prepare, Promise
from ratified.consensus.paxos.state import AcceptorState, encode_state
from tests.check.members import Members


def entry(slot: int, era: Era, data: bytes = b"v") -> Entry:
    return make_entry(slot, era, Kind.COMMAND, None, data)


def state(promised: Era, own: Era = (0, 0), chosen: int = 0) -> StateRecord:
    return StateRecord(encode_state(AcceptorState(promised, own, chosen)))


def checks(*written: tuple[int, Record]) -> Members:
    """Three members, who wrote this, durably."""
    group = Members("paxos")
    for member, record in written:
        group.write(member, record)
    return group


def test_a_promise_never_falls_a_restart_between_or_not() -> None:
    group = checks((1, state((2, 2))))
    group.restart(1)
    with pytest.raises(Violation, match="promise monotone"):
        group.write(1, state((1, 3)), durable=False)


def test_nothing_is_accepted_below_the_promise_but_what_is_chosen() -> None:
    group = checks((1, state((3, 3))), (2, state((1, 2), (1, 2))), (3, state((1, 2))))
    group.leaves(3, 2, Promise((1, 2), 1, 1, True, 0, []))
    with pytest.raises(Violation, match="an accept respects the promise"):
        group.write(1, entry(1, (1, 2)), durable=False)
    group.write(2, entry(1, (1, 2)))
    group.write(3, entry(1, (1, 2)))
    group.write(1, entry(1, (1, 2)), durable=False)


def test_a_slot_has_one_value_in_one_ballot() -> None:
    group = checks((1, state((1, 2))), (3, state((1, 2))))
    group.write(1, entry(1, (1, 2), b"a"))
    with pytest.raises(Violation, match="one value per slot and ballot"):
        group.write(3, entry(1, (1, 2), b"b"), durable=False)
    with pytest.raises(Violation, match="one value per slot and ballot"):
        group.leaves(2, 1, Accept((1, 2), 0, [entry(1, (1, 2), b"b").encoded]))


def test_a_proposer_may_not_pass_over_what_its_quorum_reported() -> None:
    group = checks((2, state((1, 1))), (2, entry(1, (1, 1), b"a")), (2, state((2, 3))), (3, state((2, 3), (2, 3))))
    group.leaves(2, 3, Promise((2, 3), 1, 1, True, 0, [entry(1, (1, 1), b"a").encoded]))
    group.write(3, entry(1, (2, 3), b"a"), durable=False)
    with pytest.raises(Violation, match="P2c"):
        group.write(3, entry(1, (2, 3), b"a"), entry(2, (2, 3)), entry(1, (3, 3), b"b"), durable=False)


def test_a_proposer_needs_the_reports_of_a_quorum() -> None:
    group = checks((3, state((2, 3), (2, 3))))
    with pytest.raises(Violation, match="P2c"):
        group.write(3, entry(1, (2, 3)), durable=False)


def test_what_is_chosen_stays_so() -> None:
    group = checks((1, state((1, 1))), (2, state((1, 1))))
    for member in (1, 2):
        group.get(member, entry(1, (1, 1), b"a"))
    group.get(2, entry(1, (2, 2), b"b"))
    with pytest.raises(Violation, match="chosen is for ever"):
        group.get(3, entry(1, (2, 2), b"b"))


def test_what_is_said_to_be_chosen_is() -> None:
    group = checks()
    group.get(1, entry(1, (1, 1)))
    with pytest.raises(Violation, match="chosen is for ever"):
        group.leaves(1, 2, Decided((1, 1), 1))
    group.get(2, entry(1, (1, 1)))
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
    group = checks((1, entry(1, (1, 2))), (2, entry(1, (1, 3))))
    with pytest.raises(Violation, match="not chosen so"):
        group.deliver(1, entry(1, (1, 2)))
    group = checks((2, entry(1, (1, 1))), (3, entry(1, (1, 1))))
    group.write(1, entry(1, (1, 2)), durable=False)
    with pytest.raises(Violation, match="its own disk"):
        group.deliver(1, entry(1, (1, 2)))
