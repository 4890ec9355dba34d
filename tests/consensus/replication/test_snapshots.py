"""Whom a snapshot is asked for, and what a log is that one has replaced."""

from __future__ import annotations

from ratified.consensus.contract import NO_ERA, Base, BaseRecord, Durable, Kind, Membership, Options, TruncateRecord
from ratified.consensus.entry import make_entry
from ratified.consensus.replication.journal import Journal
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.snapshots import Snapshots

MEMBERSHIP = Membership((1, 2, 3))
PAUSE_US = 100


def test_one_is_asked_for_at_a_time_and_after_a_failure_not_at_once() -> None:
    snapshots = Snapshots()
    assert snapshots.may_send(2, 0, PAUSE_US)
    snapshots.sends(2)
    assert (snapshots.may_send(2, 10, PAUSE_US), snapshots.may_send(3, 10, PAUSE_US)) == (False, True)
    snapshots.sent(2, 50, ok=False)
    assert not snapshots.is_under_way(2)
    assert (snapshots.may_send(2, 149, PAUSE_US), snapshots.may_send(2, 150, PAUSE_US)) == (False, True)
    snapshots.sends(2)
    snapshots.sent(2, 160, ok=True)
    assert snapshots.may_send(2, 161, PAUSE_US)


def test_nobody_is_sent_one_while_the_own_store_is_switched() -> None:
    snapshots = Snapshots()
    snapshots.installing = Base(5, (1, 0), MEMBERSHIP, 1)
    assert not snapshots.may_send(2, 0, PAUSE_US)


def journal() -> tuple[Member[int], Journal[int]]:
    options = Options(
        member=1,
        seed=1,
        election_deadline=lambda now, era: now + 1,
        election_timeout_max_us=2,
        election_timeout_min_us=1,
        heartbeat_us=1,
    )
    durable = Durable(b"", Base(0, NO_ERA, MEMBERSHIP))
    member: Member[int] = Member(0, options, durable)
    return member, Journal(member, durable, 0)


def append(journal: Journal[int], member: Member[int], first: int, last: int, term: int) -> None:
    journal.append([make_entry(index, (term, 0), Kind.COMMAND, None, b"") for index in range(first, last + 1)])
    assert journal.write(member.outbox.take_records(), 0)


def test_writes_in_flight_stand_for_nothing_that_a_snapshot_replaced() -> None:
    """Entries of the same indexes that come behind it are durable by their own write only (rule 4)."""
    member, log = journal()
    append(log, member, 1, 20, term=1)
    base = Base(10, (2, 0), MEMBERSHIP, 1)
    log.install(base)
    assert member.outbox.take_records() == [TruncateRecord(11), BaseRecord(base)]
    append(log, member, 11, 15, term=2)
    log.persisted(1)
    assert log.history.durable == 10
    log.persisted(2)
    assert (log.history.durable, log.history.commit, log.history.base) == (15, 10, 10)


def test_a_log_that_ends_below_the_snapshot_has_nothing_to_truncate() -> None:
    member, log = journal()
    append(log, member, 1, 5, term=1)
    base = Base(10, (1, 0), MEMBERSHIP, 1)
    log.install(base)
    assert member.outbox.take_records() == [BaseRecord(base)]
    assert (log.history.last, log.history.last_era, log.history.first_in_memory) == (10, (1, 0), 11)
