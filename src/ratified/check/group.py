"""The invariants of one group, over all of its members, as each Ready and each completed sync shows them.

- *Election safety*: one leader per era.
- *Leader completeness*: a new leader's log has what was delivered anywhere.
- *State machine safety*: one list of command hashes by index, without eras.
- *Durability*: when an index is first delivered anywhere, a quorum's disks hold it, counted in the configuration of
  that index (``configurations``), and wherever it is delivered, that member's own disk does (rule 5 of the contract).
- *Recovery*: a process starts from what was durable, and all or nothing of what was written behind that.

What can be said of the logs themselves depends on their shape: ``sequences``, ``slots``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, Self, TypeVar

from ratified.check.configurations import Configured
from ratified.check.oracle import Listeners
from ratified.check.violation import Violation
from ratified.consensus.contract import Base, Durable, Entry, Era, Kind, Lead, Membership, Ready, Record
from ratified.consensus.entry import decode_configuration


class Image(Protocol):
    """What one log holds, as a sequence of records makes it."""

    state: bytes
    records: int
    """Taken so far."""

    @property
    def last(self) -> int:
        """The highest index that has an entry, or the base."""

    def take(self, record: Record) -> None:
        """One more record."""

    def copy(self) -> Self: ...

    def same_log(self, other: Self) -> bool:
        """Do both hold the same?"""

    def keep_history(self, of: Self) -> None:
        """This one replaces ``of``; what that has ever held was held."""


ImageT = TypeVar("ImageT", bound=Image)


class LogShape(Protocol[ImageT]):
    """What one group's logs must agree in. It remembers, in its own form, what was delivered."""

    def new_image(self) -> ImageT:
        """Nothing written yet."""

    def replaced(self, image: ImageT) -> None:
        """``image`` has come from elsewhere; what is gone below its base was delivered."""

    def grows(self, member: int, log: ImageT, record: Record) -> None:
        """``log``, what the member's engine has asked to be written, takes one more record."""

    def is_own(self, log: ImageT, entry: Entry) -> bool:
        """Is this what the log has at its index?"""

    def first_delivered(self, log: ImageT, entry: Entry) -> None:
        """The next index is delivered for the first time, by the member with this log."""

    def holds(self, image: ImageT, entries: Sequence[Entry]) -> bool:
        """Does the image have all of these as they were first delivered?"""

    def is_durable(
        self,
        log: ImageT,
        entry: Entry,
        configurations: Configured,
        holds: Callable[[int, Callable[[ImageT], bool]], bool],
    ) -> bool:
        """Do a quorum's disks have the entry that the member with this log is the first to deliver?

        ``holds``: does a disk of this member, present or replaced, hold this? ``configurations`` are those delivered
        before.
        """

    def is_complete(self, log: ImageT, index: int) -> bool:
        """May the member with this log lead after ``index`` was delivered?"""


@dataclass(slots=True)
class MemberOfGroup(Generic[ImageT]):
    """What is seen of one member in one group. The disk outlives the process; the rest begins anew with each start."""

    disk: ImageT
    """What its disk holds durably."""
    log: ImageT
    """What its engine has asked to be written, and found at start."""
    replaced: list[ImageT] = field(default_factory=list)
    """What was held durably by disks that an operator replaced: what they had acknowledged counts."""
    unsynced: list[Record] = field(default_factory=list)
    """What was written behind what is durable."""
    delivered: int = 0
    era: Era = (0, 0)
    membership: Membership | None = None
    """What its engine has reported last."""


