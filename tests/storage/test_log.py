"""The planner: what becomes durable, in which order, and what fetch answers."""

from __future__ import annotations

import pytest

from ratified.consensus.contract import Base, BaseRecord, Record, StateRecord, TruncateRecord
from ratified.sim.disk import Disk
from ratified.storage.files import Create, Rename, SyncData, SyncDirectory, WriteAt, perform
from ratified.storage.format import SECTOR, BegunRecord, LogLimits, NodeRecord, PeerRecord, read_header
from ratified.storage.log import LogPlanner
from ratified.storage.recovery import recover
from tests.storage.scribe import (
    GROUPS,
    IDENTITY,
    MEMBERS,
    TINY,
    agrees,
    belief,
    carry_out,
    command,
    membership_entry,
    new_log,
    reopened,
    settle,
)

ROOMY = LogLimits(segment_bytes=1 << 20)


def test_a_new_log_holds_its_groups_and_nothing_else() -> None:
    files = new_log()
    recovered = recover(files, TINY)
    assert recovered.incarnation == 0
    assert recovered.cut is None
    assert agrees(files, recovered, belief())
    assert recovered.groups[1].durable(0, (0, 0)).base == Base(0, (0, 0), GROUPS[1])


def test_all_that_waits_is_one_batch_with_one_write_and_one_sync() -> None:
    files = new_log(limits=ROOMY)
    planner = reopened(files, ROOMY)
    planner.append_own(NodeRecord(1, IDENTITY.directory))
    planner.append(0, 1, [StateRecord(b"term 1"), command(1, 1)])
    planner.append(1, 1, [command(1, 1)])
    planner.append(0, 2, [command(2, 1)])
    (job,) = planner.plan(0)
    assert [type(op) for op in job.ops] == [WriteAt, SyncData]
    (completed,) = carry_out(files, [job], planner)
    assert completed.persisted == [(0, 2), (1, 1)]
    assert completed.own == [NodeRecord(1, IDENTITY.directory)]


def test_the_next_batch_is_planned_only_when_the_one_before_is_durable() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1)])
    jobs = planner.plan(0)
    planner.append(0, 2, [command(2, 1)])
    assert planner.plan(0) == []
    assert not planner.idle
    carry_out(files, jobs, planner)
    assert len(planner.plan(0)) == 1


def test_a_batch_stays_below_its_limit_but_has_at_least_one_tickets_records() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1), command(2, 1)])
    planner.append(0, 2, [command(3, 1)])
    planner.append(1, 1, [command(1, 1)])
    persisted = [completed.persisted for completed in settle(files, planner)]
    assert persisted == [[(0, 1)], [(0, 2)], [(1, 1)]]


def test_a_full_segment_is_followed_by_a_new_one_whose_name_is_durable_before_it_is_used() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1, b"x" * 2000)])
    (job,) = planner.plan(0)
    assert [type(op) for op in job.ops] == [Create, Rename, SyncDirectory, WriteAt, SyncData]
    create = job.ops[0]
    assert isinstance(create, Create)
    assert create.length == 6 * SECTOR, "a batch that is larger than a segment gets one with room for it and a mark"
    carry_out(files, [job], planner)
    believed = belief()
    believed[0].take(command(1, 1, b"x" * 2000))
    assert agrees(files, recover(files, TINY), believed)


def test_records_of_every_kind_come_back_in_their_order() -> None:
    for limits in (TINY, ROOMY):
        files = new_log(limits=limits)
        planner = reopened(files, limits)
        believed = belief()
        script: list[tuple[int, list[Record]]] = [
            (0, [StateRecord(b"a"), command(1, 1), membership_entry(2, 1), command(3, 1)]),
            (1, [command(1, 1), command(2, 2)]),
            (0, [TruncateRecord(2), command(2, 3, b""), membership_entry(3, 3), command(4, 4)]),
            (2, [BaseRecord(Base(10, (5, 0), MEMBERS, 99)), command(11, 5)]),
            (0, [StateRecord(b"b"), BaseRecord(Base(2, (3, 0), MEMBERS))]),
        ]
        for ticket, (group, records) in enumerate(script, start=1):
            planner.append(group, ticket, records)
            for record in records:
                believed[group].take(record)
        settle(files, planner)
        assert agrees(files, recover(files, limits), believed)


def test_a_dropped_group_is_gone_and_may_begin_anew() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(1, 1, [command(1, 1)])
    planner.drop(1, 2)
    assert [completed.persisted for completed in settle(files, planner)] == [[(1, 1)], [(1, 2)]]
    assert sorted(recover(files, TINY).groups) == [0, 2]
    planner = reopened(files)
    planner.append(1, 1, [BaseRecord(Base(5, (1, 0), MEMBERS)), command(6, 2)])
    settle(files, planner)
    assert recover(files, TINY).groups[1].last == 6


