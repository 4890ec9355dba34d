"""A snapshot that was received, in a file of the data directory.

1. The file begins with what the snapshot is of; its pieces follow in the order of their numbers, from 1 on. Each is
   synced before the next one is written, and whoever sends is told only then that it is there. An empty piece says
   that the one before it was the last.
2. A piece's checksum covers its snapshot and its number, so that no other piece can stand in its place.
3. What does not read is where the file ends: it was being written when the process died. The next piece is written
   over it. What does not read although the log's base needs it is damage, and judged by whoever needs it.

Little-endian. The head: magic (8 bytes), u32 version, u32 length of what follows, u32 CRC32C of the head without it;
then u64 group, u64 sender, u32 length of the base, the base as in the log's ``base`` record, and the cluster table of
group 0 with its index in front (u64), or nothing. A piece: u32 length, u32 CRC32C of u64 snapshot, u64 number and the
data, then the data.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import google_crc32c

from ratified.consensus.contract import Base
from ratified.storage.files import Create, Files, Op, ReadAt, Remove, SyncData, SyncDirectory, WriteAt
from ratified.storage.format import (
    ClusterRecord,
    RecordFormatError,
    decode_base,
    decode_cluster,
    encode_base,
    encode_cluster,
)

VERSION = 1
HEAD_BYTES_MAX = 16 << 20
"""A head that says to be longer is none."""
PIECE_BYTES_MAX = 64 << 20
"""A piece that says to be longer is none."""
_PREFIX = "snapshot-"
_MAGIC = b"RATISNAP"
_HEAD = struct.Struct("<8sIII")
_CHECKED_BYTES = _HEAD.size - 4
_BODY = struct.Struct("<QQI")
_PIECE = struct.Struct("<II")
_NAMED = struct.Struct("<QQ")


def snapshot_file(group: int, base: Base) -> str:
    """The name of the file with this group's state at this base."""
    return f"{_PREFIX}{group:x}-{base.snapshot:016x}"


class SnapshotHead(NamedTuple):
    """What a snapshot is of, and from whom it comes."""

    group: int
    sender: int
    base: Base
    table: ClusterRecord | None
    """The cluster table as the sender had it durably, at the base or later; of group 0 only."""

    @property
    def file(self) -> str:
        return snapshot_file(self.group, self.base)


class SnapshotUnsound(Exception):
    """The file is no snapshot that may be used; its text says why."""


class StoredSnapshot(NamedTuple):
    """What a file has of a snapshot."""

    head: SnapshotHead
    next: int
    """The number of the first piece that is not there."""
    end: int
    """Where that one goes."""
    last_at: int
    """Where the last one begins that is there; without any, the head."""
    longest: int
    """Bytes of the longest piece."""
    is_whole: bool


# ---------------------------------------------------------------------------------------------------------------
# Writing


def checksum(snapshot: int, number: int, data: bytes) -> int:
    """What a piece carries, on its way and in the file."""
    return int(google_crc32c.extend(google_crc32c.value(_NAMED.pack(snapshot, number)), data))


def creation(head: SnapshotHead) -> tuple[Sequence[Op], int]:
    """What begins a file, and where its first piece goes."""
    encoded = _encode_head(head)
    file = head.file
    return (Create(file, 0), WriteAt(file, 0, encoded), SyncData(file), SyncDirectory()), len(encoded)


def addition(head: SnapshotHead, number: int, data: bytes, offset: int) -> tuple[Sequence[Op], int]:
    """What adds a piece, and where the next one goes; without data it ends the snapshot."""
    crc = checksum(head.base.snapshot, number, data)
    file = head.file
    return (WriteAt(file, offset, _PIECE.pack(len(data), crc) + data), SyncData(file)), offset + _PIECE.size + len(data)


def removal(files: Sequence[str]) -> Sequence[Op]:
    return (*(Remove(file) for file in files), SyncDirectory())


# ---------------------------------------------------------------------------------------------------------------
# Reading


def first_piece_at(head: SnapshotHead) -> int:
    return len(_encode_head(head))


def length_of(header: bytes) -> int:
    """How long the piece is that begins so. Raises ``SnapshotUnsound``."""
    if len(header) < _PIECE.size:
        raise SnapshotUnsound("it is cut short")
    length, _ = _PIECE.unpack_from(header)
    if length > PIECE_BYTES_MAX:
        raise SnapshotUnsound(f"a piece says to have {length} bytes")
    return int(length)


