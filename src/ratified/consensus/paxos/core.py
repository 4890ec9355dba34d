"""What a member is in every role: acceptor and learner state.

Rules of this file:

1. Promise, own ballot, accepted values and chosen prefix change here and nowhere else, and each change asserts what it
   must keep: a promise never falls, nothing is accepted above the promise, what is chosen is chosen for ever.
2. A change becomes part of the next write; the disk is believed only through ``Writes`` and ``Slots``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Durable,
    Entry,
    Era,
    Kind,
    Membership,
    StateRecord,
    Write,
)
from ratified.consensus.entry import decode_configuration
from ratified.consensus.paxos.extensions import PaxosExtensions
from ratified.consensus.paxos.fence import Fence
from ratified.consensus.paxos.slots import Slots
from ratified.consensus.paxos.state import AcceptorState, decode_state, encode_state
from ratified.consensus.replication.member import Member

_MEMBERSHIP = Kind.MEMBERSHIP


class Claim(NamedTuple):
    """What a write stands for: a slot that was accepted again in a later ballot meanwhile is not among them."""

    promised: Era
    accepted: Sequence[tuple[int, Era]]
    chosen: int


class Core:
    """One member's state, whatever its role."""

    __slots__ = (
        "_accepted",
        "_configurations_accepted",
        "_written",
        "configurations",
        "durable_chosen",
        "durable_promise",
        "extensions",
        "fence",
        "member",
        "options",
        "outbox",
        "own",
        "promised",
        "seen",
        "slots",
    )

    def __init__(self, member: Member[Claim], durable: Durable, extensions: PaxosExtensions) -> None:
        self._written = state = decode_state(durable.state)
        self.promised = self.durable_promise = self.promise_at_start(state)
        self.own = state.own
        self.seen = NO_ERA
        """The highest ballot that was heard of and not promised here; the next own one is above it too."""
        self.fence = Fence(self.fence_at_start(durable))
        self.slots = Slots(durable, state.chosen, member.options.limits)
        self.durable_chosen = max(state.chosen, self.slots.base)
        """What the disk says is chosen."""
        self._accepted: list[tuple[int, Era]] = []
        self.configurations = member.configurations
        self._configurations_accepted: dict[int, Membership] = {}
        """By slot that is not known to be chosen, the configuration that is accepted there, if one is."""
        self._note_configurations(durable.memberships, self.slots.base)
        self._apply_configurations()
        self.member = member
        self.options = member.options
        self.extensions = extensions
        self.outbox = member.outbox

    @property
    def era(self) -> Era:
        """The promised ballot, as it is reported."""
        return self.promised

    @property
    def log(self) -> Slots:
        return self.slots

    def fence_at_start(self, durable: Durable) -> Era:
        """The store's word for it: ballots and births in the log do not imply the fence (rule 13 of the contract)."""
        return durable.applied_era

    # --------------------------------------------------------------------------------------------------- ballots

    def promise_at_start(self, state: AcceptorState) -> Era:
        """An acceptor remembers its promise even if it fails (*Paxos Made Simple*, section 2.5)."""
        return state.promised

    def promise(self, ballot: Era) -> None:
        assert ballot >= self.promised, f"promise {ballot} after {self.promised}"
        self.promised = ballot

    def heard_of(self, ballot: Era) -> None:
        """Somebody has begun ``ballot``; a promise of it is not asked for here."""
        if self.extensions.outbid_hearsay:
            self.seen = max(self.seen, ballot)

    def begin_ballot(self) -> None:
        """A new ballot of this member's own, above all that it knows of (section 2.5: never used again), promised."""
        self.own = (max(self.own[0], self.promised[0], self.seen[0]) + 1, self.member.id)
        self.promise(self.own)

    # ----------------------------------------------------------------------------------------------------- slots

    def put(self, entries: Sequence[Entry]) -> None:
        """These contiguous entries of one ballot are accepted, and join the next write."""
        era = entries[0].era
        assert era <= self.promised, f"slot {entries[0].index} accepted in {era}, promised is {self.promised}"
        self.slots.put(entries)
        self.member.receive()
        self.outbox.records += entries
        self._accepted.extend([(entry.index, era) for entry in entries])
        self._note_configurations(entries, self.slots.chosen)

    def _note_configurations(self, entries: Sequence[Entry], known: int) -> None:
        """Up to ``known`` the configurations are in force already."""
        for entry in entries:
            if entry.kind is _MEMBERSHIP and entry.index > known:
                self._configurations_accepted[entry.index], _ = decode_configuration(entry.data)
            elif self._configurations_accepted:
                self._configurations_accepted.pop(entry.index, None)

    def choose_to(self, slot: int) -> None:
        """Everything up to ``slot`` is chosen, for ever, and is what is accepted here."""
        self.slots.choose_to(slot)
        if self._configurations_accepted:
            self._apply_configurations()

    def _apply_configurations(self) -> None:
        """A configuration is in force when it is chosen, and all below it is: then it cannot be void any more
        (``leader``, rule 6). Whom it leaves out may campaign on, for it may be known to them alone; the probe
        sees to it that they disturb nobody.
        """
        chosen = self.slots.chosen
        for slot in sorted(slot for slot in self._configurations_accepted if slot <= chosen):
            self.configurations.append(slot, self._configurations_accepted.pop(slot))
            self.configurations.commit_to(slot - 1)

    def compact(self, base: Base) -> None:
        """What is at or below the base, all of it chosen, is gone."""
        self.slots.compact(base.index)
        self.configurations.compact(base)
        self.outbox.records.append(BaseRecord(base))

    def install(self, base: Base) -> None:
        """A snapshot has what was chosen up to the base."""
        self.slots.install(base.index)
        self.member.receive()
        accepted = self._configurations_accepted
        self._configurations_accepted = {slot: each for slot, each in accepted.items() if slot > base.index}
        self.configurations.replace(base)
        self.outbox.records.append(BaseRecord(base))

    @property
    def is_installed(self) -> bool:
        """Is the store where the log begins, so that what lies below counts as known?"""
        return self.member.snapshots.installing is None

    @property
    def closed(self) -> int:
        """Up to here phase 1 asks for nothing, reports nothing and proposes nothing again: these slots are chosen.

        Without ``skip_chosen`` only what is gone from the log is closed.
        """
        return self.slots.chosen if self.extensions.skip_chosen else self.slots.base

    # ----------------------------------------------------------------------------------------------------- disk

    @property
    def next_ticket(self) -> int:
        """The ticket of the write that holds what has changed since the last one."""
        return self.member.writes.issued + 1

    def take_write(self) -> Write | None:
        """Everything that has changed since the last write; None: nothing. ``chosen`` alone is not worth one, unless a
        configuration is among what was chosen."""
        written = self._written
        records = self.outbox.take_records()
        if not records and (self.promised, self.own) == (written.promised, written.own) and not self._must_say_chosen:
            return None
        state = AcceptorState(self.promised, self.own, self.slots.chosen)
        if state != written:
            self._written = state
            records.insert(0, StateRecord(encode_state(state)))
        claim = Claim(self.promised, self._accepted, state.chosen)
        self._accepted = []
        return Write(self.member.writes.issue(self.slots.last, claim, self.member.now), records)

    @property
    def _must_say_chosen(self) -> bool:
        """Is a configuration in force that a restart would not find? It may be the first one in which anybody votes."""
        return self.configurations.since > max(self._written.chosen, self.slots.base)

    def persisted(self, ticket: int) -> list[tuple[int, Era]]:
        """The disk has got as far as ``ticket``: the slots that this made durable, with their ballots."""
        slots = self.slots
        fresh: list[tuple[int, Era]] = []
        for write in self.member.writes.persisted(ticket):
            self.durable_promise = write.claim.promised
            self.durable_chosen = write.claim.chosen
            fresh += [pair for pair in write.claim.accepted if slots.persisted(*pair)]
        slots.advance_durable()
        slots.evict()
        return fresh
