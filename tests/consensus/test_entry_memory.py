"""What an entry is said to take in memory is about what it takes."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from ratified.consensus.contract import Entry, Kind, ProposalId
from ratified.consensus.entry import decode_entry, make_entry, memory_bytes

COUNT = 5_000


@pytest.mark.parametrize("size", [0, 40, 1_000])
@pytest.mark.parametrize("decoded", [False, True])
def test_entries_take_what_they_are_counted(size: int, decoded: bool) -> None:
    encodings = [
        make_entry(1_000 + i, (300, 0), Kind.COMMAND, ProposalId(1 << 60, 7, 5_000 + i), bytes(size)).encoded
        for i in range(COUNT)
    ]
    gc.collect()
    tracemalloc.start()
    held: list[Entry] = []
    ends = [0]
    try:
        for encoded in encodings:
            again = bytes(bytearray(encoded))  # as it comes off the wire
            entry = decode_entry(again) if decoded else make_entry(*decode_parts(again))
            held.append(entry)
            ends.append(ends[-1] + len(entry.encoded))  # as a history has them
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = memory_bytes(sum(map(len, encodings)), COUNT)
    assert used * 0.85 < counted < used * 1.15, f"{used / COUNT:.0f} bytes an entry, counted {counted / COUNT:.0f}"


def decode_parts(encoded: bytes) -> tuple[int, tuple[int, int], Kind, ProposalId | None, bytes]:
    entry = decode_entry(encoded)
    return entry.index, entry.era, entry.kind, entry.proposal, entry.data


def test_the_garbage_collector_has_nothing_to_look_at_in_an_entry() -> None:
    entry = decode_entry(make_entry(7, (3, 0), Kind.COMMAND, ProposalId(1, 2, 3), b"x").encoded)
    assert not gc.is_tracked(entry)
    assert not gc.is_tracked(entry.proposal)
