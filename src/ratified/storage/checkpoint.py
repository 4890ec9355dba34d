"""A checkpoint: a copy of a node's store in one file, with what it claims to hold. It is never sent.

1. The copy is taken of one commit, into a file of another name; then comes the trailer; then the file is synced,
   renamed to ``CHECKPOINT_FILE``, and the directory synced. Only then does it count.
2. The claims say of each group up to where its store had applied the log, and with which era that entry was delivered,
   when the copy was *ordered*. The copy holds that much or more.
3. Claims have a checksum of their own, so that a start believes them without reading the copy. The copy's is verified
   before it is used: a checkpoint that has rotted is none.

The trailer, little-endian: for each group, ascending, u64 group, u64 index, u64 and u64 era. Then 32 bytes: magic (8
bytes), u32 version, u32 number of groups, u64 length of the copy, u32 CRC32C of the copy, u32 CRC32C of the trailer so
far.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

import google_crc32c
import msgspec

from ratified.consensus.contract import Era
from ratified.storage.files import Files

CHECKPOINT_FILE = "checkpoint"
VERSION = 1
PIECE_BYTES = 1 << 20
"""What is read at once to compute a checksum."""
_MAGIC = b"RATICHKP"
_CLAIM = struct.Struct("<QQQQ")
_FOOT = struct.Struct("<8sIIQII")
_CHECKED_BYTES = _FOOT.size - 4


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One group's store has applied the log up to ``index``, whose entry was delivered with ``era``."""

    index: int
    era: Era


class CheckpointUnsound(Exception):
    """The file is no checkpoint that may be used; its text says why."""


class _Trailer(NamedTuple):
    length: int
    crc: int
    claims: dict[int, Claim]


def seal(files: Files, file: str, claims: Mapping[int, Claim]) -> None:
    """Put the trailer behind the copy that ``file`` holds; it is not synced yet."""
    length = files.size(file)
    rows = b"".join(_CLAIM.pack(group, claims[group].index, *claims[group].era) for group in sorted(claims))
    unchecked = rows + _FOOT.pack(_MAGIC, VERSION, len(claims), length, _crc(files, file, length), 0)[:_CHECKED_BYTES]
    files.write(file, length, unchecked + google_crc32c.value(unchecked).to_bytes(4, "little"))


def claims_of(files: Files, file: str = CHECKPOINT_FILE) -> dict[int, Claim]:
    """What the checkpoint claims to hold; raises ``CheckpointUnsound`` where the trailer does not read."""
    return _trailer(files, file).claims


def verify(files: Files, file: str = CHECKPOINT_FILE) -> int:
    """The length of the copy, which is what was written; raises ``CheckpointUnsound`` where it is not."""
    trailer = _trailer(files, file)
    if _crc(files, file, trailer.length) != trailer.crc:
        raise CheckpointUnsound("the copy of the store has another checksum than its trailer says")
    return trailer.length


def _trailer(files: Files, file: str) -> _Trailer:
    size = files.size(file)
    if size < _FOOT.size:
        raise CheckpointUnsound(f"it has {size} bytes, too few for a trailer")
    magic, version, count, length, crc, own = _FOOT.unpack(files.read(file, size - _FOOT.size, _FOOT.size))
    if magic != _MAGIC:
        raise CheckpointUnsound("it does not end as a checkpoint does")
    if length + count * _CLAIM.size + _FOOT.size != size:
        raise CheckpointUnsound("its length is not what its trailer says")
    checked = files.read(file, length, size - length - 4)
    if google_crc32c.value(checked) != own:
        raise CheckpointUnsound("its trailer has a wrong checksum")
    if version > VERSION:
        raise CheckpointUnsound(f"its format has version {version}, and this program knows versions up to {VERSION}")
    claims = {
        group: Claim(index, (era_0, era_1))
        for group, index, era_0, era_1 in _CLAIM.iter_unpack(checked[: count * _CLAIM.size])
    }
    return _Trailer(length, crc, claims)


def _crc(files: Files, file: str, length: int) -> int:
    crc = 0
    for offset in range(0, length, PIECE_BYTES):
        crc = google_crc32c.extend(crc, files.read(file, offset, min(PIECE_BYTES, length - offset)))
    return crc
