"""Reads of what one replica's store has applied: answered at once, or in parts (``machine.Continuation``).

A *stream* (a long range in slices, a watch) is advanced when the store lists its continuation as woken or the
continuation's deadline has come, in the order in which that happened. A turn takes so many slices, which share the
rows and bytes that a turn may read; what finds no room waits for the next turn. A stream ends by itself or by a
cancel. While its reader has enough (``Hold``) it is not advanced, and what wakes it is remembered; so a reader that
takes nothing costs nothing.
"""

from __future__ import annotations

from itertools import islice
from operator import itemgetter

from ratified.consensus.contract import Size, Sizes
from ratified.machine import Continuation, ReadFailed, Store
from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Reason
from ratified.node.requests import OpenRequest, Requests
from ratified.node.timers import Timer, Timers


class LocalReads:
    """All reads that one replica's store answers."""

    def __init__(self, store: Store, requests: Requests, timers: Timers, limits: NodeLimits) -> None:
        self._store = store
        self._requests = requests
        self._timers = timers
        self._limits = limits
        self._streams: dict[int, OpenRequest] = {}
        """By the identity of their continuation."""
        self._due: list[tuple[int, int, OpenRequest]] = []
        """Deadline, token, and stream of those whose deadline has come in this turn."""
        self._runnable: dict[int, OpenRequest] = {}
        self._held: dict[int, bool] = {}
        """Tokens of the streams that their readers hold, and whether one would be runnable otherwise."""

    @property
    def runnable(self) -> bool:
        return bool(self._runnable)

    def read(self, now: int, request: OpenRequest) -> None:
        """Answer it from the store as it is, or begin a stream."""
        try:
            answer: bytes | Continuation = self._store.read(now, request.data)
        except ReadFailed as error:
            self._requests.refuse(request, Reason.FAILED, str(error).encode())
            return
        if isinstance(answer, bytes):
            self._requests.end(request, Outcome.DONE, answer)
        elif self._requests.streams_full:
            answer.cancel()
            self._requests.refuse(request, Reason.OVERLOADED)
        else:
            self._begin(now, request, answer)

    def on_deadline(self, now: int, stream: OpenRequest) -> bool:
        """If its continuation's deadline has come, the stream is advanced in this turn."""
        deadline = _continuation(stream).deadline
        if deadline is None or deadline > now:
            return False
        self._due.append((deadline, stream.token, stream))
        return True

    def hold(self, stream: OpenRequest) -> None:
        if stream.token not in self._held:
            self._held[stream.token] = self._runnable.pop(stream.token, None) is not None

    def go_on(self, stream: OpenRequest) -> None:
        if self._held.pop(stream.token, False):
            self._runnable[stream.token] = stream

    def cancel(self, stream: OpenRequest) -> None:
        self._forget(stream)
        _continuation(stream).cancel()

    def refuse_all(self, reason: Reason) -> None:
        for stream in list(self._streams.values()):
            self.cancel(stream)
            self._requests.refuse(stream, reason)

    # ---- once a turn

    def run(self, now: int) -> None:
        """Advance what is woken or due, within the turn's bounds."""
        if not self._streams:
            self._due.clear()
            return
        if self._due:
            due, self._due = sorted(self._due, key=itemgetter(0, 1)), []
            for _, _, stream in due:
                if not stream.ended:
                    self._wake(stream)
        self._collect_woken(now)
        if not self._runnable:
            return
        tokens = list(islice(self._runnable, self._limits.slices_max))
        for token in tokens:
            self._advance(now, self._runnable.pop(token), len(tokens))
        self._collect_woken(now)

    def _begin(self, now: int, request: OpenRequest, continuation: Continuation) -> None:
        self._streams[id(continuation)] = request
        self._requests.become_stream(request, continuation)
        if not self.on_deadline(now, request):
            self._timers.set(Timer.CONTINUATION, request.token, continuation.deadline)

    def _collect_woken(self, now: int) -> None:
        for continuation in self._store.woken(now):
            stream = self._streams.get(id(continuation))
            if stream is not None:
                self._wake(stream)

    def _wake(self, stream: OpenRequest) -> None:
        if stream.token in self._held:
            self._held[stream.token] = True
        else:
            self._runnable[stream.token] = stream

    def _advance(self, now: int, stream: OpenRequest, sharing: int) -> None:
        """One slice, while so many streams share what a turn may read."""
        continuation = _continuation(stream)
        rows_max, bytes_max = self._limits.slice_rows_max // sharing, self._limits.slice_bytes_max // sharing
        chunks, finished = continuation.advance(now, max(rows_max, 1), max(bytes_max, 1))
        for chunk in chunks:
            self._requests.chunk(stream, chunk)
        if finished:
            self._forget(stream)
            self._requests.end(stream, Outcome.DONE)
        else:
            self._timers.set(Timer.CONTINUATION, stream.token, continuation.deadline)

    def sizes(self) -> Sizes:
        return {
            "streams": Size(len(self._streams)),
            "streams to advance": Size(len(self._due) + len(self._runnable)),
            "streams held": Size(len(self._held)),
        }

    def _forget(self, stream: OpenRequest) -> None:
        self._timers.stop(Timer.CONTINUATION, stream.token)
        del self._streams[id(stream.continuation)]
        self._runnable.pop(stream.token, None)
        self._held.pop(stream.token, None)


def _continuation(stream: OpenRequest) -> Continuation:
    assert stream.continuation is not None, "the request is a stream"
    return stream.continuation