class GroupChecks(Generic[ImageT]):
    """One group's checks. Every method is called in the order in which things happen."""

    def __init__(
        self,
        group: int,
        membership: Membership,
        counters: Counter[str],
        shape: LogShape[ImageT],
        joiners: Iterable[int] = (),
    ) -> None:
        """``membership`` is what the group begins with; ``joiners`` may come into it later."""
        self.group = group
        self.membership = membership
        self.configurations: list[tuple[int, Membership]] = [(0, membership)]
        """All that were delivered anywhere, by the index of their entry."""
        self.counters = counters
        self.shape = shape
        self.members = {
            member: MemberOfGroup(shape.new_image(), shape.new_image())
            for member in sorted({*membership.voters, *membership.learners, *joiners})
        }
        self.entries: list[bytes] = []
        """The encoding of everything that was delivered anywhere, from index 1 on, as it was first delivered."""
        self.leader: int | None = None
        """Who was elected last."""
        self.elections = 0
        """How many there were."""
        self.listeners = Listeners(())
        """Of what else judges this group, and is told by it; nothing yet."""
        self.on_election: Callable[[int], None] = lambda member: None
        """Called with every member that is elected."""
        self.on_install: Callable[[int], None] = lambda member: None
        """Called with every member that begins to install a snapshot."""
        self._committed_at: list[Era] = [(0, 0)]
        """By index, the latest era that anybody who first delivered up to there was in."""
        self._commands: list[int] = [0]
        self._leaders: dict[Era, int] = {}

    @property
    def delivered_max(self) -> int:
        """The highest index that was delivered anywhere."""
        return len(self.entries)

    def violation(self, rule: str, seen: str) -> Violation:
        """What to raise where this group breaks a rule."""
        return Violation(rule, f"group {self.group}: {seen}")

    # -----------------------------------------------------------------------------------------------------------
    # Disks

    def written(self, member: int, record: Record) -> None:
        """The record was written to the member's disk, behind all earlier ones, and may yet be lost."""
        self.members[member].unsynced.append(record)

    def synced(self, member: int) -> None:
        """All that was written is durable."""
        of = self.members[member]
        for record in of.unsynced:
            of.disk.take(record)
            for durable in self.listeners.durable:
                durable(member, record)
        of.unsynced = []

    def recovered(self, member: int, found: ImageT, *, killed: bool) -> None:
        """The member's process starts and its log holds ``found``: what was durable, and all, or after the loss of its
        machine perhaps nothing, of what was written behind that."""
        of = self.members[member]
        found.keep_history(of.disk)
        whole = of.disk.copy()
        for record in of.unsynced:
            whole.take(record)
        if not found.same_log(whole):
            if killed or not found.same_log(of.disk):
                raise self.violation(
                    "recovery",
                    f"member {member} recovered a log up to {found.last} that is not what its disk had durably "
                    f"(up to {of.disk.last})" + (", nor that and what was written behind it" if of.unsynced else ""),
                )
            self.counters["writes lost with a machine"] += 1
            if whole.state != of.disk.state:
                self.counters["unsynced states lost"] += 1
        of.disk = found
        of.unsynced = []
        for recovered in self.listeners.recovered:
            recovered(member)

    def replaced(self, member: int, found: ImageT) -> None:
        """Somebody has put another log in the place of the member's."""
        of = self.members[member]
        of.replaced.append(of.disk)
        found.keep_history(of.disk)
        self.shape.replaced(found)
        of.disk = found
        of.unsynced = []

    # -----------------------------------------------------------------------------------------------------------
    # Engines

    def begins(self, member: int, durable: Durable) -> None:
        """An engine is made from this, which must be what the member's disk holds."""
        of = self.members[member]
        last = max((run.last for run in durable.runs), default=durable.base.index)
        if (of.disk.state, of.disk.last) != (durable.state, last):
            raise self.violation(
                "recovery", f"member {member} starts with a log up to {last}, its disk has one up to {of.disk.last}"
            )
        of.log = of.disk.copy()
        of.delivered = durable.applied
        of.era = (0, 0)
        for started in self.listeners.started:
            started(member, durable.applied)

    def ready(self, member: int, ready: Ready) -> None:
        """The member's engine gave this, and nothing of it has been acted on."""
        self.members[member].membership = ready.membership or self.members[member].membership
        if ready.write is not None:
            log = self.members[member].log
            for record in ready.write.records:
                for asks in self.listeners.asks:
                    asks(member, record)
                self.shape.grows(member, log, record)
        if ready.leader is not None:
            self._follows(member, ready.leader)
        if ready.deliver:
            self._delivered(member, ready.deliver)
            self.counters["entries delivered"] += len(ready.deliver)
        if ready.install is not None:
            self.on_install(member)
        if ready.fetch:
            self.counters["fetches"] += len(ready.fetch)
        for listener in self.listeners.ready:
            listener(member, ready)

    def installed(self, member: int, base: Base) -> None:
        """The member's store has a snapshot's state."""
        if base.index > self.delivered_max:
            raise self.violation(
                "delivery", f"member {member} installs the state at {base.index}, which nobody has delivered"
            )
        self.members[member].delivered = base.index

    def _follows(self, member: int, lead: Lead) -> None:
        of = self.members[member]
        of.era = max(of.era, lead.era)
        if lead.member != member:
            return
        if lead.serving:
            self.counters["leaders that served"] += 1
            return
        known = self._leaders.setdefault(lead.era, member)
        if known != member:
            raise self.violation("election safety", f"members {known} and {member} both lead in era {lead.era}")
        self.counters["elections"] += 1
        self.elections += 1
        self.leader = member
        self._has_all_delivered(member, of.log, lead.era)
        self.on_election(member)

    def _has_all_delivered(self, member: int, log: ImageT, era: Era) -> None:
        index = self.delivered_max
        # Entries that a later era committed are no business of a leader that learns of its election late.
        while self._committed_at[index] >= era:
            index -= 1
        if not self.shape.is_complete(log, index):
            raise self.violation(
                "leader completeness",
                f"member {member} leads in era {era} without entry {index}, which was committed in era "
                f"{self._committed_at[index]} at the latest",
            )

    def _delivered(self, member: int, entries: Sequence[Entry]) -> None:
        of = self.members[member]
        for entry in entries:
            if entry.index != of.delivered + 1:
                raise self.violation(
                    "delivery", f"member {member} delivered entry {entry.index} after entry {of.delivered}"
                )
            of.delivered = entry.index
            if not self.shape.is_own(of.log, entry):
                raise self.violation(
                    "delivery", f"member {member} delivered an entry {entry.index} that is not its log's"
                )
            self._one_command(member, of, entry)
        if not self.shape.holds(of.disk, entries):
            raise self.violation(
                "durability",
                f"member {member} delivered up to entry {of.delivered}, its own disk holds a log up to {of.disk.last}",
            )

    def _one_command(self, member: int, of: MemberOfGroup[ImageT], entry: Entry) -> None:
        command = hash((entry.kind, entry.proposal, entry.data))
        if entry.index <= self.delivered_max:
            if self._commands[entry.index] != command:
                raise self.violation(
                    "state machine safety",
                    f"member {member} delivered another command at {entry.index} than was delivered there before",
                )
            return
        self._commands.append(command)
        self.entries.append(entry.encoded)
        self._committed_at.append(max(of.era, self._committed_at[-1]))
        self.shape.first_delivered(of.log, entry)
        self._is_durable(member, of.log, entry)
        if entry.kind is Kind.MEMBERSHIP:
            self.configurations.append((entry.index, decode_configuration(entry.data)[0]))
            self.counters["configurations"] += 1

    def _is_durable(self, member: int, log: ImageT, entry: Entry) -> None:
        if not self.shape.is_durable(log, entry, self.configurations, self._holds):
            holders = [
                peer for peer in self.members if self._holds(peer, lambda disk: self.shape.holds(disk, (entry,)))
            ]
            raise self.violation(
                "durability",
                f"member {member} is the first to deliver entry {entry.index}, which only the disks of {holders} hold",
            )

    def _holds(self, member: int, wanted: Callable[[ImageT], bool]) -> bool:
        of = self.members[member]
        return any(wanted(disk) for disk in (of.disk, *of.replaced))
