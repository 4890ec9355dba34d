"""Rule 3, whatever the message: what an engine put behind a write leaves when that write is durable.

Which message waits for which ticket is read from the Readys, and what is durable from the disk. The replica's own word,
the ticket for which it sends a message, is held against both; and frames carry nothing but what it sent.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle
from ratified.check.violation import Violation
from ratified.consensus.contract import Ready
from ratified.consensus.lanes import keeps_order


class _Start:
    """One start of one replica. Messages are matched by what they say and to whom."""

    def __init__(self) -> None:
        self.records = 0
        """Asked to be written so far."""
        self.needed: dict[int, int] = {0: 0}
        """By ticket, how many of them must be durable."""
        self.at_once: list[tuple[int, Any]] = []
        self.waiting: dict[int, list[tuple[int, Any]]] = {}
        self.sent: dict[tuple[int, bool], deque[Any]] = {}
        """By peer and lane, what its next frames may carry, in this order."""


class Early(Oracle):
    def __init__(self, group: GroupChecks[Any]) -> None:
        self._group = group
        self._starts: dict[int, _Start] = {}

    def started(self, member: int, applied: int) -> None:
        self._starts[member] = _Start()

    def ready(self, member: int, ready: Ready) -> None:
        start = self._starts[member]
        if ready.write is not None:
            start.records += len(ready.write.records)
            start.needed[ready.write.ticket] = start.records
        start.at_once = [(send.to, send.message) for send in ready.send]
        if ready.send_after:
            start.waiting.setdefault(ready.after, []).extend((send.to, send.message) for send in ready.send_after)

    def sent(self, member: int, to: int, message: Any, ticket: int | None) -> None:
        start = self._starts[member]
        asked = start.at_once if ticket is None else start.waiting.get(ticket, [])
        try:
            asked.remove((to, message))
        except ValueError:
            when = "at once" if ticket is None else f"for ticket {ticket}"
            raise self._early(member, f"lets {message} go {when}, as its engine did not ask") from None
        if ticket is not None:
            missing = start.needed[ticket] - self._group.members[member].disk.records
            if missing > 0:
                raise self._early(member, f"sends {message} before {missing} records are durable that it waits for")
            for older in [older for older in start.waiting if older < ticket]:
                del start.waiting[older]
        start.sent.setdefault((to, keeps_order(message)), deque()).append(message)

    def leaves(self, member: int, to: int, message: Any) -> None:
        sent = self._starts[member].sent.get((to, keeps_order(message)), ())
        while sent:  # what was sent to a session that has ended since is passed over
            if sent.popleft() == message:
                return
        raise self._early(member, f"sends {message}, which its replica did not let go")

    def _early(self, member: int, seen: str) -> Violation:
        return self._group.violation("nothing early", f"member {member} {seen}")
