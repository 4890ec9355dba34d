"""Checking and decoding the entries that arrive.

A message is checked as a whole before it changes anything: what no correct peer sends is dropped and counted, under the
reason that ``UnfitEntries`` gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import msgspec

from ratified.consensus.contract import Entry, Era, Kind
from ratified.consensus.entry import EntryFormatError, decode_configuration, decode_entry
from ratified.consensus.replication.reconfiguration import is_well_formed

INDEX_MAX = 2**63 - 1

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=INDEX_MAX)]
"""An index, a term, a round: bounded where a frame is decoded, so that what arrives fits the fixed-width records."""


class UnfitEntries(ValueError):
    """Entries that cannot be taken, and why."""


def decode_entries(encoded: Sequence[bytes]) -> list[Entry]:
    """The entries of a message, each looked at by itself."""
    try:
        entries = [decode_entry(each) for each in encoded]
        memberships = [decode_configuration(each.data)[0] for each in entries if each.kind is Kind.MEMBERSHIP]
    except EntryFormatError as error:
        raise UnfitEntries("a malformed entry") from error
    if not all(membership.voters and is_well_formed(membership) for membership in memberships):
        raise UnfitEntries("a configuration that nobody can have asked for")
    if any(entry.birth is not None and entry.birth > entry.era for entry in entries):
        raise UnfitEntries("a value that was born in a later era")
    return entries


def check_sequence(entries: Sequence[Entry], first: int, era_least: Era, era_most: Era) -> None:
    """Can these entries stand from index ``first`` on, in eras that do not decrease, within these two?

    The second half of an era is the proposer's (Paxos), or always 0: it is the same in all of them.
    """
    era = era_least
    for index, entry in enumerate(entries, first):
        if entry.index != index:
            raise UnfitEntries("entries with a gap")
        if entry.era != era:
            if entry.era < era or entry.era[1] != era[1]:
                raise UnfitEntries("entries whose eras decrease")
            era = entry.era
    if era > era_most:
        raise UnfitEntries("an entry of an era that has not begun")
    if first + len(entries) - 1 > INDEX_MAX:
        raise UnfitEntries("an entry with an impossible index")
