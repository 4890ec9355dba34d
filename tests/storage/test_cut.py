"""A log whose oldest segments go: what is left is read alone, and nothing goes before what allows it is durable."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import Base, BaseRecord, Entry, StateRecord, TruncateRecord
from ratified.consensus.draws import mix
from ratified.sim.disk import Disk
from ratified.storage import format as log_format
from ratified.storage import log
from ratified.storage.files import Job, Remove, SyncDirectory, perform
from ratified.storage.format import (
    SECTOR,
    BegunRecord,
    ClusterRecord,
    LogDamaged,
    LogLimits,
    NodeRecord,
    PeerRecord,
    segment_file,
)
from ratified.storage.log import LogPlanner
from ratified.storage.recovery import recover
from tests.storage.crashes import losses
from tests.storage.scribe import (
    IDENTITY,
    MEMBERS,
    Believed,
    agrees,
    belief,
    carry_out,
    command,
    new_log,
    reopened,
    settle,
)

SMALL = LogLimits(segment_bytes=4 * SECTOR, batch_bytes_max=1, tail_bytes_max=1, read_gap_bytes_max=0)


def segments(disk: Disk) -> list[str]:
    return [name for name in disk.names() if name.endswith(".log")]


def new_disk() -> Disk:
    disk = Disk()
    new_log(disk, SMALL)
    return disk


class Script:
    """A disk, a planner on it, and what the log should hold."""

    def __init__(self) -> None:
        self.disk = new_disk()
        self.planner = reopened(self.disk, SMALL)
        self.believed = belief()
        self._ticket = 0

    def take(self, group: int, *records: StateRecord | TruncateRecord | BaseRecord | Entry) -> None:
        self._ticket += 1
        self.planner.append(group, self._ticket, records)
        for record in records:
            self.believed[group].take(record)

    def settle(self) -> None:
        settle(self.disk, self.planner)

    def write(self, group: int, first: int, last: int) -> None:
        for index in range(first, last + 1):
            self.take(group, command(index, 1, b"x" * 400))
        self.settle()

    def rebase(self, group: int, index: int) -> None:
        self.take(group, BaseRecord(Base(index, (1, 0), MEMBERS)))
        self.settle()

    def reopen(self) -> None:
        self.planner = reopened(self.disk, SMALL)

    def agrees(self) -> bool:
        return agrees(self.disk, recover(self.disk, SMALL), self.believed)


def test_segments_below_every_groups_base_are_removed() -> None:
    script = Script()
    script.write(0, 1, 20)
    script.write(1, 1, 3)
    count, size = len(segments(script.disk)), script.planner.size_bytes
    script.rebase(0, 18)
    assert len(segments(script.disk)) <= 5 < count
    assert script.planner.size_bytes < size
    assert script.agrees()
    assert reopened(script.disk, SMALL).size_bytes == script.planner.size_bytes


def test_an_entry_above_its_groups_base_keeps_its_segment_and_all_later_ones() -> None:
    script = Script()
    script.write(1, 1, 1)
    script.write(0, 1, 20)
    pinned = recover(script.disk, SMALL).groups[1].index.oldest_segment
    assert pinned is not None
    later = [name for name in segments(script.disk) if name >= segment_file(pinned)]
    script.rebase(0, 20)
    assert segments(script.disk)[: len(later)] == later
    assert script.agrees()
    script.rebase(1, 1)
    assert len(segments(script.disk)) <= 2
    assert script.agrees()


def test_what_the_node_knows_of_itself_and_its_peers_outlives_the_segments_that_said_it() -> None:
    script = Script()
    planner = script.planner
    planner.append_own(NodeRecord(1, IDENTITY.directory, 11))
    planner.append_own(PeerRecord(2, bytes(16), 3, 4))
    planner.append_own(BegunRecord())
    planner.append_own(ClusterRecord(0, b"first"))
    planner.append_own(ClusterRecord(1, b"table"))
    script.take(0, StateRecord(b"term 1"))
    script.settle()
    for start in range(2, 5):
        script.reopen()
        script.planner.append_own(NodeRecord(start, IDENTITY.directory, 10 + start))
        script.write(0, 20 * (start - 2) + 1, 20 * (start - 1))
        script.rebase(0, 20 * (start - 1) - 1)
    assert segment_file(1) not in segments(script.disk)
    recovered = recover(script.disk, SMALL)
    assert (recovered.incarnation, recovered.starts, recovered.begun) == (4, [14, 13, 12, 11], True)
    assert recovered.peers == {2: PeerRecord(2, bytes(16), 3, 4)}
    assert recovered.cluster == ClusterRecord(1, b"table")
    assert script.agrees()


def test_fetching_goes_on_above_the_base_and_ends_there() -> None:
    script = Script()
    script.write(0, 1, 20)
    script.rebase(0, 10)
    script.reopen()
    script.planner.fetch(1, 0, 11, 12, 10_000)
    (job,) = script.planner.plan(0)
    (completed,) = carry_out(script.disk, [job], script.planner)
    assert [entry.index for entry in completed.fetched[0].entries] == [11, 12]
    with pytest.raises(ValueError, match="entry 10"):
        script.planner.fetch(2, 0, 10, 12, 10_000)


def test_a_read_that_was_given_out_before_comes_before_the_removal() -> None:
    script = Script()
    script.write(0, 1, 20)
    script.planner.fetch(1, 0, 2, 2, 10_000)
    script.take(0, BaseRecord(Base(20, (1, 0), MEMBERS)))
    removals: list[int] = []
    reads: list[int] = []
    while jobs := script.planner.plan(0):
        for job in jobs:
            (removals if any(isinstance(op, Remove) for op in job.ops) else reads).append(job.id)
        carry_out(script.disk, jobs, script.planner)
    assert removals
    assert max(removals) > min(reads)


def test_a_segment_that_is_missing_though_no_cut_says_so_is_damage() -> None:
    script = Script()
    script.write(0, 1, 20)
    for number in (1, 2):
        script.disk.remove(segment_file(number))
        with pytest.raises(LogDamaged, match="missing and later ones are there"):
            recover(script.disk.fork(), SMALL)
    script = Script()
    script.write(0, 1, 20)
    script.rebase(0, 18)
    script.disk.remove(segments(script.disk)[0])
    with pytest.raises(LogDamaged, match="missing and later ones are there"):
        recover(script.disk.fork(), SMALL)


def test_the_first_batch_of_the_oldest_segment_is_believed_only_with_its_checksums() -> None:
    script = Script()
    script.write(0, 1, 20)
    script.rebase(0, 18)
    oldest = segments(script.disk)[0]
    for offset in (0, 8, 40, 100, SECTOR + 3):
        damaged = script.disk.fork()
        (byte,) = damaged.read(oldest, offset, 1)
        damaged.write(oldest, offset, bytes([byte ^ 0x40]))
        with pytest.raises(LogDamaged):
            recover(damaged, SMALL)


def test_a_removal_that_was_interrupted_is_gone_on_with() -> None:
    script = Script()
    script.write(0, 1, 20)
    script.take(0, BaseRecord(Base(18, (1, 0), MEMBERS)))
    ((job,), interrupted) = _up_to_removal(script)
    assert isinstance(job.ops[-1], SyncDirectory)
    for done in range(len(job.ops)):
        disk = interrupted.fork()
        for op in job.ops[:done]:
            perform(disk, op)
        for state in (disk, *losses(disk, 20)):
            assert agrees(state, recover(state, SMALL), script.believed)
            assert segment_file(1) not in state.names()
            assert all(segment_file(1) not in lost.names() for lost in losses(state, 4))


def test_a_cut_that_still_waits_for_its_batch_removes_nothing() -> None:
    script = Script()
    script.write(0, 1, 20)
    script.take(0, BaseRecord(Base(18, (1, 0), MEMBERS)))
    (base,) = script.planner.plan(0)
    script.take(0, command(21, 1))
    removals: list[bool] = []
    jobs = [base]
    while jobs:
        removals.append(any(isinstance(op, Remove) for job in jobs for op in job.ops))
        carry_out(script.disk, jobs, script.planner)
        jobs = list(script.planner.plan(0))
    assert removals == [False, False, False, True], "the base, the entry that came before the cut, the cut, the removal"


def test_what_a_cut_that_waits_says_is_not_removed_for_the_one_before_it() -> None:
    """Seed 1334 of strangers: two bases moved one after the other while both cuts waited for their batches. When the
    first one was durable the segments of the second went too; a process that was killed then had a damaged log."""
    script = Script()
    script.write(0, 1, 40)
    script.take(0, BaseRecord(Base(18, (1, 0), MEMBERS)))
    script.take(0, command(41, 1))
    script.take(0, BaseRecord(Base(38, (1, 0), MEMBERS)))
    removals = 0
    while jobs := script.planner.plan(0):
        removals += any(isinstance(op, Remove) for job in jobs for op in job.ops)
        carry_out(script.disk, jobs, script.planner)
        killed = script.disk.fork()
        recover(killed, SMALL)
    assert removals == 2


def test_a_start_removes_what_the_process_before_could_no_more() -> None:
    """It was killed when the base was durable and the cut not; nothing moved the base again (seed 58 of members)."""
    script = Script()
    script.write(0, 1, 20)
    script.take(0, BaseRecord(Base(18, (1, 0), MEMBERS)))
    carry_out(script.disk, script.planner.plan(0), script.planner)
    count = len(segments(script.disk))
    script.reopen()
    script.planner.append_own(NodeRecord(1, IDENTITY.directory, 11))
    script.settle()
    assert len(segments(script.disk)) <= 5 < count
    assert script.agrees()


def _up_to_removal(script: Script) -> tuple[list[Job], Disk]:
    while jobs := script.planner.plan(0):
        if any(isinstance(op, Remove) for op in jobs[0].ops):
            return list(jobs), script.disk
        carry_out(script.disk, jobs, script.planner)
    raise AssertionError("no segment is removed")


def test_a_log_of_an_older_version_is_cut_where_segments_with_heads_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr(log_format, "VERSION", 3)
        older.setattr(log._Head, "encode", lambda head: b"")
        script = Script()
        script.write(0, 1, 20)
    count = len(segments(script.disk))
    script.reopen()
    script.rebase(0, 10)
    assert len(segments(script.disk)) >= count, "the rest cannot be read without what was first"
    script.write(0, 21, 30)
    script.rebase(0, 29)
    assert segment_file(count) not in segments(script.disk)
    assert script.agrees()


def test_whatever_is_written_cut_and_reopened_the_log_is_what_it_should_be() -> None:
    removed = 0
    for seed in range(10):
        script = Script()
        for step in range(40):
            _step(script, _draws(seed, step))
            assert script.agrees()
        removed += segment_file(1) not in segments(script.disk)
    assert removed > 5


def _draws(seed: int, step: int) -> Callable[[int], int]:
    return lambda count: mix(seed, step, count) % count


def _step(script: Script, draw: Callable[[int], int]) -> None:
    group = draw(3)
    held: Believed = script.believed[group]
    last = max(held.entries, default=held.base.index)
    what = draw(8)
    if what < 4:
        script.take(group, command(last + 1 + (draw(7) == 0), 1 + draw(5), b"x" * draw(900)))
    elif what == 4 and last > held.base.index:
        script.take(group, TruncateRecord(held.base.index + 1 + draw(last - held.base.index)))
    elif what == 5 and last > held.base.index:
        script.take(group, BaseRecord(Base(held.base.index + 1 + draw(last - held.base.index), (9, 0), MEMBERS)))
    elif what == 6:
        script.take(group, StateRecord(b"s" * (1 + draw(40))))
    script.settle()
    if draw(5) == 0:
        script.planner.close(0)
        script.settle()
        script.reopen()


# ---------------------------------------------------------------------------------------------------------------
# What would be lost


def cut_crashes(script: Script) -> list[Disk]:
    """Every state from the base's batch to the end of the removal, one operation after another."""
    script.write(0, 1, 20)
    script.take(0, BaseRecord(Base(18, (1, 0), MEMBERS)))
    states = [script.disk.fork()]
    while jobs := script.planner.plan(0):
        for job in jobs:
            for op in job.ops:
                perform(script.disk, op)
                states.append(script.disk.fork())
            script.planner.done(0, job.id, [None] * len(job.ops))
    return states


