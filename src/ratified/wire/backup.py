"""A backup: one group's committed state in one file, or on the stream of etcd's ``Maintenance.Snapshot``.

Rules:

1. The bytes are made in order, from a head and pieces that are opaque here, and read in order; nobody holds them all.
2. The last 32 bytes are the SHA-256 of all others, and those are a multiple of 512: etcd's clients look for just that
   before they believe that a stream was whole.
3. Nothing is read out of a file before ``verify`` has found it whole. Each piece has a checksum of its own beside, for
   a file that changes while it is read.

``docs/formats/backup.md`` is the format, byte by byte.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import BinaryIO

import google_crc32c
import msgspec

from ratified.consensus.contract import Era

VERSION = 1
SECTOR = 512
DIGEST_BYTES = 32
HEAD_BYTES_MAX = 1 << 20
READ_BYTES = 1 << 20
_MAGIC = b"RATIBKUP"
_FIXED = struct.Struct("<8sII")
"""Magic, version, length of the head."""
_FRAME = struct.Struct("<II")
"""Length and CRC32C of what follows; 0 and 0: nothing follows."""
_CRC = struct.Struct("<I")


class BackupDamaged(Exception):
    """The file is no backup that may be used; its text says why."""


class BackupHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of."""

    cluster: int
    member: int
    """Who made it."""
    engine: str
    members: dict[int, str]
    """Those of the cluster, by id, with their names."""
    index: int
    era: Era
    """The entry up to which the state is applied, and the era with which that was delivered."""
    revision: int
    keys: int
    """Keys that exist at this revision."""


class Verified(msgspec.Struct, frozen=True):
    """A backup that is whole."""

    head: BackupHead
    sha256: str
    size_bytes: int


class BackupEncoder:
    """Makes a backup's bytes: ``head`` once, ``piece`` for each piece, ``end`` once."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._size = 0

    def head(self, head: BackupHead) -> bytes:
        encoded = msgspec.msgpack.encode(head)
        whole = _FIXED.pack(_MAGIC, VERSION, len(encoded)) + encoded
        return self._next(whole + _CRC.pack(google_crc32c.value(whole)))

    def piece(self, piece: bytes) -> bytes:
        assert piece, "an empty piece would be the end"
        return self._next(_FRAME.pack(len(piece), google_crc32c.value(piece)) + piece)

    def end(self) -> bytes:
        size = self._size + _FRAME.size
        filled = self._next(_FRAME.pack(0, 0) + bytes(-size % SECTOR))
        return filled + self._sha256.digest()

    def _next(self, data: bytes) -> bytes:
        self._sha256.update(data)
        self._size += len(data)
        return data


def verify(file: BinaryIO) -> Verified:
    """Read all of it; raises ``BackupDamaged`` where it is not one whole backup."""
    size = file.seek(0, 2)
    head = _read_head(file, size)
    if size % SECTOR != DIGEST_BYTES:
        raise BackupDamaged(f"it was cut, or something was added: it has {size} bytes, and no SHA-256 ends there")
    sha256 = hashlib.sha256()
    file.seek(0)
    left = size - DIGEST_BYTES
    while left:
        data = file.read(min(READ_BYTES, left))
        if not data:
            raise BackupDamaged("it was cut while it was read")
        sha256.update(data)
        left -= len(data)
    if file.read(DIGEST_BYTES) != sha256.digest():
        raise BackupDamaged("its SHA-256 is not the one that it ends with")
    return Verified(head, sha256.hexdigest(), size)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The pieces, in order; raises ``BackupDamaged`` where one is not what was written."""
    size = file.seek(0, 2)
    _read_head(file, size)
    while True:
        at = file.tell()
        frame = file.read(_FRAME.size)
        if len(frame) < _FRAME.size:
            raise BackupDamaged(f"it ends at byte {at}, and there should be more")
        length, crc = _FRAME.unpack(frame)
        if not length:
            return
        piece = file.read(min(length, size))
        if len(piece) != length or google_crc32c.value(piece) != crc:
            raise BackupDamaged(f"the piece at byte {at} has a wrong checksum")
        yield piece


def _read_head(file: BinaryIO, size: int) -> BackupHead:
    """What it is of; the file then stands at the first piece."""
    file.seek(0)
    fixed = file.read(_FIXED.size)
    if len(fixed) < _FIXED.size or not fixed.startswith(_MAGIC):
        raise BackupDamaged("it does not begin as a backup of Ratified does")
    _, version, length = _FIXED.unpack(fixed)
    encoded = file.read(min(length, HEAD_BYTES_MAX, size))
    if file.read(_CRC.size) != _CRC.pack(google_crc32c.value(fixed + encoded)):
        raise BackupDamaged("its head has a wrong checksum")
    if version > VERSION:
        raise BackupDamaged(f"its format has version {version}, and this program knows versions up to {VERSION}")
    try:
        return msgspec.msgpack.decode(encoded, type=BackupHead)
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"its head does not read: {error}") from error
