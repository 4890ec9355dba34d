"""The order of long keys, whose names do not sort as they do (``names``): a trie of those that have a history.

Rules
1. A *node* stands for what keys begin with, escaped: the first one of a group for the ``NAME_BYTES_MAX`` bytes that the
   group shares, each one below another for ``PIECE_BYTES`` more. Its id is a hash of them.
2. Each row of a node is its id, the next piece of a key, and one byte more: ``ENDS``, the key ends with the piece;
   ``ALONE``, a single key goes on; ``FORKS``, several do, and are in the node below. The value is the hash in the key's
   name, with one byte behind it where the key is not in ``live``; and empty where it forks.
3. In an escaped key ``FF`` follows each zero byte. So a key that ends sorts before all that go on, and rows of a node,
   with what is below each, are in the order of keys.
4. Which rows there are follows from which keys there are: a node has two keys or more, unless it is a group's first. So
   a key of any length has one row, and others only for pieces that it shares.
5. The mark, a row of ``meta``, repeats the rows ``state`` and ``removal``, and has a checksum. Where it does
   not, a program that knows nothing of this table has written them, and the rows say nothing (``order_upkeep``).
6. Members may have it or not, so nothing that they must agree on depends on it (``walks``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import google_crc32c

from ratified.kv import names
from ratified.kv.history import EVENTS, HISTORY, PAIR_AT, POSITION, past
from ratified.kv.intervals import Interval
from ratified.kv.tables import META, ORDER
from ratified.kv.tombstones import Rows
from ratified.storage.space import KEY_BYTES_MAX, Space
from ratified.wire.etcd.kv_pb2 import KeyValue

MARK = b"order of names"
"""The key of the mark in ``meta``."""
_CHECKSUM_BYTES = 4
ENDS, ALONE, FORKS = b"\x00", b"\x01", b"\x02"
_BEHIND_FORKS = b"\x03"
_GONE = b"\x00"
"""Behind the hash of a key that is not in ``live``."""
_ID_BYTES = 16
PIECE_BYTES = KEY_BYTES_MAX - _ID_BYTES - len(ENDS)
_BEHIND_ALL = b"\xff" * (PIECE_BYTES + len(ENDS))
_ROWS_A_STEP = 256

_Get: TypeAlias = Callable[[str, bytes], bytes | None]
LongKey: TypeAlias = tuple[bytes, bytes]
"""A key, escaped, and the value of its row."""


def value(name: bytes, *, is_live: bool) -> bytes:
    """Of the row of the key with this name."""
    return names.hash_in(name) if is_live else names.hash_in(name) + _GONE


def is_live(row_value: bytes) -> bool:
    """Whether a row's value is that of a key in ``live``."""
    return len(row_value) == names.HASH_BYTES


def is_row(key: bytes, row_value: bytes) -> bool:
    """Whether there may be such a row."""
    kind = key[_ID_BYTES:][-1:]
    if kind == FORKS:
        return not row_value
    return (
        kind in (ENDS, ALONE) and row_value[names.HASH_BYTES :] in (b"", _GONE) and len(row_value) >= names.HASH_BYTES
    )


def _name_in(row_value: bytes, shared: bytes) -> bytes:
    return names.name_of_group(shared, row_value[: names.HASH_BYTES])


def mark(state: bytes, removal: bytes) -> bytes:
    """That the rows follow from the other tables where ``meta`` has these."""
    said = state + removal
    return said + _checksum(said)


def is_mark(row: bytes) -> bool:
    """Whether a mark is one that was written, now or earlier."""
    return row[-_CHECKSUM_BYTES:] == _checksum(row[:-_CHECKSUM_BYTES])


def _checksum(said: bytes) -> bytes:
    return int(google_crc32c.value(said)).to_bytes(_CHECKSUM_BYTES)


def is_kept(get: _Get) -> bool:
    """Whether the rows are those that follow from ``history`` and ``live``."""
    state, removal = get(META, b"state"), get(META, b"removal")
    return state is not None and removal is not None and get(META, MARK) == mark(state, removal)


# ---------------------------------------------------------------------------------------------------------------
# Writing


def note(space: Space, key: bytes, name: bytes, *, is_live: bool) -> None:
    """A long key is there from now on, and so; the others are there."""
    long, noted = names.escaped(key), value(name, is_live=is_live)
    shared = long[: names.NAME_BYTES_MAX]
    nodes = _nodes(long)
    for node, at in nodes:
        row = _row(node, long, at)
        if row[-1:] == ALONE:
            fork = _fork(row)
            if space.get(ORDER, fork) is not None:
                continue
            other = space.get(ORDER, row)
            if other is not None and (other_name := _name_in(other, shared)) != name:
                space.delete(ORDER, row)
                space.put(ORDER, fork, b"")
                _part(space, nodes, (long, noted), (names.escaped(key_of(space, other_name)), other))
                return
        space.put(ORDER, row, noted)
        return


