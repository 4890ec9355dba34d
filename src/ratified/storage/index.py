"""Where a group's entries lie in the log: three numbers an entry, in arrays.

Locations describe the log as it was planned, not as it is known to be durable: a read is carried out after the
writes that were given out before it, so it finds what was planned. Bytes of a segment are never overwritten by
others, so a location stays right for as long as its segment is there.
"""

from __future__ import annotations

from array import array
from collections import deque
from typing import NamedTuple

_SEGMENT_SHIFT = 32


class Location(NamedTuple):
    """``length`` bytes of payload at ``offset`` of the segment's file, with that CRC32C."""

    segment: int
    offset: int
    length: int
    crc: int


class GroupIndex:
    """The locations of one group's entries above its base; gaps are allowed (slots written out of order)."""

    def __init__(self, base: int, gap_entries_max: int) -> None:
        self.first = base + 1
        self.gap_entries_max = gap_entries_max
        self._newest = 0
        self._highest = 0
        """The highest index that was ever written into the newest segment, whatever became of it."""
        self._older: deque[tuple[int, int]] = deque()
        """The same of older ones, ascending: segment, highest index."""
        self._places = array("Q")
        self._lengths = array("I")
        self._crcs = array("I")

    @property
    def last(self) -> int:
        """The highest index that has an entry, or the base."""
        return self.first + len(self._places) - 1

    def put(self, index: int, segment: int, offset: int, length: int, crc: int) -> None:
        """The entry ``index`` lies there from now on; raises ``ValueError`` at or below the base, or far too high."""
        at = index - self.first
        count = len(self._places)
        if segment != self._newest:
            self._begin_segment(segment, index)
        if index > self._highest:
            self._highest = index
        if at == count:
            self._places.append(segment << _SEGMENT_SHIFT | offset)
            self._lengths.append(length)
            self._crcs.append(crc)
            return
        if at < 0:
            raise ValueError(f"entry {index} is at or below the base {self.first - 1}")
        if at - count > self.gap_entries_max:
            raise ValueError(f"entry {index} is more than {self.gap_entries_max} above the last one, {self.last}")
        for column in (self._places, self._lengths, self._crcs):
            column.frombytes(bytes(column.itemsize * max(at + 1 - count, 0)))
        self._places[at] = segment << _SEGMENT_SHIFT | offset
        self._lengths[at] = length
        self._crcs[at] = crc

    def _begin_segment(self, segment: int, index: int) -> None:
        if self._newest:
            self._older.append((self._newest, self._highest))
        self._newest, self._highest = segment, index

    @property
    def oldest_segment(self) -> int | None:
        """The oldest segment with an entry above the base, even one that was truncated; None: there is none."""
        older = self._older
        while older and older[0][1] < self.first:
            older.popleft()
        if older:
            return older[0][0]
        return self._newest if self._highest >= self.first else None

    def truncate(self, first: int) -> None:
        """Entries with an index >= ``first`` are gone, and so are gaps right below it."""
        at = max(first - self.first, 0)
        lengths = self._lengths
        while 0 < at <= len(lengths) and not lengths[at - 1]:
            at -= 1
        for column in (self._places, self._lengths, self._crcs):
            del column[at:]

    def rebase(self, base: int) -> None:
        """What is at or below ``base`` is gone."""
        gone = max(base + 1 - self.first, 0)
        for column in (self._places, self._lengths, self._crcs):
            del column[:gone]
        self.first += gone

    def find(self, index: int) -> Location | None:
        """Where the entry lies; None where there is none."""
        at = index - self.first
        if not 0 <= at < len(self._places) or not self._lengths[at]:
            return None
        place = self._places[at]
        return Location(place >> _SEGMENT_SHIFT, place & 0xFFFFFFFF, self._lengths[at], self._crcs[at])
