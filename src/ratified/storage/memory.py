"""An environment in memory: the simulator's store, behind the same protocols as LMDB.

1. A transaction keeps what it overwrote, in order; undoing it (or a savepoint's part of it) puts that back from the
   end. A commit only forgets it.
2. A view sees what was committed when it was opened: a row that changes afterwards leaves its old value with every
   open view of its space that has none for it yet.
3. The environment outlives the node that used it. ``abandon`` is what a killed process leaves behind: the open
   transaction never happened, and its views are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple, TypeAlias

import msgspec
from sortedcontainers import SortedDict

from ratified.storage.space import SECOND, check_key

_Rows: TypeAlias = "SortedDict[bytes, bytes]"
_Copied: TypeAlias = dict[int, dict[str, dict[bytes, bytes]]]
"""By space and table."""
_SCRAMBLED_ROWS_MAX = 8


class _Change(NamedTuple):
    """A row as it was before a transaction wrote it."""

    space: MemorySpace
    table: str
    key: bytes
    before: bytes | None


class MemoryEnvironment:
    """All spaces of one node, in sorted dictionaries."""

    def __init__(self) -> None:
        self._spaces: dict[int, MemorySpace] = {}
        self._undo: list[_Change] | None = None
        self._suspended: list[_Change] | None = None
        self.rows_touched = 0
        """Rows that were read or written so far: what a simulated processor is charged for."""

    def space(self, number: int) -> MemorySpace:
        """The rows of this space (u32)."""
        space = self._spaces.get(number)
        if space is None:
            space = self._spaces[number] = MemorySpace(self, number)
        return space

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction over all spaces: committed where the block ends, undone where it raises."""
        if self._undo is not None or self._suspended is not None:
            raise RuntimeError("a transaction is open already")
        undo = self._undo = []
        try:
            yield
        except BaseException:
            self._take_back(undo, 0)
            raise
        finally:
            if self._undo is undo:
                self._undo = None
                self._forget_what_was_shown()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undoes what the block wrote, and only that, where it raises."""
        undo = self.changes()
        mark = len(undo)
        try:
            yield
        except BaseException:
            self._take_back(undo, mark)
            raise

    def suspend(self) -> None:
        """Set the open transaction aside; reads see the last commit until ``resume``."""
        self._undo, self._suspended = None, self.changes()

    def resume(self) -> None:
        """Go on with the transaction that was set aside."""
        if self._suspended is None:
            raise RuntimeError("no transaction was set aside")
        self._undo, self._suspended = self._suspended, None

    @property
    def suspended(self) -> bool:
        return self._suspended is not None

    def abandon(self) -> None:
        """The process that used the environment is gone: its open transaction is undone, its views are closed."""
        if self._suspended is not None:
            self.resume()
        self._forget_what_was_shown()
        if self._undo is not None:
            self._take_back(self._undo, 0)
            self._undo = None
        for space in self._spaces.values():
            space.views.clear()

    def scramble(self, draw: Callable[[int], int]) -> None:
        """What the loss of a machine may leave of a store that was in use: in every table some rows are missing.

        ``draw(n)`` gives a number from 0 to n - 1.
        """
        for number in sorted(self._spaces):
            self._spaces[number].scramble(draw)

    def close(self) -> None:
        """A process that ends well closes its environment; the rows stay for the next one."""
        if self._undo is not None or self._suspended is not None:
            raise RuntimeError("the environment is closed while its transaction is open")
        self.abandon()

    @property
    def size_bytes(self) -> int:
        return sum(space.size_bytes for space in self._spaces.values())

    def copy(self) -> MemoryCopy:
        """The last commit, copied at once."""
        before: dict[tuple[MemorySpace, str, bytes], bytes | None] = {}
        for change in self.uncommitted():
            before.setdefault((change.space, change.table, change.key), change.before)
        copied = {number: space.all_rows() for number, space in sorted(self._spaces.items())}
        for (space, table, key), value in before.items():
            rows = copied[space.number][table]
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        return MemoryCopy(msgspec.msgpack.encode(copied))

    @classmethod
    def of_copy(cls, data: bytes) -> MemoryEnvironment:
        """An environment that holds what was copied."""
        environment = cls()
        for number, tables in msgspec.msgpack.decode(data, type=_Copied).items():
            for table, rows in tables.items():
                environment.space(number).rows(table).update(rows)
        return environment

    def changes(self) -> list[_Change]:
        """What the open transaction overwrote so far; raises ``RuntimeError`` where none is open."""
        if self._undo is None:
            raise RuntimeError("no transaction is open")
        return self._undo

    def uncommitted(self) -> list[_Change]:
        """As ``changes``, and empty where no transaction is open."""
        return self._undo or self._suspended or []

    def _forget_what_was_shown(self) -> None:
        for space in self._spaces.values():
            space.forget_what_was_shown()

    def _take_back(self, undo: list[_Change], mark: int) -> None:
        if undo is not self._undo:
            return  # Abandoned in the meantime, and taken back then.
        while len(undo) > mark:
            change = undo.pop()
            change.space.put_back(change.table, change.key, change.before)


class MemoryCopy:
    """A commit of all spaces, in MessagePack."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def length(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def close(self) -> None:
        pass


