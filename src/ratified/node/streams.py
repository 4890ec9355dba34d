"""Reads that answer in parts (``machine.Continuation``): long ranges in slices, watches.

A stream is advanced when the store lists it as woken or its deadline has come, in the order in which that happened,
so many slices a turn; what finds no room waits for the next turn. It ends by itself or by a cancel. While its reader
has enough (``Hold``) it is not advanced, and what wakes it is remembered; so a reader that takes nothing costs nothing.
"""

from __future__ import annotations

from ratified.machine import Continuation, Store
from ratified.node.admission import Requests
from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Why
from ratified.node.timers import Timer, Timers


class Stream:
    """An open request that its continuation answers."""

    __slots__ = ("_owner", "continuation", "group", "size_bytes", "token")

    def __init__(self, owner: Streams, group: int, token: int, continuation: Continuation) -> None:
        self._owner = owner
        self.group = group
        self.token = token
        self.continuation = continuation
        self.size_bytes = 0

    @property
    def deadline(self) -> int | None:
        """When it wants to be advanced."""
        return self.continuation.deadline

    def expire(self, now: int) -> None:
        """The continuation wants to be advanced."""
        self._owner.due(now, self)

    def cancel(self) -> None:
        """The reader is gone."""
        self._owner.cancelled(self)

    def hold(self) -> None:
        """The reader has enough for now."""
        self._owner.held(self)

    def go_on(self) -> None:
        """The reader has room again."""
        self._owner.goes_on(self)


class Streams:
    """All streams of one replica."""

    def __init__(self, group: int, store: Store, requests: Requests, limits: NodeLimits, timers: Timers) -> None:
        self._group = group
        self._store = store
        self._requests = requests
        self._limits = limits
        self._timers = timers
        self._streams: dict[int, Stream] = {}
        self._continuations: dict[int, Continuation] = {}
        self._tokens: dict[int, int] = {}
        """From a continuation's identity to its token."""
        self._due: list[tuple[int, int]] = []
        """Deadlines that have come in this turn, with their tokens."""
        self._runnable: dict[int, None] = {}
        self._held: dict[int, bool] = {}
        """Streams that their readers hold, and whether one would be runnable otherwise."""

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def runnable(self) -> bool:
        """Is there a slice to run now?"""
        return bool(self._runnable)

    def begin(self, now: int, token: int, continuation: Continuation) -> None:
        """The read under this token goes on as a stream."""
        stream = Stream(self, self._group, token, continuation)
        self._streams[token] = stream
        self._continuations[token] = continuation
        self._tokens[id(continuation)] = token
        self._requests.become_stream(token, stream)
        if not self.due(now, stream):
            self._timers.set(Timer.CONTINUATION, token, continuation.deadline)

    def due(self, now: int, stream: Stream) -> bool:
        """If the deadline of this one has come, it is advanced in this turn."""
        deadline = stream.deadline
        if deadline is None or deadline > now:
            return False
        self._due.append((deadline, stream.token))
        return True

    def run(self, now: int) -> None:
        """Advance what is woken or due, within the turn's bounds."""
        if not self._streams:
            return
        if self._due:
            due, self._due = sorted(self._due), []
            for _, token in due:
                if token in self._streams:
                    self._wake(token)
        self._collect_woken(now)
        for token in list(self._runnable)[: self._limits.slices_max]:
            del self._runnable[token]
            self._advance(now, token)
        self._collect_woken(now)

    def cancelled(self, stream: Stream) -> None:
        """The reader of this one is gone."""
        self._forget(stream.token)
        stream.continuation.cancel()

    def held(self, stream: Stream) -> None:
        """The reader of this one has enough for now."""
        if stream.token not in self._held:
            self._held[stream.token] = stream.token in self._runnable
            self._runnable.pop(stream.token, None)

    def goes_on(self, stream: Stream) -> None:
        """The reader of this one has room again."""
        if self._held.pop(stream.token, False):
            self._runnable[stream.token] = None

    def refuse_all(self, why: Why) -> None:
        """The replica stops."""
        for token, stream in list(self._streams.items()):
            self._forget(token)
            stream.continuation.cancel()
            self._requests.end(token, Outcome.REFUSED, b"", why)

    def _collect_woken(self, now: int) -> None:
        for continuation in self._store.woken(now):
            token = self._tokens.get(id(continuation))
            if token is not None:
                self._wake(token)

    def _wake(self, token: int) -> None:
        if token in self._held:
            self._held[token] = True
        else:
            self._runnable[token] = None

    def _advance(self, now: int, token: int) -> None:
        continuation = self._continuations[token]
        chunks, finished = continuation.advance(now, self._limits.slice_rows_max, self._limits.slice_bytes_max)
        for chunk in chunks:
            self._requests.chunk(token, chunk)
        if finished:
            self._forget(token)
            self._requests.end(token, Outcome.DONE)
        else:
            self._timers.set(Timer.CONTINUATION, token, continuation.deadline)

    def _forget(self, token: int) -> None:
        self._timers.set(Timer.CONTINUATION, token, None)
        stream = self._streams.pop(token)
        del self._continuations[token]
        del self._tokens[id(stream.continuation)]
        self._runnable.pop(token, None)
        self._held.pop(token, None)
        self._requests.stream_ended(token)
