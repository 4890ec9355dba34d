"""The invariants of one group whose engine's log is one sequence, appended to and truncated (Raft, ZAB).

- *Log matching*: (index, era) -> h, compared on append.
- *Leader completeness*: on election, h at the committed index.
- *Durability*: one comparison of h covers all indexes below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from ratified.check.group import GroupChecks, MemberOfGroup
from ratified.check.image import LogImage
from ratified.consensus.contract import Entry, Era, Lead, Membership, Record


class ProtocolChecks(Protocol):
    """What a protocol's own invariants say of messages."""

    def leaves(self, sender: int, target: int, message: Any, disk: LogImage) -> None:
        """``message`` leaves ``sender``, whose disk holds ``disk`` durably; raises ``Violation``."""


class SequenceGroupChecks(GroupChecks[LogImage]):
    """One group's checks, by sums over its logs."""

    def __init__(
        self,
        group: int,
        membership: Membership,
        counters: Counter[str],
        protocol: Callable[[Counter[str]], ProtocolChecks],
    ) -> None:
        super().__init__(group, membership, counters)
        self.committed: list[int] = [0]
        """h by index, of all that was delivered anywhere."""
        self._logs: dict[tuple[int, Era], int] = {}
        self._protocol = protocol(counters)

    def new_image(self) -> LogImage:
        """Nothing written yet."""
        return LogImage()

    def leaves(self, sender: int, target: int, message: Any) -> None:
        """``message`` leaves ``sender``."""
        self._protocol.leaves(sender, target, message, self.members[sender].disk)

    def _log_grows(self, member: int, of: MemberOfGroup[LogImage], records: Sequence[Record]) -> None:
        log = of.log
        for record in records:
            before = log.last
            log.take(record)
            if isinstance(record, Entry):
                h = log.at(record.index)
                assert h is not None
                known = self._logs.setdefault((record.index, record.era), h)
                if known != h:
                    raise self._broken(
                        "log matching",
                        f"up to entry {record.index} of era {record.era} member {member} has another log than the "
                        "first that had this entry",
                    )
            elif log.last < before:
                self._counters["truncations"] += 1

    def _completeness(self, member: int, of: MemberOfGroup[LogImage], lead: Lead) -> None:
        index = self.delivered_max
        # Entries that a later era committed are no business of a leader that learns of its election late.
        while self.committed_at[index] >= lead.era:
            index -= 1
        if of.log.at(index) != self.committed[index]:
            raise self._broken(
                "leader completeness",
                f"member {member} leads in era {lead.era} without entry {index}, which was committed in era "
                f"{self.committed_at[index]} at the latest",
            )

    def _is_the_logs(self, of: MemberOfGroup[LogImage], entry: Entry) -> bool:
        return of.log.own(entry.index) == hash(entry.encoded)

    def _on_own_disk(self, member: int, of: MemberOfGroup[LogImage], entries: Sequence[Entry]) -> None:
        last = entries[-1].index
        if of.disk.at(last) != self.committed[last]:
            raise self._broken(
                "durability", f"member {member} delivered entry {last}, its own disk holds a log up to {of.disk.last}"
            )

    def _holders(self, entry: Entry, of: MemberOfGroup[LogImage]) -> list[int]:
        h = of.log.at(entry.index)
        assert h is not None
        self.committed.append(h)
        return [peer for peer, seen in self.members.items() if seen.disk.at(entry.index) == h]
