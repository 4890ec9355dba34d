"""What a disk holds after the writes of an engine, and what an engine is started with again."""

from __future__ import annotations

from ratified.consensus.contract import (
    NO_ERA,
    Base,
    BaseRecord,
    Durable,
    Entry,
    Kind,
    Membership,
    Run,
    StateRecord,
    TruncateRecord,
    Write,
)


class Image:
    """What one member's disk holds: state, base, entries."""

    def __init__(self, membership: Membership) -> None:
        self.state = b""
        self.base = Base(0, NO_ERA, membership)
        self.entries: dict[int, Entry] = {}

    def apply(self, write: Write) -> None:
        for record in write.records:
            match record:
                case StateRecord(data):
                    self.state = data
                case Entry():
                    self.entries[record.index] = record
                case TruncateRecord(first):
                    for index in [index for index in self.entries if index >= first]:
                        del self.entries[index]
                case BaseRecord(base):
                    self.cut(base)

    def cut(self, base: Base) -> None:
        """What is at or below the base is gone."""
        self.base = base
        for index in [index for index in self.entries if index <= base.index]:
            del self.entries[index]

    def durable(self, applied: int, tail_entries: int) -> Durable:
        runs: list[Run] = []
        indexes = sorted(self.entries)
        for index in indexes:
            era = self.entries[index].era
            if runs and runs[-1].era == era and runs[-1].last == index - 1:
                runs[-1] = Run(runs[-1].first, index, era)
            else:
                runs.append(Run(index, index, era))
        tail = [self.entries[index] for index in indexes[len(indexes) - min(tail_entries, len(indexes)) :]]
        memberships = [self.entries[index] for index in indexes if self.entries[index].kind is Kind.MEMBERSHIP]
        return Durable(self.state, self.base, runs, tail, memberships, applied)
