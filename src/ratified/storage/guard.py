"""Which store may be used, and which must be rebuilt from the checkpoint and the log.

A commit of the store does not sync. A process that died leaves the page cache, so its store is whole; a machine that
died may have left torn pages; a file that was cut, exchanged or copied while it was in use is neither. So a store
carries a mark that says on which boot of which machine, in which file, up to which commit it was used, and whether it
was closed and synced; and whatever the mark says, the file is looked at before LMDB maps it.

1. A store whose file is not the marked one (device and inode) is a copy, and is rebuilt.
2. After an unclean stop it is used only on the same boot, and only once an fsync has succeeded.
3. Its newest commit is the one that is marked. Each commit is marked after it was made, so after an unclean stop it
   may also be the one after that. An older one is a copy that was put in the file's place. One of another data
   directory may have as many commits by chance: a row says whose it is. A store without that row is older than the
   rule, and gets it.
4. Its file is as long as its pages need. Up to ``WHOLE_CHECK_BYTES_MAX`` all its pages and rows are checked, beyond it
   drawn ones, against each other and against the digest that the store has recorded (``RowChecks``). Of a group's two
   spaces that is the one that serves; what the other one holds is used by nobody.
5. The mark says *unclean*, durably, before the store is used, and *clean* only after everything was synced.
6. Whatever else looks wrong with mark or store has the same remedy: the log is the truth, so the store is discarded
   and rebuilt. It is never an error.
7. A store that was discarded begins as the checkpoint's copy, if there is a sound one, else empty. The copy gets a name
   of its own first: an interrupted one is no store.

The mark: magic (8 bytes), u32 version, u32 CRC32C of everything else, u64 device, u64 inode, u64 commit, u8 clean,
u8 length and the boot id. It is written in place: a mark that is torn does not read, and that is rule 6.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import msgspec

from ratified.consensus.draws import mix
from ratified.storage.checkpoint import CheckpointUnsound
from ratified.storage.files import sync_directory
from ratified.storage.format import NEW_SUFFIX
from ratified.storage.group_spaces import OWNER_KEY, SERVING, SERVING_KEY, second_serves
from ratified.storage.lmdb import DATA_FILE, ROTTEN, LmdbEnvironment
from ratified.storage.pages import StoredRows, StoreFile, StoreUnsound, reading
from ratified.storage.space import SECOND

STORE_DIRECTORY = "store"
MARK_FILE = "mark"
VERSION = 4
"""Of the mark and of the rows; a store of another version is rebuilt."""
WHOLE_CHECK_BYTES_MAX = 32 << 20
"""Half a second of a processor, where it holds 50,000 keys."""
DRAWN_ROWS = 200
"""Some 2,000 pages are read for them, which a disk has not in memory after a restart of the machine."""
ALLOCATED_BYTES = 64 << 20
"""What is taken from the file system at a time for a copy: a disk without room says so before most of it is written."""
_MAGIC = b"RATISTOR"
_HEAD = struct.Struct("<8sII")
_BODY = struct.Struct("<QQQBB")


class StoreMark(msgspec.Struct, frozen=True, gc=False):
    """How a store was last used: the machine's boot, the file, and the last commit; ``clean``: synced and closed."""

    boot_id: bytes
    device: int
    inode: int
    clean: bool
    commit: int = 0


class RowChecks(NamedTuple):
    """What whoever keeps rows knows of them. Each raises ``StoreUnsound`` where a space's rows are not sound."""

    whole: Callable[[StoredRows], None]
    """All rows, and the digest that is recorded among them."""
    sums: Callable[[StoredRows], None]
    """What is recorded, without reading all rows."""
    row: Callable[[StoredRows, str, bytes, bytes], None]
    """One row, as ``(table, key, value)``."""


def _nothing(*_: object) -> None:
    """What is known of rows of which nothing is known."""


PAGES_ONLY = RowChecks(_nothing, _nothing, _nothing)


