"""The snapshots that a start finds in the data directory.

Rules:

1. Where the log's base is ahead of the store, the store is switched to the base's snapshot before there is an engine:
   a crash may have come between the two, or the store was lost with its machine.
2. Kept is the snapshot of the log's base until a checkpoint has that state; and of what is ahead of the log's base, and
   was not installed, one of each group: it is resumed. All others are of no use, and are removed.
3. What is resumed is made durable first: the process before may have been killed with its last piece in the page cache
   alone, and what is found counts as durable.
"""

from __future__ import annotations

from ratified.consensus.contract import Base
from ratified.machine import SnapshotDamaged, StateLoader, Store, TidyFirst, load_all
from ratified.node.snapshot_receiving import FoundSnapshots
from ratified.storage.checkpoint import CHECKPOINT_FILE, Claim
from ratified.storage.files import Files, perform
from ratified.storage.snapshot_file import (
    SnapshotHead,
    SnapshotUnsound,
    StoredSnapshot,
    make_durable,
    pieces,
    read_head,
    removal,
    scan,
    snapshot_file,
    snapshot_files,
)
from ratified.storage.space import Environment


class StoreBehindLog(Exception):
    """A store lacks what the log does not hold any more."""

    def __init__(self, group: int, applied: int, base: Base, why: str) -> None:
        holder = snapshot_file(group, base) if base.snapshot else CHECKPOINT_FILE
        super().__init__(
            f"the store of group {group} has applied the log up to entry {applied}, and the log begins behind entry "
            f"{base.index}: {why}. Put file {holder!r} back from a backup of this very directory, or remove this "
            "member and add another in its place"
        )


class SnapshotDirectory:
    def __init__(self, files: Files) -> None:
        self._files = files
        self._heads: dict[str, SnapshotHead] = {}
        self._useless: list[str] = []
        self.keeps = False
        """Is a snapshot kept until a checkpoint has its state?"""
        for file in snapshot_files(files):
            try:
                self._heads[file] = read_head(files, file)
            except SnapshotUnsound:
                self._useless.append(file)  # its head was being written

    def install(self, group: int, base: Base, store: Store, environment: Environment) -> None:
        """Rule 1. Raises ``StoreBehindLog``."""
        applied = store.applied
        if not base.snapshot:
            why = "the checkpoint that has what is between is not there, or has rotted"
            raise StoreBehindLog(group, applied, base, why)
        head = self._of(group, base)
        if head is None:
            raise StoreBehindLog(group, applied, base, "the snapshot that has what is between is not there")
        loader = _loader(base, store, environment)
        try:
            load_all(loader, pieces(self._files, head), environment.transaction)
        except (SnapshotDamaged, SnapshotUnsound) as error:
            why = f"the snapshot that has what is between, in file {head.file!r}, cannot be used: {error}"
            raise StoreBehindLog(group, applied, base, why) from error

    def sort_out(self, group: int, base: Base, claim: Claim | None) -> FoundSnapshots:
        """Rules 2 and 3, for this group."""
        kept = self._of(group, base)
        if kept is not None and claim is not None and claim.index >= base.index:
            kept = None
        self.keeps |= kept is not None
        ahead = [head for head in self._heads.values() if head.group == group and head.base.index > base.index]
        begun: StoredSnapshot | None = None
        if ahead:
            begun = scan(self._files, max(ahead, key=lambda head: head.base.index).file)
            make_durable(self._files, begun)
        useful = {each.file for each in (kept, begun and begun.head) if each is not None}
        for file, head in self._heads.items():
            if head.group == group and file not in useful:
                self._useless.append(file)
        return FoundSnapshots(kept, begun)

    def tidy(self) -> None:
        """Remove what is of no use."""
        if self._useless:
            for op in removal(self._useless):
                perform(self._files, op)

    def _of(self, group: int, base: Base) -> SnapshotHead | None:
        """The log's base's own."""
        return next((head for head in self._heads.values() if (head.group, head.base) == (group, base)), None)


def _loader(base: Base, store: Store, environment: Environment) -> StateLoader:
    while True:
        try:
            return store.load_state(base.index, base.era)
        except TidyFirst:  # the last process was loading this one, or has just been switched to another
            with environment.transaction():
                store.tidy()