def read_piece(file: str, offset: int, bytes_max: int) -> ReadAt:
    """What reads the piece there, if it has no more bytes than that."""
    return ReadAt(file, offset, _PIECE.size + bytes_max)


def piece_in(snapshot: int, number: int, offset: int, found: bytes) -> tuple[bytes, int]:
    """The piece with this number, at whose place this was found, and where the next one is.

    Raises ``SnapshotUnsound``.
    """
    length = length_of(found)
    data = found[_PIECE.size : _PIECE.size + length]
    _, crc = _PIECE.unpack_from(found)
    if len(data) < length:
        raise SnapshotUnsound(f"piece {number} is cut short")
    if crc != checksum(snapshot, number, data):
        raise SnapshotUnsound(f"piece {number} fails its checksum")
    return data, offset + _PIECE.size + length


def snapshot_files(files: Files) -> Sequence[str]:
    """The names of all files that hold snapshots."""
    return [name for name in files.names() if name.startswith(_PREFIX)]


def read_head(files: Files, file: str) -> SnapshotHead:
    """Raises ``SnapshotUnsound``."""
    fixed = files.read(file, 0, _HEAD.size)
    if len(fixed) < _HEAD.size:
        raise SnapshotUnsound("its head is cut short")
    magic, version, length, crc = _HEAD.unpack(fixed)
    if magic != _MAGIC or length > HEAD_BYTES_MAX:
        raise SnapshotUnsound("it does not begin as a snapshot does")
    body = files.read(file, _HEAD.size, length)
    if crc != google_crc32c.extend(google_crc32c.value(fixed[:_CHECKED_BYTES]), body):
        raise SnapshotUnsound("its head fails its checksum")
    if version > VERSION:
        raise SnapshotUnsound(f"its format has version {version}, and this program knows versions up to {VERSION}")
    return _decode_head(body)


def pieces(files: Files, head: SnapshotHead) -> Iterator[bytes]:
    """All pieces of a whole snapshot. Raises ``SnapshotUnsound``: then none of them may be used."""
    number, (data, end) = 1, _piece_at(files, head, 1, first_piece_at(head))
    while data:
        yield data
        number += 1
        data, end = _piece_at(files, head, number, end)


def scan(files: Files, file: str) -> StoredSnapshot:
    """How much of a snapshot is there. Raises ``SnapshotUnsound`` where not even its head is."""
    head = read_head(files, file)
    number, end, last_at, longest = 1, first_piece_at(head), 0, 0
    while True:
        try:
            data, next_at = _piece_at(files, head, number, end)
        except SnapshotUnsound:
            return StoredSnapshot(head, number, end, last_at, longest, is_whole=False)
        last_at, end = end, next_at
        number += 1
        longest = max(longest, len(data))
        if not data:
            return StoredSnapshot(head, number, end, last_at, longest, is_whole=True)


def make_durable(files: Files, found: StoredSnapshot) -> None:
    """What was found, which may be in the page cache alone. Of a sync that failed the kernel remembers nothing, so what
    was written last is written again."""
    last = files.read(found.head.file, found.last_at, found.end - found.last_at)
    files.write(found.head.file, found.last_at, last)
    files.sync_data(found.head.file)


def _piece_at(files: Files, head: SnapshotHead, number: int, offset: int) -> tuple[bytes, int]:
    length = length_of(files.read(head.file, offset, _PIECE.size))
    return piece_in(head.base.snapshot, number, offset, files.read(head.file, offset, _PIECE.size + length))


# ---------------------------------------------------------------------------------------------------------------
# The head


def _encode_head(head: SnapshotHead) -> bytes:
    base = encode_base(head.base)
    table = b"" if head.table is None else encode_cluster(head.table)
    body = _BODY.pack(head.group, head.sender, len(base)) + base + table
    fixed = _HEAD.pack(_MAGIC, VERSION, len(body), 0)[:_CHECKED_BYTES]
    crc = int(google_crc32c.extend(google_crc32c.value(fixed), body))
    return fixed + crc.to_bytes(4, "little") + body


def _decode_head(body: bytes) -> SnapshotHead:
    if len(body) < _BODY.size:
        raise SnapshotUnsound("its head is cut short")
    group, sender, length = _BODY.unpack_from(body)
    rest = body[_BODY.size :]
    try:
        base = decode_base(rest[:length]).base
        table = decode_cluster(rest[length:]) if len(rest) > length else None
    except RecordFormatError as error:
        raise SnapshotUnsound(str(error)) from error
    return SnapshotHead(group, sender, base, table)
