"""What a member is in every role: acceptor and learner state, and what waits to leave it.

Rules of this file:

1. Promise, own ballot, accepted values and chosen prefix change here and nowhere else, and each change asserts what it
   must keep: a promise never falls, nothing is accepted above the promise, what is chosen is chosen for ever.
2. What claims something about this member's own durable state leaves by ``send_after``; everything else by ``send``.
3. A change becomes part of the next write; the disk is believed only through ``Durability`` and ``Slots``.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.consensus.contract import (
    NO_ERA,
    Durable,
    Entry,
    Era,
    Fetch,
    Options,
    ReadIndex,
    Record,
    Send,
    StateRecord,
    Write,
)
from ratified.consensus.paxos.durability import Durability
from ratified.consensus.paxos.messages import Message
from ratified.consensus.paxos.purposes import Purpose
from ratified.consensus.paxos.slots import Slots
from ratified.consensus.paxos.state import AcceptorState, decode_state, encode_state


class Core:
    """One member's state, whatever its role, and its outbox."""

    __slots__ = (
        "_accepted",
        "_fetches_issued",
        "_purposes",
        "_records",
        "_written",
        "chosen",
        "durability",
        "fetches",
        "ignored",
        "member",
        "membership",
        "now",
        "options",
        "outgoing",
        "outgoing_after",
        "own",
        "promised",
        "reads",
        "seen",
        "slots",
    )

    def __init__(self, now: int, options: Options, durable: Durable) -> None:
        assert not durable.memberships, "the log holds a membership entry, which this version cannot follow"
        assert durable.applied >= durable.base.index, "the store is older than the log's base"
        state = decode_state(durable.state)
        self.now = now
        self.options = options
        self.member = options.member
        self.membership = durable.base.membership
        self.promised = self.promise_at_start(state)
        self.own = state.own
        self.seen = NO_ERA
        """The highest ballot that was heard of and not promised here; the next own one is above it too."""
        self.slots = Slots(durable, options.limits)
        self.chosen = max(durable.applied, state.chosen)
        """Every slot up to here is chosen, and what is accepted there is what was chosen."""
        assert self.chosen <= self.slots.durable, "the store, or what is chosen, is ahead of the log"
        self.durability = Durability(self.promised)
        self.outgoing: list[Send] = []
        self.outgoing_after: list[Send] = []
        self.reads: list[ReadIndex] = []
        self.fetches: list[Fetch] = []
        self.ignored: dict[str, int] = {}
        """Messages that were dropped because no correct peer sends them, counted by reason."""
        self._records: list[Record] = []
        self._accepted: list[tuple[int, Era]] = []
        self._written = state
        self._fetches_issued = 0
        self._purposes: dict[int, Purpose] = {}

    # --------------------------------------------------------------------------------------------------- ballots

    def promise_at_start(self, state: AcceptorState) -> Era:
        """An acceptor remembers its promise even if it fails (*Paxos Made Simple*, section 2.5)."""
        return state.promised

    def promise(self, ballot: Era) -> None:
        """Accept nothing below ``ballot`` any more."""
        assert ballot >= self.promised, f"promise {ballot} after {self.promised}"
        self.promised = ballot

    def heard_of(self, ballot: Era) -> None:
        """Somebody has begun ``ballot``; a promise of it is not asked for here."""
        if self.options.extensions.outbid_hearsay:
            self.seen = max(self.seen, ballot)

    def begin_ballot(self) -> None:
        """A new ballot of this member's own, above all that it knows of (section 2.5: never used again), promised."""
        self.own = (max(self.own[0], self.promised[0], self.seen[0]) + 1, self.member)
        self.promise(self.own)

    @property
    def is_voter(self) -> bool:
        """Is this member an acceptor, and may it propose?"""
        return self.member in self.membership.voters or self.member in self.membership.outgoing

    @property
    def peers(self) -> tuple[int, ...]:
        """All other members, ascending."""
        membership = self.membership
        others = {*membership.voters, *membership.outgoing, *membership.learners} - {self.member}
        return tuple(sorted(others))

    # ----------------------------------------------------------------------------------------------------- slots

    def put(self, entries: Sequence[Entry]) -> None:
        """These contiguous entries of one ballot are accepted, and join the next write."""
        era = entries[0].era
        assert era <= self.promised, f"slot {entries[0].index} accepted in {era}, promised is {self.promised}"
        self.slots.put(entries, self.chosen)
        self._records.extend(entries)
        self._accepted.extend([(entry.index, era) for entry in entries])

    def choose_to(self, slot: int) -> None:
        """Everything up to ``slot`` is chosen, for ever, and is what is accepted here."""
        assert slot > self.chosen, f"chosen {self.chosen} -> {slot}"
        self.chosen = slot

    @property
    def closed(self) -> int:
        """Up to here phase 1 asks for nothing, reports nothing and proposes nothing again: these slots are chosen.

        Without ``skip_chosen`` only what is gone from the log is closed.
        """
        return self.chosen if self.options.extensions.skip_chosen else self.slots.base

    @property
    def deliverable(self) -> int:
        """Rule 5 of the contract: chosen *and* durable here; else the store could be ahead of its own log."""
        return min(self.chosen, self.slots.durable)

    # ---------------------------------------------------------------------------------------------------- outbox

    def send(self, to: int, message: Message) -> None:
        """Leaves at once."""
        self.outgoing.append(Send(to, message))

    def send_after(self, to: int, message: Message) -> None:
        """Leaves when everything that was changed so far is durable (rule 3)."""
        self.outgoing_after.append(Send(to, message))

    def fetch(self, first: int, last: int, purpose: Purpose) -> None:
        """Ask for entries that are no longer in memory; they come back together with ``purpose``."""
        self._fetches_issued += 1
        self._purposes[self._fetches_issued] = purpose
        self.fetches.append(Fetch(self._fetches_issued, first, last))

    def is_fetching(self, purpose: Purpose) -> bool:
        """Is a fetch for this purpose under way?"""
        return purpose in self._purposes.values()

    def take_purpose(self, token: int) -> Purpose:
        """What the fetch with this token was for."""
        return self._purposes.pop(token)

    def ignore(self, reason: str) -> None:
        """A message that no correct peer sends is dropped and counted."""
        self.ignored[reason] = self.ignored.get(reason, 0) + 1

    # ----------------------------------------------------------------------------------------------------- disk

    @property
    def next_ticket(self) -> int:
        """The ticket of the write that holds what has changed since the last one."""
        return self.durability.issued + 1

    def take_write(self) -> Write | None:
        """Everything that has changed since the last write; None: nothing. ``chosen`` alone is not worth one."""
        written = self._written
        if not self._records and (self.promised, self.own) == (written.promised, written.own):
            return None
        records, self._records = self._records, []
        accepted, self._accepted = self._accepted, []
        state = AcceptorState(self.promised, self.own, self.chosen)
        if state != written:
            self._written = state
            records.insert(0, StateRecord(encode_state(state)))
        return Write(self.durability.issue(self.promised, accepted, self.now), records)

    def persisted(self, ticket: int) -> list[tuple[int, Era]]:
        """The disk has got as far as ``ticket``: the slots that this made durable, with their ballots."""
        slots = self.slots
        fresh = [pair for pair in self.durability.persisted(ticket) if slots.persisted(*pair)]
        slots.advance_durable()
        slots.evict()
        return fresh
