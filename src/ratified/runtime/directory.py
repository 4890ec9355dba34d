"""The data directory of a host: locked, recognised or created, and opened.

Whatever does not fit is refused before anything is written: a directory that another process uses, that belongs to
another cluster, member or engine, or that a newer version wrote.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack
from pathlib import Path

import msgspec

from ratified.consensus.contract import Membership
from ratified.runtime.errors import StartRefused
from ratified.storage import identity
from ratified.storage.descriptors import SPARE_DESCRIPTORS, SpareDescriptors
from ratified.storage.files import Directory
from ratified.storage.format import LogLimits
from ratified.storage.identity import DirectoryLocked, Identity, IdentityError

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class OpenedDirectory(msgspec.Struct, frozen=True):
    """A locked data directory of ours."""

    path: Path
    files: Directory
    identity: Identity


def boot_id() -> bytes:
    """Names this start of the machine."""
    return BOOT_ID.read_bytes().strip()


def open_directory(
    path: Path,
    *,
    cluster: int,
    member: int,
    engine: str,
    groups: int,
    membership: Membership,
    limits: LogLimits,
    resources: ExitStack,
) -> OpenedDirectory:
    """Lock the directory and read its identity, or create both; what was opened is closed by ``resources``.

    Raises ``StartRefused``.
    """
    try:
        _make(path)
        lock = identity.lock(path)
        resources.callback(lock.release)
        spares = SpareDescriptors(SPARE_DESCRIPTORS)
        resources.callback(spares.close)
        files = Directory(path, spares)
        resources.callback(files.close)
        found = identity.read(files)
        if found is None:
            found = Identity(cluster, member, os.urandom(16), engine)
            identity.create(files, found, dict.fromkeys(range(groups), membership), limits)
        else:
            identity.check_same(found, cluster, member, engine)
    except (IdentityError, DirectoryLocked) as error:
        raise StartRefused(f"data directory {path}: {error}") from error
    except OSError as error:
        remedy = (
            "free some room" if error.errno == errno.ENOSPC else "give a directory that this user can read and write"
        )
        raise StartRefused(f"data directory {path}: {error.strerror or error}: {remedy}") from error
    return OpenedDirectory(path, files, found)


def _make(path: Path) -> None:
    """Make what is missing of the path, durably: a machine that forgot it would have forgotten votes."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for each in missing:
        Directory(each.parent).sync_directory()
