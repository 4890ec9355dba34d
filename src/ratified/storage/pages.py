"""LMDB's file read page by page, before LMDB maps it.

LMDB believes its file: a page behind the file's end kills the process with SIGBUS, one that is not what its parent
says with SIGABRT. So a store is looked at with plain reads first:

1. Nothing here maps the file, and nothing found in it is believed before it was compared with what else is known:
   what does not fit is ``StoreUnsound``.
2. The file is at least as long as the pages of its newest commit. (LMDB alone does not keep it so where the last
   pages of a commit are free already; ``LmdbEnvironment`` does.)
3. ``check_pages`` reads every page that the newest commit reaches: its number, its kind, the bounds of its nodes, the
   order of all keys, the counts of pages and entries in each tree, and that no page is reached twice, or both reached
   and free. LMDB finds nothing in such a file that it cannot stand.
4. Whoever reads only some rows has the pages on the way to them checked.
5. Of a store that is open, the newest commit is read so too where LMDB does not tell (``freed_pages``).

The format is LMDB's data format 1 (LMDB 0.9), on a little-endian machine of 64 bits and without duplicate keys, as
``mdb.c`` describes it at ``MDB_page``, ``MDB_node``, ``MDB_db`` and ``MDB_meta``.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import repeat
from operator import lt
from pathlib import Path
from typing import NamedTuple

import msgspec

from ratified.consensus.draws import mix
from ratified.storage.space import SPACE_BYTES

_MAGIC = 0xBEEFC0DE
_DATA_FORMAT = 1
_PAGE_BYTES_MIN = 256
_PAGE_BYTES_MAX = 1 << 15
_FIRST_PAGE = 2
"""Pages 0 and 1 hold the last two commits, commit n in page n mod 2."""
_NO_PAGE = 2**64 - 1
_DEPTH_MAX = 32
_SPACES = 1 << 32

_HEADER = struct.Struct("<QHHHH")
"""A page's number, padding, kind, end of the pointers to its nodes, and begin of the nodes."""
_RUN = struct.Struct("<QHHI")
"""The header of a value that fills pages of its own: number, padding, kind, how many pages."""
_NODE = struct.Struct("<HHHH")
"""In a leaf: the value's size, low half first, flags, the key's size. In a branch: the child's number, 16 bits each
from the lowest on, and the key's size."""
_META = struct.Struct("<IIQQ48s48sQQ")
"""Magic, format, address, map size, tree of free pages, tree of tables, last page, commit."""
_TREE = struct.Struct("<IHHQQQQQ")
"""The page size (in the tree of free pages, else padding), flags, then as in ``Tree``."""
_NUMBER = struct.Struct("<Q")

_BRANCH, _LEAF, _OVERFLOW, _META_PAGE = 1, 2, 4, 8
_PLAIN, _BIG, _TABLE = 0, 1, 2


class StoreUnsound(Exception):
    """The store's file, or a row in it, is not what its last commit left; the message says what is wrong."""


class Tree(NamedTuple):
    """A B+tree in the file, as its parent describes it."""

    depth: int
    branch_pages: int
    leaf_pages: int
    overflow_pages: int
    entries: int
    root: int


class Commit(NamedTuple):
    """What one of the first two pages says."""

    number: int
    page_bytes: int
    last_page: int
    free: Tree
    main: Tree


class _Node(msgspec.Struct, frozen=True, gc=False):
    """An entry of a leaf. A value of kind ``_BIG`` is the number of its first page."""

    key: bytes
    kind: int
    size: int
    value: bytes


