"""The invariants of Multi-Paxos, from what its members write and say (*Paxos Made Simple*, section 2.2).

- *Promise monotone*: a member's promise never falls, restarts or not; its own ballots rise and are its own.
- *An accept respects the promise* (P1a): nothing is accepted below the promise, except a value that is chosen already
  and was learned.
- *One value per slot and ballot*: in proposals, in logs, in reports.
- *P2c*: for a value proposed in a slot and ballot there is a quorum, each of which promised this ballot, that reported
  the value as its highest or reported nothing there; a quorum of the configuration that the proposer is in, for one
  that was overtaken may not know of a later one. What it proposes then is never chosen (*Configurations*).
- *Chosen is for ever* (P2): a value is chosen when a quorum of disks has got hold of it in one ballot; a slot has one
  chosen value. What is said to be chosen (Decided, Heartbeat, Learned) is.
- *Configurations* (rule 6): a quorum is one of the configuration that the chosen slots below give, and a ballot counts
  in a slot only if its proposer has proposed for that configuration, a quorum of which has promised it. A change is
  first proposed when all below it is chosen, and nothing is proposed above one that is not chosen.
- *The fence* (rule 13 of the contract): which of the chosen values are void, and with which era each is delivered, is a
  function of the chosen values and their births, counted here once for all members. Nothing is void that was chosen in
  the ballot of its birth. A birth is part of the value in all of the above.
- *Nothing early* (rule 3): Prepare, Promise, Accepted and refusals leave when the sender's disk has what they claim,
  and no probe, answer to one or resignation names a ballot that it lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ratified.check.configurations import at
from ratified.check.group import GroupChecks
from ratified.check.oracle import Oracle
from ratified.check.violation import Violation
from ratified.consensus.contract import (
    NO_ERA,
    BaseRecord,
    Entry,
    Era,
    Kind,
    Membership,
    Ready,
    Record,
    StateRecord,
)
from ratified.consensus.entry import decode_configuration, decode_entry
from ratified.consensus.paxos import decode_state
from ratified.consensus.paxos.messages import (
    Accept,
    Accepted,
    Decided,
    Heartbeat,
    HeartbeatAnswer,
    Learned,
    Nack,
    Prepare,
    Probe,
    ProbeAnswer,
    Promise,
    Resign,
    TimeoutNow,
)
from ratified.consensus.paxos.state import AcceptorState
from ratified.consensus.quorum import is_quorum

NOTHING: tuple[Era, int] = (NO_ERA, 0)


def value_of(entry: Entry) -> int:
    """What an entry is apart from slot and ballot."""
    return hash((entry.kind, entry.proposal, entry.data, entry.birth))


def chosen_value(delivered: Entry) -> Entry:
    """What the fence was asked about: the log's entry."""
    return decode_entry(delivered.encoded)


class AcceptorImage:
    """One acceptor: its state, and by slot the ballot and value last accepted."""

    __slots__ = ("accepted", "base", "ever", "records", "state")

    def __init__(self) -> None:
        self.state = b""
        self.base = 0
        self.records = 0
        self.accepted: dict[int, tuple[Era, int]] = {}
        self.ever: set[tuple[int, Era]] = set()
        """Every (slot, ballot) accepted so far; only asked for membership."""

    @property
    def acceptor(self) -> AcceptorState:
        return decode_state(self.state)

    @property
    def last(self) -> int:
        return max(self.accepted, default=self.base)

    def take(self, record: Record) -> None:
        self.records += 1
        match record:
            case StateRecord(data):
                self.state = data
            case Entry():
                self.accepted[record.index] = record.era, value_of(record)
                self.ever.add((record.index, record.era))
            case BaseRecord(base):
                self.base = base.index
                for slot in [slot for slot in self.accepted if slot <= base.index]:
                    del self.accepted[slot]

    def copy(self) -> AcceptorImage:
        twin = AcceptorImage()
        twin.state, twin.base, twin.records = self.state, self.base, self.records
        twin.accepted, twin.ever = dict(self.accepted), set(self.ever)
        return twin

    def keep_history(self, of: AcceptorImage) -> None:
        self.ever |= of.ever

    def same_log(self, other: AcceptorImage) -> bool:
        return (self.state, self.base, self.accepted) == (other.state, other.base, other.accepted)


