"""What an oracle of one group can be told, in the order in which things happen.

An oracle overrides the events that it judges by; those that it does not override cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec

from ratified.consensus.contract import Era, Proposal, Ready, Record

P = ParamSpec("P")


class Oracle:
    """Judges one group, whose members' logs and disks it finds there; every event may raise ``Violation``."""

    def asks(self, member: int, record: Record) -> None:
        """The member's engine asks to write this record; its log has all that comes before it."""

    def durable(self, member: int, record: Record) -> None:
        """The member's disk has got hold of this record."""

    def recovered(self, member: int) -> None:
        """The member's disk holds what was durable, and perhaps more of what was written."""

    def started(self, member: int, applied: int) -> None:
        """An engine is made from that, over a store with this applied index; all else is forgotten."""

    def taken(self, member: int, proposals: Sequence[Proposal]) -> None:
        """The member's engine took these."""

    def barrier_fed(self, member: int, token: int) -> None:
        """A read barrier is fed to the member's engine."""

    def ready(self, member: int, ready: Ready) -> None:
        """The member's engine gave this, and nothing of it has been acted on."""

    def sent(self, member: int, to: int, message: Any, ticket: int | None) -> None:
        """The member's replica sends an engine's message, by its own word for ``ticket`` or (None) at once."""

    def leaves(self, member: int, to: int, message: Any) -> None:
        """A frame that leaves the member carries an engine's message."""

    def forward_arrives(self, leader: int, era: Era, origin: int, incarnation: int, number: int) -> None:
        """A forwarded proposal, or a void, reaches the member that leads in ``era``."""

    def forward_answered(
        self, leader: int, era: Era, origin: int, incarnation: int, number: int, index: int | None
    ) -> None:
        """``leader`` answers ``origin``'s proposal with this number: taken at ``index``, or refused (None)."""

    def digest(self, member: int, applied: int, digest: bytes) -> None:
        """The member's store has this digest at this applied index."""


class Listeners:
    """By event, those of some oracles that judge by it, in their order."""

    def __init__(self, oracles: Sequence[Oracle]) -> None:
        self.asks = _overriding(Oracle.asks, oracles)
        self.durable = _overriding(Oracle.durable, oracles)
        self.recovered = _overriding(Oracle.recovered, oracles)
        self.started = _overriding(Oracle.started, oracles)
        self.taken = _overriding(Oracle.taken, oracles)
        self.barrier_fed = _overriding(Oracle.barrier_fed, oracles)
        self.ready = _overriding(Oracle.ready, oracles)
        self.sent = _overriding(Oracle.sent, oracles)
        self.leaves = _overriding(Oracle.leaves, oracles)
        self.forward_arrives = _overriding(Oracle.forward_arrives, oracles)
        self.forward_answered = _overriding(Oracle.forward_answered, oracles)
        self.digest = _overriding(Oracle.digest, oracles)


def _overriding(event: Callable[Concatenate[Oracle, P], None], oracles: Sequence[Oracle]) -> list[Callable[P, None]]:
    name = event.__name__
    return [getattr(oracle, name) for oracle in oracles if getattr(type(oracle), name) is not event]
