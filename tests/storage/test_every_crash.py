"""A workload's log is recovered from every state that a crash can leave it in, crashes inside recovery included: it
holds all that was acknowledged, and is never refused.

A crash falls between any two operations, or into a write; the process is killed, or its fsync failed, or the machine
was lost and its disk kept, dropped or tore what was not synced.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ratified.consensus.contract import Base, BaseRecord, Record, StateRecord, TruncateRecord
from ratified.sim.disk import Disk
from ratified.storage import recovery
from ratified.storage.files import Files, perform
from ratified.storage.format import LogDamaged, LogLimits, segment_file
from ratified.storage.identity import IDENTITY_FILE, Identity, create, read
from ratified.storage.log import LogPlanner
from ratified.storage.recovery import recover
from tests.storage.crashes import Observed, contents, losses
from tests.storage.scribe import (
    GROUPS,
    IDENTITY,
    MEMBERS,
    Believed,
    agrees,
    belief,
    command,
    copied,
    membership_entry,
)

LIMITS = LogLimits(segment_bytes=5 * 512, batch_bytes_max=1300, tail_bytes_max=200, read_gap_bytes_max=600)
WORKLOAD: list[list[tuple[int, list[Record]]]] = [
    [(0, [StateRecord(b"term 1")]), (1, [StateRecord(b"term 1")])],
    [(0, [command(1, 1), command(2, 1, b"x" * 700)]), (1, [membership_entry(1, 1)])],
    [(0, [TruncateRecord(2), command(2, 2, b"y" * 300)])],
    [(2, [StateRecord(b"z"), command(1, 4, b"w" * 1500), command(2, 4)])],
    [(1, [StateRecord(b"term 5"), command(2, 5)]), (0, [StateRecord(b"term 5"), command(3, 5)])],
    [(0, [BaseRecord(Base(2, (2, 0), MEMBERS, 1)), command(4, 5, b"v" * 3000)])],
    [(1, [TruncateRecord(1)])],
    [],
    [(0, [TruncateRecord(4), command(4, 6), command(5, 6)])],
]
CUTTING: list[list[tuple[int, list[Record]]]] = [
    [(0, [StateRecord(b"term 1"), command(1, 1, b"x" * 900)])],
    [(0, [command(2, 1, b"x" * 1000)]), (1, [command(1, 1)])],
    [(0, [command(3, 1, b"x" * 900)]), (1, [BaseRecord(Base(1, (1, 0), MEMBERS))])],
    [(0, [BaseRecord(Base(2, (1, 0), MEMBERS, 3)), command(4, 1)])],
    [],
]


class Crash:
    """A state of the disk at some point of the workload, and what the log may hold there."""

    def __init__(self, disk: Disk, acknowledged: dict[int, Believed], under_way: dict[int, Believed]) -> None:
        self.disk = disk
        self.acknowledged = acknowledged
        self.under_way = under_way

    def survived_by(self, files: Files) -> dict[int, Believed]:
        """Recover, and say which of the two it is; fails where it is neither."""
        recovered = recover(files, LIMITS)
        for believed in (self.under_way, self.acknowledged):
            if agrees(files, recovered, believed):
                return believed
        raise AssertionError("the recovered log lacks what was acknowledged, or has what was never written")


def workload_crashes(workload: Sequence[list[tuple[int, list[Record]]]] = WORKLOAD) -> list[Crash]:
    """The states of the disk at every operation of a workload (an empty batch in it is a mark)."""
    crashes: list[Crash] = []
    now = belief()
    after = now

    def at(disk: Disk) -> None:
        crashes.append(Crash(disk, now, after))

    observed = Observed(new_disk(), at)
    planner = LogPlanner(recover(observed.disk, LIMITS), LIMITS)
    for ticket, batch in enumerate(workload, start=1):
        clock = ticket * 100_000
        for group, records in batch:
            planner.append(group, ticket, records)
        while jobs := planner.plan(clock):
            (job,) = jobs
            after = copied(now)
            for group, records in batch:
                for record in records:
                    after[group].take(record)
            planner.done(clock, job.id, [perform(observed, op) for op in job.ops])
            now = after
            batch = []
            at(observed.disk.fork())
    return crashes


def new_disk() -> Disk:
    disk = Disk()
    create(disk, IDENTITY, GROUPS, LIMITS)
    return disk


def test_the_workload_meets_every_kind_of_place() -> None:
    crashes = workload_crashes()
    names = [name for crash in crashes for name in crash.disk.names()]
    assert "0000000004.log" in names
    assert any(name.endswith(".new") for name in names)
    assert any(recover(lost, LIMITS).cut for crash in crashes for lost in losses(crash.disk.fork(), 20))


class Survival:
    """Tries states, each once: what was seen to survive with the same claims need not be tried again."""

    def __init__(self, every_up_to: int) -> None:
        self.tried = 0
        self._every_up_to = every_up_to
        self._seen: set[tuple[object, int, int]] = set()

    def of_all(self, crash: Crash, crashes_in_recovery: int) -> None:
        """The process is killed here, or the machine lost; and so on inside recovery."""
        self._of(crash.disk, crash, crashes_in_recovery)
        for lost in losses(crash.disk, self._every_up_to):
            key = (contents(lost), id(crash.acknowledged), id(crash.under_way))
            if key not in self._seen:
                self._seen.add(key)
                self._of(lost, crash, crashes_in_recovery)

    def _of(self, disk: Disk, crash: Crash, crashes_in_recovery: int) -> None:
        self.tried += 1
        inside: list[Disk] = []
        recovering = Observed(disk.fork(), inside.append)
        found = crash.survived_by(recovering)
        # The node now acts on what was found: no later loss of the machine may take any of it back.
        for lost in losses(recovering.disk, 4):
            assert Crash(lost, found, found).survived_by(lost) is found
        if crashes_in_recovery:
            for interrupted in inside:
                self.of_all(Crash(interrupted, crash.acknowledged, crash.under_way), crashes_in_recovery - 1)


def try_all(survival: Survival, crashes: list[Crash], crashes_in_recovery: int) -> None:
    for crash in crashes:
        survival.of_all(crash, crashes_in_recovery)


def test_every_crash_and_two_more_inside_recovery_keep_what_was_acknowledged() -> None:
    survival = Survival(every_up_to=300)
    try_all(survival, workload_crashes(), crashes_in_recovery=2)
    assert survival.tried > 4000


def test_every_crash_while_segments_go_keeps_what_was_acknowledged() -> None:
    crashes = workload_crashes(CUTTING)
    assert any(segment_file(1) not in crash.disk.names() for crash in crashes)
    survival = Survival(every_up_to=60)
    try_all(survival, crashes, crashes_in_recovery=1)
    assert survival.tried > 400


def test_after_every_crash_the_log_goes_on() -> None:
    for crash in workload_crashes():
        for state in (crash.disk, *losses(crash.disk, 6)):
            disk = state.fork()
            believed = copied(crash.survived_by(disk))
            planner = LogPlanner(recover(disk, LIMITS), LIMITS)
            planner.append(1, 99, [StateRecord(b"goes on")])
            believed[1].take(StateRecord(b"goes on"))
            (job,) = planner.plan(0)
            planner.done(0, job.id, [perform(disk, op) for op in job.ops])
            for lost in losses(disk, 2):
                assert agrees(lost, recover(lost, LIMITS), believed)


def test_recovering_twice_finds_the_same() -> None:
    for crash in workload_crashes()[::7]:
        disk = crash.disk.fork()
        first = crash.survived_by(disk)
        position = recover(disk, LIMITS).position
        assert crash.survived_by(disk) is first
        assert recover(disk, LIMITS).position == position


def test_without_writing_the_last_good_batch_again_a_failed_sync_would_lose_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync_only(files: Files, log: recovery._Log, first: int) -> None:
        files.sync_data(segment_file(log.position.segment))
        files.sync_directory()

    monkeypatch.setattr(recovery, "_make_durable", sync_only)
    crashes = workload_crashes()
    with pytest.raises(AssertionError, match="lacks what was acknowledged"):
        try_all(Survival(every_up_to=4), crashes, crashes_in_recovery=0)


def test_planning_the_next_batch_too_early_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LogPlanner, "_may_write", lambda planner: True)
    disk = new_disk()
    planner = LogPlanner(recover(disk, LIMITS), LIMITS)
    for ticket in (1, 2):
        planner.append(0, ticket, [command(ticket, 1, b"x" * 300)])
        (job,) = planner.plan(0)
        perform(disk, job.ops[0])
    with pytest.raises(LogDamaged):
        _ = [recover(lost, LIMITS) for lost in losses(disk, 64)]


# ---------------------------------------------------------------------------------------------------------------
# Creation


def creation_crashes(start: Disk) -> list[Disk]:
    found: list[Disk] = [start.fork()]
    create(Observed(start, found.append), IDENTITY, GROUPS, LIMITS)
    return found


def test_a_creation_interrupted_anywhere_any_number_of_times_is_made_anew() -> None:
    again = Identity(IDENTITY.cluster, IDENTITY.member, b"another start id", IDENTITY.engine)
    seen: set[object] = set()
    waiting = creation_crashes(Disk())
    created = made_anew = 0
    while waiting:
        interrupted = waiting.pop()
        for state in (interrupted, *losses(interrupted, 200)):
            key = (contents(state), *(contents(lost) for lost in losses(state, 2)))
            if key in seen:
                continue
            seen.add(key)
            identity = read(state)
            disk = state.fork()
            if identity is None:
                waiting += creation_crashes(state.fork())
                create(disk, again, GROUPS, LIMITS)
                made_anew += 1
            else:
                created += 1
            assert agrees(disk, recover(disk, LIMITS), belief())
            for lost in losses(disk, 4):
                assert agrees(lost, recover(lost, LIMITS), belief())
    assert created
    assert made_anew > 20
    assert not any(name.endswith(".new") for name in disk.names())


def test_what_creation_made_durable_names_only_durable_files() -> None:
    for interrupted in creation_crashes(Disk()):
        for lost in losses(interrupted, 200):
            assert IDENTITY_FILE not in lost.names() or "0000000001.log" in lost.names()
