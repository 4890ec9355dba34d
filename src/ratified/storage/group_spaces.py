"""A group's two spaces: one serves, and into the other one a state is loaded that is to take its place.

Rules
1. The row ``serving`` of the group's first space says whether the second one serves; without it the first one does.
   Writing it is the switch.
2. What the other one holds is of no use to a later process: a state that was not switched to, or one that was switched
   away from. It is removed in slices, and found again after a restart.
3. A state is loaded into an empty space only.
"""

from __future__ import annotations

from collections.abc import Sequence

from ratified.storage.space import Space

SERVING = "serving"
SERVING_KEY = b""
OWNER_KEY = b"owner"
"""Of the first space of group 0: whose store this is (``guard``)."""
_SECOND = b"\x01"
_FIRST = b"\x00"


def second_serves(row: bytes | None) -> bool:
    """What the row ``serving`` says (None: there is none)."""
    return row == _SECOND


class GroupSpaces:
    """``tables`` are those that whoever keeps rows in the spaces writes; the first one is removed first."""

    def __init__(self, first: Space, tables: Sequence[str]) -> None:
        self._first = first
        self._second = first.second()
        self._tables = tables
        self._second_serves = second_serves(first.get(SERVING, SERVING_KEY))
        self.holds_useless = not self.is_spare_empty()
        """Whether ``remove_useless`` has something to do, unless a state is being loaded."""

    @property
    def serving(self) -> Space:
        return self._second if self._second_serves else self._first

    @property
    def spare(self) -> Space:
        return self._first if self._second_serves else self._second

    def switch(self) -> None:
        """From here on the spare one serves; in the open transaction."""
        self._first.put(SERVING, SERVING_KEY, _FIRST if self._second_serves else _SECOND)
        self._second_serves = not self._second_serves
        self.holds_useless = True

    def is_spare_empty(self) -> bool:
        """May a state be loaded?"""
        return not any(self.spare.keys(table, b"", None, 1) for table in self._tables)

    def remove_useless(self, rows_max: int) -> None:
        """Remove so many rows of the spare one, in the open transaction."""
        for table in self._tables:
            keys = self.spare.keys(table, b"", None, rows_max)
            self.spare.delete_all(table, keys)
            rows_max -= len(keys)
            if rows_max <= 0:
                return
        self.holds_useless = False
