"""A planner with a disk under it, as tests drive them: every job is carried out at once, and what was acknowledged is
remembered, so that what recovery finds can be compared with it."""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import (
    Base,
    BaseRecord,
    Entry,
    Kind,
    Membership,
    ProposalId,
    Record,
    StateRecord,
    TruncateRecord,
)
from ratified.consensus.entry import encode_membership, make_entry
from ratified.sim.disk import Disk
from ratified.storage.files import Files, Job, perform
from ratified.storage.format import LogLimits
from ratified.storage.identity import Identity, create
from ratified.storage.log import Completed, LogPlanner
from ratified.storage.recovery import Recovered, RecoveredGroup, recover

IDENTITY = Identity(cluster=7, member=3, directory=bytes(range(16)), engine="raft")
MEMBERS = Membership((1, 2, 3))
GROUPS = {0: MEMBERS, 1: Membership((1, 2, 3), (), (4,)), 2: MEMBERS}
TINY = LogLimits(segment_bytes=4 * 512, batch_bytes_max=1, tail_bytes_max=1, read_gap_bytes_max=0)


def command(index: int, term: int, data: bytes | None = None) -> Entry:
    payload = b"command %d" % index if data is None else data
    return make_entry(index, (term, 0), Kind.COMMAND, ProposalId(1, 2, index), payload)


def membership_entry(index: int, term: int) -> Entry:
    return make_entry(index, (term, 0), Kind.MEMBERSHIP, None, encode_membership(MEMBERS))


class Believed:
    """What a group's log should hold, kept the simplest way."""

    def __init__(self, membership: Membership) -> None:
        self.state = b""
        self.base = Base(0, (0, 0), membership)
        self.entries: dict[int, Entry] = {}

    def take(self, record: Record) -> None:
        match record:
            case Entry():
                self.entries[record.index] = record
            case StateRecord(data):
                self.state = data
            case TruncateRecord(first):
                self.entries = {index: entry for index, entry in self.entries.items() if index < first}
            case BaseRecord(base):
                self.base = base
                self.entries = {index: entry for index, entry in self.entries.items() if index > base.index}

    def copy(self) -> Believed:
        other = Believed(self.base.membership)
        other.state, other.base, other.entries = self.state, self.base, dict(self.entries)
        return other


def belief() -> dict[int, Believed]:
    return {number: Believed(membership) for number, membership in GROUPS.items()}


def copied(groups: dict[int, Believed]) -> dict[int, Believed]:
    return {number: group.copy() for number, group in groups.items()}


def new_log(files: Files | None = None, limits: LogLimits = TINY) -> Files:
    disk = Disk() if files is None else files
    create(disk, IDENTITY, GROUPS, limits)
    return disk


def carry_out(files: Files, jobs: Sequence[Job], planner: LogPlanner, now: int = 0) -> list[Completed]:
    return [planner.done(now, job.id, [perform(files, op) for op in job.ops]) for job in jobs]


def settle(files: Files, planner: LogPlanner, now: int = 0) -> list[Completed]:
    """Plan and carry out until there is nothing more to do."""
    completed: list[Completed] = []
    while jobs := planner.plan(now):
        completed += carry_out(files, jobs, planner, now)
    return completed


def reopened(files: Files, limits: LogLimits = TINY) -> LogPlanner:
    return LogPlanner(recover(files, limits), limits)


def entries_of(files: Files, recovered: Recovered, group: int, limits: LogLimits = TINY) -> list[Entry]:
    """All entries of a group, by fetching them one after another."""
    planner = LogPlanner(recovered, limits)
    found: list[Entry] = []
    for run in recovered.groups[group].runs:
        index = run.first
        while index <= run.last:
            planner.fetch(1, group, index, run.last, 1)
            (job,) = planner.plan(0)[-1:]
            (fetched,) = planner.done(0, job.id, [perform(files, op) for op in job.ops]).fetched
            found += fetched.entries
            index = found[-1].index + 1
    return found


def agrees(files: Files, recovered: Recovered, believed: dict[int, Believed]) -> bool:
    """Does the log hold exactly this?"""
    return recovered.groups.keys() == believed.keys() and all(
        _group_agrees(recovered.groups[number], believed[number])
        and entries_of(files, recovered, number) == _sorted(believed[number])
        for number in believed
    )


def _group_agrees(group: RecoveredGroup, believed: Believed) -> bool:
    entries = _sorted(believed)
    eras = [entry.era for entry in entries]
    return (
        group.state == believed.state
        and group.base == believed.base
        and [run.era for run in group.runs for _ in range(run.first, run.last + 1)] == eras
        and group.last == max(believed.entries, default=believed.base.index)
        and list(group.tail) == entries[len(entries) - len(group.tail) :]
        and (not entries or bool(group.tail))
        and list(group.memberships) == [entry for entry in entries if entry.kind == Kind.MEMBERSHIP]
    )


def _sorted(believed: Believed) -> list[Entry]:
    return [believed.entries[index] for index in sorted(believed.entries)]
