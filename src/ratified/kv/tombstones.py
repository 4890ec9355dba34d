"""Tombstones: what a long delete has deleted, in one row, until the rows of each of its keys are written.

Rules
1. A tombstone *covers* the pairs that its delete found: those of its range, or of its lease, that were put before its
   revision. What is covered is not there for anybody who reads at the tombstone's revision or later.
2. The rows of the deletions are written later, in pieces, in the order of keys, of the oldest tombstone first. No read,
   digest, hash or snapshot depends on how far that has come, and no removal goes by a tombstone.
3. A put over a covered pair finds no key. The pair before is in ``history`` still, which is where the deletions are
   read from; of a lease that is ending, ``attached`` keeps each row until its tombstone has found it.
4. A watch waits at the revision of a tombstone until all its events are there.
5. A tombstone is used up in the order of keys, which is not that of names where keys are long (``covered``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from ratified.wire.etcd.kv_pb2 import KeyValue

KEY = b"tombstone"
"""With the revision behind it the key of a tombstone's row in ``meta``."""
KEY_END = b"tombstonf"


class Rows(Protocol):
    """What can be read from: a space, or a view of it."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with first <= key < last."""

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The keys of the first so many of these rows."""


class Tombstone(msgspec.Struct, frozen=True, array_like=True):
    """The keys from ``first`` to ``end`` (None: no bound), or those of ``lease`` (0: of a range), at ``revision``.

    ``written`` deletions have their rows: those of the keys up to ``after``, escaped (``names``).
    """

    revision: int
    first: bytes = b""
    end: bytes | None = None
    lease: int = 0
    written: int = 0
    after: bytes = b""

    @property
    def key(self) -> bytes:
        return KEY + self.revision.to_bytes(8)

    def covers(self, pair: KeyValue) -> bool:
        if pair.mod_revision >= self.revision:
            return False
        if self.lease:
            return pair.lease == self.lease
        return self.meets(pair.key, pair.key + b"\x00")

    def meets(self, first: bytes, end: bytes | None) -> bool:
        """Whether it may cover keys of this range."""
        return (self.end is None or first < self.end) and (end is None or self.first < end)

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, row: bytes) -> Tombstone:
        return msgspec.msgpack.decode(row, type=Tombstone)


class VisibleRows:
    """Rows, and the tombstones that are pending in them, the oldest first."""

    __slots__ = ("get", "keys", "rows", "scan", "tombstones")

    def __init__(self, rows: Rows, tombstones: tuple[Tombstone, ...] = ()) -> None:
        self.rows = rows
        self.get = rows.get
        self.scan = rows.scan
        self.keys = rows.keys
        self.tombstones = tombstones

    def covered_by(self, pair: bytes, revision: int | None = None) -> Tombstone | None:
        """The tombstone that a read at ``revision`` (None: the newest) finds this pair under; None: it is there."""
        if not self.tombstones:
            return None
        parsed = KeyValue.FromString(pair)
        for tombstone in self.tombstones:
            if revision is not None and tombstone.revision > revision:
                break
            if tombstone.covers(parsed):
                return tombstone
        return None
