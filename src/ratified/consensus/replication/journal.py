"""A history whose changes reach the disk: each joins the next write, in the order in which it was made.

Rules of this file:

1. History, configurations and records change together, here and nowhere else.
2. A truncation clips what is durable and every write in flight (rule 4 of the contract).
3. The disk is believed only through ``Writes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from ratified.consensus.contract import Base, BaseRecord, Durable, Entry, Kind, Record, TruncateRecord, Write
from ratified.consensus.entry import decode_configuration
from ratified.consensus.replication.history import History
from ratified.consensus.replication.member import Member
from ratified.consensus.replication.writes import Claim

_MEMBERSHIP = Kind.MEMBERSHIP


class Journal(Generic[Claim]):
    """``claimed`` is what the latest durable write claims beside entries."""

    __slots__ = ("_member", "claimed", "history")

    def __init__(self, member: Member[Claim], durable: Durable, claimed: Claim) -> None:
        self._member = member
        self.history = History(durable, member.options.limits)
        self.claimed = claimed
        self._configure(durable.memberships)
        member.configurations.commit_to(self.history.commit)

    def append(self, entries: Sequence[Entry]) -> None:
        self.history.append(entries)
        self._member.receive()
        self._member.outbox.records += entries
        self._configure(entries)

    def _configure(self, entries: Sequence[Entry]) -> None:
        """A configuration is in force when it is appended (rule 6 of the contract)."""
        for entry in entries:
            if entry.kind is _MEMBERSHIP:
                membership, _ = decode_configuration(entry.data)
                self._member.configurations.append(entry.index, membership)

    def truncate(self, first: int) -> None:
        member = self._member
        self.history.truncate(first)
        member.configurations.truncate(first)
        member.writes.clip(first - 1)
        member.outbox.records.append(TruncateRecord(first))

    def compact(self, base: Base) -> None:
        """What is at or below the base, all of it committed, is gone."""
        self.history.compact(base)
        self._member.configurations.compact(base)
        self._member.outbox.records.append(BaseRecord(base))

    def install(self, base: Base) -> None:
        """A snapshot takes the log's place, which does not hold the base's entry (Raft, figure 13, rule 7)."""
        member, history = self._member, self.history
        assert history.era_at(base.index) != base.era, f"entry {base.index} is in the log"
        member.receive()
        member.writes.clip(base.index)
        if history.last > base.index:
            member.outbox.records.append(TruncateRecord(base.index + 1))
        history.compact(base)
        member.configurations.replace(base)
        member.outbox.records.append(BaseRecord(base))

    def commit_to(self, index: int) -> None:
        self.history.commit_to(index)
        self._member.configurations.commit_to(index)

    def write(self, records: Sequence[Record], claim: Claim) -> Write | None:
        """The next write: these records, after which ``claim`` holds; None: there is nothing to write."""
        if not records:
            return None
        member = self._member
        return Write(member.writes.issue(self.history.last, claim, member.now), records)

    def persisted(self, ticket: int) -> None:
        for write in self._member.writes.persisted(ticket):
            self.history.persisted(write.last)
            self.claimed = write.claim
        self.history.evict()
