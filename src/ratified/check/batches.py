"""Keys that are written and deleted in batches: nobody ever sees a part of one.

A batch is put by one transaction; one delete removes all batches. Both happen at one revision, so whoever reads the
keys at any revision sees of each batch all keys, as one transaction wrote them, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ratified.check.violation import Violation
from ratified.check.watches import Event


class Batches:
    """What is read of one group's batches; a key is its batch's name, a slash, and its number."""

    def __init__(self, group: int, keys: int) -> None:
        self._group = group
        self._keys = keys
        """Of each batch."""

    def read(self, revision: int, pairs: Sequence[Event]) -> None:
        """Somebody read all batches at ``revision``; each pair with the revision that made it."""
        for name, found in groupby(pairs, key=lambda pair: pair.key.partition(b"/")[0]):
            batch = list(found)
            made = {(pair.revision, pair.value) for pair in batch}
            if len(batch) != self._keys or len(made) != 1:
                raise self._broken(f"a read at revision {revision} saw {len(batch)} keys of batch {name!r}: {batch}")

    def deleted(self, revision: int, count: int) -> None:
        """A delete of all batches was answered."""
        if count % self._keys:
            raise self._broken(f"a delete at revision {revision} removed {count} keys of batches of {self._keys}")

    def _broken(self, seen: str) -> Violation:
        return Violation("whole batches", f"group {self._group}: {seen}")
