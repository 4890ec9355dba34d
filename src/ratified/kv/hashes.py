"""HashKV: a hash of all retained events up to a revision, for comparing members.

It is the sum of the hashes of all rows in ``events``, less those that a compaction has dropped and that are not removed
yet, less those of what came later, so that asking about a recent revision costs little. Both are read in slices over a
view. It waits for the tombstones that are pending.
"""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from ratified.kv import names
from ratified.kv.digest import MODULUS_MASK
from ratified.kv.encoding import OK, failure, header
from ratified.kv.errors import EtcdError
from ratified.kv.history import EVENTS
from ratified.kv.mvcc import Mvcc, Removal, died, event_hash
from ratified.machine import Continuation, Slice
from ratified.wire.etcd.rpc_pb2 import HashKVResponse


class SlicedHash(Continuation):
    """The hash at a revision that can be read, as a continuation of one chunk."""

    def __init__(self, mvcc: Mvcc, revision: int) -> None:
        self._mvcc = mvcc
        self._revision = revision
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
            self._sum = _Sum(self._mvcc, self._revision)
        answer = self._sum.advance(rows_max, bytes_max)
        return Slice((), False) if answer is None else Slice([answer], True)

    @override
    def cancel(self) -> None:
        if self._sum is not None:
            self._sum.close()


class _Sum:
    """The sum being made."""

    def __init__(self, mvcc: Mvcc, revision: int) -> None:
        self._view = mvcc.space.view()
        self._revisions = mvcc.revision, mvcc.compact_revision
        self._removal = Removal.read(self._view)
        self._total = self._removal.held
        self._rows = self._not_of(revision)

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
