"""HashKV: a hash of all retained events up to a revision, for comparing members.

It is the digest's sum of the present, less the hashes of what came later, so that asking about a recent revision costs
little. Reading what came later is done in slices over a view.
"""

from __future__ import annotations

from typing_extensions import override

from ratified.kv import names
from ratified.kv.digest import MODULUS_MASK, row_hash
from ratified.kv.encoding import OK, header
from ratified.kv.mvcc import EVENTS, PAIR_AT, Mvcc
from ratified.machine import Continuation, Slice
from ratified.wire.etcd.rpc_pb2 import HashKVResponse


def answer(revision: int, compact_revision: int, total: int) -> bytes:
    """The HashKVResponse of a store at ``revision`` for a sum of hashes."""
    response = HashKVResponse(hash=total & 0xFFFF_FFFF, compact_revision=compact_revision)
    return OK + header(revision) + response.SerializeToString()


class SlicedHash(Continuation):
    """The hash at an earlier revision, as a continuation of one chunk."""

    def __init__(self, mvcc: Mvcc, revision: int) -> None:
        self._view = mvcc.space.view()
        self._total = mvcc.sums_at_revision.retained
        self._revisions = mvcc.revision, mvcc.compact_revision
        self._next = names.position(revision + 1, 0)

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        for at, row in self._view.scan(EVENTS, self._next, None):
            self._total -= row_hash(row[PAIR_AT:])
            rows_max -= 1
            bytes_max -= len(row)
            if rows_max <= 0 or bytes_max <= 0:
                revision, sub = names.read_position(at)
                self._next = names.position(revision, sub + 1)
                return Slice((), False)
        self._view.close()
        return Slice([answer(*self._revisions, self._total & MODULUS_MASK)], True)

    @override
    def cancel(self) -> None:
        self._view.close()
