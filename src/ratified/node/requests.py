"""The requests of this node's clients, and the node's own: each is one object in one table, from its admission to its
end.

Rules:

1. What does not fit is refused at once: too large, too many, too many bytes. One request always fits.
2. A request is *open* from ``admit`` until ``end`` or ``cancel``; its token is unique for that time. Parts of a replica
   may still have it in their lists then, and pass over what has ``ended``.
3. It ends exactly once. After a cancel no reply follows.
4. The node's own have negative tokens, no limit, and replies that never leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ratified.consensus.contract import Era, Kind, Size, Sizes
from ratified.machine import Continuation
from ratified.node.config import NodeLimits
from ratified.node.ports import Outcome, Reason, Reply, Request, Work
from ratified.node.timers import Timer, Timers

_DEADLINE = Timer.REQUEST


class OpenRequest(msgspec.Struct, eq=False, gc=False):
    """Nothing that it holds leads back to it."""

    token: int
    group: int
    work: Work
    data: bytes
    deadline: int
    kind: Kind = Kind.COMMAND
    """Of a proposal."""
    ended: bool = False
    sequence: int = 0
    """Of a proposal: that of its present id."""
    era: Era | None = None
    """Of a proposal: to which leader it is addressed; None: it waits."""
    index: int | None = None
    """Of a proposal: where it was taken, if known."""
    continuation: Continuation | None = None
    """Of a read that answers in parts, a *stream*: it no longer has a deadline of its own."""


class Requests:
    """All open requests of a node, by token, and the replies of the present turn."""

    def __init__(self, limits: NodeLimits, timers: Timers) -> None:
        self._limits = limits
        self._timers = timers
        self._open: dict[int, OpenRequest] = {}
        self._streams = 0
        self._bytes = 0
        self._replies: list[Reply] = []
        self._own_last = 0
        self._own_replies: list[Reply] = []

    def __len__(self) -> int:
        return len(self._open)

    def __getitem__(self, token: int) -> OpenRequest:
        return self._open[token]

    def admit(self, request: Request) -> OpenRequest | None:
        """Open it, so that it may wait in the queue; None: it has been refused."""
        size = len(request.data)
        waiting = len(self._open) - self._streams
        if size > self._limits.request_bytes_max:
            self.turn_away(request, Reason.TOO_LARGE)
            return None
        if waiting >= self._limits.open_requests_max or (waiting and self._bytes + size > self._limits.open_bytes_max):
            self.turn_away(request, Reason.OVERLOADED)
            return None
        self._bytes += size
        opened = OpenRequest(request.token, request.group, request.work, request.data, request.deadline)
        if request.work is Work.CLUSTER:
            opened.work, opened.kind = Work.PROPOSE, Kind.NODE
        self._open[request.token] = opened
        return opened

    @property
    def is_crowded(self) -> bool:
        """Is nine tenths of what fits taken?"""
        limits, waiting = self._limits, len(self._open) - self._streams
        return waiting * 10 >= limits.open_requests_max * 9 or self._bytes * 10 >= limits.open_bytes_max * 9

    def open_own(self, group: int, kind: Kind, data: bytes, deadline: int) -> OpenRequest:
        """A proposal of the node's own."""
        self._own_last -= 1
        self._bytes += len(data)
        opened = OpenRequest(self._own_last, group, Work.PROPOSE, data, deadline, kind)
        self._open[opened.token] = opened
        return opened

    def open_own_barrier(self, group: int, deadline: int) -> OpenRequest:
        """A read of the node's own, of nothing."""
        self._own_last -= 1
        opened = OpenRequest(self._own_last, group, Work.BARRIER, b"", deadline)
        self._open[opened.token] = opened
        return opened

    def become_proposal(self, request: OpenRequest, kind: Kind, data: bytes) -> None:
        """What was asked for is known: this is to be proposed for it."""
        self._bytes += len(data) - len(request.data)
        request.work, request.kind, request.data = Work.PROPOSE, kind, data

    def turn_away(self, request: Request, reason: Reason) -> None:
        """Refuse what was never opened."""
        self._replies.append(Reply(request.token, Outcome.REFUSED, b"", reason))

    def watch_deadline(self, request: OpenRequest) -> None:
        """It is not answered at once: from now on it may expire."""
        self._timers.set(_DEADLINE, request.token, request.deadline)

    def chunk(self, request: OpenRequest, data: bytes) -> None:
        self._replies.append(Reply(request.token, Outcome.CHUNK, data))

    def end(self, request: OpenRequest, outcome: Outcome, data: bytes = b"", reason: Reason = Reason.NONE) -> None:
        """Answer it, for the last time."""
        self._close(request)
        replies = self._replies if request.token >= 0 else self._own_replies
        replies.append(Reply(request.token, outcome, data, reason))

    def refuse(self, request: OpenRequest, reason: Reason, data: bytes = b"") -> None:
        """Nothing of it has happened or will."""
        self.end(request, Outcome.REFUSED, data, reason)

    def cancel(self, token: int) -> OpenRequest | None:
        """Nobody waits for this one any more; None: it has been answered already."""
        request = self._open.get(token)
        if request is not None:
            self._close(request)
        return request

    def _close(self, request: OpenRequest) -> None:
        del self._open[request.token]
        self._bytes -= len(request.data)
        self._timers.stop(_DEADLINE, request.token)
        if request.continuation is not None:
            self._streams -= 1
        request.ended = True
        request.data = b""  # where it was taken may be remembered for long: its bytes need not be

    # ---- streams

    @property
    def streams_full(self) -> bool:
        return self._streams >= self._limits.streams_max

    def become_stream(self, request: OpenRequest, continuation: Continuation) -> None:
        """The read has begun to answer in parts; what it asked for is no longer needed."""
        self._streams += 1
        self._bytes -= len(request.data)
        self._timers.stop(_DEADLINE, request.token)
        request.data = b""
        request.continuation = continuation

    def streams(self, tokens: Iterable[int]) -> list[OpenRequest]:
        """Those of these requests that are open streams."""
        found = map(self._open.get, tokens)
        return [request for request in found if request is not None and request.continuation is not None]

    def sizes(self) -> Sizes:
        return {
            "open requests": Size(len(self._open)),
            "open streams": Size(self._streams),
            "bytes of open requests": Size(self._bytes),
        }

    def drain_replies(self) -> list[Reply]:
        replies, self._replies = self._replies, []
        return replies

    def drain_own(self) -> Sequence[Reply]:
        """The replies to the node's own requests, since the last call."""
        if not self._own_replies:
            return ()
        replies, self._own_replies = self._own_replies, []
        return replies
