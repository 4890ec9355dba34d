"""Keeping ``order`` up with the tables that it follows from, and making it anew where another program has written them
without it.

Rules
1. Whoever brings a long key into ``live`` or ``history``, or takes one away, says so here in the same transaction.
2. Where the rows say nothing any more (``order.is_kept``), all of them are removed and then those of each long key are
   added, in pieces, while other commands come and go. Until that is done nothing is marked, so nobody reads them, and
   a later process begins again.
3. A store without long keys has neither rows nor a mark, and pays nothing. Whether an earlier program has put long keys
   into it is looked for once somebody puts one, or has found many.
4. Inside a transaction the rows follow the other tables at once. So commands go by them without looking for a mark.
"""

from __future__ import annotations

from ratified.kv import names, order
from ratified.kv.history import HISTORY, names_of, past
from ratified.kv.tables import LIVE, META, ORDER
from ratified.storage.space import Space, View

_CHANGES_AT_ONCE = 4096
"""Changes passed over in one piece: half a millisecond."""


class OrderUpkeep:
    """The order of one space."""

    def __init__(self, space: Space, *, is_empty: bool) -> None:
        """``is_empty``: nothing was ever written to the space."""
        self._space = space
        self._is_marked = order.is_kept(space.get)
        """Whether there is, or will be, a mark."""
        self._is_whole = is_empty or self._is_marked
        self._waits = not self._is_whole and space.get(META, order.MARK) is None and not space.keys(ORDER, b"", None, 1)
        """There may be long keys, and there are no rows."""
        self._next: bytes | None = None
        """Those before this name are added, where it is not whole; None: what was there is still to be removed."""

    @property
    def is_behind(self) -> bool:
        """Whether ``catch_up`` has something to do."""
        return not (self._is_whole or self._waits)

    @property
    def _is_kept_up(self) -> bool:
        return self._is_whole or self._next is not None

    def is_kept(self) -> bool:
        """Whether commands may go by it. Who may not, for want of it alone, has it made."""
        self.missed()
        return self._is_whole

    def is_kept_in(self, view: View) -> bool:
        """Whether who reads a view may go by it."""
        kept = order.is_kept(view.get)
        if not kept:
            self.missed()
        return kept

    def missed(self) -> None:
        """Somebody who reads long keys could go by their order."""
        if self._waits:
            self._waits = False
            self._next = b""

    def note(self, key: bytes, name: bytes, *, is_live: bool) -> None:
        """A long key has a history, and is in ``live`` or not."""
        self.missed()
        if self._is_kept_up:
            self._is_marked = True
            order.note(self._space, key, name, is_live=is_live)

    def remove(self, key: bytes, name: bytes) -> None:
        """A long key has no history any more."""
        if self._is_kept_up:
            order.remove(self._space, key, name)

    def save(self, state: bytes, removal: bytes) -> None:
        """``meta`` has these from now on."""
        if self._is_whole and self._is_marked:
            self._space.put(META, order.MARK, order.mark(state, removal))

    def catch_up(self, rows_max: int, bytes_max: int) -> None:
        """One piece of making it anew."""
        if self._next is None:
            self._remove_all(rows_max)
        else:
            self._add_from(self._next, rows_max, bytes_max)

    def _remove_all(self, rows_max: int) -> None:
        space = self._space
        space.delete(META, order.MARK)
        found = space.keys(ORDER, b"", None, rows_max)
        space.delete_all(ORDER, found)
        if len(found) < rows_max:
            self._next = b""

    def _add_from(self, first: bytes, rows_max: int, bytes_max: int) -> None:
        space = self._space
        found = space.keys(HISTORY, first, None, _CHANGES_AT_ONCE)
        for name in names_of(found):
            self._next = past(name)
            if names.is_whole(name):
                continue
            key = order.key_of(space, name)
            order.note(space, key, name, is_live=space.get(LIVE, name) is not None)
            rows_max -= 1
            bytes_max -= len(key)
            if rows_max <= 0 or bytes_max <= 0:
                return
        if len(found) < _CHANGES_AT_ONCE:
            self._is_whole = self._is_marked = True