def store_usable(recorded: StoreMark | None, present: StoreMark) -> str | None:
    """May the store be used, as far as its mark can tell? None: yes, once its file was synced; else why not.

    ``recorded`` is what the store's mark says (None: no readable mark), ``present`` what is true now.
    """
    if recorded is None:
        return "it has no readable mark, so it is unknown how it was left"
    if (recorded.device, recorded.inode) != (present.device, present.inode):
        return "its file is a copy of the one that was in use"
    if not recorded.clean and recorded.boot_id != present.boot_id:
        return "the machine stopped while it was in use, so it may be torn"
    after = present.commit - recorded.commit
    if not 0 <= after <= (0 if recorded.clean else 1):
        return f"its file was exchanged: it ends with commit {present.commit}, and commit {recorded.commit} was made"
    return None


def open_store(
    path: Path, boot_id: bytes, checks: RowChecks = PAGES_ONLY, copy: Iterable[bytes] = (), *, owner: bytes = b""
) -> tuple[LmdbEnvironment, str | None]:
    """Open the store of a data directory, or discard it and open a new one: ``copy``, if it is one, or else empty.

    ``owner`` is the id of the data directory (empty: whoever it is). Returns the environment, and why it is new (None:
    it is the old one). Raises ``OSError`` and ``lmdb.Error`` where not even an empty one can be opened.
    """
    directory = path / STORE_DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    discarded = "there is none yet"
    if (directory / DATA_FILE).exists():
        try:
            _check(directory, boot_id, checks, owner)
            return _opened(directory, boot_id, owner), None
        except ROTTEN as error:
            discarded = str(error)
    _discard(directory)
    try:
        if _fill(directory, copy):
            discarded += "; it begins as the checkpoint's copy"
    except CheckpointUnsound as unsound:
        discarded += f"; and the checkpoint cannot be used: {unsound}"
    return _opened(directory, boot_id, owner), discarded


def distrust(path: Path) -> None:
    """Have the store of this data directory discarded when it is next opened."""
    (path / STORE_DIRECTORY / MARK_FILE).unlink(missing_ok=True)


def _check(directory: Path, boot_id: bytes, checks: RowChecks, owner: bytes) -> None:
    """Raise ``StoreUnsound`` where the store is not to be used."""
    try:
        with reading(directory / DATA_FILE) as file:
            present = _present(directory, boot_id, file.commit.number)
            why_not = store_usable(_recorded(directory), present) or _sync_failed(directory)
            if why_not is not None:
                raise StoreUnsound(why_not)
            if owner and StoredRows(file, 0).get(SERVING, OWNER_KEY) not in (owner, None):
                raise StoreUnsound("its file was exchanged: it is the store of another data directory")
            if file.size_bytes <= WHOLE_CHECK_BYTES_MAX:
                _check_whole(file, checks)
            else:
                _check_drawn(file, checks)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise StoreUnsound(f"its file cannot be read: {error.strerror}") from error


def _check_whole(file: StoreFile, checks: RowChecks) -> None:
    file.check_pages()
    for space in serving_spaces(file):
        checks.whole(StoredRows(file, space))


def _check_drawn(file: StoreFile, checks: RowChecks) -> None:
    serving = serving_spaces(file)
    for space in serving:
        checks.sums(StoredRows(file, space))
    for draw, table in zip(range(DRAWN_ROWS), cycle(sorted(file.tables)), strict=False):
        drawn = file.draw(table, mix(file.commit.number, draw))
        if drawn is not None and drawn[0] in serving:
            space, key, value = drawn
            checks.row(StoredRows(file, space), table, key, value)


def serving_spaces(file: StoreFile) -> Sequence[int]:
    """Of each group the space that serves, where it has rows or is said to serve."""
    present = file.spaces()
    found: list[int] = []
    for group in sorted({space & ~SECOND for space in present}):
        row = StoredRows(file, group).get(SERVING, SERVING_KEY)
        serving = group | SECOND if second_serves(row) else group
        if row is not None or serving in present:
            found.append(serving)
    return found


