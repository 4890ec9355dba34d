"""The order of long keys, whose names do not sort as they do (``names``): a trie of those in ``live``.

Rules
1. A *node* stands for what keys begin with, escaped: the first one of a group for the ``NAME_BYTES_MAX`` bytes that the
   group shares, each one below another for ``PIECE_BYTES`` more. Its id is a hash of them.
2. Each row of a node is its id, the next piece of a key, and one byte more: ``ENDS``, the key ends with the piece;
   ``ALONE``, a single key goes on; ``FORKS``, several do, and are in the node below. The value is the key's name, and
   empty where it forks.
3. In an escaped key ``FF`` follows each zero byte. So a key that ends sorts before all that go on, and rows of a node,
   with what is below each, are in the order of keys.
4. Which rows there are follows from which keys there are: a node has two keys or more, unless it is a group's first. So
   a key of any length has one row, and others only for pieces that it shares.
5. The mark, row ``order`` of ``meta``, repeats the rows ``state`` and ``removal``, and has a checksum. Where it does
   not, a program that knows nothing of this table has written them, and the rows say nothing (``order_upkeep``).
6. Only who reads a commit may look here. What commands look at is in their cost, on members that have no order as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import google_crc32c

from ratified.kv import names
from ratified.kv.intervals import Interval
from ratified.kv.tables import LIVE, META, ORDER
from ratified.kv.tombstones import VisibleRows
from ratified.storage.space import KEY_BYTES_MAX, Space
from ratified.wire.etcd.kv_pb2 import KeyValue

MARK = b"order"
"""The key of the mark in ``meta``."""
_CHECKSUM_BYTES = 4
ENDS, ALONE, FORKS = b"\x00", b"\x01", b"\x02"
_BEHIND_FORKS = b"\x03"
_ID_BYTES = 16
PIECE_BYTES = KEY_BYTES_MAX - _ID_BYTES - len(ENDS)
_BEHIND_ALL = b"\xff" * (PIECE_BYTES + len(ENDS))
_ROWS_A_STEP = 256

_Get: TypeAlias = Callable[[str, bytes], bytes | None]
_Key: TypeAlias = tuple[bytes, bytes]
"""A key, escaped, and its name."""


def mark(state: bytes, removal: bytes) -> bytes:
    """That the rows follow from ``live`` where ``meta`` has these."""
    said = state + removal
    return said + _checksum(said)


def is_mark(row: bytes) -> bool:
    """Whether a mark is one that was written, now or earlier."""
    return row[-_CHECKSUM_BYTES:] == _checksum(row[:-_CHECKSUM_BYTES])


def _checksum(said: bytes) -> bytes:
    return int(google_crc32c.value(said)).to_bytes(_CHECKSUM_BYTES)


def is_kept(get: _Get) -> bool:
    """Whether the rows are those that follow from ``live``."""
    state, removal = get(META, b"state"), get(META, b"removal")
    return state is not None and removal is not None and get(META, MARK) == mark(state, removal)


def may_be_used(rows: VisibleRows) -> bool:
    """Whether who reads these rows may go by their order; who may not, for want of it alone, says so."""
    if rows.order_missed is None or rows.tombstones:
        return False
    if is_kept(rows.get):
        return True
    rows.order_missed()
    return False


# ---------------------------------------------------------------------------------------------------------------
# Writing


def add(space: Space, key: bytes, name: bytes) -> None:
    """A long key comes into ``live``; the others are there."""
    long = names.escaped(key)
    nodes = _nodes(long)
    for node, at in nodes:
        row = _row(node, long, at)
        if row[-1:] == ALONE:
            fork = _fork(row)
            if space.get(ORDER, fork) is not None:
                continue
            other = space.get(ORDER, row)
            if other is not None and other != name:
                space.delete(ORDER, row)
                space.put(ORDER, fork, b"")
                _part(space, nodes, (long, name), (_key_of(space.get, other), other))
                return
        space.put(ORDER, row, name)
        return


def _part(space: Space, nodes: Iterator[tuple[bytes, int]], one: _Key, other: _Key) -> None:
    """Below a new fork: two keys, for as long as they go on together, and then each for itself."""
    for node, at in nodes:
        row, other_row = _row(node, one[0], at), _row(node, other[0], at)
        if row != other_row:
            space.put(ORDER, row, one[1])
            space.put(ORDER, other_row, other[1])
            return
        space.put(ORDER, _fork(row), b"")


def remove(space: Space, key: bytes, name: bytes) -> None:
    """A long key goes from ``live``."""
    forks, row = _way(space.get, names.escaped(key), name)
    if row is None:
        return
    space.delete(ORDER, row)
    if forks:
        _lift(space, row[:_ID_BYTES], forks)


def _lift(space: Space, node: bytes, forks: list[bytes]) -> None:
    """Of a node below these forks a key is gone: a last one goes up to where it is not alone, or to the first node."""
    left = space.keys(ORDER, *_all_of(node), 2)
    if len(left) > 1 or left[0][-1:] == FORKS:
        return
    name = space.get(ORDER, left[0])
    assert name is not None, "its key was just read"
    space.delete(ORDER, left[0])
    while True:
        fork = forks.pop()
        space.delete(ORDER, fork)
        if not forks or space.keys(ORDER, *_all_of(fork[:_ID_BYTES]), 1):
            break
    space.put(ORDER, fork[:-1] + ALONE, name)


def has(get: _Get, key: bytes, name: bytes) -> bool:
    """Whether a long key is there."""
    return _way(get, names.escaped(key), name)[1] is not None


def is_row_of(row: bytes, key: bytes) -> bool:
    """Whether a row that does not fork may be that of a long key."""
    long = names.escaped(key)
    return any(row == _row(node, long, at) for node, at in _nodes(long))


def rows_of(keys: Sequence[_Key]) -> Iterator[tuple[bytes, bytes]]:
    """The rows that there must be, by all long keys, which ascend."""
    shared = [0, *(_forks_shared(one, other) for (one, _), (other, _) in pairwise(keys)), 0]
    for (long, name), (with_last, with_next) in zip(keys, pairwise(shared), strict=False):
        for depth, (node, at) in enumerate(_nodes(long)):
            row = _row(node, long, at)
            if depth >= max(with_last, with_next):
                yield row, name
                break
            if depth >= with_last:
                yield _fork(row), b""


def _forks_shared(one: bytes, other: bytes) -> int:
    """How many pieces two keys share and go on behind."""
    if one[: names.NAME_BYTES_MAX] != other[: names.NAME_BYTES_MAX]:
        return 0
    for depth, at in enumerate(range(names.NAME_BYTES_MAX, len(one), PIECE_BYTES)):
        behind = at + PIECE_BYTES
        if min(len(one), len(other)) <= behind or one[at:behind] != other[at:behind]:
            return depth
    raise AssertionError("two keys are not the same")


def _way(get: _Get, long: bytes, name: bytes) -> tuple[list[bytes], bytes | None]:
    """The rows that fork on the way to a key, and its own; None: it is not there."""
    forks: list[bytes] = []
    for node, at in _nodes(long):
        row = _row(node, long, at)
        if row[-1:] == ALONE and get(ORDER, _fork(row)) is not None:
            forks.append(_fork(row))
        else:
            return forks, row if get(ORDER, row) == name else None
    raise AssertionError("the last row of a key does not fork")


def _nodes(long: bytes) -> Iterator[tuple[bytes, int]]:
    """The ids of the nodes that a key may be in, and where in it the piece of each begins."""
    hashed = blake2b(long[: names.NAME_BYTES_MAX], digest_size=_ID_BYTES)
    for at in range(names.NAME_BYTES_MAX, len(long), PIECE_BYTES):
        yield hashed.digest(), at
        hashed.update(long[at : at + PIECE_BYTES])


def _row(node: bytes, long: bytes, at: int) -> bytes:
    """The row of a key that nobody shares."""
    behind = at + PIECE_BYTES
    return node + long[at:behind] + (ENDS if len(long) <= behind else ALONE)


def _fork(row: bytes) -> bytes:
    return row[:-1] + FORKS


def _all_of(node: bytes) -> tuple[bytes, bytes]:
    return node, node + _BEHIND_ALL


def _key_of(get: _Get, name: bytes) -> bytes:
    """Escaped."""
    pair = get(LIVE, name)
    assert pair is not None, "every name of the order is in live"
    return names.escaped(KeyValue.FromString(pair).key)


# ---------------------------------------------------------------------------------------------------------------
# Reading


def names_in(rows: VisibleRows, shared: bytes, wanted: Interval) -> Iterator[bytes | None]:
    """The names of a group's keys in a range, in the order of keys; None: a node was looked at.

    Beside either end of the range there may be one more.
    """
    node = _first_node(shared, wanted)
    waiting = [(node, rows.scan(ORDER, node.low, node.high))]
    while waiting:
        node, found = waiting[-1]
        for row, name in found:
            if name:
                yield name
                continue
            below = node.below(row)
            waiting.append((below, rows.scan(ORDER, below.low, below.high)))
            yield None
            break
        else:
            waiting.pop()


def count_in(rows: VisibleRows, shared: bytes, wanted: Interval) -> Iterator[tuple[int, int]]:
    """How many of a group's keys are in a range: in steps, each with how many rows it took."""
    node = _first_node(shared, wanted)
    waiting = [(node, node.low)]
    while waiting:
        node, low = waiting.pop()
        found = rows.keys(ORDER, low, node.high, _ROWS_A_STEP)
        if len(found) == _ROWS_A_STEP:
            waiting.append((node, _behind(found[-1])))
        below = [node.below(row) for row in found if row[-1:] == FORKS]
        waiting += [(each, each.low) for each in below]
        beside = sum(node.is_cut(row) and not _is_in(rows, row, wanted) for row in found if row[-1:] == ALONE)
        yield len(found) - len(below) - beside, len(found)