class MemorySpace:
    """One group's rows."""

    def __init__(self, environment: MemoryEnvironment, number: int) -> None:
        self.number = number
        self._environment = environment
        self._tables: dict[str, _Rows] = {}
        self.views: list[MemoryView] = []
        self._shown: MemoryView | None = None
        """What is read while the transaction is set aside."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None; inside the transaction what it wrote is seen."""
        self._environment.rows_touched += 1
        if self._environment.suspended:
            return self._committed().get(table, key)
        return self.rows(table).get(key)

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """As ``View.scan``; rows must not be written while the iterator is in use."""
        if self._environment.suspended:
            yield from self._committed().scan(table, first, last, reverse=reverse)
            return
        rows = self.rows(table)
        for key in rows.irange(first, last, inclusive=(True, False), reverse=reverse):
            self._environment.rows_touched += 1
            yield key, rows[key]

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The first so many keys of the rows that ``scan`` gives; many times as fast."""
        if self._environment.suspended:
            return self._committed().keys(table, first, last, keys_max)
        return list(islice(self.rows(table).irange(first, last, inclusive=(True, False)), keys_max))

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """The keys and the values of the first so many rows that ``scan`` gives."""
        return _columns(islice(self.scan(table, first, last), rows_max))

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write one row; needs the environment's transaction."""
        check_key(key)
        self._remember(table, key, self.rows(table).get(key))
        self.rows(table)[key] = value

    def delete(self, table: str, key: bytes) -> bool:
        """Remove one row; False where there was none."""
        before = self.rows(table).get(key)
        self._remember(table, key, before)
        if before is None:
            return False
        del self.rows(table)[key]
        return True

    def put_all(self, table: str, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """As ``put`` of each row."""
        written = self.rows(table)
        for key, value in rows:
            check_key(key)
            self._remember(table, key, written.get(key))
            written[key] = value

    def delete_all(self, table: str, keys: Iterable[bytes]) -> None:
        """As ``delete`` of each row."""
        for key in keys:
            self.delete(table, key)

    def view(self) -> MemoryView:
        """A snapshot of what is committed, to read from over several turns; the caller closes it."""
        view = MemoryView(self)
        for change in self._environment.uncommitted():
            if change.space is self:
                view.keep(change.table, change.key, change.before)
        self.views.append(view)
        return view

    def second(self) -> MemorySpace:
        """The group's other space."""
        return self._environment.space(self.number | SECOND)

    def forget_what_was_shown(self) -> None:
        """The transaction has ended."""
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def _committed(self) -> MemoryView:
        if self._shown is None:
            self._shown = self.view()
        return self._shown

    def rows(self, table: str) -> _Rows:
        """The table as it is now, uncommitted rows included."""
        rows = self._tables.get(table)
        if rows is None:
            rows = self._tables[table] = SortedDict()
        return rows

    @property
    def size_bytes(self) -> int:
        return sum(len(key) + len(value) for rows in self._tables.values() for key, value in rows.items())

    def all_rows(self) -> dict[str, dict[bytes, bytes]]:
        """By table, uncommitted rows included."""
        return {table: dict(rows) for table, rows in sorted(self._tables.items())}

    def scramble(self, draw: Callable[[int], int]) -> None:
        """Lose some rows of every table."""
        for name in sorted(self._tables):
            rows = self._tables[name]
            for _ in range(draw(1 + min(len(rows), _SCRAMBLED_ROWS_MAX))):
                rows.popitem(draw(len(rows)))

    def charge(self) -> None:
        """One of its rows is read through a view."""
        self._environment.rows_touched += 1

    def put_back(self, table: str, key: bytes, before: bytes | None) -> None:
        """Make the row what it was; views keep what they have."""
        if before is None:
            self.rows(table).pop(key, None)
        else:
            self.rows(table)[key] = before

    def _remember(self, table: str, key: bytes, before: bytes | None) -> None:
        self._environment.rows_touched += 1
        self._environment.changes().append(_Change(self, table, key, before))
        for view in self.views:
            view.keep(table, key, before)


class MemoryView:
    """What one space held, committed, when the view was opened."""

    def __init__(self, space: MemorySpace) -> None:
        self._space = space
        self._kept: dict[str, SortedDict[bytes, bytes | None]] = {}
        self._kept_bytes = 0

    def keep(self, table: str, key: bytes, value: bytes | None) -> None:
        """The row is about to change: this view goes on seeing ``value``, unless it has an older one."""
        kept = self._kept.setdefault(table, SortedDict())
        if key not in kept:
            kept[key] = value
            self._kept_bytes += len(key) + len(value or b"")

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""
        self._space.charge()
        return self._value(table, key)

    def _value(self, table: str, key: bytes) -> bytes | None:
        kept = self._kept.get(table)
        if kept is not None and key in kept:
            return kept[key]
        return self._space.rows(table).get(key)

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with first <= key < last (None: to the end), ascending, or descending with ``reverse``."""
        for row in self._rows(table, first, last, reverse):
            self._space.charge()
            yield row

    def _rows(
        self, table: str, first: bytes, last: bytes | None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """As ``scan``. Looks up every next key anew, so that rows may be written between two steps."""
        step = self._below if reverse else self._from
        key = step(table, last if reverse else first)
        while key is not None and (key >= first if reverse else last is None or key < last):
            value = self._value(table, key)
            if value is not None:  # what was written since is not there
                yield key, value
            key = step(table, key if reverse else key + b"\0")

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The first so many keys of the rows that ``scan`` gives; many times as fast."""
        return [key for key, _ in islice(self._rows(table, first, last), keys_max)]

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """The keys and the values of the first so many rows that ``scan`` gives."""
        return _columns(islice(self.scan(table, first, last), rows_max))

    @property
    def kept_bytes(self) -> int:
        """As ``View.kept_bytes``; 0 once it is closed."""
        return self._kept_bytes

    def close(self) -> None:
        """Let go of the snapshot."""
        self._kept_bytes = 0
        if self in self._space.views:
            self._space.views.remove(self)

    def _from(self, table: str, bound: bytes | None) -> bytes | None:
        """The least key >= ``bound`` of the rows and of what is kept."""
        found = [next(keys.irange(bound), None) for keys in self._key_sets(table)]
        return min((key for key in found if key is not None), default=None)

    def _below(self, table: str, bound: bytes | None) -> bytes | None:
        """The greatest key < ``bound`` (None: of all)."""
        inclusive = (True, False)
        found = [next(keys.irange(None, bound, inclusive, reverse=True), None) for keys in self._key_sets(table)]
        return max((key for key in found if key is not None), default=None)

    def _key_sets(self, table: str) -> list[SortedDict[bytes, bytes] | SortedDict[bytes, bytes | None]]:
        rows = self._space.rows(table)
        kept = self._kept.get(table)
        return [rows] if kept is None else [rows, kept]


def _columns(rows: Iterator[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    found = list(rows)
    return [key for key, _ in found], [value for _, value in found]
