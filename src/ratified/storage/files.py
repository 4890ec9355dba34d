"""The file port: what the planner may ask of a disk, and the real disk.

An operation names a file relative to the data directory. A ``Job`` is a list of operations carried out one after
another on the disk thread; its completion is one input of the node. The simulator carries out the very same
operations, one event each, so that a crash may fall between any two.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

import msgspec

from ratified.storage.descriptors import SpareDescriptors

OPEN_FILES_MAX = 8
"""Files of a data directory that are open at one time: the segment that is written, and some that are read."""


class WriteAt(msgspec.Struct, frozen=True):
    file: str
    offset: int
    data: bytes


class ReadAt(msgspec.Struct, frozen=True, gc=False):
    """Read ``length`` bytes at ``offset``; the result is shorter where the file ends."""

    file: str
    offset: int
    length: int


class SyncData(msgspec.Struct, frozen=True, gc=False):
    """fdatasync: what was written to the file is durable afterwards."""

    file: str


class Create(msgspec.Struct, frozen=True, gc=False):
    """Create a new file of ``length`` bytes that read as zero (fallocate); fails where it exists."""

    file: str
    length: int


class Rename(msgspec.Struct, frozen=True, gc=False):
    """Give ``old`` the name ``new``, atomically."""

    old: str
    new: str


class SyncDirectory(msgspec.Struct, frozen=True, gc=False):
    """fsync of the directory: creations, renames and removals so far are durable afterwards."""


class Remove(msgspec.Struct, frozen=True, gc=False):
    file: str


Op: TypeAlias = WriteAt | ReadAt | SyncData | Create | Rename | SyncDirectory | Remove


class Job(msgspec.Struct, frozen=True, gc=False):
    """Operations to carry out in order; jobs are carried out in the order in which they were given out."""

    id: int
    ops: Sequence[Op]


class Files(Protocol):
    """One data directory as the synchronous port sees it. Every method may raise ``OSError``."""

    def names(self) -> Sequence[str]:
        """The names of all plain files, sorted."""

    def size(self, file: str) -> int:
        """Its length in bytes."""

    def read(self, file: str, offset: int, length: int) -> bytes:
        """At most ``length`` bytes; fewer where the file ends."""

    def write(self, file: str, offset: int, data: bytes) -> None: ...

    def sync_data(self, file: str) -> None:
        """fdatasync."""

    def create(self, file: str, length: int) -> None:
        """Create a new file of ``length`` zero bytes."""

    def rename(self, old: str, new: str) -> None:
        """Rename atomically, replacing ``new``."""

    def remove(self, file: str) -> None: ...

    def sync_directory(self) -> None:
        """fsync of the directory."""


def sync_directory(path: Path) -> None:
    """fsync of a directory that no ``Files`` stands for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def perform(files: Files, op: Op) -> bytes | None:
    """Carry out one operation; a read's bytes, else None."""
    match op:
        case WriteAt(file, offset, data):
            files.write(file, offset, data)
        case ReadAt(file, offset, length):
            return files.read(file, offset, length)
        case SyncData(file):
            files.sync_data(file)
        case Create(file, length):
            files.create(file, length)
        case Rename(old, new):
            files.rename(old, new)
        case SyncDirectory():
            files.sync_directory()
        case Remove(file):
            files.remove(file)
    return None


class Directory:
    """A real directory, with few descriptors whatever the number of its files:

    1. At most ``OPEN_FILES_MAX`` files are open; the one that was used least recently is closed for the next one.
    2. The file that was written last stays open, so that an append to it opens nothing; so does a file that was
       written and not synced, so that no error of its writing is reported to nobody.
    3. Opening takes one of ``spares`` where the process has no descriptor left.
    """

    def __init__(self, path: Path, spares: SpareDescriptors | None = None) -> None:
        self.path = path
        self._spares = spares or SpareDescriptors(0)
        self._descriptors: dict[str, int] = {}
        """Of the open files, the one used last at the end."""
        self._unsynced: set[str] = set()
        self._written_last = ""

    def names(self) -> Sequence[str]:
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file(follow_symlinks=False))

    def size(self, file: str) -> int:
        return os.fstat(self._descriptor(file)).st_size

    def read(self, file: str, offset: int, length: int) -> bytes:
        descriptor = self._descriptor(file)
        parts: list[bytes] = []
        while length > 0:
            part = os.pread(descriptor, length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def write(self, file: str, offset: int, data: bytes) -> None:
        descriptor = self._descriptor(file)
        self._unsynced.add(file)
        self._written_last = file
        rest = memoryview(data)
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest = rest[written:]
            offset += written

    def sync_data(self, file: str) -> None:
        os.fdatasync(self._descriptor(file))
        self._unsynced.discard(file)

    def create(self, file: str, length: int) -> None:
        descriptor = self._open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._unsynced.add(file)
        if length:
            os.posix_fallocate(descriptor, 0, length)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.path / old, self.path / new)
        self._forget(new)
        if old in self._descriptors:
            self._descriptors[new] = self._descriptors.pop(old)
        if old in self._unsynced:
            self._unsynced.discard(old)
            self._unsynced.add(new)
        if self._written_last == old:
            self._written_last = new

    def remove(self, file: str) -> None:
        os.unlink(self.path / file)
        self._forget(file)

    def sync_directory(self) -> None:
        descriptor = self._spares.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
            self._spares.refill()

    def close(self) -> None:
        for file in list(self._descriptors):
            self._forget(file)

    def _descriptor(self, file: str) -> int:
        descriptor = self._descriptors.pop(file, None)
        if descriptor is None:
            return self._open(file, os.O_RDWR)
        self._descriptors[file] = descriptor
        return descriptor

    def _open(self, file: str, flags: int) -> int:
        self._make_room()
        descriptor = self._descriptors[file] = self._spares.open(self.path / file, flags)
        return descriptor

    def _make_room(self) -> None:
        """Close what was used least recently, so that one file more may be open."""
        for file in list(self._descriptors):
            if len(self._descriptors) < OPEN_FILES_MAX:
                return
            if file != self._written_last and file not in self._unsynced:
                self._forget(file)

    def _forget(self, file: str) -> None:
        self._unsynced.discard(file)
        descriptor = self._descriptors.pop(file, None)
        if descriptor is not None:
            os.close(descriptor)
            self._spares.refill()
