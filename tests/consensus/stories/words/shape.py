"""What a protocol's words consist of, and what is equal in all of them: ``2=x@E`` is value x at index 2, of era E."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratified.consensus.contract import Entry, Era, Kind
from ratified.consensus.entry import decode_entry


@dataclass(frozen=True, slots=True)
class Words:
    """One protocol's words."""

    era_name: str
    era_mark: Callable[[Era], str]
    message: Callable[[Any], str]
    state: Callable[[Any], str]
    """The protocol's own small state on disk, decoded."""
    committed: str
    """What stands before the commit index."""

    def era(self, era: Era) -> str:
        """An era by its name."""
        return f"{self.era_name} {self.era_mark(era)}"

    def entry(self, entry: Entry) -> str:
        """An entry with its era."""
        return f"{value(entry)}@{self.era_mark(entry.era)}"


def value(entry: Entry) -> str:
    """An entry without its era."""
    return f"{entry.index}={entry.data.decode() if entry.kind is Kind.COMMAND else entry.kind.name.lower()}"


def decoded(encoded: Sequence[bytes]) -> list[Entry]:
    """The entries of a message."""
    return [decode_entry(each) for each in encoded]


def bracketed(parts: Iterable[str]) -> str:
    """What belongs together."""
    return f"[{' '.join(parts)}]"
