"""The acceptor (*Paxos Made Simple*, section 2.2, phases 1b and 2b), for all slots at once (section 3).

Rules of this file:

1. P1a: a proposal is accepted unless a Prepare with a higher ballot was answered. One promise holds for every slot.
2. A Promise says all that is accepted from the slot asked for on, in parts of bounded size: each Prepare is answered by
   the part that begins at its ``first``. Between two parts only what is allowed under the promise can be accepted, or
   what was chosen learned; neither makes an earlier part wrong. A part with values is not made while earlier messages
   wait to be sent to the proposer, who asks again; nor while a snapshot is installed, which closes slots.
3. Promise, Accepted and Nack speak of durable state, so they wait for it (section 2.5).
4. A message is checked as a whole before anything changes. What is proposed at or below the base is not accepted: the
   slot is chosen, and the proposer is told so.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import Entry, Era
from ratified.consensus.paxos.core import Core
from ratified.consensus.paxos.messages import Accept, Accepted, Learned, Prepare, Promise
from ratified.consensus.paxos.purposes import ForPromise
from ratified.consensus.replication.incoming import UnfitEntries, check_sequence, decode_entries


class Acceptor:
    __slots__ = ("_asked_in", "_core", "_furthest")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._asked_in: Era = (0, 0)
        """The ballot of the latest Prepare that was promised."""
        self._furthest = 0
        """The highest slot from which on it asked."""

    def may_promise(self, ballot: Era) -> bool:
        """Phase 1b; equal: the same proposer asks again, or for the next part."""
        return ballot >= self._core.promised

    def promise(self, message: Prepare) -> bool:
        """Phase 1b of a ballot that may be promised; False: the same was asked before."""
        core = self._core
        fresh = message.ballot > core.promised
        if not fresh and message.first <= self._furthest:
            return False
        core.promise(message.ballot)
        self._asked_in, self._furthest = message.ballot, message.first
        return True

    @property
    def is_reporting(self) -> bool:
        """Is what the proposer of the promised ballot must be told still on its way?

        Not where that one lacks chosen values as well: another member can lead before it has learned them.
        """
        core = self._core
        asked = self._asked_in == core.promised and self._furthest > core.closed
        return asked and not core.options.links.is_clear(core.promised[1])

    def may_accept(self, ballot: Era) -> bool:
        """Phase 2b."""
        return ballot >= self._core.promised

    # ------------------------------------------------------------------------------------------------- phase 1b

    def report(self, first: int) -> Promise | None:
        """What is accepted from ``first`` on, as one part of the promise; None: it is being fetched, or cannot be sent.

        Closed slots are not reported one by one: the proposer learns them instead.
        """
        core = self._core
        if not core.is_installed:
            return None
        slots = core.slots
        begin = slots.next_accepted(max(first, core.closed + 1))
        if begin is None:
            return self._part(first, (), slots.last)
        if not core.options.links.has_credit(core.promised[1]):
            return None
        entries, _ = slots.message(begin, slots.last)
        if entries:
            return self._part(first, entries, slots.last)
        core.outbox.fetch(slots.missing(begin, slots.last), ForPromise(core.promised, first))
        return None

    def report_fetched(self, purpose: ForPromise, fetched: Sequence[Entry]) -> Promise | None:
        """The part that had to be fetched; None: it is of no use any more, and will be asked for again."""
        core = self._core
        if purpose.ballot != core.promised or not core.is_installed:
            return None
        entries, _ = core.slots.fit(fetched)
        return self._part(purpose.first, entries, core.slots.last) if entries else None

    def _part(self, first: int, entries: Sequence[Entry], end: int) -> Promise:
        core = self._core
        last = entries[-1].index if entries else max(end, first)
        complete = not entries or core.slots.next_accepted(last + 1) is None
        return Promise(core.promised, first, last, complete, core.closed, [entry.encoded for entry in entries])

    # ------------------------------------------------------------------------------------------------- phase 2b

    def on_accept(self, message: Accept) -> Accepted | None:
        """Accept what is proposed above the base; the answer, or None where there is nothing to accept."""
        core = self._core
        proposed = self._decode(message)
        if proposed and proposed[0].index <= core.slots.base:
            core.outbox.send(message.ballot[1], Learned(core.slots.chosen, ()))
        entries = [entry for entry in proposed if entry.index > core.slots.base]
        if not entries:
            return None
        first, last = entries[0].index, entries[-1].index
        if first - core.slots.last > core.options.limits.gap_entries_max:
            core.outbox.ignore("Accept far above the last accepted slot")
            return None
        core.promise(message.ballot)
        self._put_new(entries)
        return Accepted(message.ballot, first, last)

    def _put_new(self, entries: Sequence[Entry]) -> None:
        """Accept what is not accepted in this ballot already (messages may come twice)."""
        core = self._core
        fresh: list[Entry] = []
        for entry in entries:
            if core.slots.ballot_at(entry.index) != entry.era:
                fresh.append(entry)
            elif fresh:
                core.put(fresh)
                fresh = []
        if fresh:
            core.put(fresh)

    def _decode(self, message: Accept) -> Sequence[Entry]:
        """The message's entries, contiguous and of its ballot; none (and counted) where they are not."""
        try:
            entries = decode_entries(message.entries)
            if entries:
                check_sequence(entries, entries[0].index, message.ballot, message.ballot)
        except UnfitEntries as unfit:
            self._core.outbox.ignore(f"Accept: {unfit}")
            return ()
        return entries
