"""Reading entries back from where the index says that they are: few operations, and nothing believed unchecked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import google_crc32c

from ratified.consensus.contract import Entry
from ratified.consensus.entry import decode_entry
from ratified.storage.files import ReadAt
from ratified.storage.format import LogDamaged, end_of, segment_file, unstamped
from ratified.storage.index import Location


class Span(NamedTuple):
    """One read, and the entries that lie in it."""

    read: ReadAt
    locations: Sequence[Location]


def spans(locations: Sequence[Location], gap_bytes_max: int) -> list[Span]:
    """The reads for these entries, in their order; neighbours in a segment share one."""
    found: list[Span] = []
    together: list[Location] = []
    end = 0
    for location in locations:
        near = together and together[0].segment == location.segment and 0 <= location.offset - end <= gap_bytes_max
        if together and not near:
            found.append(_span(together, end))
            together = []
        together.append(location)
        end = end_of(location.offset, location.length)
    if together:
        found.append(_span(together, end))
    return found


def _span(locations: Sequence[Location], end: int) -> Span:
    first = locations[0]
    return Span(ReadAt(segment_file(first.segment), first.offset, end - first.offset), locations)


def entries_in(span: Span, data: bytes) -> list[Entry]:
    """The entries of a span that was read; raises ``LogDamaged`` where one is not what was written."""
    entries: list[Entry] = []
    for location in span.locations:
        encoded = unstamped(data, span.read.offset, location.offset, location.length)
        if google_crc32c.value(encoded) != location.crc:
            raise LogDamaged(span.read.file, location.offset, "an entry reads back as something else than was written")
        entries.append(decode_entry(encoded))
    return entries
