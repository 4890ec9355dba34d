"""The log's bytes: batches of records in segments of sectors. ``docs/formats/log.md`` is the same, byte by byte.

1. A batch starts on a sector boundary (512 bytes) with a header of 48 bytes. The header's first 48 bytes keep their
   places in every version, so that its checksum is verified before its version is believed.
2. Every sector of a batch begins with a two-byte stamp: the header's sector with the magic's first two bytes, every
   other with ``STAMP``. The two differ in both bytes and none is zero. So no single wrong byte makes one kind of
   sector into the other, or into a sector that was never written, and no user's data ever looks like a header.
3. The payload runs on behind header and stamps, 464 bytes in the first sector and 510 in each further one, and is
   filled up with zeros.
4. A batch's checksum covers the header before it and all that follows, and is continued from the batch before
   (``chain``): a batch can follow only the one that it was written after.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple, TypeAlias

import google_crc32c
import msgspec

from ratified.consensus.contract import Base, BaseRecord, Entry, StateRecord, TruncateRecord
from ratified.consensus.entry import EntryFormatError, decode_membership, encode_membership

SECTOR = 512
MAGIC = b"RfLg"
STAMP = b"\x9d\xb3"
VERSION = 5
"""2 added the records ``peer`` and ``begun``, 3 the births of entries, 4 heads of segments and the record ``cut``, 5
entries of the node and the record ``cluster``; the rest is as in 1."""
HEADS_SINCE = 4
"""From this version on a segment's first batch begins with its head: it can be the oldest one."""
_HEADER = struct.Struct("<4sHHQQQIIII")
_COVERED = struct.Struct("<4sHHQQQI")
HEADER_BYTES = _HEADER.size
_FIRST_BYTES = SECTOR - HEADER_BYTES
_FURTHER_BYTES = SECTOR - len(STAMP)
_SHIFT = _FURTHER_BYTES - _FIRST_BYTES
"""A payload offset plus this counts as if every sector held ``_FURTHER_BYTES``."""
DIRECTORY_BYTES = 16


class LogDamaged(Exception):
    """What was acknowledged does not read any more, or cannot be trusted: the node must not start."""

    def __init__(self, file: str, offset: int, what: str) -> None:
        super().__init__(
            f"log file {file} is damaged at byte {offset}: {what}. A node whose log is damaged has forgotten votes: do "
            "not start this data directory again; remove this member and add another in its place, with an empty data "
            "directory. The cluster serves while a majority of its members runs"
        )
        self.file = file
        self.offset = offset
        self.what = what


class LogTooNew(Exception):
    """The log was written by a later version of this program."""

    def __init__(self, file: str, offset: int, version: int) -> None:
        super().__init__(
            f"log file {file} has format version {version} at byte {offset} and this program knows versions up to "
            f"{VERSION}: start the version that wrote it, or a later one"
        )
        self.file = file
        self.offset = offset
        self.version = version


class LogLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The log's limits. Each admits at least one item, however small it is set."""

    segment_bytes: int = 64 << 20
    """Length of a segment, a multiple of 512. A batch that is larger gets a segment that has room for it and a mark."""
    batch_bytes_max: int = 8 << 20
    """Payload of one batch; one ticket's records are never divided."""
    rest_before_mark_us: int = 50_000
    """After this time without a write the last batch is covered by a mark."""
    tail_bytes_max: int = 16 << 20
    """Bytes of the last entries of a group that recovery hands to its engine."""
    read_gap_bytes_max: int = 4096
    """Entries that lie no further apart than this are read in one operation."""
    index_gap_entries_max: int = 1 << 20
    """How far behind a group's last entry the next one may be: some engines write out of order."""


# ---------------------------------------------------------------------------------------------------------------
# Segments


def segment_file(number: int) -> str:
    """The name of a segment; numbers begin at 1."""
    return f"{number:010d}.log"


def segment_number(file: str) -> int | None:
    """The segment's number; None where the file is no segment."""
    digits, dot, rest = file.partition(".")
    if dot and rest == "log" and len(digits) == 10 and digits.isascii() and digits.isdigit():
        return int(digits)
    return None


NEW_SUFFIX = ".new"
"""A file that is still being created; what bears it at start is removed."""


# ---------------------------------------------------------------------------------------------------------------
# Batches


class BatchHeader(NamedTuple):
    """What a header says; its own checksum has been verified."""

    version: int
    segment: int
    number: int
    durable_to: int
    """Every batch up to this number was durable when the header was written."""
    length: int
    """Bytes of payload."""
    chain: int
    """The checksum of the batch before."""
    crc: int


def extent(length: int) -> int:
    """Bytes that a batch with this much payload takes on the disk."""
    return (length + _SHIFT + _FURTHER_BYTES - 1) // _FURTHER_BYTES * SECTOR


