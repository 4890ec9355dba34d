"""The invariants of one group, over all of its members, as each Ready and each completed sync shows them.

- *Election safety*: one leader per era.
- *State machine safety*: one list of command hashes by index, without eras.
- *Durability*: when an index is first delivered anywhere, a quorum's disks hold it, and wherever it is delivered, that
  member's own disk does (rule 5).
- *At most once*: of all ids under which one client's request was proposed, at most one is delivered, at one index, and
  none if the request ended as refused. No id is delivered twice.
- *Reads*: a barrier's index is at least all that was delivered anywhere before the barrier was fed (rule 8).
- *State*: equal digests at equal applied index.

What can be said of the logs themselves depends on their shape: ``sequences`` and ``slots``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Era, Kind, Lead, Membership, Proposal, ProposalId, ReadIndex, Record
from ratified.consensus.quorum import is_quorum


class Image(Protocol):
    """What one log holds, as a sequence of records makes it."""

    state: bytes
    records: int

    @property
    def last(self) -> int:
        """The highest index that has an entry, or the base."""

    def take(self, record: Record) -> None:
        """One more record."""

    def copy(self) -> Self:
        """An image of its own."""

    def same_log(self, other: Self) -> bool:
        """Do both hold the same?"""

    def keep_history(self, of: Self) -> None:
        """This one replaces ``of``; what that has ever held was held."""


ImageT = TypeVar("ImageT", bound=Image)


class MemberOfGroup(Generic[ImageT]):
    """What is seen of one member in one group. The disk outlives the process; the rest begins anew with each start."""

    def __init__(self, member: int, disk: ImageT, log: ImageT) -> None:
        self.member = member
        self.disk = disk
        """What its disk holds durably."""
        self.unsynced: list[Record] = []
        """What was written behind that and is not durable yet."""
        self.log = log
        """What its engine has asked to be written, and found at start."""
        self.delivered = 0
        self.era: Era = (0, 0)
        self.barriers: dict[int, int] = {}
        self.up = False


class GroupChecks(ABC, Generic[ImageT]):
    """One group's checks. Every method is called in the order in which things happen."""

    def __init__(self, group: int, membership: Membership, counters: Counter[str]) -> None:
        self.group = group
        self.membership = membership
        self.members = {
            member: MemberOfGroup(member, self.new_image(), self.new_image())
            for member in sorted({*membership.voters, *membership.learners})
        }
        self.committed_at: list[Era] = [(0, 0)]
        """By index, the latest era that anybody who first delivered up to there was in."""
        self.entries: list[bytes] = []
        """The encoding of everything that was delivered anywhere, from index 1 on, as it was first delivered."""
        self.leader: int | None = None
        """Who was elected last."""
        self.requests_delivered: dict[bytes, int] = {}
        self._commands: list[int] = [0]
        self._leaders: dict[Era, int] = {}
        self._ids: dict[ProposalId, int] = {}
        self._names: dict[bytes, ProposalId] = {}
        """Under which id a client's request was taken first."""
        self._refused: set[bytes] = set()
        self._watched: set[bytes] = set()
        self._digests: dict[int, tuple[bytes, int]] = {}
        self._counters = counters

    @property
    def delivered_max(self) -> int:
        """The highest index that was delivered anywhere."""
        return len(self.entries)

    def _broken(self, rule: str, seen: str) -> Violation:
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
        of.unsynced.clear()

    def recovered(self, member: int, found: ImageT, *, killed: bool) -> None:
        """The member's process starts and its log holds ``found``: what was durable, and all, or after the loss of its
        machine perhaps nothing, of what was written behind that."""
        of = self.members[member]
        whole = of.disk.copy()
        for record in of.unsynced:
            whole.take(record)
        if not found.same_log(whole):
            if killed or not found.same_log(of.disk):
                raise self._broken(
                    "recovery",
                    f"member {member} recovered a log up to {found.last} that is not what its disk had durably "
                    f"(up to {of.disk.last})" + (", nor that and what was written behind it" if of.unsynced else ""),
                )
            self._counters["writes lost with a machine"] += 1
            if whole.state != of.disk.state:
                self._counters["unsynced states lost"] += 1
        found.keep_history(of.disk)
        of.disk = found
        of.unsynced = []

    # -----------------------------------------------------------------------------------------------------------
    # Engines

    def started(self, member: int, applied: int, state: bytes, last: int) -> None:
        """An engine was made from what its disk holds, over a store with this applied index."""
        of = self.members[member]
        if (of.disk.state, of.disk.last) != (state, last):
            raise self._broken(
                "recovery", f"member {member} starts with a log up to {last}, its disk has one up to {of.disk.last}"
            )
        of.log = of.disk.copy()
        of.delivered = applied
        of.era = (0, 0)
        of.barriers = {}
        of.up = True

    def stopped(self, member: int) -> None:
        """The process is gone."""
        self.members[member].up = False

    def asked_to_write(self, member: int, records: Sequence[Record]) -> None:
        """A Ready's write."""
        self._log_grows(member, self.members[member], records)

    def lead(self, member: int, lead: Lead) -> None:
        """A Ready's ``leader``."""
        of = self.members[member]
        of.era = max(of.era, lead.era)
        if lead.member != member:
            return
        if lead.serving:
            self._counters["leaders that served"] += 1
            return
        known = self._leaders.setdefault(lead.era, member)
        if known != member:
            raise self._broken("election safety", f"members {known} and {member} both lead in era {lead.era}")
        self._counters["elections"] += 1
        self.leader = member
        self._completeness(member, of, lead)

    def delivered(self, member: int, entries: Sequence[Entry]) -> None:
        """A Ready's ``deliver``."""
        of = self.members[member]
        for entry in entries:
            if entry.index != of.delivered + 1:
                raise self._broken(
                    "delivery", f"member {member} delivered entry {entry.index} after entry {of.delivered}"
                )
            of.delivered = entry.index
            if not self._is_the_logs(of, entry):
                raise self._broken(
                    "delivery", f"member {member} delivered an entry {entry.index} that is not its log's"
                )
            self._one_command(member, of, entry)
        self._on_own_disk(member, of, entries)

    def _one_command(self, member: int, of: MemberOfGroup[ImageT], entry: Entry) -> None:
        command = hash((entry.kind, entry.proposal, entry.data))
        if entry.index <= self.delivered_max:
            if self._commands[entry.index] != command:
                raise self._broken(
                    "state machine safety",
                    f"member {member} delivered another command at {entry.index} than was delivered there before",
                )
            return
        self._commands.append(command)
        self.entries.append(entry.encoded)
        self.committed_at.append(max(of.era, self.committed_at[-1]))
        holders = self._holders(entry, of)
        if not is_quorum(self.membership, holders):
            raise self._broken(
                "durability",
                f"member {member} is the first to deliver entry {entry.index}, which only the disks of {holders} hold",
            )
        if entry.kind is Kind.COMMAND:
            self._at_most_once(entry)

    # -----------------------------------------------------------------------------------------------------------
    # What depends on the shape of the log

    @abstractmethod
    def new_image(self) -> ImageT:
        """Nothing written yet."""

    @abstractmethod
    def leaves(self, sender: int, target: int, message: Any) -> None:
        """``message`` leaves ``sender``: the protocol's own invariants. Raises ``Violation``."""

    @abstractmethod
    def _log_grows(self, member: int, of: MemberOfGroup[ImageT], records: Sequence[Record]) -> None:
        """``of.log`` takes the records of a Ready."""

    @abstractmethod
    def _completeness(self, member: int, of: MemberOfGroup[ImageT], lead: Lead) -> None:
        """The member begins to lead."""

    @abstractmethod
    def _is_the_logs(self, of: MemberOfGroup[ImageT], entry: Entry) -> bool:
        """Is this what the member's log has at its index?"""

    @abstractmethod
    def _on_own_disk(self, member: int, of: MemberOfGroup[ImageT], entries: Sequence[Entry]) -> None:
        """Delivered: are they durable here (rule 5)?"""

    @abstractmethod
    def _holders(self, entry: Entry, of: MemberOfGroup[ImageT]) -> list[int]:
        """Whose disks hold what was first delivered by ``of``."""

    # -----------------------------------------------------------------------------------------------------------
    # Commands

    def _at_most_once(self, entry: Entry) -> None:
        if entry.proposal is not None:
            known = self._ids.setdefault(entry.proposal, entry.index)
            if known != entry.index:
                raise self._broken(
                    "at most once", f"proposal {entry.proposal} was delivered at {known} and at {entry.index}"
                )
        if entry.data in self._watched:
            known = self.requests_delivered.setdefault(entry.data, entry.index)
            if known != entry.index:
                raise self._broken(
                    "at most once", f"one client's request was delivered at {known} and at {entry.index}"
                )
            if entry.data in self._refused:
                raise self._broken("at most once", f"a request that was refused is delivered at {entry.index}")

    # -----------------------------------------------------------------------------------------------------------
    # Requests and reads

    def requested(self, command: bytes) -> None:
        """A client asks for this command, which no other request equals."""
        assert command not in self._watched, "a client's commands are told apart by their bytes"
        self._watched.add(command)

    def taken(self, proposals: Sequence[Proposal]) -> None:
        """An engine took these."""
        for proposal in proposals:
            if proposal.data in self._watched and self._names.setdefault(proposal.data, proposal.id) != proposal.id:
                self._counters["requests proposed again"] += 1

    def refused(self, command: bytes) -> None:
        """The request ended as refused: nothing of it has happened or will."""
        self._refused.add(command)
        index = self.requests_delivered.get(command)
        if index is not None:
            raise self._broken("at most once", f"a request that was delivered at {index} was answered as refused")

    def done(self, command: bytes) -> None:
        """The request ended as done."""
        if command not in self.requests_delivered:
            raise self._broken("delivery", "a request was answered as done before it was delivered anywhere")

    def barrier_fed(self, member: int, token: int) -> None:
        """A read barrier was fed to the member's engine."""
        self.members[member].barriers[token] = self.delivered_max

    def barriers_answered(self, member: int, reads: Sequence[ReadIndex]) -> None:
        """A Ready's ``reads``."""
        barriers = self.members[member].barriers
        for read in reads:
            floor = barriers.pop(read.token, None)
            if floor is None:
                raise self._broken("reads", f"member {member} answered barrier {read.token}, which nobody asked for")
            if read.index is None:
                self._counters["reads not confirmed"] += 1
            elif read.index < floor:
                raise self._broken(
                    "reads",
                    f"member {member} serves a read at {read.index}, although {floor} was delivered somewhere before "
                    "the read began",
                )

    # -----------------------------------------------------------------------------------------------------------
    # State

    def digest(self, member: int, applied: int, digest: bytes) -> None:
        """The member's store has this digest at this applied index."""
        known, other = self._digests.setdefault(applied, (digest, member))
        if known != digest:
            raise self._broken(
                "state", f"members {other} and {member} have different digests at applied index {applied}"
            )
