"""Sorting little by little, so that no step is long however much is sorted."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from operator import itemgetter
from typing import Any, Generic, TypeVar

_RUN_ITEMS = 512

T = TypeVar("T")


class Runs(Generic[T]):
    """Items with what sorts them, in sorted runs that are merged as they are taken."""

    def __init__(self, *, descending: bool = False) -> None:
        self._descending = descending
        self._runs: list[list[tuple[Any, T]]] = []
        self._run: list[tuple[Any, T]] = []

    def __bool__(self) -> bool:
        return bool(self._run or self._runs)

    def add(self, item: tuple[Any, T]) -> None:
        """What it is sorted by, and the item."""
        self._run.append(item)
        if len(self._run) == _RUN_ITEMS:
            self._end_run()

    def in_order(self) -> Iterator[tuple[Any, T]]:
        """All, stable; nothing is added any more."""
        self._end_run()
        return heapq.merge(*map(_taken, self._runs), key=itemgetter(0), reverse=self._descending)

    def _end_run(self) -> None:
        self._run.sort(key=itemgetter(0), reverse=self._descending)
        self._runs.append(self._run)
        self._run = []


def _taken(run: list[T]) -> Iterator[T]:
    """Its items, each let go of as it is taken: to free them all at once would take long."""
    run.reverse()
    while run:
        yield run.pop()