def encode_batch(segment: int, number: int, durable_to: int, chain: int, payload: bytes) -> tuple[bytes, int]:
    """The batch as it lies on the disk, and its checksum."""
    length = len(payload)
    room = extent(length) // SECTOR * _FURTHER_BYTES - _SHIFT
    filled = payload.ljust(room, b"\0")
    pieces = [filled[:_FIRST_BYTES]]
    pieces += [filled[i : i + _FURTHER_BYTES] for i in range(_FIRST_BYTES, room, _FURTHER_BYTES)]
    body = STAMP.join(pieces)
    covered = _COVERED.pack(MAGIC, VERSION, 0, segment, number, durable_to, length)
    crc = google_crc32c.extend(google_crc32c.extend(chain, covered), body)
    checked = covered + chain.to_bytes(4, "little") + crc.to_bytes(4, "little")
    return checked + google_crc32c.value(checked).to_bytes(4, "little") + body, crc


def read_header(data: bytes, offset: int) -> BatchHeader | None:
    """The header at ``offset``; None where no intact header is. The caller looks at the version."""
    if len(data) - offset < HEADER_BYTES or data[offset : offset + len(MAGIC)] != MAGIC:
        return None
    _, version, _, segment, number, durable_to, length, chain, crc, own = _HEADER.unpack_from(data, offset)
    if google_crc32c.value(data[offset : offset + HEADER_BYTES - 4]) != own:
        return None
    return BatchHeader(version, segment, number, durable_to, length, chain, crc)


def body_matches(header: BatchHeader, batch: bytes) -> bool:
    """Is this the whole batch, header included, that the header was written for?"""
    covered = batch[: _COVERED.size]
    crc = google_crc32c.extend(google_crc32c.extend(header.chain, covered), batch[HEADER_BYTES:])
    return len(batch) == extent(header.length) and crc == header.crc


def payload_of(header: BatchHeader, batch: bytes) -> bytes:
    pieces = [batch[HEADER_BYTES:SECTOR]]
    pieces += [batch[i + len(STAMP) : i + SECTOR] for i in range(SECTOR, len(batch), SECTOR)]
    return b"".join(pieces)[: header.length]


def place(payload_offset: int) -> int:
    """Where a byte of the payload lies, from the start of its batch."""
    sector, rest = divmod(payload_offset + _SHIFT, _FURTHER_BYTES)
    return sector * SECTOR + len(STAMP) + rest


def end_of(offset: int, length: int) -> int:
    """Where ``length`` bytes of payload end that begin at ``offset`` of the file."""
    sector, rest = divmod(offset, SECTOR)
    further, last = divmod(rest - len(STAMP) + length - 1, _FURTHER_BYTES)
    return (sector + further) * SECTOR + len(STAMP) + last + 1


def unstamped(data: bytes, start: int, offset: int, length: int) -> bytes:
    """The ``length`` bytes of payload at ``offset`` of the file, where ``data`` begins at ``start`` of it."""
    at = offset - start
    room = SECTOR - offset % SECTOR
    if length <= room:
        return data[at : at + length]
    pieces = [data[at : at + room]]
    end = end_of(offset, length) - start
    pieces += [data[i + len(STAMP) : min(i + SECTOR, end)] for i in range(at + room, end, SECTOR)]
    return b"".join(pieces)


# ---------------------------------------------------------------------------------------------------------------
# Records


class RecordKind(IntEnum):
    """The first byte of a record."""

    NODE = 1
    STATE = 2
    ENTRY = 3
    TRUNCATE = 4
    BASE = 5
    DROP = 6
    PEER = 7
    BEGUN = 8
    CUT = 9
    CLUSTER = 10


_KINDS = tuple(RecordKind)


class NodeRecord(msgspec.Struct, frozen=True, gc=False):
    """A start of the node; the directory id says whose log this is. Of no group: its group field is 0."""

    incarnation: int
    directory: bytes
    start: int = 0
    """Drawn at this start; 0: it was written by format version 1, which had none."""


class PeerRecord(msgspec.Struct, frozen=True, gc=False):
    """What this node holds of a member, from here on. Of no group."""

    member: int
    directory: bytes
    incarnation: int = 0
    """The latest start of this directory that answered at the member's own address; 0: none has."""
    start: int = 0
    """What tells that start from another one of the same incarnation."""


class BegunRecord(msgspec.Struct, frozen=True, gc=False):
    """The node has begun: it may vote. Of no group, and written once."""


class DropRecord(msgspec.Struct, frozen=True, gc=False):
    """The group is gone, with all that it had."""


class CutRecord(msgspec.Struct, frozen=True, gc=False):
    """Nothing is needed of the segments before ``segment``: they are gone, or about to be removed. Of no group."""

    segment: int


class ClusterRecord(msgspec.Struct, frozen=True, gc=False):
    """The cluster table as of ``index`` of group 0, in the node's own encoding. Of no group; the last one counts."""

    index: int
    data: bytes


NodesOwn: TypeAlias = NodeRecord | PeerRecord | BegunRecord | ClusterRecord
"""What the log holds of the node itself, and of no group."""