@contextmanager
def reading(path: Path) -> Iterator[StoreFile]:
    """The store in this file; raises ``StoreUnsound``, and ``OSError`` where the file cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield StoreFile(descriptor)
    finally:
        os.close(descriptor)


def newest_commit(descriptor: int) -> Commit:
    """The commit that LMDB would go on from; raises ``StoreUnsound``."""
    first = _read_commit(descriptor, 0)
    second = _read_commit(descriptor, first.page_bytes)
    return second if second.number > first.number else first


def _read_commit(descriptor: int, offset: int) -> Commit:
    data = os.pread(descriptor, _HEADER.size + _META.size, offset)
    if len(data) < _HEADER.size + _META.size:
        raise StoreUnsound("its file is too short for the two pages that it begins with")
    kind = _HEADER.unpack_from(data)[2]
    magic, data_format, _, _, free, main, last_page, number = _META.unpack_from(data, _HEADER.size)
    if (kind, magic) != (_META_PAGE, _MAGIC):
        raise StoreUnsound(f"its file does not say at byte {offset} what a store's says there")
    if data_format != _DATA_FORMAT:
        raise StoreUnsound(f"its file is of LMDB's data format {data_format}, and this program reads {_DATA_FORMAT}")
    page_bytes = _TREE.unpack(free)[0]
    if page_bytes & (page_bytes - 1) or not _PAGE_BYTES_MIN <= page_bytes <= _PAGE_BYTES_MAX:
        raise StoreUnsound(f"its file says that a page has {page_bytes} bytes")
    return Commit(number, page_bytes, last_page, _tree(free), _tree(main))


def _tree(data: bytes) -> Tree:
    tree = Tree(*_TREE.unpack(data)[2:])
    if tree.depth > _DEPTH_MAX or (tree.root == _NO_PAGE) != (tree.depth == 0):
        raise StoreUnsound(f"a tree in its file begins at page {tree.root} and is {tree.depth} pages deep")
    return tree


class StoreFile:
    """The newest commit in a store's file. Every method may raise ``StoreUnsound``."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.commit = newest_commit(descriptor)
        size = os.fstat(descriptor).st_size
        if size < self.size_bytes:
            raise StoreUnsound(f"its file was cut: it has {size} bytes, and its pages take {self.size_bytes}")

    @cached_property
    def tables(self) -> dict[str, Tree]:
        """The tables of all spaces."""
        return {node.key.decode(errors="replace"): _table(node) for node in self.nodes(self.commit.main, b"")}

    @property
    def size_bytes(self) -> int:
        """How long the file must be at least."""
        return (self.commit.last_page + 1) * self.commit.page_bytes

    def spaces(self) -> Sequence[int]:
        """The spaces that have rows, ascending."""
        found: set[int] = set()
        for tree in self.tables.values():
            space = 0
            while space < _SPACES and (node := next(self.nodes(tree, space.to_bytes(SPACE_BYTES, "big")), None)):
                space = int.from_bytes(node.key[:SPACE_BYTES], "big")
                found.add(space)
                space += 1
        return sorted(found)

    def draw(self, table: str, seed: int) -> tuple[int, bytes, bytes] | None:
        """``(space, key, value)`` of a row of this table, drawn by the seed; None: it has no row."""
        tree = self.tables[table]
        if not tree.depth:
            return None
        number = tree.root
        for level in range(1, tree.depth):
            _, children = self._children(number)
            number = children[mix(seed, level) % len(children)]
        nodes = self._nodes(number)
        node = nodes[mix(seed, 0) % len(nodes)]
        return int.from_bytes(node.key[:SPACE_BYTES], "big"), node.key[SPACE_BYTES:], self.value(node)

    def freed_pages(self) -> int:
        """How many pages this commit no longer reaches that the one before did.

        LMDB lists them under the commit's number, behind those of earlier ones. Only the first commit has none.
        """
        free = self.commit.free
        if not free.depth:
            return 0
        number = free.root
        for _ in range(free.depth - 1):
            data, pointers = self._page(number, _BRANCH)
            number = _child(_NODE.unpack_from(data, pointers[-1]))
        data, pointers = self._page(number, _LEAF)
        last = self._node(number, data, pointers[-1])
        return int.from_bytes(self.value(last)[: _NUMBER.size], "little")

    def check_pages(self) -> None:
        """Look at every page that the commit reaches, and at the list of those that it does not."""
        reached = bytearray(self.commit.last_page + 1)
        self._reach(0, _FIRST_PAGE, reached)
        self._check_tree(self.commit.main, reached, (_TABLE,), bytes)
        for tree in self.tables.values():
            self._check_tree(tree, reached, (_PLAIN, _BIG), bytes)
        self._check_tree(self.commit.free, reached, (_PLAIN, _BIG), _in_order_of_number)
        for leaf in self._leaves(self.commit.free.root, self.commit.free.depth, b""):
            for node in leaf:
                self._check_free(self.value(node), reached)

    # -----------------------------------------------------------------------------------------------------------
    # For rows

    def nodes(self, tree: Tree, first: bytes) -> Iterator[_Node]:
        """The entries with keys >= ``first``, ascending."""
        last = b""
        for leaf in self._leaves(tree.root, tree.depth, first):
            for node in leaf:
                if node.key < last:
                    raise StoreUnsound(f"key {node.key!r} comes after key {last!r} in its file")
                last = node.key
                if last >= first:
                    yield node

    def value(self, node: _Node) -> bytes:
        """The entry's value."""
        if node.kind != _BIG:
            return node.value
        number, _ = self._run(node)
        return os.pread(self._descriptor, node.size, number * self.commit.page_bytes + _RUN.size)

    def _leaves(self, number: int, depth: int, first: bytes) -> Iterator[Sequence[_Node]]:
        """The leaves below this page in order, beginning with the one that would have ``first``."""
        if depth == 0:
            return
        if depth == 1:
            yield self._nodes(number)
            return
        keys, children = self._children(number)
        begin = bisect_right(keys, first)
        yield from self._leaves(children[begin], depth - 1, first)
        for child in children[begin + 1 :]:
            yield from self._leaves(child, depth - 1, b"")

    # -----------------------------------------------------------------------------------------------------------
    # Whole trees

    def _check_tree(self, tree: Tree, reached: bytearray, kinds: Sequence[int], rank: Callable[[bytes], bytes]) -> None:
        """Every page of the tree; keys sort by their ``rank``."""
        branches = leaves = overflows = entries = 0
        waiting: list[tuple[int, int, bytes | None, bytes | None]] = []
        if tree.depth:
            waiting.append((tree.root, tree.depth, None, None))
        while waiting:
            number, depth, low, high = waiting.pop()
            self._reach(number, 1, reached)
            if depth > 1:
                branches += 1
                separators, children = self._children(number)
                if not separators and tree is not self.commit.free:
                    raise StoreUnsound(f"page {number} of its file has a single child")
                ranks = [rank(key) for key in separators]
                waiting += zip(children, repeat(depth - 1), [low, *ranks], [*ranks, high])
            else:
                leaves += 1
                nodes = self._nodes(number)
                entries += len(nodes)
                ranks = [rank(node.key) for node in nodes]
                for node in nodes:
                    if node.kind not in kinds:
                        raise StoreUnsound(f"page {number} of its file has an entry of kind {node.kind}")
                    if node.kind == _BIG:
                        first, pages = self._run(node)
                        self._reach(first, pages, reached)
                        overflows += pages
            if not _ascend(low, ranks, high):
                raise StoreUnsound(f"the keys of page {number} of its file are out of order")
        if (branches, leaves, overflows, entries) != tree[1:5]:
            raise StoreUnsound(
                f"a tree in its file has {entries} entries on {branches}, {leaves} and {overflows} pages, and should "
                f"have {tree.entries} on {tree.branch_pages}, {tree.leaf_pages} and {tree.overflow_pages}"
            )

    def _check_free(self, listed: bytes, reached: bytearray) -> None:
        """A list of free pages: how many, and their numbers."""
        count = int.from_bytes(listed[: _NUMBER.size], "little")
        if not 0 < count < len(listed) // _NUMBER.size:
            raise StoreUnsound(f"a list of {count} free pages in its file has {len(listed)} bytes")
        for (number,) in _NUMBER.iter_unpack(listed[_NUMBER.size : _NUMBER.size * (count + 1)]):
            self._reach(number, 1, reached)

    def _reach(self, first: int, pages: int, reached: bytearray) -> None:
        after = first + pages
        if after > len(reached) or any(reached[first:after]):
            raise StoreUnsound(f"page {first} of its file is used twice, or lies behind the last one")
        reached[first:after] = b"\1" * pages

    # -----------------------------------------------------------------------------------------------------------
    # Pages

    def _children(self, number: int) -> tuple[Sequence[bytes], Sequence[int]]:
        """The keys that separate a branch's children, one less than there are, and the children."""
        data, pointers = self._page(number, _BRANCH)
        keys: list[bytes] = []
        children: list[int] = []
        for at in pointers:
            node = _NODE.unpack_from(data, at)
            keys.append(data[at + _NODE.size : at + _NODE.size + node[3]])
            children.append(_child(node))
        return keys[1:], children

    def _nodes(self, number: int) -> Sequence[_Node]:
        """The entries of a leaf."""
        data, pointers = self._page(number, _LEAF)
        return [self._node(number, data, at) for at in pointers]

    def _node(self, number: int, data: bytes, at: int) -> _Node:
        """The entry that begins there in this leaf."""
        low, high, kind, key_bytes = _NODE.unpack_from(data, at)
        size = low | high << 16
        value_at = at + _NODE.size + key_bytes
        end = value_at + (_NUMBER.size if kind == _BIG else size)
        if end > len(data):
            raise StoreUnsound(f"an entry of page {number} of its file does not fit into the page")
        return _Node(data[at + _NODE.size : value_at], kind, size, data[value_at:end])

    def _page(self, number: int, kind: int) -> tuple[bytes, Sequence[int]]:
        """The page, and where in it its nodes are, in the order of their keys."""
        page_bytes = self.commit.page_bytes
        if not _FIRST_PAGE <= number <= self.commit.last_page:
            raise StoreUnsound(f"a tree in its file goes on at page {number}, and {self.commit.last_page} is the last")
        data = os.pread(self._descriptor, page_bytes, number * page_bytes)
        if len(data) < page_bytes:
            raise StoreUnsound(f"its file ends before page {number}")
        found, _, found_kind, pointers_end, nodes_begin = _HEADER.unpack_from(data)
        if (found, found_kind) != (number, kind):
            raise StoreUnsound(
                f"page {number} of its file says that it is page {found} of kind {found_kind}, not {kind}"
            )
        if not _HEADER.size < pointers_end <= nodes_begin <= page_bytes:
            raise StoreUnsound(f"page {number} of its file has bounds that do not fit it")
        pointers = struct.unpack_from(f"<{(pointers_end - _HEADER.size) // 2}H", data, _HEADER.size)
        if min(pointers) < nodes_begin or max(pointers) > page_bytes - _NODE.size:
            raise StoreUnsound(f"page {number} of its file has an entry outside of its bounds")
        return data, pointers

    def _run(self, node: _Node) -> tuple[int, int]:
        """The pages of a value: the first one's number, and how many."""
        number = int.from_bytes(node.value, "little")
        if not _FIRST_PAGE <= number <= self.commit.last_page:
            raise StoreUnsound(f"a value in its file is at page {number}, and {self.commit.last_page} is the last")
        header = os.pread(self._descriptor, _RUN.size, number * self.commit.page_bytes)
        if len(header) < _RUN.size:
            raise StoreUnsound(f"its file ends before page {number}")
        found, _, kind, pages = _RUN.unpack(header)
        fits = _RUN.size + node.size <= pages * self.commit.page_bytes and number + pages <= self.commit.last_page + 1
        if (found, kind) != (number, _OVERFLOW) or not fits:
            raise StoreUnsound(
                f"page {number} of its file does not begin the value of {node.size} bytes that it should"
            )
        return number, pages


