"""What the log holds, found at start; and whether a bad end of it was torn or is damaged.

1. A write that a crash interrupted leaves any subset of its sectors. Such a batch is *torn*: it was never
   acknowledged, and is cut. ``why_not_torn`` is that rule, and everything that it does not allow is *damage*: the
   node does not start, for what is damaged may have been acknowledged.
2. Whatever was found, the last good batch is written again (a killed process may have left it in memory only, and a
   failed fsync may have lost it from there), what lies behind a cut becomes zero, every file touched or found last
   is synced, and then the directory. Only then does the node start.
3. The oldest segment is the first one, or one that begins with a head, whose first batch is believed by its own
   checksums. Earlier ones may be missing only as far as a ``cut`` record says so; what such a record allows to be gone
   and is still there is removed.
4. Recovery may itself be interrupted anywhere, and then finds what the first would have found.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c
import msgspec

from ratified.consensus.contract import U64_MAX, Base, Durable, Entry, Era, Kind, Run
from ratified.consensus.entry import decode_entry
from ratified.storage import checkpoint, identity
from ratified.storage.files import Files
from ratified.storage.format import (
    HEADER_BYTES,
    HEADS_SINCE,
    MAGIC,
    NEW_SUFFIX,
    SECTOR,
    STAMP,
    VERSION,
    BatchHeader,
    ClusterRecord,
    LogDamaged,
    LogLimits,
    LogTooNew,
    PeerRecord,
    RawRecord,
    RecordFormatError,
    RecordKind,
    body_matches,
    decode_base,
    decode_cluster,
    decode_cut,
    decode_node,
    decode_peer,
    decode_truncate,
    extent,
    payload_of,
    place,
    read_header,
    records_of,
    segment_file,
    segment_number,
)
from ratified.storage.index import GroupIndex, Location
from ratified.storage.spans import entries_in, spans


class Cut(msgspec.Struct, frozen=True, gc=False):
    """A torn batch that was cut: it began at ``offset`` of ``file``, and ``bytes`` from there on were not zero."""

    file: str
    offset: int
    bytes: int


class LogPosition(msgspec.Struct, frozen=True, gc=False):
    """Where the log goes on."""

    segment: int
    offset: int
    capacity: int
    """Length of the segment's file."""
    number: int
    """Of the last batch."""
    crc: int
    marked: bool
    """The last batch is a mark."""
    older: dict[int, int]
    """Of each segment before this one, ascending, how much of it is written."""


class RecoveredGroup(msgspec.Struct, frozen=True):
    """What the log holds of one group."""

    state: bytes
    base: Base
    runs: Sequence[Run]
    tail: Sequence[Entry]
    memberships: Sequence[Entry]
    last: int
    """The highest index that has an entry, or the base."""
    index: GroupIndex

    def durable(self, applied: int, applied_era: Era) -> Durable:
        """As an engine's constructor wants it, over a store that was at this entry."""
        return Durable(self.state, self.base, self.runs, self.tail, self.memberships, applied, applied_era)


class Recovered(msgspec.Struct, frozen=True):
    """What the log holds."""

    incarnation: int
    """The last durable one; 0: the node was never started."""
    directory: bytes
    starts: Sequence[int]
    """What was drawn at the node's last starts, the latest first, as far as it is known."""
    begun: bool
    peers: dict[int, PeerRecord]
    """What the node holds of each member that it has met."""
    cluster: ClusterRecord | None
    """The last cluster table; None: it was never changed."""
    groups: dict[int, RecoveredGroup]
    cut: Cut | None
    position: LogPosition
    first_with_head: int
    """From this segment on each may be the oldest one."""


def recover(files: Files, limits: LogLimits) -> Recovered:
    """Read the log, cut what is torn, and make durable what is kept.

    Raises ``LogDamaged``, ``LogTooNew``, ``IdentityError`` (no identity, or another directory's log) and ``OSError``.
    """
    owner = identity.read(files)
    if owner is None:
        raise identity.IdentityError("the data directory has no identity: create it before recovering its log")
    replay = _Replay()
    log = _scan(files, replay, limits)
    if replay.directory != owner.directory:
        raise identity.IdentityError(
            f"the log belongs to another data directory than the file {identity.IDENTITY_FILE!r} does: put both back "
            "from one directory"
        )
    _make_durable(files, log, replay.cut)
    return Recovered(
        incarnation=replay.incarnation,
        directory=replay.directory,
        starts=replay.starts(),
        begun=replay.begun or replay.has_written,
        peers=replay.peers,
        cluster=replay.cluster,
        groups={number: group.finish(files, limits) for number, group in replay.groups.items()},
        cut=log.cut,
        position=log.position,
        first_with_head=log.first_with_head,
    )


