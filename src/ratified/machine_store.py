"""The store of a user's ``StateMachine`` that keeps its snapshots in its space, so that a restart need not replay all.

Rules
1. The machine's state is in memory. When a checkpoint is due its ``snapshot`` is taken, between two entries, and
   written to the spare space of the group, in slices; one write switches to it (``storage.group_spaces``). That is what
   ``durable`` claims, until the next one has been switched to.
2. A ``snapshot`` that raises ends the attempt: nothing is written, and what was saved before still counts.
3. What travels is what was saved last: the log is cut below it at most, so that it is never too old.
4. What is loaded takes the machine's place when it is switched to: ``restore`` is then called once, with the pieces
   that ``snapshot`` gave elsewhere.
5. Rows: ``saved`` says of what entry the state is and what hash its chunks have, with a CRC32C; ``machine`` has the
   chunks, in order. A chunk is part of a stream in which each piece follows its length (u32, big-endian).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from hashlib import blake2b
from struct import Struct

import google_crc32c
from typing_extensions import override

from ratified.machine import (
    ApplyFailed,
    Command,
    Era,
    RestoreFailed,
    Result,
    SaveFailed,
    SnapshotDamaged,
    StateLoader,
    StateMachine,
    StateMachineStore,
    StateReader,
    TidyFirst,
    pieces_of,
)
from ratified.state_stream import RecordParser, RecordReader, record
from ratified.storage.group_spaces import GroupSpaces
from ratified.storage.guard import RowChecks
from ratified.storage.pages import StoredRows, StoreUnsound
from ratified.storage.space import Space, View

SAVED = "saved"
MACHINE = "machine"
TABLES = (SAVED, MACHINE)
CHUNK_BYTES = 32 * 1024
"""Written in one turn, and read for one piece that travels; what is stored may be cut otherwise."""
USELESS_ROWS_AT_ONCE = 16
"""Chunks of an earlier state, removed in one turn."""
_KEY = b""
_POSITION = Struct(">QQQ")
_HASH_BYTES = 16
_CHECKSUM_BYTES = 4
_LENGTH_BYTES = 4
_CHUNK = b"c"


class SavedMachineStore(StateMachineStore):
    """Begins with what its space has of the machine. Raises ``RestoreFailed`` where the machine does not take it."""

    def __init__(self, machine: StateMachine, space: Space, chunk_bytes: int = CHUNK_BYTES) -> None:
        super().__init__(machine)
        self._chunk_bytes = chunk_bytes
        self._spaces = GroupSpaces(space, TABLES)
        self._loader: _MachineLoader | None = None
        self._saving: _Saving | None = None
        self._durable: tuple[int, Era] = (0, (0, 0))
        row = self._spaces.serving.get(SAVED, _KEY)
        if row is not None:
            index, era, _ = _decode(row)
            try:
                machine.restore(_saved_pieces(self._spaces.serving))
            except Exception as error:
                raise RestoreFailed(index, error) from error
            self._durable = index, era
            self._applied, self._applied_era = index, era

    @property
    @override
    def durable(self) -> tuple[int, Era]:
        return self._durable

    @override
    def save(self) -> None:
        if self._loader is not None or self._saving is not None or self._durable[0] == self._applied:
            return
        if not self._spaces.is_spare_empty():
            self._spaces.holds_useless = True
            raise TidyFirst
        try:
            chunks = deque(_chunks(pieces_of(self._machine), self._chunk_bytes))
        except Exception as error:
            raise SaveFailed(error) from error
        self._saving = _Saving(self._spaces.spare, self._applied, self._applied_era, chunks)

    @property
    @override
    def saving(self) -> bool:
        return self._saving is not None

    @override
    def apply(self, commands: Sequence[Command], last_index: int, era: Era) -> Sequence[Result]:
        results = super().apply(commands, last_index, era)
        self.tidy()
        return results

    @property
    @override
    def untidy(self) -> bool:
        return self._saving is not None or self._holds_useless

    @property
    def _holds_useless(self) -> bool:
        return self._spaces.holds_useless and self._loader is None and self._saving is None

    @override
    def tidy(self) -> None:
        if self._saving is not None:
            if self._saving.write():
                self._durable = self._saving.index, self._saving.era
                self._saving = None
                self._spaces.switch()
        elif self._holds_useless:
            self._spaces.remove_useless(USELESS_ROWS_AT_ONCE)

    @override
    def read_state(self) -> StateReader:
        view = self._spaces.serving.view()
        row = view.get(SAVED, _KEY)
        index, era, hashed = (0, (0, 0), b"") if row is None else _decode(row)
        return RecordReader(index, era, _records(view, hashed), rows_max=1, close=view.close)

    @override
    def load_state(self, index: int, era: Era) -> StateLoader:
        if self._loader is not None:
            self._loader.abandon()
        self._saving = None
        if not self._spaces.is_spare_empty():
            self._spaces.holds_useless = True
            raise TidyFirst
        self._loader = _MachineLoader(self._spaces.spare, index, era, self._switch, self._abandon)
        return self._loader

    def _switch(self, loader: _MachineLoader) -> None:
        assert loader is self._loader, "an abandoned loader switches to nothing"
        self._loader = None
        self._spaces.switch()
        try:
            self._machine.restore(_saved_pieces(self._spaces.serving))
        except Exception as error:
            raise ApplyFailed(loader.index, error) from error
        self._durable = loader.index, loader.era
        self._applied, self._applied_era = loader.index, loader.era

    def _abandon(self, loader: _MachineLoader) -> None:
        if loader is self._loader:
            self._loader = None
            self._spaces.holds_useless = True


class _Chunks:
    """Writes chunks to an empty space, and says at last what they are of."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._count = 0
        self._hash = blake2b(digest_size=_HASH_BYTES)

    def add(self, chunk: bytes) -> None:
        self._space.put(MACHINE, self._count.to_bytes(8), chunk)
        self._count += 1
        self._hash.update(chunk)

    @property
    def hashed(self) -> bytes:
        return self._hash.digest()

    def end(self, index: int, era: Era) -> None:
        row = _POSITION.pack(index, *era) + self.hashed
        self._space.put(SAVED, _KEY, row + _checksum(row))


