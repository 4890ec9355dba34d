"""The data directories that are left of a cluster, read and not touched.

1. A directory is locked while it is read, so that no member runs on it, and opened for reading only. What recovery
   would write (a torn end that is cut, the last batch once more) is dropped.
2. A survivor is its log, and the state that lies beside it: its checkpoint, or the snapshot behind which its log
   begins. Its store is asked for nothing but how far it has applied.
3. A snapshot that has arrived whole and was not installed counts like one more survivor, which has nothing above it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path

import msgspec
from typing_extensions import override

from ratified.consensus.contract import NO_ERA, Base, Entry, Era, Membership
from ratified.consensus.entry import decode_configuration
from ratified.consensus.salvage import Remains
from ratified.kv.store import applied_in
from ratified.node.cluster_table import CLUSTER_GROUP, ClusterFormatError, ClusterTable, Member, decode_table
from ratified.storage import checkpoint, identity, snapshot_file
from ratified.storage.checkpoint import CheckpointUnsound
from ratified.storage.files import Files
from ratified.storage.format import LogDamaged, LogLimits, LogTooNew
from ratified.storage.guard import STORE_DIRECTORY, serving_spaces
from ratified.storage.identity import LOCK_FILE, Identity, IdentityError
from ratified.storage.lmdb import DATA_FILE
from ratified.storage.pages import StoredRows, StoreUnsound, reading
from ratified.storage.recovery import RecoveredGroup, recover
from ratified.storage.snapshot_file import SnapshotHead, SnapshotUnsound
from ratified.storage.space import SECOND
from ratified.storage.spans import entries_in, spans

ENTRIES_AT_ONCE = 512


class SurvivorUnfit(Exception):
    """A directory that cannot be counted on; one line that says which, why, and what to do."""


class Survivor(msgspec.Struct, frozen=True):
    """One directory that is left, or a snapshot in it."""

    path: Path
    files: Files
    owner: Identity
    group: RecoveredGroup | None
    """None: it is a snapshot, which has no entries."""
    snapshot: SnapshotHead | None
    """What holds its state; None: the checkpoint, or nothing does."""
    remains: Remains
    table: ClusterTable | None

    @property
    def row(self) -> Member | None:
        """Itself, in the cluster table as it has it."""
        return None if self.table is None else self.table.members.get(self.owner.member)

    @property
    def name(self) -> str:
        row = self.row
        return row.name if row is not None and row.name else f"{self.owner.member:x}"

    @property
    def membership(self) -> Membership:
        """The latest configuration that it knows of."""
        if self.group is None or not self.group.memberships:
            return self.remains.base.membership
        return decode_configuration(self.group.memberships[-1].data)[0]

    def copy(self) -> Iterator[bytes]:
        """The store in its checkpoint, if that is where its state is."""
        if self.snapshot is None and self.remains.held:
            return checkpoint.pieces(self.files, self.owner.directory)
        return iter(())

    def entries(self, first: int, last: int) -> Iterator[Sequence[Entry]]:
        """Its entries, some at a time. Raises ``SurvivorUnfit``."""
        assert self.group is not None, "a snapshot has no entries"
        indexes = iter(range(first, last + 1))
        while wanted := list(islice(indexes, ENTRIES_AT_ONCE)):
            locations = []
            for index in wanted:
                location = self.group.index.find(index)
                if location is None:
                    raise SurvivorUnfit(f"{self.path}: entry {index} is not in its log: leave this directory out")
                locations.append(location)
            found: list[Entry] = []
            try:
                for span in spans(locations, LogLimits().read_gap_bytes_max):
                    found += entries_in(span, self.files.read(span.read.file, span.read.offset, span.read.length))
            except LogDamaged as damaged:
                raise SurvivorUnfit(f"{self.path}: {damaged}") from damaged
            yield found


class ReadOnly(Files):
    """A directory of which nothing is changed: what is written to it is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @override
    def names(self) -> Sequence[str]:
        return sorted(entry.name for entry in os.scandir(self._path) if entry.is_file(follow_symlinks=False))

    @override
    def size(self, file: str) -> int:
        return (self._path / file).stat().st_size

    @override
    def read(self, file: str, offset: int, length: int) -> bytes:
        with (self._path / file).open("rb") as opened:
            opened.seek(offset)
            return opened.read(length)

    @override
    def write(self, file: str, offset: int, data: bytes) -> None:
        pass

    @override
    def sync_data(self, file: str) -> None:
        pass

    @override
    def create(self, file: str, length: int) -> None:
        pass

    @override
    def rename(self, old: str, new: str) -> None:
        pass

    @override
    def remove(self, file: str) -> None:
        pass

    @override
    def sync_directory(self) -> None:
        pass


@contextmanager
def survivors(paths: Sequence[Path]) -> Iterator[Sequence[Survivor]]:
    """What is in these directories, locked meanwhile. Raises ``SurvivorUnfit``."""
    with ExitStack() as locks:
        found: list[Survivor] = []
        for number, path in enumerate(paths):
            if path.resolve() in [each.resolve() for each in paths[:number]]:
                raise SurvivorUnfit(f"{path}: this directory is named twice: name each one once")
            _lock(path, locks)
            found += _read(path)
        _check_alike(found)
        yield found