# ---------------------------------------------------------------------------------------------------------------
# Finding the good batches, and judging what follows them


_MISSING = "the file is missing and later ones are there"


class _Batch(NamedTuple):
    segment: int
    offset: int
    header: BatchHeader
    data: bytes


class _Log(NamedTuple):
    last: _Batch
    position: LogPosition
    cut: Cut | None
    first_with_head: int


def _scan(files: Files, replay: _Replay, limits: LogLimits) -> _Log:
    segments = _segments_from_oldest(files)
    replay.begin_at(segments[0], limits)
    last: _Batch | None = None
    end = capacity = 0
    sizes: dict[int, int] = {}
    cut = None
    first_with_head = segments[0]
    for expected, segment in enumerate(segments, start=segments[0]):
        file = segment_file(segment)
        if segment != expected:
            raise LogDamaged(segment_file(expected), 0, _MISSING)
        data = files.read(file, 0, files.size(file))
        end = 0
        while (batch := _good_batch(segment, data, end, last)) is not None:
            if not end and batch.header.version < HEADS_SINCE:
                first_with_head = segment + 1
            replay.take(batch)
            last = batch
            end += len(batch.data)
        rest = _written_bytes(data[end:])
        if last is None or rest > 0:
            damage = why_not_torn(segment, data, end, last and last.header, segment == segments[-1])
            if damage is not None:
                raise damage
            cut = Cut(file, end, rest)
        capacity = len(data)
        sizes[segment] = end
    assert last is not None, "there is a segment, and why_not_torn lets none pass without a first batch"
    if segments[0] > max(replay.cut, identity.FIRST_SEGMENT):
        raise LogDamaged(segment_file(segments[0] - 1), 0, _MISSING)
    older = {segment: size for segment, size in sizes.items() if replay.cut <= segment < segments[-1]}
    number, crc, marked = last.header.number, last.header.crc, last.header.length == 0
    position = LogPosition(segments[-1], end, capacity, number, crc, marked, older)
    return _Log(last, position, cut, first_with_head)


def _written_bytes(rest: bytes) -> int:
    """Up to the last byte that is not zero."""
    # Stripping goes byte by byte, and nearly always there is nothing but zeros: 0.3 s for a new segment.
    return 0 if rest == bytes(len(rest)) else len(rest.rstrip(b"\0"))


def _segments_from_oldest(files: Files) -> list[int]:
    """All segments from the first one on that the log can be read from."""
    segments = [number for number in map(segment_number, files.names()) if number is not None]
    if not segments:
        raise LogDamaged(segment_file(identity.FIRST_SEGMENT), 0, "there is an identity file and no log")
    for at, segment in enumerate(segments):
        if segment == identity.FIRST_SEGMENT or _begins_with_head(files, segment):
            return segments[at:]
    raise LogDamaged(segment_file(segments[0] - 1), 0, _MISSING)


def _begins_with_head(files: Files, segment: int) -> bool:
    header = read_header(files.read(segment_file(segment), 0, HEADER_BYTES), 0)
    return header is not None and header.version >= HEADS_SINCE


def _good_batch(segment: int, data: bytes, offset: int, last: _Batch | None) -> _Batch | None:
    header = read_header(data, offset)
    if header is None:
        return None
    if header.version > VERSION:
        raise LogTooNew(segment_file(segment), offset, header.version)
    batch = data[offset : offset + extent(header.length)]
    if not follows(header, segment, last and last.header) or not body_matches(header, batch):
        return None
    return _Batch(segment, offset, header, batch)


def follows(header: BatchHeader, segment: int, last: BatchHeader | None) -> bool:
    """Is this the header, in this segment, of the batch that comes after ``last`` (None: of the oldest one)?"""
    if last is None and segment > identity.FIRST_SEGMENT:
        return header.segment == segment
    number, crc = (last.number, last.crc) if last is not None else (identity.FIRST_BATCH - 1, 0)
    return (header.segment, header.number, header.chain) == (segment, number + 1, crc)