def _part(space: Space, nodes: Iterator[tuple[bytes, int]], one: LongKey, other: LongKey) -> None:
    """Below a new fork: two keys, for as long as they go on together, and then each for itself."""
    for node, at in nodes:
        row, other_row = _row(node, one[0], at), _row(node, other[0], at)
        if row != other_row:
            space.put(ORDER, row, one[1])
            space.put(ORDER, other_row, other[1])
            return
        space.put(ORDER, _fork(row), b"")


def key_of(rows: Rows, name: bytes) -> bytes:
    """The user's key of a name that has a history."""
    for change, _ in rows.scan(HISTORY, name + names.TERMINATOR, past(name), reverse=True):
        event = rows.get(EVENTS, change[POSITION])
        assert event is not None, "every row of history has its event"
        return KeyValue.FromString(event[PAIR_AT:]).key
    raise AssertionError("every name of the order has a history")


def remove(space: Space, key: bytes, name: bytes) -> None:
    """A long key has no history any more. It need not have been here."""
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
    lifted = space.get(ORDER, left[0])
    assert lifted is not None, "its key was just read"
    space.delete(ORDER, left[0])
    while True:
        fork = forks.pop()
        space.delete(ORDER, fork)
        if not forks or space.keys(ORDER, *_all_of(fork[:_ID_BYTES]), 1):
            break
    space.put(ORDER, fork[:-1] + ALONE, lifted)


def found(get: _Get, key: bytes, name: bytes) -> bytes | None:
    """The value of a long key's row; None: it is not there."""
    _, row = _way(get, names.escaped(key), name)
    return None if row is None else get(ORDER, row)


def rows_of(keys: Sequence[LongKey]) -> Iterator[tuple[bytes, bytes]]:
    """The rows that there must be, by all long keys, which ascend."""
    shared = [0, *(_forks_shared(one, other) for (one, _), (other, _) in pairwise(keys)), 0]
    for (long, noted), (with_last, with_next) in zip(keys, pairwise(shared), strict=False):
        for depth, (node, at) in enumerate(_nodes(long)):
            row = _row(node, long, at)
            if depth >= max(with_last, with_next):
                yield row, noted
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
            return forks, row if (get(ORDER, row) or b"").startswith(names.hash_in(name)) else None
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


# ---------------------------------------------------------------------------------------------------------------
# Reading


def names_in(rows: Rows, shared: bytes, wanted: Interval, *, live_only: bool) -> Iterator[bytes | None]:
    """The names of a group's keys in a range, in the order of keys; None: a row was looked at that is none of them."""
    node = _first_node(shared, wanted)
    waiting = [(node, rows.scan(ORDER, node.low, node.high))]
    while waiting:
        node, found_rows = waiting[-1]
        for row, noted in found_rows:
            if noted:
                name = _name_in(noted, shared)
                is_one = (is_live(noted) or not live_only) and not _is_beside(rows, node, row, name, wanted)
                yield name if is_one else None
                continue
            below = node.below(row)
            waiting.append((below, rows.scan(ORDER, below.low, below.high)))
            yield None
            break
        else:
            waiting.pop()


def count_in(rows: Rows, shared: bytes, wanted: Interval) -> Iterator[tuple[int, int]]:
    """How many of a group's keys in ``live`` are in a range: in steps, each with how many rows it took."""
    node = _first_node(shared, wanted)
    waiting = [(node, node.low)]
    while waiting:
        node, low = waiting.pop()
        keys, values = rows.columns(ORDER, low, node.high, _ROWS_A_STEP)
        if len(keys) == _ROWS_A_STEP:
            waiting.append((node, _behind(keys[-1])))
        live = sum(map(is_live, values))
        for row, noted in zip(keys, values, strict=True):
            if not noted:
                below = node.below(row)
                waiting.append((below, below.low))
            elif row[-1:] == ALONE and is_live(noted):
                live -= _is_beside(rows, node, row, _name_in(noted, shared), wanted)
        yield live, len(keys)


def _is_beside(rows: Rows, node: _Node, row: bytes, name: bytes, wanted: Interval) -> bool:
    """Whether a key, of which only a piece is in its row, is outside of the range."""
    return row[-1:] == ALONE and node.is_cut(row) and not wanted.holds(key_of(rows, name))


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
