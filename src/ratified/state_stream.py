"""How a state travels: records in one stream of bytes, which is cut into pieces anywhere.

Rules
1. A record is its kind (1 byte), the length of its body (u32, big-endian) and the body. Whose state it is knows the
   kinds; three are everybody's.
2. The first record is the *head*: the version of this format. The last is the *end*: what the others are held to by
   whoever knows them, and behind it a hash (BLAKE2b, 16 bytes) of all that stands before it.
3. A piece has as many bytes as were asked for at most, however long a record is, and a bounded number of rows is looked
   at for it. It is never empty: where the rows yield nothing it holds a record that says *nothing*.
4. What a parser yields is of no use until it has seen the end: it then is exactly what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from hashlib import blake2b
from struct import Struct

from typing_extensions import override

from ratified.machine import Era, SnapshotDamaged, StateReader

VERSION = 1
RECORD_BYTES_MAX = 1 << 30
"""A body that says it is longer is damage."""
_HEAD = b"h"
_NOTHING = b"n"
_END = b"z"
_FRAME = Struct(">cI")
_HASH_BYTES = 16
_VERSION = VERSION.to_bytes(2)


def record(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4) + body


class RecordReader(StateReader):
    """A state whose records are made while it is read."""

    def __init__(
        self,
        index: int,
        era: Era,
        records: Generator[bytes, None, bytes],
        rows_max: int,
        close: Callable[[], None],
    ) -> None:
        """``records`` yields each record, or nothing, for a row it looked at, and returns the body of the end.

        Of its rows ``rows_max`` are looked at for one piece. ``close`` is called when nothing more is read.
        """
        self.index = index
        self.era = era
        self._records = records
        self._rows_max = rows_max
        self._close: Callable[[], None] | None = close
        self._hash = blake2b(digest_size=_HASH_BYTES)
        self._left = record(_HEAD, _VERSION)
        self._hash.update(self._left)
        self._ended = False

    @override
    def read(self, bytes_max: int) -> bytes | None:
        if self._close is None:
            raise RuntimeError("the reader is closed")
        if len(self._left) < bytes_max and not self._ended:
            self._left += self._make(bytes_max - len(self._left))
        piece, self._left = self._left[:bytes_max], self._left[bytes_max:]
        return piece or None

    @override
    def close(self) -> None:
        if self._close is not None:
            self._records.close()
            self._close()
            self._close = None

    def _make(self, bytes_max: int) -> bytes:
        """The next records, about so many bytes, the last one whole."""
        made: list[bytes] = []
        end = None
        for _ in range(self._rows_max):
            try:
                found = next(self._records)
            except StopIteration as finished:
                end = finished.value
                self._ended = True
                break
            if found:
                made.append(found)
                bytes_max -= len(found)
                if bytes_max <= 0:
                    break
        joined = b"".join(made)
        if end is None:
            joined = joined or record(_NOTHING, b"")
            self._hash.update(joined)
            return joined
        self._hash.update(joined)
        return joined + record(_END, end + self._hash.digest())


class RecordParser:
    """The records of pieces, in their order. Every method may raise ``SnapshotDamaged``."""

    def __init__(self) -> None:
        self._left = bytearray()
        self._hash = blake2b(digest_size=_HASH_BYTES)
        self._begun = False
        self.end: bytes | None = None
        """The body of the end; None: it has not come, and nothing is worth anything yet."""

    def feed(self, piece: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The kind and body of each record that this piece completes; all must be taken."""
        if self.end is not None:
            raise SnapshotDamaged("a snapshot goes on behind its end")
        self._left += piece
        at = 0
        while len(self._left) - at >= _FRAME.size:
            kind, length = _FRAME.unpack_from(self._left, at)
            if length > RECORD_BYTES_MAX:
                raise SnapshotDamaged(f"a snapshot has a record of {length} bytes")
            after = at + _FRAME.size + length
            if after > len(self._left):
                break
            body = bytes(self._left[at + _FRAME.size : after])
            if not self._begun:
                self._begin(kind, body)
            elif kind == _END:
                self._finish(at, after, body)
                return
            elif kind != _NOTHING:
                yield kind, body
            at = after
        self._take(at)

    def _begin(self, kind: bytes, body: bytes) -> None:
        self._begun = True
        if kind != _HEAD:
            raise SnapshotDamaged("a snapshot begins with its head; this one does not")
        if body != _VERSION:
            raise SnapshotDamaged(f"a snapshot is of format {body.hex()}, and this program reads {_VERSION.hex()}")

    def _finish(self, at: int, after: int, body: bytes) -> None:
        self._take(at)
        if len(self._left) > after - at:
            raise SnapshotDamaged("a snapshot goes on behind its end")
        if body[-_HASH_BYTES:] != self._hash.digest():
            raise SnapshotDamaged("a snapshot does not have the digest that it ends with: it was damaged on its way")
        self.end = body[:-_HASH_BYTES]

    def _take(self, count: int) -> None:
        """So many bytes are dealt with."""
        with memoryview(self._left) as left:
            self._hash.update(left[:count])
        del self._left[:count]
