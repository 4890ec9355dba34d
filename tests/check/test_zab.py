"""Each invariant of ZAB is found broken where it is broken: by ZAB's own checks, or by those of any group."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Kind, StateRecord, TruncateRecord
from ratified.consensus.entry import make_entry
from ratified.consensus.zab.messages import (
    Ack,
    AckEpoch,
    AckNewLeader,
    CEpoch,
    Commit,
    Ending,
    Mode,
    NewLeader,
    Ping,
    Pong,
    Probe,
    UpToDate,
)
from ratified.consensus.zab.state import EpochState, encode_state
from ratified.consensus.zab.zxid import pack
from tests.check.members import MEMBERS, Members


def entry(index: int, epoch: int, data: bytes = b"") -> Entry:
    return make_entry(index, (epoch, 0), Kind.NOOP, None, data)


def state(accepted: int, current: int, origin: int = 0) -> StateRecord:
    return StateRecord(encode_state(EpochState(accepted, current, origin)))


class Group(Members):
    def __init__(self) -> None:
        super().__init__("zab")

    def begin(self, epoch: int, leader: int, *followers: int, origin: int = 0) -> None:
        """The leader and these followers accept the epoch and take its initial history; the followers say so."""
        for member in (leader, *followers):
            self.write(member, state(epoch, epoch, origin))
        for follower in followers:
            self.leaves(follower, leader, AckNewLeader(epoch, 1, epoch))


def in_epoch_1() -> Group:
    """Member 3 leads epoch 1, all follow; entry 1 is everywhere and committed."""
    group = Group()
    group.begin(1, 3, 1, 2)
    for member in (3, 1, 2):
        group.write(member, entry(1, 1))
    return group


def test_a_run_as_it_should_be_breaks_nothing() -> None:
    group = in_epoch_1()
    for member in MEMBERS:
        group.deliver(member, entry(1, 1))
    group.begin(2, 2, 1, origin=1)
    group.write(2, entry(2, 2))
    group.write(1, entry(2, 2))
    group.deliver(2, entry(2, 2))
    group.leaves(2, 1, Commit(1, 1, pack(2, 1)))


def nobody_leads(group: Group) -> None:
    group.write(1, state(9, 1))
    group.write(1, entry(2, 8))


def a_follower_proposes(group: Group) -> None:
    group.write(1, entry(2, 1))


def a_counter_is_used_twice(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.write(3, TruncateRecord(2))
    group.write(3, entry(2, 1, b"other"))


def two_histories_up_to_one_entry(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.write(1, entry(2, 1, b"other"))


def another_entry_is_delivered(group: Group) -> None:
    group.deliver(1, entry(1, 1))
    group.begin(2, 2, origin=1)
    group.deliver(2, entry(1, 2))


def delivered_twice(group: Group) -> None:
    group.deliver(1, entry(1, 1), entry(1, 1))


def delivered_before_it_is_durable(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.write(2, entry(2, 1))
    group.write(1, entry(2, 1), durable=False)
    group.deliver(1, entry(1, 1), entry(2, 1))


def delivered_before_a_quorum_has_it(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.deliver(3, entry(1, 1), entry(2, 1))


def delivered_before_a_quorum_has_it_in_one_epoch(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.begin(2, 2, 1, origin=1)
    group.write(1, state(3, 2, 1), entry(2, 1))
    group.deliver(3, entry(1, 1), entry(2, 1))


def an_epoch_begins_without_what_was_delivered(group: Group) -> None:
    group.deliver(1, entry(1, 1))
    group.write(2, TruncateRecord(1))
    group.begin(2, 2)


def an_older_epoch_is_committed_after_a_later_one(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.begin(2, 2, 1, origin=1)
    group.begin(3, 3, origin=2)
    group.write(1, state(3, 2, 1), entry(2, 1), state(3, 3, 2))
    group.leaves(1, 3, AckNewLeader(3, 1, 3))
    group.deliver(3, entry(1, 1), entry(2, 1))


def the_accepted_epoch_falls(group: Group) -> None:
    group.write(1, state(5, 1))
    group.write(1, state(4, 1))


def the_accepted_epoch_falls_in_a_restart(group: Group) -> None:
    group.write(1, state(5, 1))
    found = group.checks.members[1].disk.copy()
    found.take(state(1, 1))
    group.checks.recovered(1, found, killed=False)


def the_accepted_epoch_falls_behind_a_restart(group: Group) -> None:
    group.write(1, state(5, 1))
    group.restart(1)
    group.write(1, state(4, 1))


def a_current_epoch_without_its_history(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.begin(2, 3, origin=2)
    group.write(1, state(2, 2, 2))


def an_epoch_is_accepted_for_two(group: Group) -> None:
    group.write(1, state(4, 1))
    for target in (2, 3):
        group.leaves(1, target, AckEpoch(1, 1, 4, True, Ending(1, 1, 1), 0))


def a_follower_claims_to_lead(group: Group) -> None:
    group.leaves(1, 2, NewLeader(1, 1, 1, Mode.DIFF, 0, 0, 0))


def a_leader_proposes_before_a_quorum_is_synchronised(group: Group) -> None:
    group.begin(2, 2, origin=1)
    group.write(2, entry(2, 2))


def a_quorum_that_pulled_the_epoch_is_counted(group: Group) -> None:
    group.begin(2, 2, origin=1)
    group.write(1, state(2, 2, 1))
    group.write(2, entry(2, 2))


def uptodate_before_a_quorum_is_synchronised(group: Group) -> None:
    group.begin(2, 2, origin=1)
    group.leaves(2, 1, UpToDate(1, 1, pack(2, 0)))


def commit_before_a_quorum_has_it(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.leaves(3, 1, Commit(1, 1, pack(1, 2)))


def a_gap_in_a_link(group: Group) -> None:
    group.leaves(3, 1, Ping(1, 1, 0))
    group.leaves(3, 1, Ping(1, 3, 0))


def cepoch_of_an_epoch_that_is_not_durable(group: Group) -> None:
    group.write(1, state(4, 1), durable=False)
    group.leaves(1, 3, CEpoch(1, 1, 4))


def probe_with_an_entry_that_is_not_durable(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.write(1, entry(2, 1), durable=False)
    group.leaves(1, 3, Probe(1, Ending(1, 1, 2)))


def pong_of_an_epoch_that_is_not_durable(group: Group) -> None:
    group.write(1, state(4, 1), durable=False)
    group.leaves(1, 3, Pong(1, 1, 4, 0, 0))


def ack_of_an_entry_that_is_not_durable(group: Group) -> None:
    group.write(3, entry(2, 1))
    group.write(1, entry(2, 1), durable=False)
    group.leaves(1, 3, Ack(1, 1, pack(1, 2)))


BROKEN: tuple[tuple[Callable[[Group], None], str], ...] = (
    (nobody_leads, "integrity"),
    (a_follower_proposes, "integrity"),
    (a_counter_is_used_twice, "log matching"),
    (two_histories_up_to_one_entry, "log matching"),
    (another_entry_is_delivered, "delivery"),
    (delivered_twice, "delivery"),
    (delivered_before_it_is_durable, "durability"),
    (delivered_before_a_quorum_has_it, "durability"),
    (delivered_before_a_quorum_has_it_in_one_epoch, "commit"),
    (an_epoch_begins_without_what_was_delivered, "primary integrity"),
    (an_older_epoch_is_committed_after_a_later_one, "primary integrity"),
    (the_accepted_epoch_falls, "epochs"),
    (the_accepted_epoch_falls_in_a_restart, "recovery"),
    (the_accepted_epoch_falls_behind_a_restart, "epochs"),
    (a_current_epoch_without_its_history, "epochs"),
    (an_epoch_is_accepted_for_two, "epochs"),
    (a_follower_claims_to_lead, "epochs"),
    (a_leader_proposes_before_a_quorum_is_synchronised, "commit"),
    (a_quorum_that_pulled_the_epoch_is_counted, "commit"),
    (uptodate_before_a_quorum_is_synchronised, "commit"),
    (commit_before_a_quorum_has_it, "commit"),
    (a_gap_in_a_link, "channels"),
    (cepoch_of_an_epoch_that_is_not_durable, "nothing early"),
    (probe_with_an_entry_that_is_not_durable, "nothing early"),
    (pong_of_an_epoch_that_is_not_durable, "nothing early"),
    (ack_of_an_entry_that_is_not_durable, "nothing early"),
)


@pytest.mark.parametrize(("happens", "rule"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_an_invariant_is_found_broken(happens: Callable[[Group], None], rule: str) -> None:
    with pytest.raises(Violation) as found:
        happens(in_epoch_1())
    assert found.value.rule == rule, found.value
