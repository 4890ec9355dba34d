"""Does every member copy its store as its log grows, and is every log cut where all have that in checkpoints?

Judged by what is on the disks. How long a log may be follows from nothing else: the same entries take more room in one
log than in another, where they were written one by one, and the member with the shortest log is the last to take the
checkpoint that all wait for.
"""

from __future__ import annotations

from collections.abc import Mapping

from ratified.consensus.contract import Entry
from ratified.sim.checkers import log_records
from ratified.sim.disk import Disk
from ratified.storage.checkpoint import Contents, find
from ratified.storage.format import extent, read_header, segment_file, segment_number
from ratified.storage.identity import read as read_identity

SEGMENTS_MAX = 4
"""So many, of the longest, may be on a disk beside what must be: the one in use, the next, one that is cut in part."""


def too_long(disks: Mapping[int, Disk], log_bytes_min: int) -> list[str]:
    """Whose log has grown too far since its checkpoint, or is not cut; ``log_bytes_min`` is a checkpoint's limit."""
    checkpoints = {member: _checkpoint(disk) for member, disk in disks.items()}
    lowest = _lowest_claims(list(checkpoints.values()))
    found: list[str] = []
    for member, disk in disks.items():
        sizes = _written(disk)
        spare = SEGMENTS_MAX * max(sizes.values())
        since, enough = _since(checkpoints[member], sizes), max(log_bytes_min, _copied(checkpoints[member]))
        if since > enough + spare:
            found.append(f"member {member} has written {since} bytes since its checkpoint, {enough} are enough for one")
        needed = _needed(disk, sizes, lowest)
        if (total := sum(sizes.values())) > max(needed, enough) + spare:  # what has no entry goes with the next cut
            found.append(f"member {member} has a log of {total} bytes, of which somebody may need {needed}")
    return found


def _checkpoint(disk: Disk) -> Contents | None:
    owner = read_identity(disk)
    return None if owner is None else find(disk, owner.directory)


def _lowest_claims(checkpoints: list[Contents | None]) -> dict[int, int]:
    """Of each group, up to where all have its state in a checkpoint; a group of which one has none is missing."""
    claims = [{} if each is None else each.claims for each in checkpoints]
    return {group: min(each[group].index for each in claims) for group in claims[0] if all(group in c for c in claims)}


def _copied(checkpoint: Contents | None) -> int:
    return 0 if checkpoint is None else checkpoint.length


def _since(checkpoint: Contents | None, sizes: Mapping[int, int]) -> int:
    segment, offset = (0, 0) if checkpoint is None else (checkpoint.segment, checkpoint.offset)
    return sum(size - (offset if number == segment else 0) for number, size in sizes.items() if number >= segment)


def _written(disk: Disk) -> dict[int, int]:
    """How much of each segment's file has batches, by its number, ascending."""
    found: dict[int, int] = {}
    for name in disk.names():
        number = segment_number(name)
        if number is not None:
            data, end = disk.read(name, 0, disk.size(name)), 0
            while (header := read_header(data, end)) is not None:
                end += extent(header.length)
            found[number] = end
    return found


def _needed(disk: Disk, sizes: Mapping[int, int], lowest: Mapping[int, int]) -> int:
    """How much the log has from the first segment on that has an entry which not all have in a checkpoint; all of it
    where somebody has taken none, so that nothing is cut."""
    if not lowest:
        return sum(sizes.values())
    for number in sizes:
        name = segment_file(number)
        records = log_records(disk.read(name, 0, disk.size(name)))
        if any(isinstance(record, Entry) and record.index > lowest.get(group, 0) for group, record in records):
            return sum(size for later, size in sizes.items() if later >= number)
    return 0
