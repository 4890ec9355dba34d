"""Ranges of keys, and which of many hold a key: a balanced tree of ranges, each node knowing the farthest end below it.

It is an interval tree (CLRS, section 14.3) on an AVL tree, ordered by (first, end). Adding, removing, and each range
found cost O(log n); the order in which ranges are found is that of the tree, not of any hash.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

import msgspec

V = TypeVar("V")


class Interval(msgspec.Struct, frozen=True, gc=False):
    """first <= key < end; end None is no bound."""

    first: bytes
    end: bytes | None

    def holds(self, key: bytes) -> bool:
        return self.first <= key and (self.end is None or key < self.end)

    @property
    def empty(self) -> bool:
        """Whether no key can be in it."""
        return self.end is not None and self.end <= self.first


def interval(key: bytes, range_end: bytes) -> Interval:
    """What a request's ``key`` and ``range_end`` mean."""
    if not range_end:
        return Interval(key, key + b"\x00")
    return Interval(key, None if range_end == b"\x00" else range_end)


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same keys in ranges that do not overlap, ascending."""
    found: list[Interval] = []
    for each in sorted((each for each in intervals if not each.empty), key=lambda each: each.first):
        last = found[-1] if found else None
        if last is None or (last.end is not None and last.end < each.first):
            found.append(each)
        elif last.end is not None and (each.end is None or each.end > last.end):
            found[-1] = Interval(last.first, each.end)
    return found


class _Node(Generic[V]):
    __slots__ = ("farthest", "height", "interval", "left", "order", "right", "values")

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self.order = _order(interval)
        self.values: dict[V, None] = {}
        self.left: _Node[V] | None = None
        self.right: _Node[V] | None = None
        self.height = 1
        self.farthest = interval.end


class IntervalMap(Generic[V]):
    """A multimap from ranges to values, looked up by a key inside the range."""

    def __init__(self) -> None:
        self._root: _Node[V] | None = None

    def __bool__(self) -> bool:
        return self._root is not None

    @property
    def height(self) -> int:
        """The longest path, in nodes: at most 1.45 log2 of their number."""
        return _height(self._root)

    def add(self, interval: Interval, value: V) -> None:
        self._root = _add(self._root, interval, _order(interval), value)

    def remove(self, interval: Interval, value: V) -> None:
        """Take it away; it must be there."""
        self._root = _remove(self._root, _order(interval), value)

    def holding(self, key: bytes) -> list[V]:
        """The values of all ranges that hold ``key``."""
        found: list[V] = []
        path: list[_Node[V]] = []
        node = self._root
        while node is not None or path:
            while node is not None and (node.farthest is None or node.farthest > key):
                path.append(node)
                node = node.left
            if not path:
                break
            node = path.pop()
            if node.interval.first > key:
                node = None
                continue
            if node.interval.end is None or key < node.interval.end:
                found += node.values
            node = node.right
        return found


def _order(interval: Interval) -> tuple[bytes, bool, bytes]:
    return interval.first, interval.end is None, interval.end or b""


def _add(node: _Node[V] | None, interval: Interval, order: tuple[bytes, bool, bytes], value: V) -> _Node[V]:
    if node is None:
        node = _Node(interval)
        node.values[value] = None
        return node
    if order == node.order:
        node.values[value] = None
        return node
    if order < node.order:
        node.left = _add(node.left, interval, order, value)
    else:
        node.right = _add(node.right, interval, order, value)
    return _balanced(node)


def _remove(node: _Node[V] | None, order: tuple[bytes, bool, bytes], value: V) -> _Node[V] | None:
    if node is None:
        raise KeyError(order)
    if order < node.order:
        node.left = _remove(node.left, order, value)
    elif order > node.order:
        node.right = _remove(node.right, order, value)
    else:
        del node.values[value]
        return node if node.values else _joined(node.left, node.right)
    return _balanced(node)


def _joined(left: _Node[V] | None, right: _Node[V] | None) -> _Node[V] | None:
    """One tree of the two, all of ``left`` before all of ``right``."""
    if left is None or right is None:
        return left or right
    rest, least = _without_least(right)
    least.left, least.right = left, rest
    return _balanced(least)


def _without_least(node: _Node[V]) -> tuple[_Node[V] | None, _Node[V]]:
    if node.left is None:
        return node.right, node
    node.left, least = _without_least(node.left)
    return _balanced(node), least


def _balanced(node: _Node[V]) -> _Node[V]:
    lean = _height(node.left) - _height(node.right)
    if lean > 1 and node.left is not None:
        if _height(node.left.left) < _height(node.left.right):
            node.left = _rotated_left(node.left)
        return _rotated_right(node)
    if lean < -1 and node.right is not None:
        if _height(node.right.right) < _height(node.right.left):
            node.right = _rotated_right(node.right)
        return _rotated_left(node)
    return _measured(node)


def _rotated_right(node: _Node[V]) -> _Node[V]:
    up = node.left
    assert up is not None, "only a node that leans left is rotated right"
    node.left, up.right = up.right, node
    _measured(node)
    return _measured(up)


def _rotated_left(node: _Node[V]) -> _Node[V]:
    up = node.right
    assert up is not None, "only a node that leans right is rotated left"
    node.right, up.left = up.left, node
    _measured(node)
    return _measured(up)


def _measured(node: _Node[V]) -> _Node[V]:
    node.height = 1 + max(_height(node.left), _height(node.right))
    farthest = node.interval.end
    for child in (node.left, node.right):
        if child is not None and farthest is not None:
            farthest = None if child.farthest is None else max(farthest, child.farthest)
    node.farthest = farthest
    return node


def _height(node: _Node[V] | None) -> int:
    return 0 if node is None else node.height
