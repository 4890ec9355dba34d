"""Who waits for which request: callbacks by token, and a count of how requests ended.

The node has the requests themselves. A callback stands here because it must be called exactly once or never again
whatever happens to the node: after a cancel no reply reaches it, not even one that a turn has given already, and when
the node has ended with an exception all that are left are answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from ratified.node.ports import Outcome, Reason, Reply

OnReply: TypeAlias = Callable[[Reply], None]

# A member of an enum costs more each time, on CPython 3.11, than what is done with it here.
_CHUNK = Outcome.CHUNK
_DONE = Outcome.DONE


class RequestCounters(msgspec.Struct):
    """How this host's requests went since its start."""

    done: int = 0
    refused: int = 0
    unknown: int = 0
    cancelled: int = 0
    chunks: int = 0


class Callbacks:
    def __init__(self) -> None:
        self.counters = RequestCounters()
        self._tokens = 0
        self._waiting: dict[int, OnReply] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, on_reply: OnReply) -> int:
        """Returns its token, which is never used again."""
        self._tokens += 1
        self._waiting[self._tokens] = on_reply
        return self._tokens

    def cancel(self, token: int) -> bool:
        """Forget a callback; False: the request has ended already."""
        if self._waiting.pop(token, None) is None:
            return False
        self.counters.cancelled += 1
        return True

    def call(self, reply: Reply) -> None:
        outcome = reply.outcome
        if outcome is _CHUNK:
            on_reply = self._waiting.get(reply.token)
            self.counters.chunks += 1
        else:
            on_reply = self._waiting.pop(reply.token, None)
            if outcome is _DONE:
                self.counters.done += 1
            elif outcome is Outcome.REFUSED:
                self.counters.refused += 1
            else:
                self.counters.unknown += 1
        if on_reply is not None:
            on_reply(reply)

    def unanswered(self, reason: Reason) -> list[Reply]:
        """What to answer where nobody else will any more: each of them may have happened."""
        return [Reply(token, Outcome.UNKNOWN, b"", reason) for token in self._waiting]
