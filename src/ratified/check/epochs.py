"""The invariants of one group whose engine appends to and truncates one sequence in epochs (ZAB).

What ``sequences`` says of such logs holds as it is; ``zab`` adds the protocol's own invariants, and is fed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ratified.check.group import MemberOfGroup
from ratified.check.image import LogImage
from ratified.check.sequences import SequenceGroupChecks
from ratified.check.zab import ZabChecks
from ratified.consensus.contract import Entry, Membership, Record


class EpochGroupChecks(SequenceGroupChecks):
    """One group's checks, ZAB's own among them."""

    def __init__(self, group: int, membership: Membership, counters: Counter[str]) -> None:
        self.protocol = ZabChecks(membership)
        super().__init__(group, membership, counters, lambda _: self.protocol)

    def synced(self, member: int) -> None:
        """All that was written is durable."""
        for record in self.members[member].unsynced:
            self.protocol.durable(member, record)
        super().synced(member)

    def recovered(self, member: int, found: LogImage, *, killed: bool) -> None:
        """The member's process starts and its log holds ``found``."""
        super().recovered(member, found, killed=killed)
        self.protocol.recovered(member, found.copy())

    def started(self, member: int, applied: int, state: bytes, last: int) -> None:
        """An engine was made from what its disk holds, over a store with this applied index."""
        super().started(member, applied, state, last)
        self.protocol.started(member, applied)

    def _log_grows(self, member: int, of: MemberOfGroup[LogImage], records: Sequence[Record]) -> None:
        super()._log_grows(member, of, records)
        self.protocol.asked_to_write(member, records)

    def _on_own_disk(self, member: int, of: MemberOfGroup[LogImage], entries: Sequence[Entry]) -> None:
        super()._on_own_disk(member, of, entries)
        self.protocol.delivered(member, entries)