class StoredRows:
    """The rows of one space, as a ``View`` without its end. Every method may raise ``StoreUnsound``."""

    def __init__(self, file: StoreFile, space: int) -> None:
        self._file = file
        self._prefix = space.to_bytes(SPACE_BYTES, "big")

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""
        for found, value in self.scan(table, key):
            return value if found == key else None
        return None

    def scan(self, table: str, first: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows with keys >= ``first``, ascending."""
        tree = self._file.tables.get(table)
        if tree is None:
            return
        prefix = self._prefix
        for node in self._file.nodes(tree, prefix + first):
            if node.key[:SPACE_BYTES] != prefix:
                return
            yield node.key[SPACE_BYTES:], self._file.value(node)


def _table(node: _Node) -> Tree:
    if node.kind != _TABLE or node.size != _TREE.size or _TREE.unpack(node.value)[1]:
        raise StoreUnsound(f"entry {node.key!r} of its file is no table")
    return _tree(node.value)


def _child(node: tuple[int, ...]) -> int:
    """The page that an entry of a branch leads to."""
    low, middle, high, _ = node
    return low | middle << 16 | high << 32


def _in_order_of_number(key: bytes) -> bytes:
    """The keys of free pages are numbers of commits."""
    return key[::-1]


def _ascend(low: bytes | None, keys: Sequence[bytes], high: bytes | None) -> bool:
    if not all(map(lt, keys, keys[1:])):
        return False
    return not keys or ((low is None or low <= keys[0]) and (high is None or keys[-1] < high))
