"""What counts of the logs that are left, where a majority of the members is lost for good.

Rules:

1. Nothing that any of these logs knows to be committed is left out.
2. Beyond that all is kept that may have been acknowledged, as a leader would keep it whom these members had elected:
   that it was committed is not known then, and not that it was not.
3. It is decided from numbers alone: where each log begins, which entries it has, in which eras, and the engine's state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, TypeAlias

import msgspec

from ratified.consensus.contract import NO_ERA, Base, Entry, Era, Kind, Membership, Run
from ratified.consensus.entry import make_entry
from ratified.consensus.quorum import is_quorum

Deliver: TypeAlias = Callable[[Sequence[Entry]], Sequence[Entry]]
"""Entries that count, each next to the one before, as they are delivered."""


class Remains(msgspec.Struct, frozen=True, kw_only=True):
    """One log that is left."""

    base: Base
    state: bytes
    """The engine's own record, as it was saved last."""
    runs: Sequence[Run]
    """The entries above the base, ascending."""
    held: int
    """The index of a state that lies beside the log, at the base or behind it."""
    held_era: Era
    """With which the entry there was delivered."""
    applied: int
    """Up to here all is known to be committed, by what its store has applied."""

    @property
    def last(self) -> int:
        return self.runs[-1].last if self.runs else self.base.index

    @property
    def last_era(self) -> Era:
        return self.runs[-1].era if self.runs else self.base.era


class Source(NamedTuple):
    """Entries ``first`` to ``last`` are those of one log, by its place; None: nobody has them, so they are no-ops."""

    first: int
    last: int
    log: int | None


class Salvage(msgspec.Struct, frozen=True):
    """What counts: the state that lies beside log ``begin``, and behind it these entries."""

    begin: int
    sources: Sequence[Source]
    last: int
    committed: int
    """Up to here somebody knows that it is committed."""


class Contradiction(Exception):
    """The logs are not of one history, or one has lost what it had."""


class Salvager(NamedTuple):
    """How one protocol tells from the logs that are left what counts."""

    choose: Callable[[Sequence[Remains]], Salvage]
    """Raises ``Contradiction``."""
    committed: Callable[[Remains], int]
    """Up to where this log knows that all is committed."""
    deliver: Callable[[Era], Deliver]
    """What follows an entry that was delivered with this era."""


def choose_one(remains: Sequence[Remains], best: int) -> Salvage:
    """One log has all that counts, as of protocols whose histories only grow at their end."""
    log = remains[best]
    committed = max(map(applied, remains))
    if committed > log.last:
        raise Contradiction(
            f"entry {committed} is committed, and the log that ranks highest ends at {log.last}: one of these "
            "directories has lost a part of its log, or is of another cluster"
        )
    above = max(log.held, log.base.index) + 1
    sources = [Source(above, log.last, best)] if log.last >= above else []
    return Salvage(best, sources, max(log.last, log.held), committed)


def applied(remains: Remains) -> int:
    """Of protocols that write down nothing more about it."""
    return max(remains.applied, remains.held)


def as_they_are(_: Era) -> Deliver:
    """An entry is delivered as the log has it."""
    return lambda entries: entries


def could_acknowledge(membership: Membership, members: Collection[int]) -> bool:
    """Could these have acknowledged something among themselves, in this configuration? Nobody knows without one."""
    return not membership.voters or is_quorum(membership, members)


def filler(index: int) -> Entry:
    """In the place of an entry that nobody has."""
    return make_entry(index, NO_ERA, Kind.NOOP, None, b"", birth=NO_ERA)
