"""Logs whose slots are written out of order and each more than once (Multi-Paxos).

What ``sequences`` says (log matching, leader completeness, one sum for all that lies below) does not hold there: two
members may have one chosen value under different ballots, and a leader may lack what is chosen until it has asked. In
its place stand the protocol's own invariants (``paxos``: P2c is held against every value that a leader proposes), and
each delivered entry is looked for by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ratified.check.configurations import Configured, at
from ratified.check.paxos import NOTHING, AcceptorImage, chosen_value, value_of
from ratified.consensus.contract import Entry, Record
from ratified.consensus.quorum import is_quorum


class SlotLogs:
    """The logs of one group, compared slot by slot and without ballots."""

    def __init__(self) -> None:
        self._delivered: list[int] = [0]
        """The value by index, of all that was delivered anywhere."""

    def new_image(self) -> AcceptorImage:
        return AcceptorImage()

    def replaced(self, image: AcceptorImage) -> None:
        pass

    def grows(self, member: int, log: AcceptorImage, record: Record) -> None:
        log.take(record)

    def is_own(self, log: AcceptorImage, entry: Entry) -> bool:
        return entry.index in log.accepted and log.accepted[entry.index][1] == value_of(chosen_value(entry))

    def first_delivered(self, log: AcceptorImage, entry: Entry) -> None:
        self._delivered.append(log.accepted[entry.index][1])

    def holds(self, image: AcceptorImage, entries: Sequence[Entry]) -> bool:
        return all(image.accepted.get(entry.index, NOTHING)[1] == self._delivered[entry.index] for entry in entries)

    def is_durable(
        self,
        log: AcceptorImage,
        entry: Entry,
        configurations: Configured,
        holds: Callable[[int, Callable[[AcceptorImage], bool]], bool],
    ) -> bool:
        """In the configuration that the slots below give."""
        membership = at(configurations, entry.index - 1)
        holders = [member for member in membership.voters if holds(member, lambda image: self.holds(image, (entry,)))]
        return is_quorum(membership, holders)

    def is_complete(self, log: AcceptorImage, index: int) -> bool:
        return True