@dataclass(slots=True)
class Report:
    """What one member told the proposer of a ballot, as far as its promise's parts have left."""

    first: int
    to: int | None
    """The last slot that was told about; None: nothing is accepted behind."""
    accepted: dict[int, tuple[Era, int]]

    def covers(self, slot: int) -> bool:
        return self.first <= slot and (self.to is None or slot <= self.to)


class FenceChecks:
    """The fence, counted from the values that were delivered anywhere; ``chosen_in`` is by slot the lowest ballot in
    which its value is known to have been chosen."""

    def __init__(self, counters: Counter[str], chosen_in: Mapping[int, Era]) -> None:
        self._counters = counters
        self._chosen_in = chosen_in
        self._fences: list[Era] = [NO_ERA]
        """By slot, the fence with which it is to be delivered."""

    def delivered(self, member: int, entry: Entry) -> None:
        chosen = chosen_value(entry)
        slot, birth = chosen.index, chosen.birth
        if slot == len(self._fences):
            opens = chosen.kind is Kind.NOOP and birth is not None and birth != NO_ERA
            self._fences.append(max(birth, self._fences[-1]) if opens and birth is not None else self._fences[-1])
        fence = self._fences[slot]
        if entry.era != fence:
            raise Violation("fence", f"member {member} delivers slot {slot} with era {entry.era}; the fence is {fence}")
        void = chosen.proposal is not None and birth is not None and birth < fence
        self._counters["void values delivered"] += void
        if void and self._chosen_in.get(slot) == birth:
            raise Violation("fence", f"the value in slot {slot} was chosen in its own ballot {birth}, and is void")
        due = (Kind.NOOP, None, b"") if void else (chosen.kind, chosen.proposal, chosen.data)
        if (entry.kind, entry.proposal, entry.data) != due:
            raise Violation(
                "fence",
                f"member {member} delivers a {entry.kind.name} in slot {slot}, chosen is a {chosen.kind.name} born in "
                f"{birth}, and the fence is {fence}",
            )


