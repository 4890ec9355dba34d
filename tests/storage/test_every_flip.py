"""For every single byte of a log that reads wrong: opening refuses, naming file and offset, or recovers exactly the
same. It never recovers anything else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ratified.consensus.contract import Base, BaseRecord, Record, StateRecord, TruncateRecord
from ratified.sim.disk import Disk
from ratified.storage import recovery
from ratified.storage.files import WriteAt, perform
from ratified.storage.format import (
    SECTOR,
    VERSION,
    BatchHeader,
    BegunRecord,
    LogDamaged,
    LogLimits,
    LogTooNew,
    NodeRecord,
    PeerRecord,
    encode_batch,
    segment_file,
)
from ratified.storage.identity import IDENTITY_FILE, IdentityError, create, read
from ratified.storage.log import LogPlanner
from ratified.storage.recovery import Recovered, recover
from tests.storage.crashes import losses
from tests.storage.scribe import GROUPS, IDENTITY, MEMBERS, command, entries_of, membership_entry, settle

LIMITS = LogLimits(segment_bytes=3 * SECTOR, batch_bytes_max=1, tail_bytes_max=100, read_gap_bytes_max=0)
RECORDS: list[tuple[int, list[Record]]] = [
    (0, [StateRecord(b"term 1"), command(1, 1), membership_entry(2, 1), command(3, 1)]),
    (1, [command(1, 1, b"x" * 600)]),
    (0, [TruncateRecord(3), command(3, 2), BaseRecord(Base(1, (1, 0), MEMBERS, 4))]),
]
TORN = command(4, 2, b"z" * 700)


def a_log() -> tuple[Disk, LogPlanner]:
    """Several segments with every kind of record, and a mark at the end of one."""
    disk = Disk()
    create(disk, IDENTITY, GROUPS, LIMITS)
    planner = LogPlanner(recover(disk, LIMITS), LIMITS)
    planner.append_own(NodeRecord(1, IDENTITY.directory))
    planner.append_own(PeerRecord(2, bytes(16)))
    planner.append_own(BegunRecord())
    settle(disk, planner)
    for ticket, (group, records) in enumerate(RECORDS, start=1):
        planner.append(group, ticket, records)
    planner.drop(2, 4)
    settle(disk, planner)
    return disk, planner


def unmarked() -> Disk:
    return a_log()[0]


def marked() -> Disk:
    disk, planner = a_log()
    planner.close(0)
    settle(disk, planner)
    return disk


def torn(kept_sectors: frozenset[int]) -> Disk:
    """The last batch has lost sectors; it was never acknowledged."""
    disk, planner = a_log()
    planner.append(0, 5, [TORN])
    (job,) = planner.plan(0)
    for op in job.ops:
        if not isinstance(op, WriteAt):
            perform(disk, op)
            continue
        for number in sorted(kept_sectors):
            sector = op.data[number * SECTOR : (number + 1) * SECTOR]
            disk.write(op.file, op.offset + number * SECTOR, sector)
    return disk


LOGS: dict[str, Callable[[], Disk]] = {
    "unmarked": unmarked,
    "marked": marked,
    "torn, the rest is lost": lambda: torn(frozenset({0})),
    "torn, the header is lost": lambda: torn(frozenset({1})),
}


def said(recovered: Recovered, disk: Disk) -> object:
    """Everything that recovery found, but for how much it cut."""
    groups = {
        number: (
            group.state,
            group.base,
            list(group.runs),
            list(group.tail),
            list(group.memberships),
            group.last,
            entries_of(disk, recovered, number, LIMITS),
        )
        for number, group in recovered.groups.items()
    }
    return recovered.incarnation, recovered.directory, recovered.begun, recovered.peers, recovered.position, groups


def flipped(disk: Disk, file: str, offset: int, mask: int) -> Disk:
    other = disk.fork()
    (byte,) = disk.read(file, offset, 1)
    other.write(file, offset, bytes([byte ^ mask]))
    return other


def segments(disk: Disk) -> list[str]:
    return [name for name in disk.names() if name.endswith(".log")]


def recovered_or_refused(disk: Disk) -> Recovered | LogDamaged:
    try:
        return recover(disk, LIMITS)
    except LogDamaged as error:
        return error


def outcomes_of_every_flip(disk: Disk, masks: list[int]) -> tuple[int, int]:
    """(refused, recovered the same); fails where it is neither."""
    original = disk.fork()
    expected = said(recover(original, LIMITS), original)
    refused = same = 0
    for file in segments(disk):
        for offset in range(disk.size(file)):
            for mask in masks:
                damaged = flipped(disk, file, offset, mask)
                outcome = recovered_or_refused(damaged)
                if isinstance(outcome, LogDamaged):
                    assert outcome.file == file, "the file that was damaged is named"
                    assert offset // SECTOR * SECTOR - 2 * SECTOR <= outcome.offset <= offset
                    assert f"{file} is damaged at byte {outcome.offset}" in str(outcome)
                    refused += 1
                else:
                    assert said(outcome, damaged) == expected
                    same += 1
    return refused, same


@pytest.mark.parametrize("log", LOGS)
def test_every_flipped_byte_is_refused_or_changes_nothing(log: str) -> None:
    disk = LOGS[log]()
    assert len(segments(disk)) >= 3
    refused, same = outcomes_of_every_flip(disk, [0xFF, 0x01, 0x80, 0x55])
    assert refused
    assert bool(same) == log.startswith("torn"), "nothing but a torn batch may read wrong"


def test_no_flip_of_a_stamp_or_header_byte_makes_an_acknowledged_batch_a_torn_one() -> None:
    disk = unmarked()
    last = segments(disk)[-1]
    starts = range(0, disk.size(last), SECTOR)
    for offset in [start + at for start in starts for at in (0, 1, 3, 6, 10, 32)]:
        for mask in range(1, 256):
            with pytest.raises(LogDamaged):
                recover(flipped(disk, last, offset, mask), LIMITS)


def test_every_flipped_byte_of_the_identity_is_refused_and_names_the_file() -> None:
    disk = unmarked()
    for offset in range(disk.size(IDENTITY_FILE)):
        for mask in (0xFF, 0x01, 0x80):
            with pytest.raises(IdentityError, match=r"file 'identity' is damaged at byte \d+"):
                read(flipped(disk, IDENTITY_FILE, offset, mask))


def test_the_torn_logs_are_torn() -> None:
    for log, make in LOGS.items():
        assert (recover(make(), LIMITS).cut is not None) == log.startswith("torn")


# ---------------------------------------------------------------------------------------------------------------
# The clauses of the rule, one by one. A batch that was acknowledged must never be taken for a torn one.


def last_batch(disk: Disk) -> tuple[str, int, BatchHeader]:
    """Where the last good batch of the log lies."""
    replay = recovery._Replay()
    log = recovery._scan(disk, replay, LIMITS)
    return segment_file(log.last.segment), log.last.offset, log.last.header


def test_an_acknowledged_batch_that_a_mark_follows_is_damaged_even_where_it_looks_torn() -> None:
    disk, planner = a_log()
    planner.append(0, 5, [TORN])
    settle(disk, planner)
    file, offset, header = last_batch(disk)
    disk.write(file, offset + SECTOR, bytes(SECTOR))
    assert recover(disk.fork(), LIMITS).cut is not None
    planner.close(0)
    settle(disk, planner)
    with pytest.raises(LogDamaged, match=f"batch {header.number} does not read"):
        recover(disk, LIMITS)


def test_a_header_that_says_that_a_batch_was_durable_makes_it_damaged() -> None:
    roomy = LogLimits(segment_bytes=8 * SECTOR)
    disk = Disk()
    create(disk, IDENTITY, GROUPS, roomy)
    position = recover(disk, roomy).position
    batch, _ = encode_batch(1, position.number + 1, position.number, position.crc, b"q" * 900)
    disk.write(segment_file(1), position.offset, batch[:SECTOR])
    assert recover(disk.fork(), roomy).cut is not None
    for number, durable_to in ((position.number + 2, position.number), (position.number, position.number + 1)):
        later, _ = encode_batch(1, number, durable_to, 0, b"")
        covered = disk.fork()
        covered.write(segment_file(1), position.offset + 2 * SECTOR, later)
        with pytest.raises(LogDamaged, match="was written after it"):
            recover(covered, roomy)


def test_a_batch_of_which_every_sector_was_written_is_damaged() -> None:
    disk, planner = a_log()
    planner.append(0, 5, [TORN])
    settle(disk, planner)
    file, offset, _ = last_batch(disk)
    with pytest.raises(LogDamaged, match="although every sector of it was written"):
        recover(flipped(disk, file, offset + 100, 1), LIMITS)


def test_a_header_of_another_batch_where_a_torn_one_would_begin_is_damage() -> None:
    disk = unmarked()
    position = recover(disk, LIMITS).position
    roomy = segment_file(position.segment)
    for segment, number, chain in (
        (position.segment, position.number + 1, position.crc ^ 1),
        (position.segment, position.number, position.crc),
        (position.segment + 1, position.number + 1, position.crc),
    ):
        stray = disk.fork()
        batch, _ = encode_batch(segment, number, 0, chain, b"q" * 900)
        stray.write(roomy, position.offset, batch[:SECTOR])
        with pytest.raises(LogDamaged, match="is not its header"):
            recover(stray, LIMITS)


def test_anything_behind_a_torn_batch_is_damage() -> None:
    roomy = LogLimits(segment_bytes=8 * SECTOR)
    disk = Disk()
    create(disk, IDENTITY, GROUPS, roomy)
    position = recover(disk, roomy).position
    batch, _ = encode_batch(1, position.number + 1, position.number, position.crc, b"q" * 900)
    disk.write(segment_file(1), position.offset, batch[:SECTOR])
    disk.write(segment_file(1), position.offset + 3 * SECTOR, batch[SECTOR : 2 * SECTOR])
    with pytest.raises(LogDamaged, match="something behind batch"):
        recover(disk, roomy)


def test_a_torn_batch_in_a_segment_that_others_follow_is_damage() -> None:
    disk = torn(frozenset({0}))
    last = recover(disk.fork(), LIMITS).position.segment
    disk.create(segment_file(last + 1), LIMITS.segment_bytes)
    with pytest.raises(LogDamaged, match="does not read, and there are later segments"):
        recover(disk, LIMITS)


def test_a_missing_segment_and_a_missing_log_are_damage() -> None:
    disk = unmarked()
    for gone in segments(disk)[:-1]:
        other = disk.fork()
        other.remove(gone)
        with pytest.raises(LogDamaged, match="missing"):
            recover(other, LIMITS)
    for gone in segments(disk):
        disk.remove(gone)
    with pytest.raises(LogDamaged, match="an identity file and no log"):
        recover(disk, LIMITS)


def test_a_cut_is_exact_and_reported() -> None:
    disk = torn(frozenset({0}))
    cut = recover(disk.fork(), LIMITS).cut
    assert cut is not None
    assert cut.bytes == SECTOR
    assert disk.read(cut.file, cut.offset, 2) != b"\0\0"
    recover(disk, LIMITS)
    assert not disk.read(cut.file, cut.offset, 1 << 20).strip(b"\0")
    assert recover(disk, LIMITS).cut is None


@pytest.mark.parametrize("lost", range(3))
def test_every_loss_of_the_last_batch_is_cut_or_whole(lost: int) -> None:
    disk, planner = a_log()
    planner.append(0, 5, [TORN])
    (job,) = planner.plan(0)
    for op in job.ops[: len(job.ops) - lost]:
        perform(disk, op)
    for after in losses(disk, 200):
        assert recover(after, LIMITS).groups[0].last in (3, 4)


def test_a_log_of_a_later_version_is_refused_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, planner = a_log()
    monkeypatch.setattr("ratified.storage.format.VERSION", VERSION + 1)
    planner.append(0, 5, [TORN])
    settle(disk, planner)
    monkeypatch.undo()
    with pytest.raises(LogTooNew, match=f"format version {VERSION + 1}"):
        recover(disk, LIMITS)