def test_memberships_are_those_above_the_base_that_nothing_replaced() -> None:
    files = new_log(limits=ROOMY)
    planner = reopened(files, ROOMY)
    planner.append(0, 1, [membership_entry(index, 1) for index in (1, 2, 3, 4)])
    planner.append(0, 2, [command(3, 2), BaseRecord(Base(1, (1, 0), MEMBERS))])
    settle(files, planner)
    assert list(recover(files, ROOMY).groups[0].memberships) == [membership_entry(2, 1), membership_entry(4, 1)]


def test_a_header_says_up_to_where_the_log_was_durable_when_it_was_written() -> None:
    files = new_log()
    planner = reopened(files)
    for ticket in range(1, 5):
        planner.append(0, ticket, [command(ticket, 1)])
        (job,) = planner.plan(0)
        (write,) = [op for op in job.ops if isinstance(op, WriteAt)]
        header = read_header(write.data, 0)
        assert header is not None
        assert (header.number, header.durable_to) == (ticket + 1, ticket)
        carry_out(files, [job], planner)


def test_the_size_is_what_was_written_and_survives_a_restart() -> None:
    files = new_log(limits=ROOMY)
    planner = reopened(files, ROOMY)
    sizes = [planner.size_bytes]
    for ticket in (1, 2):
        planner.append(0, ticket, [command(ticket, 1, b"x" * 700)])
        settle(files, planner)
        sizes.append(planner.size_bytes)
    assert sizes == [SECTOR, 3 * SECTOR, 5 * SECTOR]
    assert reopened(files, ROOMY).size_bytes == sizes[-1]
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1, b"x" * 1800)])
    settle(files, planner)
    assert planner.size_bytes == 6 * SECTOR, "one, and with the new segment's head five"


def test_a_segment_that_a_crash_left_empty_may_stay_empty() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1, b"x" * 1800)])
    (job,) = planner.plan(0)
    for op in job.ops[:3]:
        perform(files, op)
    planner = reopened(files)
    believed = belief()
    for ticket, length in enumerate((100, 3000, 50), start=1):
        planner.append(0, ticket, [command(ticket, 1, b"x" * length)])
        believed[0].take(command(ticket, 1, b"x" * length))
        settle(files, planner)
        assert agrees(files, recover(files, TINY), believed)


def test_slots_may_be_written_out_of_order_and_over() -> None:
    files = new_log(limits=ROOMY)
    planner = reopened(files, ROOMY)
    planner.append(0, 1, [command(5, 1), command(2, 1), command(5, 3, b"other")])
    settle(files, planner)
    group = recover(files, ROOMY).groups[0]
    assert [tuple(run) for run in group.runs] == [(2, 2, (1, 0)), (5, 5, (3, 0))]
    assert list(group.tail) == [command(5, 3, b"other")]
    planner.append(0, 2, [TruncateRecord(5)])
    settle(files, planner)
    assert recover(files, ROOMY).groups[0].last == 2


def test_the_incarnation_goes_on_from_the_last_durable_one() -> None:
    files = new_log()
    for incarnation in (1, 2, 3):
        planner = reopened(files)
        planner.append_own(NodeRecord(incarnation, IDENTITY.directory, 10 * incarnation))
        settle(files, planner)
        assert recover(files, TINY).incarnation == incarnation
    assert recover(files, TINY).starts == [30, 20, 10]


def test_what_a_node_holds_of_its_peers_and_that_it_has_begun_outlasts_it() -> None:
    files = new_log()
    one, other = b"1" * 16, b"2" * 16
    planner = reopened(files)
    for record in (PeerRecord(1, one), PeerRecord(2, one, 3, 4), PeerRecord(1, other)):
        planner.append_own(record)
    assert [made for done in settle(files, planner) for made in done.own] == [
        PeerRecord(1, one),
        PeerRecord(2, one, 3, 4),
        PeerRecord(1, other),
    ]
    recovered = recover(files, TINY)
    assert (recovered.begun, recovered.peers) == (False, {1: PeerRecord(1, other), 2: PeerRecord(2, one, 3, 4)})
    planner.append_own(BegunRecord())
    settle(files, planner)
    assert recover(files, TINY).begun


def test_a_log_of_the_first_version_has_begun_once_an_engine_has_written() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [StateRecord(b"term 1")])
    settle(files, planner)
    recovered = recover(files, TINY)
    assert (recovered.begun, recovered.peers) == (True, {})


# ---------------------------------------------------------------------------------------------------------------
# Marks


