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


class WriteAt(msgspec.Struct, frozen=True):
    """Write ``data`` at ``offset``."""

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
    """Remove the file."""

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

    def write(self, file: str, offset: int, data: bytes) -> None:
        """Write all of ``data``."""

    def sync_data(self, file: str) -> None:
        """fdatasync."""

    def create(self, file: str, length: int) -> None:
        """Create a new file of ``length`` zero bytes."""

    def rename(self, old: str, new: str) -> None:
        """Rename atomically, replacing ``new``."""

    def remove(self, file: str) -> None:
        """Remove the file."""

    def sync_directory(self) -> None:
        """fsync of the directory."""


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
    """A real directory. File descriptors are kept open until ``close``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptors: dict[str, int] = {}

    def names(self) -> Sequence[str]:
        """The names of all plain files, sorted."""
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file(follow_symlinks=False))

    def size(self, file: str) -> int:
        """Its length in bytes."""
        return os.fstat(self._descriptor(file)).st_size

    def read(self, file: str, offset: int, length: int) -> bytes:
        """At most ``length`` bytes; fewer where the file ends."""
        parts: list[bytes] = []
        while length > 0:
            part = os.pread(self._descriptor(file), length, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def write(self, file: str, offset: int, data: bytes) -> None:
        """Write all of ``data``."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self._descriptor(file), rest, offset)
            rest = rest[written:]
            offset += written

    def sync_data(self, file: str) -> None:
        """fdatasync."""
        os.fdatasync(self._descriptor(file))

    def create(self, file: str, length: int) -> None:
        """Create a new file of ``length`` zero bytes."""
        descriptor = os.open(self.path / file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._descriptors[file] = descriptor
        if length:
            os.posix_fallocate(descriptor, 0, length)

    def rename(self, old: str, new: str) -> None:
        """Rename atomically, replacing ``new``."""
        os.rename(self.path / old, self.path / new)
        self._forget(new)
        if old in self._descriptors:
            self._descriptors[new] = self._descriptors.pop(old)

    def remove(self, file: str) -> None:
        """Remove the file."""
        os.unlink(self.path / file)
        self._forget(file)

    def sync_directory(self) -> None:
        """fsync of the directory."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Close every descriptor."""
        for file in list(self._descriptors):
            self._forget(file)

    def _descriptor(self, file: str) -> int:
        descriptor = self._descriptors.get(file)
        if descriptor is None:
            descriptor = os.open(self.path / file, os.O_RDWR | os.O_CLOEXEC)
            self._descriptors[file] = descriptor
        return descriptor

    def _forget(self, file: str) -> None:
        descriptor = self._descriptors.pop(file, None)
        if descriptor is not None:
            os.close(descriptor)