class PaxosChecks(Oracle):
    def __init__(self, group: GroupChecks[AcceptorImage]) -> None:
        self._group = group
        self._configurations: list[tuple[int, Membership]] = [(0, group.membership)]
        """By the slot from which on they count."""
        self._membership_of: dict[int, Membership] = {}
        """By value, of those that are configurations."""
        self._birth_of: dict[int, Era] = {}
        """By value, of configurations and openings."""
        self._prefix_fence = NO_ERA
        """The fence behind the chosen prefix."""
        self._configurations_open: set[int] = set()
        """Slots above the chosen prefix with a configuration accepted in them."""
        self._proposed_configurations: dict[Era, int] = {}
        """By ballot, the last slot in which its proposer has proposed one."""
        self._proposed_for: dict[tuple[int, Era], Membership | None] = {}
        """By slot and ballot, in which configuration its proposer was when it proposed there."""
        self._ballots: dict[int, list[Era]] = {}
        """By slot that is not chosen, in which ballots anything is accepted there."""
        self._states = dict.fromkeys(group.members, decode_state(b""))
        """What each acceptor is to remember as of its last Ready: a write becomes durable as a whole."""
        self._values: dict[tuple[int, Era], int] = {}
        self._holders: dict[tuple[int, Era], list[int]] = {}
        self._chosen: dict[int, int] = {}
        self._chosen_in: dict[int, Era] = {}
        """By slot, the lowest ballot in which its value is known to have been chosen."""
        self._fence = FenceChecks(group.counters, self._chosen_in)
        self._chosen_to = 0
        self._reports: dict[Era, dict[int, Report]] = {}

    @property
    def chosen_to(self) -> int:
        """The prefix of slots in which a value is chosen."""
        return self._chosen_to

    # ----------------------------------------------------------------------------------------------------- records

    def asks(self, member: int, record: Record) -> None:
        if isinstance(record, Entry):
            self._new_accept(member, self._group.members[member].log, record)

    def ready(self, member: int, ready: Ready) -> None:
        for record in () if ready.write is None else ready.write.records:
            if isinstance(record, StateRecord):
                self._new_state(member, self._group.members[member].log, decode_state(record.data))
        for entry in ready.deliver:
            if self._chosen.get(entry.index) != value_of(chosen_value(entry)):
                raise Violation("chosen is for ever", f"member {member} delivers slot {entry.index}, not chosen so")
            self._fence.delivered(member, entry)

    def _new_state(self, member: int, image: AcceptorImage, state: AcceptorState) -> None:
        before = self._states[member]
        if state.promised < before.promised:
            raise Violation("promise monotone", f"member {member} promises {state.promised} after {before.promised}")
        if state.own < before.own or state.own > state.promised:
            raise Violation("own ballot", f"member {member} begins {state.own} after {before.own}, {state.promised}")
        if state.own != before.own:
            if state.own[1] != member:
                raise Violation("own ballot", f"member {member} begins {state.own}, which is not its own")
            told = {slot: accepted for slot, accepted in image.accepted.items() if slot > before.chosen}
            self._reports.setdefault(state.own, {})[member] = Report(before.chosen + 1, None, told)
        if state.chosen < before.chosen:
            raise Violation("chosen is for ever", f"member {member} knows {state.chosen} after {before.chosen}")
        self._states[member] = state

    def _new_accept(self, member: int, image: AcceptorImage, entry: Entry) -> None:
        slot, ballot = entry.index, entry.era
        value = value_of(entry)
        self._note(entry, value)
        self._one_value(slot, ballot, value, f"member {member} accepts")
        promised = self._states[member].promised
        if ballot < promised and self._chosen.get(slot) != value:
            raise Violation(
                "an accept respects the promise",
                f"member {member} accepts slot {slot} in {ballot} after promising {promised}",
            )
        known = image.accepted.get(slot)
        if known is not None and ballot < known[0]:
            raise Violation("an accept respects the promise", f"member {member} accepts {ballot} over {known[0]}")
        if ballot[1] == member:
            self._proposed_for.setdefault((slot, ballot), self._group.members[member].membership)
            self._stands_alone(member, entry)
            self._p2c(slot, ballot, value)

    def _note(self, entry: Entry, value: int) -> None:
        if entry.kind is Kind.MEMBERSHIP:
            self._membership_of[value], _ = decode_configuration(entry.data)
            self._birth_of[value] = entry.birth or NO_ERA
            if entry.index > self._chosen_to:
                self._configurations_open.add(entry.index)
        elif entry.kind is Kind.NOOP and entry.birth:
            self._birth_of[value] = entry.birth

    def _stands_alone(self, member: int, entry: Entry) -> None:
        """Rule 6: the drain."""
        slot, ballot = entry.index, entry.era
        if entry.kind is Kind.MEMBERSHIP:
            if entry.birth == ballot and slot > self._chosen_to + 1:
                raise Violation(
                    "drain",
                    f"member {member} proposes a configuration in slot {slot}; chosen is up to {self._chosen_to}",
                )
            self._proposed_configurations[ballot] = max(slot, self._proposed_configurations.get(ballot, 0))
        elif self._chosen_to < self._proposed_configurations.get(ballot, 0) < slot:
            raise Violation("drain", f"member {member} proposes slot {slot} above a configuration that is not chosen")

    def durable(self, member: int, record: Record) -> None:
        if isinstance(record, Entry):
            self._held(member, record.index, record.era, value_of(record))

    def recovered(self, member: int) -> None:
        for slot, (ballot, value) in self._group.members[member].disk.accepted.items():
            self._held(member, slot, ballot, value)

    def started(self, member: int, applied: int) -> None:
        self._states[member] = self._group.members[member].disk.acceptor

    def _held(self, member: int, slot: int, ballot: Era, value: int) -> None:
        holders = self._holders.setdefault((slot, ballot), [])
        if member in holders:
            return
        holders.append(member)
        if slot > self._chosen_to and ballot not in self._ballots.setdefault(slot, []):
            self._ballots[slot].append(ballot)
        self._values.setdefault((slot, ballot), value)
        self._weigh(slot, ballot)
        self._advance()

    def _advance(self) -> None:
        """Slot by slot: what is chosen in one says who chooses in the next."""
        while True:
            slot = self._chosen_to + 1
            for ballot in self._ballots.get(slot, ()):
                self._weigh(slot, ballot)
            value = self._chosen.get(slot)
            if value is None:
                return
            self._chosen_to = slot
            self._ballots.pop(slot, None)
            self._configurations_open.discard(slot)
            birth = self._birth_of.get(value, NO_ERA)
            if value not in self._membership_of:
                self._prefix_fence = max(self._prefix_fence, birth)
            elif birth >= self._prefix_fence:
                self._configurations.append((slot + 1, self._membership_of[value]))
                self._group.counters["configurations chosen"] += 1

    def _weigh(self, slot: int, ballot: Era) -> None:
        """Is the value of this ballot chosen in the slot? Not to be known while a configuration may come before it."""
        if any(configuration < slot for configuration in self._configurations_open):
            return
        membership = at(self._configurations, slot)
        if is_quorum(membership, self._holders[slot, ballot]) and self._is_for(membership, slot, ballot):
            self._choose(slot, ballot, self._values[slot, ballot])

    def _is_for(self, membership: Membership, slot: int, ballot: Era) -> bool:
        """Did the proposer mean this configuration? It matters only where there was more than one."""
        if len(self._configurations) == 1:
            return True
        reports = self._reports.get(ballot, {})
        promised = [member for member, report in reports.items() if report.covers(slot)]
        return self._proposed_for.get((slot, ballot)) == membership and is_quorum(membership, promised)

    def _choose(self, slot: int, ballot: Era, value: int) -> None:
        if self._chosen.setdefault(slot, value) != value:
            raise Violation("chosen is for ever", f"a second value is chosen in slot {slot}")
        self._chosen_in[slot] = min(ballot, self._chosen_in.get(slot, ballot))

    def _one_value(self, slot: int, ballot: Era, value: int, who: str) -> None:
        if self._values.setdefault((slot, ballot), value) != value:
            raise Violation("one value per slot and ballot", f"{who} a second value in slot {slot}, ballot {ballot}")

    # -------------------------------------------------------------------------------------------------------- P2c

    def _p2c(self, slot: int, ballot: Era, value: int) -> None:
        """May ``value`` be proposed in ``slot`` and ``ballot``?"""
        if slot in self._chosen and ballot > self._chosen_in[slot]:
            if self._chosen[slot] != value:
                raise Violation("P2b", f"another value than the chosen one is proposed in slot {slot}, {ballot}")
            return
        highest: dict[int, Era | None] = {}
        ballot_of_value: Era | None = None
        for member, report in self._reports.get(ballot, {}).items():
            if not report.covers(slot):
                continue
            told = report.accepted.get(slot)
            highest[member] = None if told is None else told[0]
            if told is not None and told[1] == value and (ballot_of_value is None or told[0] > ballot_of_value):
                ballot_of_value = told[0]
        agreeing = [member for member, told in highest.items() if _not_above(told, ballot_of_value)]
        membership = self._proposed_for[slot, ballot] or at(self._configurations, slot)
        if not is_quorum(membership, agreeing):
            raise Violation(
                "P2c",
                f"a value whose highest reported ballot is {ballot_of_value} is proposed in slot {slot}, {ballot}; "
                f"reported there: {highest}",
            )

    # --------------------------------------------------------------------------------------------------- messages

    def leaves(self, sender: int, target: int, message: Any) -> None:
        disk = self._group.members[sender].disk
        match message:
            case Prepare(ballot):
                if ballot[1] != sender or disk.acceptor.own < ballot:
                    raise self._early(sender, message, f"the latest own ballot on its disk is {disk.acceptor.own}")
            case Promise():
                self._promise_leaves(sender, message, disk)
            case Accepted(ballot, first, last):
                for slot in range(first, last + 1):
                    if (slot, ballot) not in disk.ever:
                        raise self._early(sender, message, f"its disk never had slot {slot} in that ballot")
            case (
                Nack(ballot)
                | HeartbeatAnswer(ballot)
                | Probe(ballot)
                | ProbeAnswer(ballot)
                | Resign(ballot)
                | TimeoutNow(ballot)
            ):
                if disk.acceptor.promised < ballot:
                    raise self._early(sender, message, f"its disk has a promise of {disk.acceptor.promised}")
            case Accept(ballot, chosen, entries):
                self._said_chosen(sender, chosen)
                for entry in map(decode_entry, entries):
                    self._one_value(entry.index, ballot, value_of(entry), f"member {sender} proposes")
            case Decided(_, chosen) | Heartbeat(_, chosen):
                self._said_chosen(sender, chosen)
            case Learned(chosen, entries):
                self._said_chosen(sender, chosen)
                for entry in map(decode_entry, entries):
                    self._one_value(entry.index, entry.era, value_of(entry), f"member {sender} teaches")
                    if self._chosen.get(entry.index) != value_of(entry):
                        raise Violation(
                            "chosen is for ever", f"member {sender} teaches what is not chosen in slot {entry.index}"
                        )

    def _promise_leaves(self, sender: int, message: Promise, disk: AcceptorImage) -> None:
        ballot = message.ballot
        if disk.acceptor.promised < ballot:
            raise self._early(sender, message, f"its disk has a promise of {disk.acceptor.promised}")
        self._said_chosen(sender, message.chosen)
        told: dict[int, tuple[Era, int]] = {}
        for entry in map(decode_entry, message.entries):
            if (entry.index, entry.era) not in disk.ever:
                raise self._early(sender, message, f"its disk never had slot {entry.index} in {entry.era}")
            self._one_value(entry.index, entry.era, value_of(entry), f"member {sender} reports")
            told[entry.index] = entry.era, value_of(entry)
        last = None if message.complete else message.last
        part = Report(message.first, last, told)
        end = max(disk.accepted, default=0) if last is None else last
        for slot in range(max(message.first, message.chosen + 1), end + 1):
            accepted = disk.accepted.get(slot, NOTHING)[0]
            if accepted < ballot and told.get(slot, NOTHING)[0] < accepted and slot not in self._chosen:
                raise Violation("promise", f"member {sender} promises {ballot} and hides slot {slot}, {accepted}")
        self._merge(sender, ballot, part)

    def _merge(self, sender: int, ballot: Era, part: Report) -> None:
        reports = self._reports.setdefault(ballot, {})
        known = reports.get(sender)
        if known is None:
            reports[sender] = part
        elif known.to is None or part.first <= known.to + 1:
            known.accepted |= part.accepted
            known.to = None if known.to is None or part.to is None else max(part.to, known.to)

    def _said_chosen(self, sender: int, slot: int) -> None:
        if slot > self.chosen_to:
            raise Violation(
                "chosen is for ever",
                f"member {sender} says that all up to {slot} is chosen; slot {self.chosen_to + 1} is not",
            )

    def _early(self, sender: int, message: Any, why: str) -> Violation:
        return Violation("nothing early", f"member {sender} sends {message}, and {why}")


def _not_above(told: Era | None, limit: Era | None) -> bool:
    return told is None or (limit is not None and told <= limit)
