"""Rule 3, whatever the message: what an engine put behind a write leaves when that write is durable.

Which message waits for which ticket is read from the Readys, and what is durable from the disk. The replica's own word,
the ticket for which it lets a message go, is held against both; and frames carry nothing but what it let go.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ratified.check.violation import Violation
from ratified.consensus.contract import Ready


class Early:
    """One start of one replica. Messages are matched by what they say and to whom."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._records = 0
        """Asked to be written since this start."""
        self._needed: dict[int, int] = {0: 0}
        """By ticket, how many of them must be durable."""
        self._at_once: list[tuple[int, Any]] = []
        self._waiting: dict[int, list[tuple[int, Any]]] = {}
        self._let_go: dict[int, deque[Any]] = {}
        """By peer, what its next frame may carry, in this order."""

    def ready(self, ready: Ready) -> None:
        """The engine gave this."""
        if ready.write is not None:
            self._records += len(ready.write.records)
            self._needed[ready.write.ticket] = self._records
        self._at_once = [(send.to, send.message) for send in ready.send]
        if ready.send_after:
            self._waiting.setdefault(ready.after, []).extend((send.to, send.message) for send in ready.send_after)

    def let_go(self, to: int, message: Any, ticket: int | None, durable: int) -> None:
        """The replica lets a message go, for a ticket or (None) at once; ``durable`` records are on its disk."""
        asked = self._at_once if ticket is None else self._waiting.get(ticket, [])
        try:
            asked.remove((to, message))
        except ValueError:
            when = "at once" if ticket is None else f"for ticket {ticket}"
            raise self._early(f"lets {message} go {when}, as its engine did not ask") from None
        if ticket is not None:
            missing = self._needed[ticket] - durable
            if missing > 0:
                raise self._early(f"sends {message} before {missing} records are durable that it waits for")
            for older in [older for older in self._waiting if older < ticket]:
                del self._waiting[older]
        self._let_go.setdefault(to, deque()).append(message)

    def leaves(self, to: int, message: Any) -> None:
        """A frame carries the message. What was let go to a session that has ended since is passed over."""
        let_go = self._let_go.get(to, ())
        while let_go:
            if let_go.popleft() == message:
                return
        raise self._early(f"sends {message}, which its replica did not let go")

    def _early(self, seen: str) -> Violation:
        return Violation("nothing early", f"{self._who} {seen}")
