"""HashKV: a hash of all retained events up to a revision, for comparing members.

It is the sum of the hashes of all rows in ``events``, less those that a compaction has dropped and that are not removed
yet, less those of what came later. The first sum is the one that is ``recorded`` with every change, so that asking
about a recent revision costs little; or it is ``read_from_rows``, which costs as much as there is, and shows rows that
have changed by themselves. All is read in slices over a view. It waits for the tombstones that are pending.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias

from google.protobuf.message import DecodeError
from typing_extensions import override

from ratified.kv import names
from ratified.kv.digest import MODULUS_MASK
from ratified.kv.encoding import OK, failure, header
from ratified.kv.errors import EtcdError
from ratified.kv.history import EVENTS, HISTORY, PAIR_AT, PUT, past
from ratified.kv.mvcc import Mvcc, Removal, died, event_hash
from ratified.kv.tables import LIVE
from ratified.machine import Continuation, Slice
from ratified.storage.space import View
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import HashKVResponse

Whole: TypeAlias = Callable[[View], Generator[int, None, int]]
"""Gives the size of each row that it reads; returns the sum of the hashes of all rows in ``events``."""


def recorded(view: View) -> Generator[int, None, int]:
    """What the store says that its rows add up to."""
    yield from ()
    return Removal.read(view).held


def read_from_rows(view: View) -> Generator[int, None, int]:
    """What they do add up to. A key whose newest pair is not that of its newest event counts as an event more."""
    total = 0
    for at, row in view.scan(EVENTS, b"", None):
        total += event_hash(at, row)
        if not _agrees_with_live(view, at, row):
            total += event_hash(at, b"")
        yield len(row)
    return total


def _agrees_with_live(view: View, at: bytes, row: bytes) -> bool:
    """Whether an event is followed by another one of its key, or what is ``live`` of that key follows from it."""
    try:
        name = names.name(KeyValue.FromString(row[PAIR_AT:]).key)
    except DecodeError:
        return False
    later = next(iter(view.keys(HISTORY, name + names.TERMINATOR + at + b"\0", past(name), 1)), None)
    return later is not None or view.get(LIVE, name) == (row[PAIR_AT:] if row[:PAIR_AT] == PUT else None)


class SlicedHash(Continuation):
    """The hash at a revision that can be read, as a continuation of one chunk."""

    def __init__(self, mvcc: Mvcc, revision: int, whole: Whole) -> None:
        self._mvcc = mvcc
        self._revision = revision
        self._whole = whole
        self._sum: _Sum | None = None

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        if self._sum is None:
            if self._mvcc.tombstones:
                return Slice((), False)
            try:
                self._mvcc.check_revision(self._revision, self._mvcc.revision)
            except EtcdError as error:  # it was compacted meanwhile
                return Slice([failure(error)], True)
            self._sum = _Sum(self._mvcc, self._revision, self._whole)
        answer = self._sum.advance(rows_max, bytes_max)
        return Slice((), False) if answer is None else Slice([answer], True)

    @override
    def cancel(self) -> None:
        if self._sum is not None:
            self._sum.close()


class _Sum:
    """The sum being made."""

    def __init__(self, mvcc: Mvcc, revision: int, whole: Whole) -> None:
        self._view = mvcc.space.view()
        self._revisions = mvcc.revision, mvcc.compact_revision
        self._removal = Removal.read(self._view)
        self._total = 0
        self._rows = self._all(revision, whole)

    def close(self) -> None:
        self._view.close()

    def advance(self, rows_max: int, bytes_max: int) -> bytes | None:
        """Read about so much; the answer where all is read."""
        for size in self._rows:
            rows_max -= 1
            bytes_max -= size
            if rows_max <= 0 or bytes_max <= 0:
                return None
        self.close()
        newest, compacted = self._revisions
        response = HashKVResponse(hash=self._total & MODULUS_MASK & 0xFFFF_FFFF, compact_revision=compacted)
        return OK + header(newest) + response.SerializeToString()

    def _all(self, revision: int, whole: Whole) -> Iterator[int]:
        self._total = yield from whole(self._view)
        yield from self._not_of(revision)

    def _not_of(self, revision: int) -> Iterator[int]:
        """Take off what is not of that revision; gives the size of each row."""
        compacted = self._revisions[1]
        begin, end = names.position(*self._removal.reached), names.position(max(compacted + 1, 0), 0)
        for at, row in self._view.scan(EVENTS, begin, end):
            for _, dead_at, dead in died(self._view, compacted, at, row):
                self._total -= event_hash(dead_at, dead)
            yield len(row)
        for at, row in self._view.scan(EVENTS, names.position(revision + 1, 0), None):
            self._total -= event_hash(at, row)
            yield len(row)
