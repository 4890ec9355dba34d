"""The invariants of one group whose engine writes slots, out of order and each more than once (Multi-Paxos).

What ``group`` says of logs as sequences (log matching, leader completeness, one sum for all that lies below) does not
hold there: two members may have one chosen value under different ballots, and a leader may lack what is chosen until it
has asked. In its place stand the protocol's own invariants (``paxos``), and each delivered entry is looked for by
itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ratified.check.group import GroupChecks, MemberOfGroup
from ratified.check.paxos import AcceptorImage, PaxosChecks, value_of
from ratified.consensus.contract import Entry, Lead, Membership, Record


class SlotGroupChecks(GroupChecks[AcceptorImage]):
    """One group's checks, slot by slot."""

    def __init__(self, group: int, membership: Membership, counters: Counter[str]) -> None:
        super().__init__(group, membership, counters)
        self.protocol = PaxosChecks(membership)

    def new_image(self) -> AcceptorImage:
        """Nothing written yet."""
        return AcceptorImage()

    def synced(self, member: int) -> None:
        """All that was written is durable."""
        for record in self.members[member].unsynced:
            self.protocol.durable(member, record)
        super().synced(member)

    def recovered(self, member: int, found: AcceptorImage, *, killed: bool) -> None:
        """The member's process starts and its log holds ``found``."""
        super().recovered(member, found, killed=killed)
        self.protocol.recovered(member, found.copy())

    def leaves(self, sender: int, target: int, message: Any) -> None:
        """``message`` leaves ``sender``."""
        self.protocol.leaves(sender, target, message)

    def _log_grows(self, member: int, of: MemberOfGroup[AcceptorImage], records: Sequence[Record]) -> None:
        self.protocol.asked_to_write(member, records)
        for record in records:
            of.log.take(record)

    def _completeness(self, member: int, of: MemberOfGroup[AcceptorImage], lead: Lead) -> None:
        """P2c is held against every value that it proposes instead."""

    def _is_the_logs(self, of: MemberOfGroup[AcceptorImage], entry: Entry) -> bool:
        held = of.log.accepted.get(entry.index)
        return held is not None and held[1] == value_of(entry)

    def _on_own_disk(self, member: int, of: MemberOfGroup[AcceptorImage], entries: Sequence[Entry]) -> None:
        self.protocol.delivered(member, entries)

    def _holders(self, entry: Entry, of: MemberOfGroup[AcceptorImage]) -> list[int]:
        value = value_of(entry)
        return [
            peer for peer, seen in self.members.items() if seen.disk.accepted.get(entry.index, ((0, 0), 0))[1] == value
        ]