def why_not_torn(
    segment: int, data: bytes, offset: int, last: BatchHeader | None, is_last_segment: bool
) -> LogDamaged | None:
    """Why the bad batch at ``offset`` was not just torn by a crash; None: it was, so it is cut.

    ``last`` is the last good batch's header, and ``data`` the whole segment.
    """
    file = segment_file(segment)
    if last is None:
        return LogDamaged(file, offset, "the first batch does not read, and it was durable before its node started")
    bad = last.number + 1
    if not is_last_segment:
        return LogDamaged(file, offset, f"batch {bad} does not read, and there are later segments")
    for at in range(offset, len(data), SECTOR):
        later = read_header(data, at)
        if later is not None and (later.number > bad or later.durable_to >= bad):
            what = f"batch {bad} does not read, and batch {later.number} at byte {at} was written after it"
            return LogDamaged(file, offset, what)

    first = read_header(data, offset)
    if first is not None and follows(first, segment, last):
        end = offset + extent(first.length)
    elif not data[offset : offset + SECTOR].strip(b"\0"):
        end = len(data)
    else:
        return LogDamaged(file, offset, f"what stands where batch {bad} should begin is not its header")
    missing = end > len(data)
    for at in range(offset, min(end, len(data)), SECTOR):
        sector = data[at : at + SECTOR]
        if not sector.strip(b"\0"):
            missing = True
        elif not sector.startswith(MAGIC[: len(STAMP)] if at == offset else STAMP):
            return LogDamaged(file, at, f"the sector in batch {bad} was neither written nor left empty by it")
    if not missing:
        return LogDamaged(file, offset, f"batch {bad} does not read although every sector of it was written")
    if data[end:].strip(b"\0"):
        behind = len(data) - len(data[end:].lstrip(b"\0"))
        return LogDamaged(file, behind, f"there is something behind batch {bad}, which is the last one")
    return None


def _make_durable(files: Files, log: _Log, first: int) -> None:
    for name in files.names():
        if name.endswith(NEW_SUFFIX) and segment_number(name.removesuffix(NEW_SUFFIX)) is not None:
            files.remove(name)
    checkpoint.discard(files)
    written, found_last = segment_file(log.last.segment), segment_file(log.position.segment)
    files.write(written, log.last.offset, log.last.data)
    if log.cut is not None:
        files.write(log.cut.file, log.cut.offset, bytes(log.cut.bytes))
    files.sync_data(written)
    if found_last != written:
        files.sync_data(found_last)
    for number in map(segment_number, files.names()):
        if number is not None and number < first:
            files.remove(segment_file(number))
    files.sync_directory()


# ---------------------------------------------------------------------------------------------------------------
# What the batches say


class _Replay:
    """The records of all batches so far, put together."""

    def __init__(self) -> None:
        self.incarnation = 0
        self.directory = b""
        self._starts: dict[int, int] = {}
        self.begun = False
        self.has_written = False
        """An engine has written: a node did that before format version 2 without having begun."""
        self.peers: dict[int, PeerRecord] = {}
        self.cluster: ClusterRecord | None = None
        self.groups: dict[int, _Group] = {}
        self.cut = 0
        """Segments before this one are of no use."""
        self._gap_entries_max = 0

    def begin_at(self, segment: int, limits: LogLimits) -> None:
        """Where earlier segments are gone, the entries between a head's base and the first that are left are, too."""
        cut = segment > identity.FIRST_SEGMENT
        self._gap_entries_max = U64_MAX if cut else limits.index_gap_entries_max

    def starts(self) -> list[int]:
        found: list[int] = []
        while start := self._starts.get(self.incarnation - len(found), 0):
            found.append(start)
        return found

    def take(self, batch: _Batch) -> None:
        """One more batch; raises ``LogDamaged`` where its records make no sense."""
        try:
            for record in records_of(payload_of(batch.header, batch.data)):
                self._take_record(batch, record)
        except ValueError as error:
            raise LogDamaged(segment_file(batch.segment), batch.offset, str(error)) from error

    def _take_record(self, batch: _Batch, record: RawRecord) -> None:
        match record.kind:
            case RecordKind.ENTRY:
                self.has_written = True
                self._group(record).put(decode_entry(record.body), batch.segment, batch.offset + place(record.offset))
            case RecordKind.NODE:
                node = decode_node(record.body)
                if self.directory not in (b"", node.directory):
                    raise RecordFormatError("a node record is of another data directory")
                self.incarnation, self.directory = node.incarnation, node.directory
                self._starts[node.incarnation] = node.start
            case RecordKind.BASE:
                base = decode_base(record.body).base
                if record.group in self.groups:
                    self.groups[record.group].rebase(base)
                else:
                    self.groups[record.group] = _Group(base, self._gap_entries_max)
            case RecordKind.DROP:
                self.groups.pop(record.group, None)
            case RecordKind.STATE:
                self.has_written = True
                self._group(record).state = record.body
            case RecordKind.PEER:
                peer = decode_peer(record.body)
                self.peers[peer.member] = peer
            case RecordKind.BEGUN:
                self.begun = True
            case RecordKind.CLUSTER:
                self.cluster = decode_cluster(record.body)
            case RecordKind.CUT:
                self.cut = decode_cut(record.body).segment
            case RecordKind.TRUNCATE:
                self._group(record).truncate(decode_truncate(record.body).first)

    def _group(self, record: RawRecord) -> _Group:
        group = self.groups.get(record.group)
        if group is None:
            raise RecordFormatError(f"group {record.group} has a {record.kind.name} record and no base")
        return group


