"""Whole states, read at a revision: everybody who reads one revision reads the same, made by the writes of its history.

A linearizable read answers at no lower revision than was answered anywhere before it was asked for; a serializable one
may be old, and is never of a state that was not: at each revision there is one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.check.violation import Violation
from ratified.check.watches import Event, Watches


class States:
    """What all readers of one group's keys read."""

    def __init__(self, group: int, watches: Watches) -> None:
        self._group = group
        self._watches = watches
        self._read: dict[int, tuple[Event, ...]] = {}

    def read(self, floor: int, revision: int, pairs: Sequence[Event]) -> None:
        """Somebody read all keys at ``revision``; each pair with the revision that made it.

        ``floor`` is the highest revision that was answered before a linearizable read was asked for, else 0.
        """
        if revision < floor:
            raise self._broken(f"a read answered revision {revision}, although {floor} had been answered before it")
        known = self._read.setdefault(revision, tuple(pairs))
        if known != tuple(pairs):
            raise self._broken(f"two reads at revision {revision} saw {known} and {tuple(pairs)}")
        for pair in pairs:
            if pair.revision > revision:
                raise self._broken(f"a read at revision {revision} saw {pair}")
            events = self._watches.known(pair.revision)
            if events is not None and pair not in events:
                raise self._broken(f"a read at revision {revision} saw {pair}, and that revision made {events}")

    def _broken(self, seen: str) -> Violation:
        return Violation("linearizability", f"group {self._group}: {seen}")
