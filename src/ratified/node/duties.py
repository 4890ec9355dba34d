"""What only a leader's store does: its duties, such as expiring leases.

- They begin when the engine serves in an era of its own, with nothing remembered of earlier ones, and end with it.
- They are proposed on the own engine and never forwarded.
- The first of an era tells the store the era; further ones, and questions, start when that one is applied.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Era, Lead, Proposal, Size, Sizes
from ratified.machine import Store
from ratified.node.proposals import ProposalIds


class Duties:
    def __init__(self, store: Store, ids: ProposalIds) -> None:
        self._store = store
        self._ids = ids
        self._era: Era | None = None
        self._first: int | None = None
        """The sequence of the era's first duty until it is applied."""
        self._pending: list[Proposal] = []
        self._next_at: int | None = None

    def leader_changed(self, now: int, lead: Lead) -> None:
        era = lead.era if lead.member == self._ids.member and lead.serving else None
        if era == self._era:
            return
        self._era = era
        self._first = None
        self._pending = []
        self._next_at = None
        self._store.lead(now, era)
        if era is not None:
            self._collect(now)
            if self._pending:
                self._first = self._pending[0].id.sequence

    def questions_open_in(self) -> Era | None:
        """The era in which questions may be answered: the present one, once its first duty was applied."""
        return self._era if self._first is None else None

    def on_applied(self, now: int, sequences: Sequence[int]) -> None:
        """Entries were applied, those of our own with these sequences among them: there may be something to do."""
        if self._era is None:
            return
        if self._first is not None:
            if self._first not in sequences:
                return
            self._first = None
        self._collect(now)

    def on_time(self, now: int) -> None:
        deadline = self.deadline
        if deadline is not None and deadline <= now:
            self._collect(now)

    @property
    def deadline(self) -> int | None:
        """When the store wants to be asked for duties; never while the era's first one is not applied."""
        return self._next_at if self._first is None else None

    @property
    def waiting(self) -> bool:
        return bool(self._pending)

    def pending_in(self, leading: Era, count_max: int) -> Sequence[Proposal]:
        """What to propose, at most so many, if the engine still leads in the era of these duties."""
        return self._pending[:count_max] if leading == self._era else ()

    def proposed(self, count: int) -> None:
        """The engine took the oldest so many."""
        del self._pending[:count]

    def sizes(self) -> Sizes:
        return {"duties to propose": Size(len(self._pending))}

    def _collect(self, now: int) -> None:
        commands, self._next_at = self._store.duties(now)
        self._pending.extend(self._ids.named(self._ids.next(), command) for command in commands)
