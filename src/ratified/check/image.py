"""A group's log as a sequence of records makes it, reduced to what comparing needs: a chain of hashes.

``h(i) = H(h(i-1), entry i)`` over the entry's one encoding, which holds index, era, kind, proposal id and data: two
logs with one ``h(i)`` are equal up to i. Two images are kept per member and group: of what its engine has asked to be
written, and of what its disk has durably.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.check.violation import Violation
from ratified.consensus.contract import (
    Base,
    BaseRecord,
    Entry,
    Era,
    Kind,
    Membership,
    Record,
    StateRecord,
    TruncateRecord,
)
from ratified.consensus.entry import decode_configuration


class LogImage:
    """One log. ``chain[k]`` is h(base + k)."""

    __slots__ = ("_delivered", "_owns", "base", "chain", "configurations", "eras", "held", "records", "state")

    def __init__(self, delivered: Sequence[int] = (0,)) -> None:
        """``delivered`` is h by index of all that was delivered anywhere: what a base stands for that comes with a
        snapshot."""
        self._delivered = delivered
        self.state = b""
        self.base = 0
        self.chain: list[int] = [0]
        self.eras: list[Era] = [(0, 0)]
        self.records = 0
        self.held: set[tuple[int, Era]] = set()
        """Every (index, era) that this log has ever held; only asked for membership."""
        self._owns: list[int] = [0]
        self.configurations: list[tuple[int, Membership]] = []
        """By index, those that the log holds, and the base's where that names voters."""

    @property
    def last(self) -> int:
        return self.base + len(self.chain) - 1

    def at(self, index: int) -> int | None:
        """h(index), where the log reaches so far."""
        place = index - self.base
        return self.chain[place] if 0 <= place < len(self.chain) else None

    def own(self, index: int) -> int | None:
        """The hash of the entry alone."""
        place = index - self.base
        return self._owns[place] if 0 <= place < len(self._owns) else None

    def take(self, record: Record) -> None:
        self.records += 1
        match record:
            case Entry():
                self._put(record)
            case StateRecord(data):
                self.state = data
            case TruncateRecord(first):
                self._keep(max(first - self.base, 1))
            case BaseRecord(base):
                self._rebase(base)

    def _rebase(self, base: Base) -> None:
        """What is at or below the base is gone; what lies behind it stays, on whatever root."""
        gone = base.index - self.base
        held = gone < len(self.chain) and self.eras[gone] == base.era
        root = self.chain[gone] if held else self._delivered_at(base.index)
        self.base = base.index
        self._owns = [0, *self._owns[gone + 1 :]]
        self.eras = [base.era, *self.eras[gone + 1 :]]
        if held:
            del self.chain[:gone]
        else:
            self._chain_from(root)
        above = [each for each in self.configurations if each[0] > base.index]
        self.configurations = [(base.index, base.membership), *above] if base.membership.voters else above

    def _delivered_at(self, index: int) -> int:
        """What a snapshot of the state there stands for."""
        return self._delivered[index] if index < len(self._delivered) else 0

    def _chain_from(self, root: int) -> None:
        self.chain = [root]
        for own in self._owns[1:]:
            self.chain.append(hash((self.chain[-1], own)))

    def _put(self, entry: Entry) -> None:
        place = entry.index - self.base
        if not 0 < place <= len(self.chain):
            raise Violation("log", f"entry {entry.index} leaves a gap behind {self.last}")
        own = hash(entry.encoded)
        self.held.add((entry.index, entry.era))
        if self.configurations and place < len(self.chain):
            self.configurations = [each for each in self.configurations if each[0] != entry.index]
        if entry.kind is Kind.MEMBERSHIP:
            self.configurations.append((entry.index, decode_configuration(entry.data)[0]))
        if place == len(self.chain):
            self.chain.append(hash((self.chain[-1], own)))
            self._owns.append(own)
            self.eras.append(entry.era)
            return
        # A record replaces its index alone: what lies behind it keeps its entries, under new sums.
        self._owns[place], self.eras[place] = own, entry.era
        for behind in range(place, len(self.chain)):
            self.chain[behind] = hash((self.chain[behind - 1], self._owns[behind]))

    def _keep(self, count: int) -> None:
        last = self.base + count - 1
        self.configurations = [each for each in self.configurations if each[0] <= last]
        for column in (self.chain, self._owns, self.eras):
            del column[count:]

    def same_log(self, other: LogImage) -> bool:
        return (self.state, self.base, self.last, self.chain[-1]) == (
            other.state,
            other.base,
            other.last,
            other.chain[-1],
        )

    def keep_history(self, of: LogImage) -> None:
        """This log is what became of that one: what is gone below its base is what was there."""
        self.held |= of.held
        root = of.at(self.base)
        if root is not None:
            self.begin_from(root)

    def begin_from(self, root: int) -> None:
        """``root`` is h(base)."""
        if root != self.chain[0]:
            self._chain_from(root)

    def copy(self) -> LogImage:
        twin = LogImage(self._delivered)
        twin.state, twin.base, twin.records = self.state, self.base, self.records
        twin.chain, twin.eras, twin._owns = list(self.chain), list(self.eras), list(self._owns)
        twin.held = set(self.held)
        twin.configurations = list(self.configurations)
        return twin
