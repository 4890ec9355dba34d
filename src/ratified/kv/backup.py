"""The whole state as a read that takes many turns: what ``Maintenance.Snapshot`` streams.

Rules
1. Each chunk is an answer (``encoding``). The first one has a ``StateHead``, encoded; each further one a piece of
   ``Store.read_state``. All are of one commit, whatever is applied meanwhile.
2. While a state is read the store's file grows with all that is written, for nothing that the state shows may be
   overwritten. So one that keeps more than it may is given up, whoever holds it: its view is closed at once, and its
   last chunk is an error. The others go on; each may keep as much, counted from its own beginning.
"""

from __future__ import annotations

import msgspec
from typing_extensions import override

from ratified.kv.encoding import OK, failure, response
from ratified.kv.errors import EtcdError
from ratified.kv.ranges import SlicedRange
from ratified.machine import Continuation, Era, Slice, StateReader
from ratified.storage.space import View
from ratified.wire.etcd import errors
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
    """The head in the first chunk; raises the ``EtcdError`` that is there instead."""
    return msgspec.msgpack.decode(response(chunk), type=StateHead)


class SlicedState(Continuation):
    """Counts the keys, gives the head, and then the pieces."""

    def __init__(self, state: StateReader, view: View, count: SlicedRange, revision: int, bytes_about: int) -> None:
        """``view`` is what ``state`` reads, and closes."""
        self._state = state
        self._view = view
        self._given_up = False
        self.ended = False
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
        if self._given_up:
            return Slice((failure(EtcdError(*errors.SNAPSHOT_TOO_SLOW)),), True)
        if self._count is not None:
            return self._advance_count(now, rows_max, bytes_max)
        piece = self._state.read(bytes_max)
        if piece is None:
            self.cancel()
            return Slice((), True)
        return Slice((OK + piece,), False)

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
        return Slice((OK + msgspec.msgpack.encode(head),), False)

    @override
    def cancel(self) -> None:
        self.ended = True
        if self._count is not None:
            self._count.cancel()
        self._state.close()

    @property
    def kept_bytes(self) -> int:
        """Of its view, as ``View.kept_bytes``; 0 once it has ended."""
        return self._view.kept_bytes

    def give_up(self) -> None:
        """Let go of everything now, and say so when it is advanced again."""
        self._given_up = True
        self.cancel()


class OpenStates:
    """The states that are read from one store, and perhaps some that have ended."""

    def __init__(self) -> None:
        self._states: list[SlicedState] = []

    def add(self, state: SlicedState) -> None:
        self._states = [each for each in self._states if not each.ended]
        self._states.append(state)

    def give_up_above(self, kept_bytes_max: int) -> None:
        """Give up those that keep more; to be called after all that is written."""
        for state in self._states:
            if state.kept_bytes > kept_bytes_max:
                state.give_up()