def _is_in(rows: VisibleRows, row: bytes, wanted: Interval) -> bool:
    name = rows.get(ORDER, row)
    pair = None if name is None else rows.get(LIVE, name)
    assert pair is not None, "every name of the order is in live"
    return wanted.holds(KeyValue.FromString(pair).key)


def _behind(row: bytes) -> bytes:
    """The least row behind this one. None is longer than one with a whole piece."""
    return row + b"\x00" if len(row) < KEY_BYTES_MAX else row[:-1] + bytes([row[-1] + 1])


class _Node(NamedTuple):
    """A node being read, and the bounds of the range, escaped and whole, where they are of keys of this node."""

    hashed: blake2b
    at: int
    first: bytes | None
    end: bytes | None

    @property
    def low(self) -> bytes:
        """The first row that may be of the range."""
        node = self.hashed.digest()
        if self.first is None:
            return node
        return node + self._piece(self.first) + (ALONE if self._goes_on(self.first) else b"")

    @property
    def high(self) -> bytes:
        """Behind all rows that may be of the range."""
        node = self.hashed.digest()
        if self.end is None:
            return node + _BEHIND_ALL
        return node + self._piece(self.end) + (_BEHIND_FORKS if self._goes_on(self.end) else b"")

    def below(self, row: bytes) -> _Node:
        """The node to which a row forks."""
        piece = row[_ID_BYTES:-1]
        hashed = self.hashed.copy()
        hashed.update(piece)
        return _Node(
            hashed,
            self.at + PIECE_BYTES,
            self.first if self._is_of(self.first, piece) else None,
            self.end if self._is_of(self.end, piece) else None,
        )

    def is_cut(self, row: bytes) -> bool:
        """Whether a bound of the range is among keys that go on with this row's piece."""
        piece = row[_ID_BYTES:-1]
        return self._is_of(self.first, piece) or self._is_of(self.end, piece)

    def _is_of(self, bound: bytes | None, piece: bytes) -> bool:
        return bound is not None and self._goes_on(bound) and self._piece(bound) == piece

    def _piece(self, bound: bytes) -> bytes:
        return bound[self.at : self.at + PIECE_BYTES]

    def _goes_on(self, bound: bytes) -> bool:
        return len(bound) > self.at + PIECE_BYTES


def _first_node(shared: bytes, wanted: Interval) -> _Node:
    """Of the group whose keys begin with ``shared``."""
    bounds = [None if bound is None else names.escaped(bound) for bound in (wanted.first, wanted.end)]
    first, end = (bound if _is_inside(bound, shared) else None for bound in bounds)
    return _Node(blake2b(shared, digest_size=_ID_BYTES), len(shared), first, end)


def _is_inside(bound: bytes | None, shared: bytes) -> bool:
    return bound is not None and len(bound) > len(shared) and bound.startswith(shared)
