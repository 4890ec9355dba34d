"""A transaction that only reads: in slices over one view, so that it holds up nobody, and never in the log.

Its answer is one message with others inside, whose lengths stand in front of them; so it is collected, up to
``TXN_RESPONSE_BYTES_MAX``, and given at once at the end. Ranges that are asked for twice are read once. Those at older
revisions are counted together where they meet (``shared_counts``).
"""

from __future__ import annotations

from collections.abc import Generator

from typing_extensions import override

from ratified.kv.compares import holds
from ratified.kv.cost import TXN_RESPONSE_BYTES_MAX
from ratified.kv.encoding import OK, failure, field, header
from ratified.kv.errors import EtcdError
from ratified.kv.mvcc import Mvcc
from ratified.kv.ranges import RangeRead
from ratified.kv.shared_counts import SharedCounts, shared_counts
from ratified.kv.tombstones import VisibleRows
from ratified.machine import Continuation, Slice
from ratified.storage.space import View
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import RangeRequest, TxnRequest

_STEP_ROWS = 64
_STEP_BYTES = 16 * 1024


class TxnRead:
    """The transaction being read: hand it room, until there is an ``answer``."""

    def __init__(self, rows: VisibleRows, mvcc: Mvcc, request: TxnRequest) -> None:
        self.answer: bytes | None = None
        self.looked = 0
        """Rows looked at."""
        self._steps = self._run(rows, mvcc, request)

    def advance(self, rows_max: int, bytes_max: int) -> None:
        """Look at about that much."""
        try:
            for looked_rows, looked_bytes in self._steps:
                rows_max -= looked_rows
                self.looked += looked_rows
                bytes_max -= looked_bytes
                if rows_max <= 0 or bytes_max <= 0:
                    return
        except EtcdError as error:
            self.answer = failure(error)

    def _run(self, rows: VisibleRows, mvcc: Mvcc, request: TxnRequest) -> Generator[tuple[int, int], None, None]:
        """Yields the rows and bytes of each step."""
        newest = mvcc.revision
        succeeded = True
        for compare in request.compare:
            comparison = holds(rows, compare)
            while True:
                try:
                    looked = next(comparison)
                    yield looked.rows + looked.covered, looked.bytes
                except StopIteration as end:
                    succeeded = end.value
                    break
            if not succeeded:
                break
        ranges = [operation.request_range for operation in (request.success if succeeded else request.failure)]
        for wanted in ranges:
            if wanted.revision:
                mvcc.check_revision(wanted.revision, newest)
        out = [OK, header(newest)]
        if succeeded:
            out.append(b"\x10\x01")
        room = TXN_RESPONSE_BYTES_MAX
        asked = [wanted.SerializeToString(deterministic=True) if len(ranges) > 1 else b"" for wanted in ranges]
        shared = shared_counts(rows, dict(zip(asked, ranges, strict=True)).values(), newest)
        if shared is not None:
            for work in shared.read():
                yield work, 0
        read: dict[bytes, bytes] = {}
        """By request, what was answered to it."""
        for question, wanted in zip(asked, ranges, strict=True):
            response = read.get(question)
            if response is None:
                response = read[question] = yield from _range(rows, wanted, newest, room, shared)
            room -= len(response)
            if room < 0:
                raise EtcdError(*errors.REQUEST_TOO_LARGE)
            out.append(field(b"\x1a", field(b"\x0a", response)))
        self.answer = b"".join(out)


def _range(
    rows: VisibleRows, request: RangeRequest, newest: int, bytes_max: int, shared: SharedCounts | None
) -> Generator[tuple[int, int], None, bytes]:
    """The RangeResponse, of ``bytes_max`` at most."""
    read = RangeRead(rows, request, newest, shared)
    pieces: list[bytes] = []
    while not read.finished:
        before = read.looked
        piece = read.advance(_STEP_ROWS, _STEP_BYTES)
        pieces.append(piece)
        bytes_max -= len(piece)
        if bytes_max < 0:
            raise EtcdError(*errors.REQUEST_TOO_LARGE)
        yield read.looked - before, len(piece)
    return b"".join(pieces)


class SlicedTxn(Continuation):
    """A long transaction of reads as a continuation of one chunk."""

    def __init__(self, view: View, read: TxnRead) -> None:
        self._view = view
        self._read = read

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        self._read.advance(rows_max, bytes_max)
        if self._read.answer is None:
            return Slice((), False)
        self._view.close()
        return Slice([self._read.answer], True)

    @override
    def cancel(self) -> None:
        self._view.close()