def _opened(directory: Path, boot_id: bytes, owner: bytes) -> LmdbEnvironment:
    mark = _Mark(directory, boot_id)
    try:
        environment = LmdbEnvironment(directory, witness=mark)
    except BaseException:
        mark.abandoned()
        raise
    try:
        mark.in_use(environment.commit)
        if owner and environment.space(0).get(SERVING, OWNER_KEY) != owner:
            with environment.transaction():
                environment.space(0).put(SERVING, OWNER_KEY, owner)
    except BaseException:
        environment.abandon()
        raise
    return environment


def _present(directory: Path, boot_id: bytes, commit: int) -> StoreMark:
    status = (directory / DATA_FILE).stat()
    return StoreMark(boot_id, status.st_dev, status.st_ino, clean=False, commit=commit)


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


def _fill(directory: Path, copy: Iterable[bytes]) -> bool:
    """Make a new store of the copy; False: there is nothing of it."""
    new = directory / (DATA_FILE + NEW_SUFFIX)
    length = allocated = 0
    try:
        with open(new, "xb") as file:
            for piece in copy:
                while length + len(piece) > allocated:
                    os.posix_fallocate(file.fileno(), allocated, ALLOCATED_BYTES)
                    allocated += ALLOCATED_BYTES
                length += file.write(piece)
            file.truncate(length)
        if length:
            new.rename(directory / DATA_FILE)
    finally:
        new.unlink(missing_ok=True)
    return length > 0


def _discard(directory: Path) -> None:
    """Remove the store, its mark first, so that an interrupted removal is continued."""
    for name in (MARK_FILE, *sorted(entry.name for entry in os.scandir(directory))):
        (directory / name).unlink(missing_ok=True)
    sync_directory(directory)


# ---------------------------------------------------------------------------------------------------------------
# The mark


class _Mark:
    """The mark of a store that is in use: an environment's ``Witness``."""

    def __init__(self, directory: Path, boot_id: bytes) -> None:
        self._directory = directory
        self._boot_id = boot_id
        self._present = StoreMark(boot_id, 0, 0, clean=False)
        self._descriptor = os.open(directory / MARK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def in_use(self, commit: int) -> None:
        """The environment is open, and its last commit is this one."""
        self._present = _present(self._directory, self._boot_id, commit)
        os.ftruncate(self._descriptor, 0)
        self._write(self._present)
        os.fsync(self._descriptor)
        sync_directory(self._directory)

    def committed(self, commit: int) -> None:
        """One more commit; like the commit itself it is not synced."""
        self._write(msgspec.structs.replace(self._present, commit=commit))

    def closed(self, commit: int) -> None:
        """The environment was synced and closed."""
        self._write(msgspec.structs.replace(self._present, commit=commit, clean=True))
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def abandoned(self) -> None:
        """It was left as a process that dies would leave it."""
        os.close(self._descriptor)

    def _write(self, mark: StoreMark) -> None:
        os.pwrite(self._descriptor, _encode(mark), 0)


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
    device, inode, commit, clean, length = _BODY.unpack_from(data, _HEAD.size)
    boot_id = data[_HEAD.size + _BODY.size :]
    return StoreMark(boot_id, device, inode, bool(clean), commit) if len(boot_id) == length else None


def _encode(mark: StoreMark) -> bytes:
    body = _BODY.pack(mark.device, mark.inode, mark.commit, mark.clean, len(mark.boot_id)) + mark.boot_id
    return _HEAD.pack(_MAGIC, VERSION, _crc(_HEAD.pack(_MAGIC, VERSION, 0) + body)) + body


def _crc(data: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(data[: _HEAD.size - 4]), data[_HEAD.size :]))