class _Group:
    """One group's records put together."""

    def __init__(self, base: Base, gap_entries_max: int) -> None:
        self.state = b""
        self.base = base
        self._index = GroupIndex(base.index, gap_entries_max)
        self._eras = (array("Q"), array("Q"))
        self._memberships: dict[int, Entry] = {}

    def put(self, entry: Entry, segment: int, offset: int) -> None:
        index = entry.index
        crc = google_crc32c.value(entry.encoded)
        self._index.put(index, segment, offset, len(entry.encoded), crc)
        at = index - self._index.first
        for column, part in zip(self._eras, entry.era, strict=True):
            if at == len(column):
                column.append(part)
            else:
                column.frombytes(bytes(column.itemsize * max(at + 1 - len(column), 0)))
                column[at] = part
        if entry.kind == Kind.MEMBERSHIP:
            self._memberships[index] = entry
        elif self._memberships:
            self._memberships.pop(index, None)

    def truncate(self, first: int) -> None:
        self._index.truncate(first)
        for column in self._eras:
            del column[self._index.last + 1 - self._index.first :]
        self._memberships = {index: entry for index, entry in self._memberships.items() if index < first}

    def rebase(self, base: Base) -> None:
        gone = max(base.index + 1 - self._index.first, 0)
        self.base = base
        self._index.rebase(base.index)
        for column in self._eras:
            del column[:gone]
        self._memberships = {index: entry for index, entry in self._memberships.items() if index > base.index}

    def finish(self, files: Files, limits: LogLimits) -> RecoveredGroup:
        memberships = [self._memberships[index] for index in sorted(self._memberships)]
        tail = self._tail(files, limits)
        self._index.gap_entries_max = limits.index_gap_entries_max
        return RecoveredGroup(self.state, self.base, self._runs(), tail, memberships, self._index.last, self._index)

    def _runs(self) -> list[Run]:
        runs: list[Run] = []
        for at, era in enumerate(zip(*self._eras, strict=True)):
            index = self._index.first + at
            if self._index.find(index) is None:
                continue
            if runs and runs[-1].last == index - 1 and runs[-1].era == era:
                runs[-1] = Run(runs[-1].first, index, era)
            else:
                runs.append(Run(index, index, era))
        return runs

    def _tail(self, files: Files, limits: LogLimits) -> list[Entry]:
        """The last entries, at least one if there are any, no more than ``tail_bytes_max``, without a gap."""
        bytes_max = limits.tail_bytes_max
        found: list[Location] = []
        index = self._index.last
        while (location := self._index.find(index)) is not None:
            bytes_max -= location.length
            if found and bytes_max < 0:
                break
            found.append(location)
            index -= 1
        found.reverse()
        tail: list[Entry] = []
        for span in spans(found, limits.read_gap_bytes_max):
            tail += entries_in(span, files.read(span.read.file, span.read.offset, span.read.length))
        return tail
