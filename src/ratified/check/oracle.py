"""What an oracle of one group can be told, in the order in which things happen.

An oracle overrides the events that it judges by; those that it does not override cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ratified.consensus.contract import Era, Proposal, Ready, Record


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

    def let_go(self, member: int, to: int, message: Any, ticket: int | None) -> None:
        """The member's replica lets an engine's message go, by its own word for ``ticket`` or (None) at once."""

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


def together(oracles: Sequence[Oracle]) -> Oracle:
    """One oracle that tells all of them, in this order."""
    all_of_them = Oracle()
    for event in (name for name in vars(Oracle) if not name.startswith("_")):
        listeners = [getattr(oracle, event) for oracle in oracles if event in vars(type(oracle))]
        setattr(all_of_them, event, listeners[0] if len(listeners) == 1 else partial(_tell, listeners))
    return all_of_them


def _tell(listeners: Sequence[Callable[..., None]], *what: Any) -> None:
    for listener in listeners:
        listener(*what)
