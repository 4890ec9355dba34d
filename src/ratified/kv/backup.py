"""The whole state as a read that takes many turns: what ``Maintenance.Snapshot`` streams.

The first chunk is a ``StateHead``, encoded; each further one is a piece of ``Store.read_state``. All are of one commit,
whatever is applied meanwhile.
"""

from __future__ import annotations

import msgspec
from typing_extensions import override

from ratified.kv.encoding import response
from ratified.kv.ranges import SlicedRange
from ratified.machine import Continuation, Era, Slice, StateReader
from ratified.wire.etcd.rpc_pb2 import RangeRequest, RangeResponse

ALL_KEYS = RangeRequest(key=b"\0", range_end=b"\0", count_only=True)


class StateHead(msgspec.Struct, frozen=True):
    """What the pieces are of, and about how many bytes there are."""

    index: int
    era: Era
    revision: int
    keys: int
    bytes_about: int


def decode_head(chunk: bytes) -> StateHead:
    return msgspec.msgpack.decode(chunk, type=StateHead)


class SlicedState(Continuation):
    """Counts the keys, gives the head, and then the pieces."""

    def __init__(self, state: StateReader, count: SlicedRange, revision: int, bytes_about: int) -> None:
        self._state = state
        self._count: SlicedRange | None = count
        self._counted: list[bytes] = []
        self._revision = revision
        self._bytes_about = bytes_about

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        if self._count is not None:
            return self._advance_count(now, rows_max, bytes_max)
        piece = self._state.read(bytes_max)
        if piece is None:
            self._state.close()
            return Slice((), True)
        return Slice((piece,), False)

    def _advance_count(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        assert self._count is not None
        chunks, finished = self._count.advance(now, rows_max, bytes_max)
        self._counted += chunks
        if not finished:
            return Slice((), False)
        self._count = None
        keys = RangeResponse.FromString(response(b"".join(self._counted))).count
        state = self._state
        head = StateHead(state.index, state.era, self._revision, keys, self._bytes_about)
        return Slice((msgspec.msgpack.encode(head),), False)

    @override
    def cancel(self) -> None:
        if self._count is not None:
            self._count.cancel()
        self._state.close()