def test_after_a_rest_a_mark_is_written_once() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1)])
    carry_out(files, planner.plan(1000), planner, 2000)
    due = planner.deadline
    assert due == 52_000
    assert planner.plan(51_999) == []
    (mark,) = planner.plan(52_000)
    carry_out(files, [mark], planner, 53_000)
    assert recover(files, TINY).position.marked
    assert planner.plan(10**9) == []
    assert planner.deadline is None


def test_work_after_a_rest_needs_no_mark_first() -> None:
    files = new_log()
    planner = reopened(files)
    carry_out(files, planner.plan(0), planner)
    planner.append(0, 1, [command(1, 1)])
    (job,) = planner.plan(10**9)
    (completed,) = carry_out(files, [job], planner)
    assert completed.persisted == [(0, 1)]


def test_a_recovered_log_whose_end_is_not_marked_gets_its_mark() -> None:
    planner = reopened(new_log())
    assert planner.plan(5) == []
    assert planner.deadline == 50_005


def test_close_writes_what_waits_and_a_mark() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1)])
    planner.close(0)
    idle = [planner.idle]
    settle(files, planner)
    idle.append(planner.idle)
    assert idle == [False, True]
    assert recover(files, TINY).position.marked


# ---------------------------------------------------------------------------------------------------------------
# Fetch


@pytest.mark.parametrize("gap", [0, 1 << 20])
def test_fetch_answers_the_asked_range_up_to_its_bytes_and_at_least_one_entry(gap: int) -> None:
    limits = LogLimits(segment_bytes=8 * SECTOR, batch_bytes_max=2000, read_gap_bytes_max=gap)
    files = new_log(limits=limits)
    planner = reopened(files, limits)
    entries = [command(index, 1, bytes([index]) * (index * 37 % 900)) for index in range(1, 41)]
    for ticket, entry in enumerate(entries, start=1):
        planner.append(0, ticket, [entry])
        planner.append(1, ticket, [entry])
    settle(files, planner)
    for first in range(1, 41):
        for bytes_max in (1, 1000, 1 << 30):
            planner.fetch(first, 0, first, 40, bytes_max)
            (completed,) = settle(files, planner)
            (fetched,) = completed.fetched
            got = list(fetched.entries)
            assert (fetched.token, fetched.group) == (first, 0)
            assert got == entries[first - 1 : first - 1 + len(got)]
            assert len(got) == 1 or sum(len(entry.encoded) for entry in got) <= bytes_max
            assert bytes_max < 1 << 30 or len(got) == 41 - first


def test_a_read_does_not_wait_for_the_write_under_way() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1)])
    settle(files, planner)
    planner.append(0, 2, [command(2, 1)])
    (write,) = planner.plan(0)
    planner.fetch(9, 0, 1, 1, 100)
    (read,) = planner.plan(0)
    (completed,) = carry_out(files, [read], planner)
    assert completed.fetched[0].entries == [command(1, 1)]
    carry_out(files, [write], planner)


def test_a_fetch_answers_the_entries_as_they_were_when_it_was_asked_for() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1), command(2, 1)])
    settle(files, planner)
    planner.append(0, 2, [TruncateRecord(1), command(1, 2, b"new")])
    planner.fetch(9, 0, 1, 2, 1000)
    write, read = planner.plan(0)
    carry_out(files, [write], planner)
    (completed,) = carry_out(files, [read], planner)
    assert completed.fetched[0].entries == [command(1, 1), command(2, 1)]
    planner.fetch(10, 0, 1, 2, 1000)
    (completed,) = settle(files, planner)
    assert completed.fetched[0].entries == [command(1, 2, b"new")]


def test_what_the_log_does_not_have_cannot_be_fetched() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1), command(2, 1), BaseRecord(Base(1, (1, 0), MEMBERS))])
    settle(files, planner)
    for group, first in ((0, 1), (0, 3), (9, 1)):
        with pytest.raises(ValueError, match="which its log does not have"):
            planner.fetch(1, group, first, 5, 100)


def test_fetched_entries_are_checked_against_what_was_written() -> None:
    files = new_log()
    planner = reopened(files)
    planner.append(0, 1, [command(1, 1)])
    settle(files, planner)
    planner.fetch(1, 0, 1, 1, 100)
    (job,) = planner.plan(0)
    data = perform(files, job.ops[0])
    assert data is not None
    with pytest.raises(Exception, match="reads back as something else"):
        planner.done(0, job.id, [data[:-1] + b"?"])


def test_a_segment_length_that_is_no_multiple_of_a_sector_is_refused() -> None:
    recovered = recover(new_log(Disk()), TINY)
    with pytest.raises(ValueError, match="segment_bytes is 1000"):
        LogPlanner(recovered, LogLimits(segment_bytes=1000))
