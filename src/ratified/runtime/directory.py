"""The data directory of a host: locked, opened, and recognised.

Whatever does not fit is refused before anything is written: a directory that another process uses, or that a newer
version wrote.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from ratified.runtime.errors import StartRefused
from ratified.storage import identity
from ratified.storage.descriptors import SPARE_DESCRIPTORS, SpareDescriptors
from ratified.storage.files import Directory
from ratified.storage.identity import DirectoryLocked, Identity, IdentityError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class OpenedDirectory(msgspec.Struct, frozen=True):
    """A locked data directory."""

    path: Path
    files: Directory
    identity: Identity | None
    """None: it is fresh."""


def boot_id() -> bytes:
    """Names this start of the machine."""
    return BOOT_ID.read_bytes().strip()


def open_directory(path: Path, resources: ExitStack) -> OpenedDirectory:
    """Lock the directory, made where there is none; what was opened is closed by ``resources``.

    Raises ``StartRefused``.
    """
    with refusing(path):
        make_private(path)
        lock = identity.lock(path)
        resources.callback(lock.release)
        spares = SpareDescriptors(SPARE_DESCRIPTORS)
        resources.callback(spares.close)
        files = Directory(path, spares)
        resources.callback(files.close)
        return OpenedDirectory(path, files, identity.read(files))


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """What goes wrong with this directory is a ``StartRefused``."""
    try:
        yield
    except (IdentityError, DirectoryLocked) as error:
        raise StartRefused(f"data directory {path}: {error}") from error
    except OSError as error:
        remedy = (
            "free some room" if error.errno == errno.ENOSPC else "give a directory that this user can read and write"
        )
        raise StartRefused(f"data directory {path}: {error.strerror or error}: {remedy}") from error


def make_private(path: Path) -> None:
    """Make what is missing of the path, for this user alone, and durably: a machine that forgot it would have forgotten
    votes."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        Directory(each.parent).sync_directory()
    path.mkdir(exist_ok=True)  # which says that it is none, where it is a file