RECORD = struct.Struct("<BQI")
"""Kind, group, length of what follows."""
_NODE = struct.Struct("<Q16sQ")
_NODE_1 = struct.Struct("<Q16s")
_PEER = struct.Struct("<Q16sQQ")
_TRUNCATE = struct.Struct("<Q")
_BASE = struct.Struct("<QQQQ")
_CUT = struct.Struct("<Q")
_CLUSTER = struct.Struct("<Q")


class RecordFormatError(ValueError):
    """Bytes with a right checksum that are no record of this version."""


def encode_record(
    group: int, record: StateRecord | Entry | TruncateRecord | BaseRecord | DropRecord | CutRecord | NodesOwn
) -> bytes:
    """One record, its header included."""
    match record:
        case Entry(encoded=encoded):
            kind, body = RecordKind.ENTRY, encoded
        case StateRecord(data):
            kind, body = RecordKind.STATE, data
        case TruncateRecord(first):
            kind, body = RecordKind.TRUNCATE, _TRUNCATE.pack(first)
        case BaseRecord(base):
            kind, body = RecordKind.BASE, encode_base(base)
        case NodeRecord(incarnation, directory, start):
            kind, body = RecordKind.NODE, _NODE.pack(incarnation, directory, start)
        case DropRecord():
            kind, body = RecordKind.DROP, b""
        case PeerRecord(member, directory, incarnation, start):
            kind, body = RecordKind.PEER, _PEER.pack(member, directory, incarnation, start)
        case BegunRecord():
            kind, body = RecordKind.BEGUN, b""
        case CutRecord(segment):
            kind, body = RecordKind.CUT, _CUT.pack(segment)
        case ClusterRecord():
            kind, body = RecordKind.CLUSTER, encode_cluster(record)
    return RECORD.pack(kind, group, len(body)) + body


def encode_base(base: Base) -> bytes:
    return _BASE.pack(base.index, *base.era, base.snapshot) + encode_membership(base.membership)


def encode_cluster(record: ClusterRecord) -> bytes:
    return _CLUSTER.pack(record.index) + record.data


class RawRecord(NamedTuple):
    """A record's frame; ``offset`` is that of the body in its batch's payload."""

    kind: RecordKind
    group: int
    offset: int
    body: bytes


def records_of(payload: bytes) -> Iterator[RawRecord]:
    """The records of a payload, in order; raises ``RecordFormatError`` where they do not fill it exactly."""
    offset = 0
    end = len(payload)
    while offset < end:
        if end - offset < RECORD.size:
            raise RecordFormatError("a record's header is cut short")
        kind, group, length = RECORD.unpack_from(payload, offset)
        offset += RECORD.size
        if length > end - offset:
            raise RecordFormatError(f"a record says {length} bytes and {end - offset} are left")
        if not 0 <= kind - RecordKind.NODE < len(_KINDS):
            raise RecordFormatError(f"a record is of kind {kind}, which this version does not know")
        yield RawRecord(_KINDS[kind - RecordKind.NODE], group, offset, payload[offset : offset + length])
        offset += length


def decode_node(body: bytes) -> NodeRecord:
    if len(body) == _NODE_1.size:
        return NodeRecord(*_NODE_1.unpack(body))
    if len(body) != _NODE.size:
        raise RecordFormatError(f"a node record has {len(body)} bytes instead of {_NODE.size}")
    return NodeRecord(*_NODE.unpack(body))


def decode_peer(body: bytes) -> PeerRecord:
    if len(body) != _PEER.size:
        raise RecordFormatError(f"a peer record has {len(body)} bytes instead of {_PEER.size}")
    return PeerRecord(*_PEER.unpack(body))


def decode_cut(body: bytes) -> CutRecord:
    if len(body) != _CUT.size:
        raise RecordFormatError(f"a cut record has {len(body)} bytes instead of {_CUT.size}")
    return CutRecord(*_CUT.unpack(body))


def decode_cluster(body: bytes) -> ClusterRecord:
    if len(body) < _CLUSTER.size:
        raise RecordFormatError(f"a cluster record has {len(body)} bytes, too few")
    (index,) = _CLUSTER.unpack_from(body)
    return ClusterRecord(index, body[_CLUSTER.size :])


def decode_truncate(body: bytes) -> TruncateRecord:
    if len(body) != _TRUNCATE.size:
        raise RecordFormatError(f"a truncate record has {len(body)} bytes instead of {_TRUNCATE.size}")
    return TruncateRecord(*_TRUNCATE.unpack(body))


def decode_base(body: bytes) -> BaseRecord:
    if len(body) < _BASE.size:
        raise RecordFormatError(f"a base record has {len(body)} bytes, too few")
    index, era_0, era_1, snapshot = _BASE.unpack_from(body)
    try:
        membership = decode_membership(body[_BASE.size :])
    except EntryFormatError as error:
        raise RecordFormatError(f"a base record's membership does not read: {error}") from error
    return BaseRecord(Base(index, (era_0, era_1), membership, snapshot))
