"""Each invariant of a group is found broken where it is broken, and holds where it holds."""

from collections.abc import Sequence

import pytest

from ratified.check.digests import Digests
from ratified.check.image import LogImage
from ratified.check.oracle import Listeners, Oracle
from ratified.check.violation import Violation
from ratified.consensus.contract import (
    Entry,
    Kind,
    Lead,
    Proposal,
    ProposalId,
    ReadIndex,
    Ready,
    Record,
    StateRecord,
    TruncateRecord,
)
from ratified.consensus.entry import make_entry
from tests.check.members import Members


def entry(index: int, term: int = 1, data: bytes | None = None, sequence: int | None = None) -> Entry:
    name = ProposalId(1, 1, sequence if sequence is not None else index)
    return make_entry(index, (term, 0), Kind.COMMAND, name, data if data is not None else b"c%d" % index)


def on_two_disks() -> Members:
    group = Members("raft")
    for member in (1, 2):
        group.write(member, entry(1), entry(2))
    return group


def test_what_a_quorum_holds_may_be_delivered() -> None:
    group = on_two_disks()
    group.deliver(1, entry(1), entry(2))
    group.deliver(2, entry(1))
    assert group.checks.delivered_max == 2


def test_durability_a_quorum_must_hold_what_is_delivered() -> None:
    group = Members("raft")
    group.write(1, entry(1))
    group.write(2, entry(1), durable=False)
    with pytest.raises(Violation, match="durability"):
        group.deliver(1, entry(1))


def test_durability_one_must_hold_oneself_what_one_delivers() -> None:
    group = on_two_disks()
    group.deliver(1, entry(1))
    group.write(3, entry(1), durable=False)
    with pytest.raises(Violation, match="its own disk"):
        group.deliver(3, entry(1))


def test_delivery_is_in_order_and_of_the_own_log() -> None:
    group = on_two_disks()
    with pytest.raises(Violation, match="delivery"):
        group.deliver(1, entry(2))
    with pytest.raises(Violation, match="delivery"):
        on_two_disks().deliver(1, entry(1, data=b"other"))


def test_state_machine_safety_one_command_at_one_index() -> None:
    group = on_two_disks()
    group.deliver(1, entry(1))
    group.write(3, entry(1, term=2, data=b"other"))
    with pytest.raises(Violation, match="state machine safety"):
        group.deliver(3, entry(1, term=2, data=b"other"))


def test_log_matching_one_index_and_era_means_one_log() -> None:
    group = Members("raft")
    group.write(1, entry(1, term=1), entry(2, term=2))
    with pytest.raises(Violation, match="log matching"):
        group.write(2, entry(1, term=2), entry(2, term=2))


def test_election_safety_one_leader_an_era() -> None:
    group = Members("raft")
    group.lead(1, Lead(1, (1, 0), False))
    with pytest.raises(Violation, match="election safety"):
        group.lead(2, Lead(2, (1, 0), False))


def test_leader_completeness_a_leader_has_what_is_committed() -> None:
    group = on_two_disks()
    group.lead(1, Lead(1, (1, 0), False))
    group.deliver(1, entry(1), entry(2))
    group.write(3, entry(1))
    with pytest.raises(Violation, match="leader completeness"):
        group.lead(3, Lead(3, (2, 0), False))


def test_a_leader_that_learns_late_need_not_have_what_a_later_era_committed() -> None:
    group = on_two_disks()
    group.lead(1, Lead(1, (5, 0), False))
    group.deliver(1, entry(1), entry(2))
    group.lead(3, Lead(3, (2, 0), False))


def test_at_most_once_one_request_at_one_index() -> None:
    group = Members("raft")
    group.requests.requested(b"once")
    for member in (1, 2):
        group.write(member, entry(1, data=b"once"), entry(2, data=b"once"))
    with pytest.raises(Violation, match="at most once"):
        group.deliver(1, entry(1, data=b"once"), entry(2, data=b"once"))


def test_at_most_once_one_id_at_one_index() -> None:
    group = Members("raft")
    for member in (1, 2):
        group.write(member, entry(1, sequence=7), entry(2, sequence=7))
    with pytest.raises(Violation, match="at most once"):
        group.deliver(1, entry(1, sequence=7), entry(2, sequence=7))


def test_what_was_delivered_is_not_refused() -> None:
    group = on_two_disks()
    group.requests.requested(b"c1")
    group.deliver(1, entry(1))
    group.requests.done(b"c1")
    with pytest.raises(Violation, match="at most once"):
        group.requests.refused(b"c1")


def test_what_was_refused_is_never_delivered() -> None:
    group = on_two_disks()
    group.requests.requested(b"c1")
    group.requests.refused(b"c1")
    with pytest.raises(Violation, match="at most once"):
        group.deliver(1, entry(1))


def test_what_is_done_was_delivered() -> None:
    group = Members("raft")
    group.requests.requested(b"c1")
    with pytest.raises(Violation, match="delivery"):
        group.requests.done(b"c1")


def test_a_barrier_is_not_answered_below_what_was_delivered_before_it() -> None:
    group = on_two_disks()
    group.barrier_fed(2, 1)
    group.deliver(1, entry(1))
    group.barrier_fed(2, 2)
    group.checks.ready(2, Ready(reads=[ReadIndex(1, 0)]))
    with pytest.raises(Violation, match="reads"):
        group.checks.ready(2, Ready(reads=[ReadIndex(2, 0)]))


def test_equal_applied_index_means_equal_digest() -> None:
    checks = Digests(Members("raft").checks)
    checks.digest(1, 5, b"a")
    checks.digest(2, 4, b"b")
    with pytest.raises(Violation, match="state"):
        checks.digest(3, 5, b"b")


def test_recovery_finds_what_was_durable_and_all_or_nothing_of_the_rest() -> None:
    def lost(found_last: int, killed: bool) -> None:
        group = Members("raft")
        group.write(1, entry(1))
        group.write(1, entry(2), entry(3), durable=False)
        found = LogImage()
        for index in range(1, found_last + 1):
            found.take(entry(index))
        group.checks.recovered(1, found, killed=killed)

    lost(3, killed=True)
    lost(3, killed=False)
    lost(1, killed=False)
    for last, killed in ((1, True), (2, False), (0, False)):
        with pytest.raises(Violation, match="recovery"):
            lost(last, killed)


def test_an_image_follows_truncation_and_replacement() -> None:
    image, other = LogImage(), LogImage()
    for record in (StateRecord(b"s"), entry(1), entry(2), entry(3), TruncateRecord(2), entry(2, term=2)):
        image.take(record)
    for record in (StateRecord(b"s"), entry(1), entry(2, term=2)):
        other.take(record)
    assert image.same_log(other)
    assert image.same_log(image.copy())
    other.take(entry(1, term=3))
    assert not image.same_log(other)
    with pytest.raises(Violation, match="gap"):
        image.take(entry(9))


def test_oracles_told_together_hear_what_each_of_them_judges_by_in_their_order() -> None:
    heard: list[str] = []

    class First(Oracle):
        def taken(self, member: int, proposals: Sequence[Proposal]) -> None:
            heard.append("first")

    class Second(Oracle):
        def taken(self, member: int, proposals: Sequence[Proposal]) -> None:
            heard.append("second")

        def durable(self, member: int, record: Record) -> None:
            heard.append("durable")

    listeners = Listeners([First(), Second()])
    for taken in listeners.taken:
        taken(1, [])
    for durable in listeners.durable:
        durable(1, StateRecord(b""))
    assert listeners.started == []
    assert heard == ["first", "second", "durable"]