class _Saving:
    """A snapshot that was taken at ``index`` and is being written."""

    def __init__(self, space: Space, index: int, era: Era, chunks: deque[bytes]) -> None:
        self.index = index
        self.era = era
        self._left = chunks
        self._written = _Chunks(space)

    def write(self) -> bool:
        """Write a slice, in the open transaction; whether that was the last."""
        if self._left:
            self._written.add(self._left.popleft())
        if self._left:
            return False
        self._written.end(self.index, self.era)
        return True


class _MachineLoader(StateLoader):
    """``on_switch`` and ``on_abandon`` are called where either ends it."""

    def __init__(
        self,
        space: Space,
        index: int,
        era: Era,
        on_switch: Callable[[_MachineLoader], None],
        on_abandon: Callable[[_MachineLoader], None],
    ) -> None:
        self.index = index
        self.era = era
        self._written = _Chunks(space)
        self._parser = RecordParser()
        self._on_switch = on_switch
        self._on_abandon = on_abandon
        self._whole = False

    @override
    def load(self, piece: bytes) -> None:
        for kind, body in self._parser.feed(piece):
            if kind != _CHUNK:
                raise SnapshotDamaged(f"a snapshot of a state machine has a record of the unknown kind {kind!r}")
            self._written.add(body)
        if self._parser.end is not None:
            if self._parser.end != self._written.hashed:
                raise SnapshotDamaged("a snapshot of a state machine is not the one that was saved: it rotted there")
            self._whole = True

    @override
    def switch(self) -> None:
        if not self._whole:
            raise SnapshotDamaged("a snapshot ends before its digest has come")
        self._written.end(self.index, self.era)
        self._on_switch(self)

    @override
    def abandon(self) -> None:
        self._whole = False
        self._on_abandon(self)


def _decode(row: bytes) -> tuple[int, Era, bytes]:
    index, first, second = _POSITION.unpack_from(row)
    return index, (first, second), row[_POSITION.size : -_CHECKSUM_BYTES]


def _checksum(row: bytes) -> bytes:
    return int(google_crc32c.value(row)).to_bytes(_CHECKSUM_BYTES)


def _records(view: View, hashed: bytes) -> Generator[bytes, None, bytes]:
    for _, chunk in view.scan(MACHINE, b"", None):
        yield record(_CHUNK, chunk)
    return hashed


def _chunks(pieces: Iterable[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """The stream of these pieces, cut."""
    left = bytearray()
    for piece in pieces:
        left += len(piece).to_bytes(_LENGTH_BYTES)
        left += piece
        while len(left) >= chunk_bytes:
            yield bytes(left[:chunk_bytes])
            del left[:chunk_bytes]
    if left:
        yield bytes(left)


def _saved_pieces(space: Space) -> Iterator[bytes]:
    return _pieces(chunk for _, chunk in space.scan(MACHINE, b"", None))


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    left = bytearray()
    wanted = _LENGTH_BYTES
    for chunk in chunks:
        left += chunk
        while len(left) >= wanted:
            if wanted == _LENGTH_BYTES:
                wanted += int.from_bytes(left[:_LENGTH_BYTES])
            if len(left) < wanted:
                break
            yield bytes(left[_LENGTH_BYTES:wanted])
            del left[:wanted]
            wanted = _LENGTH_BYTES


# ---------------------------------------------------------------------------------------------------------------
# At a start


def _whole(rows: StoredRows) -> None:
    saved = rows.get(SAVED, _KEY)
    if saved is None or saved[-_CHECKSUM_BYTES:] != _checksum(saved[:-_CHECKSUM_BYTES]):
        raise StoreUnsound("it has part of a state machine's snapshot, and not what it says of itself")
    hashed = blake2b(digest_size=_HASH_BYTES)
    for _, chunk in rows.scan(MACHINE, b""):
        hashed.update(chunk)
    if hashed.digest() != _decode(saved)[2]:
        raise StoreUnsound("a state machine's snapshot in it does not have the digest that is recorded")


def _row(rows: StoredRows, table: str, key: bytes, value: bytes) -> None:
    """One chunk says nothing by itself."""


MACHINE_CHECKS = RowChecks(whole=_whole, sums=_whole, row=_row)
"""Of whatever size, all of it is read: the machine takes it whole in any case."""
