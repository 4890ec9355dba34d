"""A new cluster of one member, of what is left of a cluster that has lost its majority for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from ratified.consensus.contract import U64_MAX, Entry, Era, Kind
from ratified.consensus.engines import ENGINES
from ratified.consensus.salvage import Contradiction, Salvage, could_acknowledge, filler
from ratified.kv.store import KvStore
from ratified.machine import ApplyFailed, Command
from ratified.node.cluster_table import CLUSTER_GROUP, ClusterTable, new_member
from ratified.node.snapshot_directory import SnapshotDirectory
from ratified.restore.directory import NewMember, make
from ratified.restore.survivors import Survivor, SurvivorUnfit
from ratified.storage.identity import Identity
from ratified.storage.space import Environment


class Row(msgspec.Struct, frozen=True):
    """What one directory has."""

    data_dir: str
    member: str
    name: str
    last: int
    era: Era
    """Of its last entry."""
    committed: int
    """Up to here it knows that all is committed."""
    applied: int
    snapshot: bool
    """It is one that was received and not installed."""


class Findings(msgspec.Struct, frozen=True):
    """What is left, and what becomes of it."""

    cluster: str
    engine: str
    survivors: Sequence[Row]
    best: int
    """Whose state is taken, by its place."""
    kept: int
    """The last entry that is kept."""
    committed: int
    """The last one that somebody knows to be committed; what is behind it may have been acknowledged, and is kept."""
    lost_members: Sequence[str]
    """Voters of whom nothing is left, by name."""
    acknowledged_may_be_lost: bool
    """Could the lost members have acknowledged what no survivor has? As far as the survivors know who votes."""
    majority_left: bool
    """Could those that are left go on as they are?"""


class Draws(msgspec.Struct, frozen=True):
    """What must be random about a new cluster."""

    cluster: bytes
    member: bytes
    directory: bytes


def choose(left: Sequence[Survivor]) -> Salvage:
    """What counts of them. Raises ``SurvivorUnfit``."""
    try:
        return ENGINES[left[0].owner.engine].salvager.choose([each.remains for each in left])
    except Contradiction as wrong:
        raise SurvivorUnfit(f"{', '.join(dict.fromkeys(str(each.path) for each in left))}: {wrong}") from wrong


def findings(left: Sequence[Survivor], chosen: Salvage) -> Findings:
    best = left[chosen.begin]
    committed = ENGINES[best.owner.engine].salvager.committed
    membership = max(left, key=lambda each: each.remains.last).membership
    there = {each.owner.member for each in left}
    lost = sorted({*membership.voters, *membership.outgoing} - there)
    return Findings(
        cluster=f"{best.owner.cluster:x}",
        engine=best.owner.engine,
        survivors=[
            Row(
                data_dir=str(each.path),
                member=f"{each.owner.member:x}",
                name=each.name,
                last=each.remains.last,
                era=each.remains.last_era,
                committed=committed(each.remains),
                applied=each.remains.applied,
                snapshot=each.group is None,
            )
            for each in left
        ],
        best=chosen.begin,
        kept=chosen.last,
        committed=chosen.committed,
        lost_members=[_called(best.table, member) for member in lost],
        acknowledged_may_be_lost=could_acknowledge(membership, lost),
        majority_left=bool(membership.voters) and could_acknowledge(membership, there),
    )


def _called(table: ClusterTable | None, member: int) -> str:
    row = None if table is None else table.members.get(member)
    return row.name if row is not None and row.name else f"{member:x}"


class Wanted(msgspec.Struct, frozen=True):
    """What the new member is called, and where the others will reach it."""

    name: str
    peer_urls: tuple[str, ...]


def recover(
    left: Sequence[Survivor], chosen: Salvage, wanted: Wanted, draws: Draws, path: Path, boot_id: bytes
) -> Identity:
    """Make the data directory of the new cluster's one member.

    Raises ``SurvivorUnfit``, ``DirectoryTaken`` and ``OSError``; then nothing is left.
    """
    best = left[chosen.begin]
    member = _new_member(left, chosen, wanted, draws)

    def fill(environment: Environment, store: KvStore) -> None:
        if best.snapshot is not None:
            SnapshotDirectory(best.files).install(CLUSTER_GROUP, best.remains.base, store, environment)
        if store.applied != best.remains.held:
            raise SurvivorUnfit(f"{best.path}: its checkpoint does not hold what it says: leave this directory out")
        deliver = ENGINES[best.owner.engine].salvager.deliver(best.remains.held_era)
        for entries in _entries(left, chosen):
            _apply(environment, store, deliver(entries))

    try:
        make(path, member, fill, boot_id, best.copy())
    except ApplyFailed as failed:
        raise SurvivorUnfit(f"{best.path}: {failed}: is this a cluster of `ratified serve`?") from failed
    return member.identity


def _new_member(left: Sequence[Survivor], chosen: Salvage, wanted: Wanted, draws: Draws) -> NewMember:
    cluster, member = _id(draws.cluster), _id(draws.member)
    gone = {each.owner.member for each in left}
    for each in left:
        if each.table is not None:
            gone |= {*each.table.members, *each.table.left}
    table = ClusterTable(max(chosen.last, 1), {member: new_member(wanted.name, wanted.peer_urls)}, tuple(sorted(gone)))
    return NewMember(Identity(cluster, member, draws.directory, left[0].owner.engine), table)


def _id(drawn: bytes) -> int:
    """Never 0 or 2^64-1, which mean nobody."""
    return min(max(int.from_bytes(drawn, "big"), 1), U64_MAX - 1)


def _entries(left: Sequence[Survivor], chosen: Salvage) -> Iterator[Sequence[Entry]]:
    for source in chosen.sources:
        if source.log is None:
            yield [filler(index) for index in range(source.first, source.last + 1)]
        else:
            yield from left[source.log].entries(source.first, source.last)


def _apply(environment: Environment, store: KvStore, entries: Sequence[Entry]) -> None:
    commands = [Command(entry.index, entry.data) for entry in entries if entry.kind is Kind.COMMAND]
    with environment.transaction():
        store.apply(commands, entries[-1].index, entries[-1].era)
    while store.untidy:
        with environment.transaction():
            store.tidy()
