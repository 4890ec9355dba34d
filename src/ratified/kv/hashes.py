"""HashKV: a hash of all retained events up to a revision, for comparing members.

It is the sum of the hashes of all rows in ``events``, less those that a compaction has dropped and that are not removed
yet, less those of what came later, so that asking about a recent revision costs little. Both are read in slices over a
view.
"""

from __future__ import annotations

from collections.abc import Iterator

from typing_extensions import override

from ratified.kv import names
from ratified.kv.digest import MODULUS_MASK
from ratified.kv.encoding import OK, header
from ratified.kv.mvcc import EVENTS, Mvcc, Removal, died, event_hash
from ratified.machine import Continuation, Slice
from ratified.wire.etcd.rpc_pb2 import HashKVResponse


class SlicedHash(Continuation):
    """The hash at a revision that can be read, as a continuation of one chunk."""

    def __init__(self, mvcc: Mvcc, revision: int) -> None:
        self._view = mvcc.space.view()
        self._revisions = mvcc.revision, mvcc.compact_revision
        self._removal = Removal.read(self._view)
        self._total = self._removal.held
        self._rows = self._not_of(revision)

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        for size in self._rows:
            rows_max -= 1
            bytes_max -= size
            if rows_max <= 0 or bytes_max <= 0:
                return Slice((), False)
        self._view.close()
        return Slice([self._answer()], True)

    @override
    def cancel(self) -> None:
        self._view.close()

    def _not_of(self, revision: int) -> Iterator[int]:
        """Take off what is not of that revision; gives the size of each row."""
        compacted = self._revisions[1]
        for at, row in self._view.scan(
            EVENTS, names.position(*self._removal.reached), names.position(max(compacted + 1, 0), 0)
        ):
            for _, dead_at, dead in died(self._view, compacted, at, row):
                self._total -= event_hash(dead_at, dead)
            yield len(row)
        for at, row in self._view.scan(EVENTS, names.position(revision + 1, 0), None):
            self._total -= event_hash(at, row)
            yield len(row)

    def _answer(self) -> bytes:
        newest, compacted = self._revisions
        response = HashKVResponse(hash=self._total & MODULUS_MASK & 0xFFFF_FFFF, compact_revision=compacted)
        return OK + header(newest) + response.SerializeToString()