def survivors(script: Script) -> int:
    """How many states the log comes back from with all entries above 18."""
    tried = 0
    for state in cut_crashes(script):
        for disk in (state, *losses(state, 30)):
            recovered = recover(disk, SMALL)
            assert recovered.groups[0].base.index in (0, 18)
            assert recovered.groups[0].last == 20
            assert [run.first for run in recovered.groups[0].runs] == [recovered.groups[0].base.index + 1]
            tried += 1
    return tried


def test_nothing_is_lost_wherever_a_cut_is_interrupted() -> None:
    assert survivors(Script()) > 50


def test_removing_before_the_base_is_durable_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    write = LogPlanner._write

    def with_removal_first(planner: LogPlanner, head: bytes, batch: log._Batch, start: log._Place) -> Job:
        job = write(planner, head, batch, start)
        if planner._writing is not None and planner._writing.rebased:
            gone = [number for number in planner._older if number < 8]
            for number in gone:
                del planner._older[number]
            return Job(job.id, [*(Remove(segment_file(number)) for number in gone), SyncDirectory(), *job.ops])
        return job

    monkeypatch.setattr(LogPlanner, "_write", with_removal_first)
    with pytest.raises((LogDamaged, AssertionError)):
        survivors(Script())


def test_removing_without_a_durable_cut_record_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(planner: LogPlanner, writing: log._Writing) -> None:
        if writing.rebased:
            oldest = [index.oldest_segment for index in planner._indexes.values()]
            planner._cut = min(each for each in oldest if each is not None)

    monkeypatch.setattr(LogPlanner, "_cut_after", at_once)
    with pytest.raises(LogDamaged, match="missing"):
        survivors(Script())


def test_a_segment_without_a_head_could_not_be_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log._Head, "encode", lambda head: b"")
    with pytest.raises((LogDamaged, AssertionError, KeyError, LookupError)):
        survivors(Script())
