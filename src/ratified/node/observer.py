"""What passes between one replica and its engine, shown in the order in which it happens.

An observer only looks: with it and without it a replica does the same. What leaves is shown with the ticket that the
replica waited for, so that whoever observes can hold both against what the engine asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from ratified.consensus.contract import Base, Durable, Proposal, Ready


class ReplicaObserver(Protocol):
    """Observes one group's replica, from one start of its node to the end of that process."""

    def taken(self, proposals: Sequence[Proposal]) -> None:
        """The engine took all of these."""

    def barrier_fed(self, token: int) -> None:
        """The engine is about to be asked for an index to read at."""

    def ready(self, ready: Ready) -> None:
        """The engine gave this, and nothing of it has been acted on."""

    def installed(self, base: Base) -> None:
        """The store was switched to a snapshot's state."""

    def sent(self, member: int, message: object, ticket: int | None) -> None:
        """An engine's message goes to ``member``'s session; ``ticket`` is that of ``send_after``, None for ``send``."""


Observe: TypeAlias = Callable[[int, Durable], ReplicaObserver]
"""``(group, what its engine begins with) -> observer``, called before the engine is made."""
