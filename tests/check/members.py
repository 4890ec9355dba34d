"""Members of one group by hand: what they are asked to write, what their disks get, what they say."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ratified.check.at_most_once import AtMostOnce
from ratified.check.barriers import BarrierIndexes
from ratified.check.group import GroupChecks
from ratified.check.oracle import Listeners
from ratified.check.protocols import PROTOCOLS
from ratified.consensus.contract import Base, Durable, Entry, Lead, Membership, Ready, Record, Write

MEMBERS = (1, 2, 3)


class Members:
    """Three, whose writes are durable at once unless a test says otherwise."""

    def __init__(self, engine: str) -> None:
        counters: Counter[str] = Counter()
        row = PROTOCOLS[engine]
        self.checks: GroupChecks[Any] = GroupChecks(0, Membership(MEMBERS), counters, row.shape(counters))
        self.requests = AtMostOnce(self.checks)
        self.checks.listeners = Listeners([row.checks(self.checks), BarrierIndexes(self.checks), self.requests])
        for member in MEMBERS:
            self._start(member)

    def write(self, member: int, *records: Record, durable: bool = True) -> None:
        """As one Ready."""
        self.checks.ready(member, Ready(write=Write(1, records)))
        for record in records:
            self.checks.written(member, record)
        if durable:
            self.checks.synced(member)

    def get(self, member: int, record: Record) -> None:
        """The disk has got hold of this, whatever was asked for."""
        self.checks.written(member, record)
        self.checks.synced(member)

    def deliver(self, member: int, *entries: Entry) -> None:
        self.checks.ready(member, Ready(deliver=entries))

    def lead(self, member: int, lead: Lead) -> None:
        self.checks.ready(member, Ready(leader=lead))

    def leaves(self, sender: int, target: int, message: object) -> None:
        for leaves in self.checks.listeners.leaves:
            leaves(sender, target, message)

    def barrier_fed(self, member: int, token: int) -> None:
        for barrier_fed in self.checks.listeners.barrier_fed:
            barrier_fed(member, token)

    def restart(self, member: int) -> None:
        """From what its disk has."""
        self.checks.recovered(member, self.checks.members[member].disk.copy(), killed=True)
        self._start(member)

    def _start(self, member: int) -> None:
        disk = self.checks.members[member].disk
        self.checks.begins(member, Durable(disk.state, Base(disk.last, (0, 0), Membership(MEMBERS))))