def _lock(path: Path, locks: ExitStack) -> None:
    """A directory without a lock file was never run on, or is a copy: nobody runs on it."""
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SurvivorUnfit(f"{path}: {error.strerror or error}: run as a user that can read it") from error
    locks.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SurvivorUnfit(f"{path}: a member runs on it: stop that first, and all others of this cluster") from error


def _read(path: Path) -> list[Survivor]:
    files = ReadOnly(path)
    try:
        owner = identity.read(files)
        if owner is None:
            raise SurvivorUnfit(f"{path}: there is no member's data: give the data directory of a member that has run")
        recovered = recover(files, LogLimits())
        if list(recovered.groups) != [CLUSTER_GROUP]:
            raise SurvivorUnfit(
                f"{path}: it has {len(recovered.groups)} groups: only clusters of `ratified serve`, which have one, "
                "can be recovered"
            )
        table = None if recovered.cluster is None else decode_table(recovered.cluster.data)
        group = recovered.groups[CLUSTER_GROUP]
        return [_of_log(path, files, owner, group, table), *_received(path, files, owner, group.base, table)]
    except (LogDamaged, LogTooNew, IdentityError, ClusterFormatError, OSError) as error:
        raise SurvivorUnfit(f"{path}: {error}: or leave this directory out") from error


def _of_log(path: Path, files: Files, owner: Identity, group: RecoveredGroup, table: ClusterTable | None) -> Survivor:
    base = group.base
    held, held_era = _checkpoint(files, owner)
    snapshot = None
    if held < base.index:
        snapshot = _snapshot_of(files, base)
        if snapshot is None:
            raise SurvivorUnfit(
                f"{path}: its log begins behind entry {base.index}, and what was before is not there, or damaged: "
                "leave this directory out"
            )
        held, held_era = base.index, base.era
    remains = Remains(
        base=base, state=group.state, runs=group.runs, held=held, held_era=held_era, applied=_applied(path)
    )
    return Survivor(path, files, owner, group, snapshot, remains, table)


def _received(
    path: Path, files: Files, owner: Identity, begins: Base, table: ClusterTable | None
) -> Iterator[Survivor]:
    """Snapshots that are whole and were not installed: those ahead of the base with which the log begins."""
    for file in snapshot_file.snapshot_files(files):
        try:
            found = snapshot_file.scan(files, file)
        except SnapshotUnsound:
            continue
        base = found.head.base
        if found.is_whole and found.head.group == CLUSTER_GROUP and base.index > begins.index:
            remains = Remains(base=base, state=b"", runs=(), held=base.index, held_era=base.era, applied=base.index)
            yield Survivor(path, files, owner, None, found.head, remains, table)


def _checkpoint(files: Files, owner: Identity) -> tuple[int, Era]:
    """What a sound checkpoint holds."""
    try:
        contents = checkpoint.find(files, owner.directory)
        claim = None if contents is None else contents.claims.get(CLUSTER_GROUP)
        if claim is None:
            return 0, NO_ERA
        for _ in checkpoint.pieces(files, owner.directory):
            pass  # the last one says whether any of them may be used
    except CheckpointUnsound:
        return 0, NO_ERA
    return claim.index, claim.era


def _snapshot_of(files: Files, base: Base) -> SnapshotHead | None:
    file = snapshot_file.snapshot_file(CLUSTER_GROUP, base)
    if not base.snapshot or file not in files.names():
        return None
    try:
        found = snapshot_file.scan(files, file)
    except SnapshotUnsound:
        return None
    return found.head if found.is_whole and found.head.base == base else None


def _applied(path: Path) -> int:
    """What its store says; 0 where that does not read."""
    try:
        with reading(path / STORE_DIRECTORY / DATA_FILE) as file:
            return next(
                (
                    applied_in(StoredRows(file, space))
                    for space in serving_spaces(file)
                    if space & ~SECOND == CLUSTER_GROUP
                ),
                0,
            )
    except (StoreUnsound, OSError):
        return 0


def _check_alike(found: Sequence[Survivor]) -> None:
    first = found[0]
    paths: dict[int, Path] = {}
    for each in found:
        for what, one, other in (
            ("cluster", f"{first.owner.cluster:x}", f"{each.owner.cluster:x}"),
            ("engine", first.owner.engine, each.owner.engine),
        ):
            if one != other:
                raise SurvivorUnfit(
                    f"{each.path}: it belongs to {what} {other}, and {first.path} to {what} {one}: give directories of "
                    "one cluster"
                )
        other_path = paths.setdefault(each.owner.member, each.path)
        if other_path != each.path:
            raise SurvivorUnfit(
                f"{each.path}: it is the same member as {other_path} ({each.name}): one of them is a copy; give the "
                "one that ran last"
            )
