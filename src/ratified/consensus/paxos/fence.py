"""The fence: which of the chosen values are void (rule 13 of the contract).

A later ballot may revive what an earlier one proposed and nobody chose. So that a proposal can be called lost in spite
of that, values have births, and ballots have openings.

Rules of this file:

1. A value has the ballot of its *birth*, in which it was first proposed, and keeps it wherever it is proposed again. A
   no-op that fills a gap is born in (0, 0). A leader's *opening* is a no-op born in its ballot, which it proposes
   behind everything that phase 1 found.
2. The fence is the highest birth of the openings delivered so far. A value with a proposal id that is born below it is
   void: it is delivered as a no-op. All is delivered with the fence as its era, an opening with the raised one.
3. So the fence is a function of the chosen values alone and the same everywhere. It changes at delivery and nowhere
   else, and the store remembers it, in one transaction with the applied index: no ballot in the log implies it.
4. Nothing that was chosen in the ballot of its birth is void. Phase 1 of any later ballot found it, so it lies below
   that ballot's opening.
5. A value without a birth was written before births were. It is never void and never an opening.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import NO_ERA, Entry, Era, Kind

_NOOP = Kind.NOOP


class Fence:
    __slots__ = ("era",)

    def __init__(self, era: Era) -> None:
        self.era = era
        """The fence as of what was delivered last."""

    def on_delivery(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Chosen values as they are delivered, next to those before."""
        return [self._delivered(entry) for entry in entries] if entries else entries

    def _delivered(self, chosen: Entry) -> Entry:
        if self.opens(chosen):
            assert chosen.birth is not None
            self.era = max(self.era, chosen.birth)
        fence = self.era
        if self.voids(chosen):
            return Entry(chosen.index, fence, _NOOP, None, b"", chosen.encoded, chosen.birth)
        if chosen.era == fence:
            return chosen
        return Entry(chosen.index, fence, chosen.kind, chosen.proposal, chosen.data, chosen.encoded, chosen.birth)

    def opens(self, chosen: Entry) -> bool:
        """Is this the opening of the ballot of its birth?"""
        return chosen.kind is _NOOP and chosen.birth is not None and chosen.birth > NO_ERA

    def voids(self, chosen: Entry) -> bool:
        """Is this a proposal that nobody waits for any more?"""
        return chosen.proposal is not None and chosen.birth is not None and chosen.birth < self.era
