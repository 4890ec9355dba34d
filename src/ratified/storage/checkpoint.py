"""A checkpoint: a copy of a node's store in one file, with what it claims to hold. It is never sent.

1. The copy is taken of one commit, into a file of another name that has its full length from the beginning, so that a
   disk without room says so at once; then comes the trailer; then the file is synced, renamed to ``CHECKPOINT_FILE``,
   and the directory synced. Only then does it count.
2. The claims say of each group up to where the copied commit has applied the log, and with which era that entry was
   delivered.
3. The trailer has a checksum of its own, so that a start believes the claims without reading the copy. The copy's is
   verified when it is used: a checkpoint that has rotted is none, nor is one of another data directory.
4. No more than ``UNSYNCED_BYTES_MAX`` of the copy are written and not synced at a time: a sync of the log's may have to
   wait for them.

The trailer, little-endian: for each group, ascending, u64 group, u64 index, u64 and u64 era. Then 64 bytes: magic (8
bytes), u32 version, u32 number of groups, u64 length of the copy, the directory id (16 bytes), u64 segment and u64
offset of the log's end, u32 CRC32C of the copy, u32 CRC32C of the trailer so far.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

import google_crc32c
import msgspec

from ratified.consensus.contract import Era
from ratified.storage.files import Create, Files, Op, Rename, SyncData, SyncDirectory, WriteAt
from ratified.storage.format import NEW_SUFFIX
from ratified.storage.space import Copy

CHECKPOINT_FILE = "checkpoint"
NEW_FILE = CHECKPOINT_FILE + NEW_SUFFIX
VERSION = 2
"""Of the file and of the rows in it. 2: a group has two spaces, and a row says which one serves; 1 is read as well."""
PIECE_BYTES = 1 << 20
"""What is read and written at once."""
UNSYNCED_BYTES_MAX = 16 << 20
_MAGIC = b"RATICHKP"
_CLAIM = struct.Struct("<QQQQ")
_FOOT = struct.Struct("<8sIIQ16sQQII")
_CHECKED_BYTES = _FOOT.size - 4


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One group's store has applied the log up to ``index``, whose entry was delivered with ``era``."""

    index: int
    era: Era


class Contents(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says of itself."""

    directory: bytes
    """The id of the data directory whose store was copied."""
    claims: Mapping[int, Claim]
    """By group."""
    segment: int
    offset: int
    """How far the log reached when the copy was begun."""
    length: int
    """Of the copy, in bytes."""


class CheckpointUnsound(Exception):
    """The file is no checkpoint that may be used; its text says why."""


class _Trailer(msgspec.Struct, frozen=True):
    contents: Contents
    crc: int


# ---------------------------------------------------------------------------------------------------------------
# Taking one


def operations(copy: Copy, contents: Contents, piece_bytes: int = PIECE_BYTES) -> Iterator[Op]:
    """What makes a checkpoint of this copy, in order; the copy is read as they are asked for.

    Whoever does not carry out all of them, for an error or for being stopped, calls ``discard``.
    """
    length = contents.length
    assert length == copy.length, "the contents are the copy's"
    yield Create(NEW_FILE, length + len(contents.claims) * _CLAIM.size + _FOOT.size)
    crc = unsynced = 0
    for offset in range(0, length, piece_bytes):
        data = copy.read(offset, min(piece_bytes, length - offset))
        crc = google_crc32c.extend(crc, data)
        yield WriteAt(NEW_FILE, offset, data)
        unsynced += len(data)
        if unsynced >= UNSYNCED_BYTES_MAX:
            yield SyncData(NEW_FILE)
            unsynced = 0
    yield WriteAt(NEW_FILE, length, _encode(_Trailer(contents, crc)))
    yield SyncData(NEW_FILE)
    yield Rename(NEW_FILE, CHECKPOINT_FILE)
    yield SyncDirectory()


def discard(files: Files) -> None:
    """Remove what a copy that did not succeed has left."""
    if NEW_FILE in files.names():
        files.remove(NEW_FILE)


# ---------------------------------------------------------------------------------------------------------------
# Using one


def find(files: Files, directory: bytes) -> Contents | None:
    """What this directory's checkpoint says of itself; None: there is none.

    Raises ``CheckpointUnsound`` where the trailer does not read, or is of another data directory.
    """
    return _trailer(files, directory).contents if CHECKPOINT_FILE in files.names() else None


def pieces(files: Files, directory: bytes, piece_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    """The copy in the checkpoint, in order.

    Raises ``CheckpointUnsound`` as ``find`` does, and at the end where the copy is not what was written: then none of
    its pieces may be used.
    """
    trailer = _trailer(files, directory)
    length = trailer.contents.length
    crc = 0
    for offset in range(0, length, piece_bytes):
        data = files.read(CHECKPOINT_FILE, offset, min(piece_bytes, length - offset))
        crc = google_crc32c.extend(crc, data)
        yield data
    if crc != trailer.crc:
        raise CheckpointUnsound("the copy of the store has another checksum than its trailer says")


def _encode(trailer: _Trailer) -> bytes:
    of = trailer.contents
    rows = b"".join(_CLAIM.pack(group, of.claims[group].index, *of.claims[group].era) for group in sorted(of.claims))
    foot = _FOOT.pack(_MAGIC, VERSION, len(of.claims), of.length, of.directory, of.segment, of.offset, trailer.crc, 0)
    unchecked = rows + foot[:_CHECKED_BYTES]
    return unchecked + int(google_crc32c.value(unchecked)).to_bytes(4, "little")


def _trailer(files: Files, directory: bytes) -> _Trailer:
    size = files.size(CHECKPOINT_FILE)
    if size < _FOOT.size:
        raise CheckpointUnsound(f"it has {size} bytes, too few for a trailer")
    foot = _FOOT.unpack(files.read(CHECKPOINT_FILE, size - _FOOT.size, _FOOT.size))
    magic, version, count, length, owner, segment, offset, crc, own = foot
    if magic != _MAGIC:
        raise CheckpointUnsound("it does not end as a checkpoint does")
    if length + count * _CLAIM.size + _FOOT.size != size:
        raise CheckpointUnsound("its length is not what its trailer says")
    checked = files.read(CHECKPOINT_FILE, length, size - length - 4)
    if google_crc32c.value(checked) != own:
        raise CheckpointUnsound("its trailer has a wrong checksum")
    if version > VERSION:
        raise CheckpointUnsound(f"its format has version {version}, and this program knows versions up to {VERSION}")
    if owner != directory:
        raise CheckpointUnsound("it belongs to another data directory")
    claims = {
        group: Claim(index, (era_0, era_1))
        for group, index, era_0, era_1 in _CLAIM.iter_unpack(checked[: count * _CLAIM.size])
    }
    contents = Contents(directory=owner, claims=claims, segment=segment, offset=offset, length=length)
    return _Trailer(contents, crc)
