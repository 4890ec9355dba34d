"""The requests of this node's clients: admitted within bounds, and each ended exactly once.

Rules:

1. What does not fit is refused at once: too large, too many, too many bytes. One request always fits.
2. A request is *open* from ``admit`` until ``end``; its token is unique for that time.
3. After a cancel no reply follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Reply, Request, Why
from ratified.node.timers import Timer, Timers

_DEADLINE = Timer.REQUEST


class OpenRequest(Protocol):
    """A request under way in some replica."""

    token: int
    size_bytes: int

    @property
    def deadline(self) -> int | None:
        """When it ends at the latest; None: it may go on for ever."""

    def expire(self, now: int) -> None:
        """The deadline has come: end."""

    def cancel(self) -> None:
        """Nobody waits any longer; the request is no longer open."""


class OpenStream(OpenRequest, Protocol):
    """A read that answers in parts; at a deadline its continuation is advanced."""

    group: int

    def hold(self) -> None:
        """Give no further chunk."""

    def go_on(self) -> None:
        """There is room again."""


class Requests:
    """All open requests of a node, and the replies of the present turn."""

    def __init__(self, limits: NodeLimits, timers: Timers) -> None:
        self._limits = limits
        self._timers = timers
        self._open: dict[int, OpenRequest] = {}
        self._queued = 0
        self._streams: dict[int, OpenStream] = {}
        self._bytes = 0
        self.replies: list[Reply] = []

    @property
    def open_count(self) -> int:
        """How many are open, streams included."""
        return len(self._open)

    def admit(self, request: Request) -> bool:
        """May this one wait in the queue? If not, it has been refused."""
        size = len(request.data)
        if size > self._limits.request_bytes_max:
            self.refuse(request.token, Why.TOO_LARGE)
            return False
        waiting = self._queued + len(self._open) - len(self._streams)
        if waiting >= self._limits.open_requests_max or (waiting and self._bytes + size > self._limits.open_bytes_max):
            self.refuse(request.token, Why.OVERLOADED)
            return False
        self._queued += 1
        self._bytes += size
        return True

    def taken(self, request: Request) -> None:
        """The request has left the queue: it is opened, or answered at once."""
        self._queued -= 1
        self._bytes -= len(request.data)

    def open(self, request: OpenRequest) -> None:
        """From now on the request is open."""
        self._open[request.token] = request
        self._bytes += request.size_bytes
        self._timers.set(_DEADLINE, request.token, request.deadline)

    def become_stream(self, token: int, stream: OpenStream) -> None:
        """The read has begun to answer in parts: it no longer has the request's deadline."""
        self._bytes -= self._open[token].size_bytes
        self._timers.set(_DEADLINE, token, None)
        self._open[token] = stream
        self._streams[token] = stream

    def stream(self, token: int) -> OpenStream:
        """The stream with this token, which is open."""
        return self._streams[token]

    def stream_ended(self, token: int) -> None:
        """This stream has ended or was cancelled."""
        del self._streams[token]

    def hold(self, tokens: Iterable[int]) -> None:
        """The reader of these streams has enough for now."""
        for token in tokens:
            stream = self._streams.get(token)
            if stream is not None:
                stream.hold()

    def go_on(self, tokens: Iterable[int]) -> list[int]:
        """The reader of these streams has room again; returns their groups."""
        groups: list[int] = []
        for token in tokens:
            stream = self._streams.get(token)
            if stream is not None:
                stream.go_on()
                groups.append(stream.group)
        return groups

    @property
    def streams_full(self) -> bool:
        """No further stream may begin."""
        return len(self._streams) >= self._limits.streams_max

    def end(self, token: int, outcome: Outcome, data: bytes = b"", why: Why = Why.NONE) -> None:
        """Answer an open request, for the last time."""
        self._timers.set(_DEADLINE, token, None)
        self._bytes -= self._open.pop(token).size_bytes
        self.replies.append(Reply(token, outcome, data, why))

    def refuse(self, token: int, why: Why) -> None:
        """Answer a request that was never opened."""
        self.replies.append(Reply(token, Outcome.REFUSED, b"", why))

    def chunk(self, token: int, data: bytes) -> None:
        """Part of a stream's answer."""
        self.replies.append(Reply(token, Outcome.CHUNK, data))

    def cancel(self, token: int) -> None:
        """The caller is gone; an unknown token has been answered already."""
        request = self._open.pop(token, None)
        if request is not None:
            self._timers.set(_DEADLINE, token, None)
            self._bytes -= request.size_bytes
            request.cancel()

    def expire(self, now: int, token: int) -> None:
        """The deadline of this one has come."""
        self._open[token].expire(now)

    def drain_replies(self) -> list[Reply]:
        """The replies since the last call."""
        replies, self.replies = self.replies, []
        return replies
