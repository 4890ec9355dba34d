"""Logs that are one sequence, appended to and truncated (Raft, ZAB).

- *Log matching*: (index, era) -> h, compared on append.
- One comparison of h covers all indexes below.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from ratified.check.configurations import Configured, joined, reach
from ratified.check.image import LogImage
from ratified.check.violation import Violation
from ratified.consensus.contract import Entry, Era, Record


class Sequences:
    """The logs of one group, compared by their sums."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._delivered: list[int] = [0]
        """h by index, of all that was delivered anywhere."""
        self._known: dict[tuple[int, Era], int] = {}

    def new_image(self) -> LogImage:
        return LogImage(self._delivered)

    def replaced(self, image: LogImage) -> None:
        image.begin_from(self._delivered[image.base])

    def grows(self, member: int, log: LogImage, record: Record) -> None:
        before = log.last
        log.take(record)
        if isinstance(record, Entry):
            h = log.chain[record.index - log.base]
            if self._known.setdefault((record.index, record.era), h) != h:
                raise Violation(
                    "log matching",
                    f"up to entry {record.index} of era {record.era} member {member} has another log than the first "
                    "that had this entry",
                )
        elif log.last < before:
            self._counters["truncations"] += 1

    def is_own(self, log: LogImage, entry: Entry) -> bool:
        return log.own(entry.index) == hash(entry.encoded)

    def first_delivered(self, log: LogImage, entry: Entry) -> None:
        self._delivered.append(log.chain[entry.index - log.base])

    def holds(self, image: LogImage, entries: Sequence[Entry]) -> bool:
        last = entries[-1].index
        return image.at(last) == self._delivered[last]

    def is_durable(
        self,
        log: LogImage,
        entry: Entry,
        configurations: Configured,
        holds: Callable[[int, Callable[[LogImage], bool]], bool],
    ) -> bool:
        """By the log's own configurations: one that is not delivered yet may be in the way."""
        known = joined(configurations, log.configurations)
        asked = [entry.index, *[first for first, _ in known if first > entry.index]]

        def value(member: int) -> int:
            """The highest index asked about up to which the member's disk has this log."""
            return max((index for index in asked if holds(member, partial(_reaches, log, index))), default=0)

        return reach(known, value, entry.index - 1) >= entry.index

    def is_complete(self, log: LogImage, index: int) -> bool:
        index = max(index, log.base)  # what is cut was delivered: it must have been the same
        return log.at(index) == self._delivered[index]


def _reaches(log: LogImage, index: int, disk: LogImage) -> bool:
    return disk.at(index) == log.at(index)
