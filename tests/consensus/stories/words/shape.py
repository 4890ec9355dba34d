"""What a protocol's words consist of, and what is equal in all of them: ``2=x@E`` is value x at index 2, of era E."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ratified.consensus.contract import Entry, Era, Kind, Membership
from ratified.consensus.entry import decode_configuration, decode_entry


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

    def position(self, index: int, era: Era) -> str:
        """An index, and the era of its entry."""
        return f"{index}@{self.era_mark(era)}"

    def entry(self, entry: Entry) -> str:
        """An entry with its era."""
        return f"{value(entry)}@{self.era_mark(entry.era)}"


def configuration(membership: Membership) -> str:
    """Voters, those that leave while it is joint, learners: ``(1 2 3)&(1 2) learners (4)``, as etcd writes it."""
    joint = f"&({_numbers(membership.outgoing)})" if membership.outgoing else ""
    learners = f" learners ({_numbers(membership.learners)})" if membership.learners else ""
    return f"({_numbers(membership.voters)}){joint}{learners}"


def _numbers(members: Sequence[int]) -> str:
    return " ".join(map(str, members))


def value(entry: Entry) -> str:
    """An entry without its era."""
    match entry.kind:
        case Kind.COMMAND:
            return f"{entry.index}={entry.data.decode()}"
        case Kind.MEMBERSHIP:
            return f"{entry.index}={configuration(decode_configuration(entry.data)[0])}"
        case _:
            return f"{entry.index}={entry.kind.name.lower()}"


def decoded(encoded: Sequence[bytes]) -> list[Entry]:
    """The entries of a message."""
    return [decode_entry(each) for each in encoded]


def bracketed(parts: Iterable[str]) -> str:
    """What belongs together."""
    return f"[{' '.join(parts)}]"
