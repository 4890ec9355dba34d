"""Which store may be used, and which must be rebuilt from the log.

A commit of the store does not sync. A process that died leaves the page cache, so its store is whole; a machine that
died may have left torn pages; a copy of a directory that was in use is neither. So a store carries a mark that says
on which boot of which machine, in which file, it was last opened, and whether it was closed and synced:

1. A store whose file is not the marked one (device and inode) is a copy, and is rebuilt.
2. After an unclean stop it is used only on the same boot, and only once an fsync has succeeded.
3. The mark says *unclean*, durably, before the store is used, and *clean* only after everything was synced.
4. Whatever else looks wrong with mark or store has the same remedy: the log is the truth, so the store is discarded
   and rebuilt. It is never an error.

The mark: magic (8 bytes), u32 version, u32 CRC32C of everything else, u64 device, u64 inode, u8 clean, u8 length and
the boot id.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import google_crc32c
import lmdb
import msgspec

from ratified.storage.lmdb import DATA_FILE, LmdbEnvironment

STORE_DIRECTORY = "store"
MARK_FILE = "mark"
VERSION = 1
_MAGIC = b"RATISTOR"
_HEAD = struct.Struct("<8sII")
_BODY = struct.Struct("<QQBB")


class StoreMark(msgspec.Struct, frozen=True, gc=False):
    """Where a store was last opened: the machine's boot, and the file; ``clean``: it was synced and closed since."""

    boot_id: bytes
    device: int
    inode: int
    clean: bool


def store_usable(recorded: StoreMark | None, present: StoreMark) -> str | None:
    """May the store be used? None: yes, once its file was synced; else why not.

    ``recorded`` is what the store's mark says (None: no readable mark), ``present`` what is true now.
    """
    if recorded is None:
        return "it has no readable mark, so it is unknown how it was left"
    if (recorded.device, recorded.inode) != (present.device, present.inode):
        return "its file is a copy of the one that was in use"
    if not recorded.clean and recorded.boot_id != present.boot_id:
        return "the machine stopped while it was in use, so it may be torn"
    return None


def open_store(path: Path, boot_id: bytes) -> tuple[LmdbEnvironment, str | None]:
    """Open the store of a data directory, or discard it and open an empty one.

    Returns the environment, and why it is empty (None: it is the old one). Raises ``OSError`` and ``lmdb.Error``
    where not even an empty one can be opened.
    """
    directory = path / STORE_DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    if not (directory / DATA_FILE).exists():
        discarded: str | None = "there is none yet"
    else:
        discarded = store_usable(_recorded(directory), _present(directory, boot_id)) or _sync_failed(directory)
    if discarded is None:
        _write_mark(directory, _present(directory, boot_id))
        try:
            return _opened(directory, boot_id), None
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError) as error:
            discarded = f"it does not open: {error}"
    _discard(directory)
    environment = _opened(directory, boot_id)
    _write_mark(directory, _present(directory, boot_id))
    return environment, discarded


def _opened(directory: Path, boot_id: bytes) -> LmdbEnvironment:
    def mark_clean() -> None:
        present = _present(directory, boot_id)
        _write_mark(directory, StoreMark(present.boot_id, present.device, present.inode, clean=True))

    return LmdbEnvironment(directory, closed=mark_clean)


def _present(directory: Path, boot_id: bytes) -> StoreMark:
    status = (directory / DATA_FILE).stat()
    return StoreMark(boot_id, status.st_dev, status.st_ino, clean=False)


def _sync_failed(directory: Path) -> str | None:
    """Write out what a dead process may have left in the page cache; why that did not work, or None."""
    descriptor = os.open(directory / DATA_FILE, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        return f"its file cannot be synced: {error.strerror}"
    finally:
        os.close(descriptor)
    return None


def _discard(directory: Path) -> None:
    """Remove the store, its mark first, so that an interrupted removal is continued."""
    for name in (MARK_FILE, *sorted(entry.name for entry in os.scandir(directory))):
        (directory / name).unlink(missing_ok=True)
    _sync_directory(directory)


# ---------------------------------------------------------------------------------------------------------------
# The mark


def _recorded(directory: Path) -> StoreMark | None:
    try:
        data = (directory / MARK_FILE).read_bytes()
    except FileNotFoundError:
        return None
    if len(data) < _HEAD.size + _BODY.size:
        return None
    magic, version, crc = _HEAD.unpack_from(data)
    if magic != _MAGIC or version != VERSION or crc != _crc(data):
        return None
    device, inode, clean, length = _BODY.unpack_from(data, _HEAD.size)
    boot_id = data[_HEAD.size + _BODY.size :]
    return StoreMark(boot_id, device, inode, bool(clean)) if len(boot_id) == length else None


def _write_mark(directory: Path, mark: StoreMark) -> None:
    body = _BODY.pack(mark.device, mark.inode, mark.clean, len(mark.boot_id)) + mark.boot_id
    crc = _crc(_HEAD.pack(_MAGIC, VERSION, 0) + body)
    new = directory / (MARK_FILE + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _HEAD.pack(_MAGIC, VERSION, crc) + body)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    new.rename(directory / MARK_FILE)
    _sync_directory(directory)


def _crc(data: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(data[: _HEAD.size - 4]), data[_HEAD.size :]))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
