"""The LMDB environment of one node and its spaces.

1. A commit does not sync: the log is the truth. What a dead machine may have torn is not used (``storage.guard``), and
   a clean close syncs.
2. Every key begins with its space, u32 big-endian. All spaces are written in one transaction. Everything happens on
   one thread.
3. Readers share one snapshot of the last commit; a view keeps its snapshot until it is closed, and nothing that it
   can see is overwritten meanwhile. What it so keeps from being used again is counted: what commits since have freed.
4. A table is made by the first write to it. Its handle is lost with the transaction, or the savepoint, that made it.
5. After each commit the file is as long as the commit's pages, so that one that is shorter was cut (``storage.pages``).
6. No writemap: a stray write of the process must never reach the store, and savepoints need it off.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import dropwhile, islice
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeAlias

import lmdb

from ratified.storage.durations import Durations
from ratified.storage.pages import StoreFile, StoreUnsound, newest_commit
from ratified.storage.space import KEY_BYTES_MAX, SECOND, SPACE_BYTES, check_key

MAP_BYTES = 1 << 40
READERS_MAX = 1 << 17
"""More than a node has streams, each of which may read a commit of its own: one reader too many ends the process."""
TABLES_MAX = 64
DATA_FILE = "data.mdb"
ROTTEN = (
    lmdb.CorruptedError,
    lmdb.InvalidError,
    lmdb.PageNotFoundError,
    lmdb.VersionMismatchError,
    StoreUnsound,
)
"""How LMDB, or who reads its pages beside it, says that the file is not what it has written."""
_BOUND_BYTES_MAX = KEY_BYTES_MAX + SPACE_BYTES
_AFTER_ALL = b"\xff" * (_BOUND_BYTES_MAX + 1)
_BEHIND_SPACE = slice(SPACE_BYTES, None)

_Transaction: TypeAlias = "lmdb.Transaction[bytes]"
_Cursor: TypeAlias = "lmdb.Cursor[bytes]"
_Tables: TypeAlias = "dict[str, lmdb._Database]"


class Witness(Protocol):
    """Who keeps account of an environment's commits, beside the environment's file."""

    def committed(self, commit: int) -> None:
        """The commit with this number was made; LMDB counts them."""

    def closed(self, commit: int) -> None:
        """It was the last one; everything was synced and closed."""

    def abandoned(self) -> None:
        """Everything was closed and nothing was synced."""


class _Level(NamedTuple):
    """An open transaction or savepoint, and the tables that it made."""

    transaction: _Transaction
    made: list[str]


class _Snapshot:
    """A read transaction that several readers share, and the tables that it can see."""

    def __init__(self, transaction: _Transaction, tables: _Tables) -> None:
        self.transaction = transaction
        self.tables = tables
        self._readers = 1

    def share(self) -> _Snapshot:
        """One reader more, who will ``release`` it."""
        self._readers += 1
        return self

    def release(self) -> None:
        """One reader less; the last one ends it."""
        self._readers -= 1
        if not self._readers:
            self.transaction.abort()


class LmdbEnvironment:
    """All spaces of one node, in one LMDB file in the directory ``path``, which must exist.

    ``map_bytes`` is address space, not disk: the file grows as it is used. ``witness``, if there is one, is told of
    each commit and of the end.
    """

    def __init__(
        self,
        path: Path,
        *,
        map_bytes: int = MAP_BYTES,
        readers_max: int = READERS_MAX,
        witness: Witness | None = None,
    ) -> None:
        self._witness = witness
        self.commits = Durations()
        """Of this process; no commit syncs."""
        self.file = path / DATA_FILE
        self._environment = lmdb.open(
            str(path),
            map_size=map_bytes,
            max_dbs=TABLES_MAX,
            max_readers=readers_max,
            sync=False,
            metasync=False,
            writemap=False,
            mode=0o600,
        )
        with self._environment.begin() as transaction:
            names = list(transaction.cursor().iternext(keys=True, values=False))
        self._descriptor = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        """For copies: opened now, so that none fails for want of one."""
        self._page_bytes = self._environment.stat()["psize"]
        self._file_bytes_min = 0
        self._tables: _Tables = {name.decode(): self._environment.open_db(name, create=False) for name in names}
        self._levels: list[_Level] = []
        """The open transaction and the savepoints in it, innermost last."""
        self._suspended: list[_Level] = []
        """The same of a transaction that is set aside."""
        self._committed: _Snapshot | None = None
        self.views = 0
        """Those that are open."""
        self.freed_bytes = 0
        """Of pages that commits have freed while any view was open."""
        self._accounted_for = self.commit

    @property
    def commit(self) -> int:
        """The number of the last commit."""
        return self._environment.info()["last_txnid"]

    def space(self, number: int) -> LmdbSpace:
        """The rows of this space (u32)."""
        return LmdbSpace(self, number)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One write transaction over all spaces: committed where the block ends, undone where it raises."""
        if self._levels or self._suspended:
            raise RuntimeError("a transaction is open already")
        with self._level(None):
            yield
        if self._committed is not None:
            self._committed.release()
            self._committed = None
        self._account_for_commit()

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: undoes what the block wrote, and only that, where it raises."""
        parent = self.writing()
        made = self._levels[-1].made
        with self._level(parent) as made_inside:
            yield
        made += made_inside

    def suspend(self) -> None:
        """Set the open transaction aside; reads see the last commit until ``resume``."""
        self.writing()
        self._levels, self._suspended = [], self._levels

    def resume(self) -> None:
        """Go on with the transaction that was set aside."""
        if not self._suspended:
            raise RuntimeError("no transaction was set aside")
        self._levels, self._suspended = self._suspended, []

    @property
    def size_bytes(self) -> int:
        return (self._environment.info()["last_pgno"] + 1) * self._page_bytes

    @property
    def used_bytes(self) -> int:
        """What the pages of all tables take; the other pages of the file are free, and written to again."""
        snapshot = self.committed()
        pages = 0
        for table in snapshot.tables.values():
            stat = snapshot.transaction.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * self._page_bytes

    def copy(self) -> LmdbCopy:
        """The last commit, as a file that LMDB opens; needs that no transaction is open, or it is set aside."""
        if self._levels:
            raise RuntimeError("a copy is asked for while a transaction is open")
        return LmdbCopy(self._descriptor, self.committed().share())

    def close(self) -> None:
        """Sync and close; raises ``RuntimeError`` while a transaction is open."""
        if self._levels or self._suspended:
            raise RuntimeError("the environment is closed while its transaction is open")
        commit = self.commit
        self._environment.sync(True)
        self._close()
        if self._witness is not None:
            self._witness.closed(commit)

    def abandon(self) -> None:
        """Close as a process that dies would: nothing is synced."""
        self._close()
        if self._witness is not None:
            self._witness.abandoned()

    def _close(self) -> None:
        self._environment.close()
        os.close(self._descriptor)

    def _account_for_commit(self) -> None:
        """Make the file as long as the commit's pages, count what it freed, and tell the witness.

        LMDB does not write pages that the commit which took them has freed again, so the last ones may be missing. A
        file without them looks like one that was cut.
        """
        info = self._environment.info()
        file_bytes = (info["last_pgno"] + 1) * self._page_bytes
        if file_bytes > self._file_bytes_min:
            self._file_bytes_min = file_bytes
            if self.file.stat().st_size < file_bytes:
                os.truncate(self.file, file_bytes)
        number = info["last_txnid"]
        if self.views and number > self._accounted_for:  # a transaction that wrote nothing is no commit of LMDB's
            self.freed_bytes += StoreFile(self._descriptor).freed_pages() * self._page_bytes
        self._accounted_for = number
        if self._witness is not None:
            self._witness.committed(number)

    @contextmanager
    def _level(self, parent: _Transaction | None) -> Iterator[list[str]]:
        level = _Level(self._environment.begin(write=True, parent=parent), [])
        self._levels.append(level)
        try:
            yield level.made
            began = perf_counter()
            level.transaction.commit()
            if parent is None:
                self.commits.add(perf_counter() - began)
        except BaseException:
            level.transaction.abort()
            for name in level.made:
                del self._tables[name]
            raise
        finally:
            self._levels.pop()

    # -----------------------------------------------------------------------------------------------------------
    # For spaces and views

    def writing(self) -> _Transaction:
        """The innermost open transaction; raises ``RuntimeError`` where none is open."""
        if not self._levels:
            raise RuntimeError("no transaction is open")
        return self._levels[-1].transaction

    def reading(self) -> tuple[_Transaction, _Tables]:
        """What a plain read sees: the open transaction, or else the last commit."""
        if self._levels:
            return self._levels[-1].transaction, self._tables
        snapshot = self.committed()
        return snapshot.transaction, snapshot.tables

    def committed(self) -> _Snapshot:
        """The snapshot of the last commit; who keeps it shares it."""
        if self._committed is None:
            made = {name for level in (*self._levels, *self._suspended) for name in level.made}
            tables = {name: table for name, table in self._tables.items() if name not in made}
            self._committed = _Snapshot(self._environment.begin(), tables)
        return self._committed

    def table(self, name: str) -> lmdb._Database:
        """The table, made where it is new; needs an open transaction."""
        transaction = self.writing()
        table = self._tables.get(name)
        if table is None:
            table = self._tables[name] = self._environment.open_db(name.encode(), txn=transaction)
            self._levels[-1].made.append(name)
        return table


class LmdbCopy:
    """The pages of one commit, read from the file beside LMDB.

    While its snapshot is open LMDB writes over no page that the commit reaches. Only the first two pages, which say
    what the last two commits are, are written over by the next ones, and are therefore read at once.
    """

    def __init__(self, descriptor: int, snapshot: _Snapshot) -> None:
        self._descriptor = descriptor
        self._snapshot = snapshot
        commit = newest_commit(descriptor)
        assert commit.number == snapshot.transaction.id(), "the snapshot is of the last commit"
        self._head = os.pread(descriptor, 2 * commit.page_bytes, 0)
        self._length = (commit.last_page + 1) * commit.page_bytes

    @property
    def length(self) -> int:
        return self._length

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self._length)
        parts = [self._head[offset:end]] if offset < len(self._head) else []
        at = max(offset, len(self._head))
        while at < end:
            part = os.pread(self._descriptor, end - at, at)
            if not part:
                raise OSError(errno.EIO, "the store's file ends before its last page")
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._snapshot.release()


class LmdbSpace:
    """One group's rows."""

    def __init__(self, environment: LmdbEnvironment, number: int) -> None:
        self._environment = environment
        self._number = number
        self._prefix = number.to_bytes(SPACE_BYTES, "big")

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None; inside the transaction what it wrote is seen."""
        transaction, tables = self._environment.reading()
        return _get(transaction, tables, table, self._prefix, key)

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """As ``View.scan``; rows must not be written while the iterator is in use."""
        transaction, tables = self._environment.reading()
        return _scan(transaction, tables, table, self._prefix, first, last, reverse)

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The first so many keys of the rows that ``scan`` gives; many times as fast."""
        transaction, tables = self._environment.reading()
        return _keys(transaction, tables, table, self._prefix, first, last, keys_max)

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """The keys and the values of the first so many rows that ``scan`` gives; three times as fast."""
        transaction, tables = self._environment.reading()
        return _columns(transaction, tables, table, self._prefix, first, last, rows_max)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write one row; needs the environment's transaction."""
        check_key(key)
        database = self._environment.table(table)
        self._environment.writing().put(self._prefix + key, value, db=database)

    def delete(self, table: str, key: bytes) -> bool:
        """Remove one row; False where there was none."""
        database = self._environment.table(table)
        return len(key) <= KEY_BYTES_MAX and self._environment.writing().delete(self._prefix + key, db=database)

    def put_all(self, table: str, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """As ``put`` of each row, in one call of LMDB's."""
        database = self._environment.table(table)
        prefix = self._prefix
        with self._environment.writing().cursor(database) as cursor:
            cursor.putmulti((prefix + key, value) for key, value in rows)

    def delete_all(self, table: str, keys: Iterable[bytes]) -> None:
        """As ``delete`` of each row."""
        database = self._environment.table(table)
        delete = self._environment.writing().delete
        prefix = self._prefix
        for key in keys:
            if len(key) <= KEY_BYTES_MAX:
                delete(prefix + key, db=database)

    def view(self) -> LmdbView:
        """A snapshot of what is committed, to read from over several turns; the caller closes it."""
        return LmdbView(self._environment, self._prefix)

    def second(self) -> LmdbSpace:
        """The group's other space."""
        return LmdbSpace(self._environment, self._number | SECOND)


class LmdbView:
    """What one space held, committed, when the view was opened."""

    def __init__(self, environment: LmdbEnvironment, prefix: bytes) -> None:
        self._snapshot: _Snapshot | None = environment.committed().share()
        self._environment = environment
        self._prefix = prefix
        self._freed_bytes_before = environment.freed_bytes
        environment.views += 1

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""
        snapshot = self._open()
        return _get(snapshot.transaction, snapshot.tables, table, self._prefix, key)

    def scan(
        self, table: str, first: bytes, last: bytes | None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Rows with first <= key < last (None: to the end), ascending, or descending with ``reverse``."""
        snapshot = self._open()
        return _scan(snapshot.transaction, snapshot.tables, table, self._prefix, first, last, reverse)

    def keys(self, table: str, first: bytes, last: bytes | None, keys_max: int) -> list[bytes]:
        """The first so many keys of the rows that ``scan`` gives; many times as fast."""
        snapshot = self._open()
        return _keys(snapshot.transaction, snapshot.tables, table, self._prefix, first, last, keys_max)

    def columns(self, table: str, first: bytes, last: bytes | None, rows_max: int) -> tuple[list[bytes], list[bytes]]:
        """The keys and the values of the first so many rows that ``scan`` gives; three times as fast."""
        snapshot = self._open()
        return _columns(snapshot.transaction, snapshot.tables, table, self._prefix, first, last, rows_max)

    @property
    def kept_bytes(self) -> int:
        """As ``View.kept_bytes``; 0 once it is closed."""
        return 0 if self._snapshot is None else self._environment.freed_bytes - self._freed_bytes_before

    def close(self) -> None:
        """Let go of the snapshot."""
        if self._snapshot is not None:
            self._snapshot.release()
            self._snapshot = None
            self._environment.views -= 1

    def _open(self) -> _Snapshot:
        if self._snapshot is None:
            raise RuntimeError("the view is closed")
        return self._snapshot


# ---------------------------------------------------------------------------------------------------------------
# Reading. LMDB takes no key above its limit, not even to look for: such a bound is shortened, and the rows that the
# shortening lets in are compared with the whole bound.


def _get(transaction: _Transaction, tables: _Tables, table: str, prefix: bytes, key: bytes) -> bytes | None:
    database = tables.get(table)
    if database is None or len(key) > KEY_BYTES_MAX:
        return None
    return transaction.get(prefix + key, db=database)


def _scan(
    transaction: _Transaction,
    tables: _Tables,
    table: str,
    prefix: bytes,
    first: bytes,
    last: bytes | None,
    reverse: bool,
) -> Iterator[tuple[bytes, bytes]]:
    database = tables.get(table)
    if database is None:
        return iter(())
    low = prefix + first
    high = prefix + last if last is not None else _after(prefix)
    cursor = transaction.cursor(database)
    return _descending(cursor, low, high) if reverse else _ascending(cursor, low, high)


def _keys(
    transaction: _Transaction,
    tables: _Tables,
    table: str,
    prefix: bytes,
    first: bytes,
    last: bytes | None,
    keys_max: int,
) -> list[bytes]:
    database = tables.get(table)
    low = prefix + first
    if database is None or len(low) > _BOUND_BYTES_MAX:
        rows = _scan(transaction, tables, table, prefix, first, last, reverse=False)
        return [key for key, _ in islice(rows, keys_max)]
    return [
        key[_BEHIND_SPACE] for key in _batch(transaction.cursor(database), prefix, low, last, keys_max, values=False)
    ]


def _columns(
    transaction: _Transaction,
    tables: _Tables,
    table: str,
    prefix: bytes,
    first: bytes,
    last: bytes | None,
    rows_max: int,
) -> tuple[list[bytes], list[bytes]]:
    database = tables.get(table)
    low = prefix + first
    if database is None or len(low) > _BOUND_BYTES_MAX:
        rows = list(islice(_scan(transaction, tables, table, prefix, first, last, reverse=False), rows_max))
        return [key for key, _ in rows], [value for _, value in rows]
    found = _batch(transaction.cursor(database), prefix, low, last, rows_max, values=True)
    return [key[_BEHIND_SPACE] for key, _ in found], [value for _, value in found]


def _batch(cursor: Any, prefix: bytes, low: bytes, last: bytes | None, rows_max: int, *, values: bool) -> list[Any]:
    """The keys of the first so many rows from ``low`` on, or with ``values`` the rows, as LMDB has them."""
    if not cursor.set_range(low):
        return []
    found = list(islice(cursor.iternext(keys=True, values=values), rows_max))
    high = prefix + last if last is not None else _after(prefix)
    if high is not None:
        del found[bisect_left(found, (high,) if values else high) :]
    return found


def _after(prefix: bytes) -> bytes | None:
    """The first key of the next space; None: there is none."""
    number = int.from_bytes(prefix, "big") + 1
    return number.to_bytes(SPACE_BYTES, "big") if number >> 8 * SPACE_BYTES == 0 else None


def _ascending(cursor: _Cursor, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if not cursor.set_range(low[:_BOUND_BYTES_MAX]):
        return
    rows: Iterable[tuple[bytes, bytes]] = cursor.iternext()
    if len(low) > _BOUND_BYTES_MAX:
        rows = dropwhile(lambda row: row[0] < low, rows)
    end = _AFTER_ALL if high is None else high
    for key, value in rows:
        if key >= end:
            return
        yield key[_BEHIND_SPACE], value


def _descending(cursor: _Cursor, low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    found = cursor.set_range(high[:_BOUND_BYTES_MAX]) if high is not None else False
    if not found and not cursor.last():
        return
    for key, value in cursor.iterprev():
        if key < low:
            return
        if high is None or key < high:
            yield key[SPACE_BYTES:], value
