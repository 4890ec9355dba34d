"""What is delivered and not yet applied, of all groups of a node.

Rules
1. A group's entries are applied in their order. As many as one turn may do, by what they cost (``Store.cost``), are
   applied in one transaction; who fails is undone alone.
2. A command that alone costs more gets a transaction of its own, and goes on in as many turns as it needs. Between
   turns its transaction is set aside: reads see the state before the command.
3. A long command that ``TidyFirst`` ends waits, and with it all that is behind it, while its store tidies, a piece in
   each turn.
4. There is one transaction at a time. While a long command is under way nothing else is applied, on any group.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from ratified.consensus.contract import Entry, Kind, Size, Sizes
from ratified.machine import ApplyFailed, Result, TidyFirst
from ratified.node.replica import Replica
from ratified.storage.space import Environment


class Applied(NamedTuple):
    """Entries that are committed, with a result for each command in them."""

    replica: Replica
    entries: Sequence[Entry]
    results: Sequence[Result]


class Failed(NamedTuple):
    replica: Replica
    error: ApplyFailed


class _Long(NamedTuple):
    """A command that is being applied."""

    replica: Replica
    entry: Entry
    pieces: Generator[None, None, Result]
    levels: ExitStack
    """Its transaction, and the savepoint in it."""


class Applying:
    def __init__(self, environment: Environment, rows_max: int) -> None:
        self._environment = environment
        self._rows_max = rows_max
        self._waiting: deque[tuple[Replica, Sequence[Entry]]] = deque()
        self._long: _Long | None = None
        self._tidied: Replica | None = None
        """Whose store must be tidy before the first that waits is applied."""

    @property
    def busy(self) -> bool:
        """Whether anything is left to apply."""
        return self._long is not None or bool(self._waiting)

    @property
    def in_transaction(self) -> bool:
        """Is one set aside, so that no other can be opened?"""
        return self._long is not None

    def add(self, replica: Replica, entries: Sequence[Entry]) -> None:
        self._waiting.append((replica, entries))

    def run(self) -> tuple[list[Applied], list[Failed]]:
        """One turn's part: short commands up to the first that is long; or a piece of that one."""
        done: list[Applied] = []
        failed: list[Failed] = []
        if self._long is not None:
            self._environment.resume()
        elif self._tidied is not None:
            self._tidy(self._tidied, failed)
        elif short := self._take_short():
            self._apply_short(short, done, failed)
        else:
            self._begin_long()
        if self._long is not None:
            self._advance(self._long, done, failed)
        return done, failed

    def abandon(self) -> None:
        """Undo what is under way, and forget what waits."""
        self._waiting.clear()
        self._tidied = None
        if self._long is not None:
            long, self._long = self._long, None
            self._environment.resume()
            _undo(long, _Abandoned())

    def _apply_short(
        self, short: list[tuple[Replica, Sequence[Entry]]], done: list[Applied], failed: list[Failed]
    ) -> None:
        if len(short) == 1:
            self._apply_alone(*short[0], done, failed)
            return
        stopped: set[int] = set()
        with self._environment.transaction():
            for replica, entries in short:
                if replica.group in stopped:
                    continue
                try:
                    with self._environment.savepoint():
                        done.append(Applied(replica, entries, replica.apply(entries)))
                except ApplyFailed as error:
                    stopped.add(replica.group)
                    failed.append(Failed(replica, error))
        for group in sorted(stopped):
            self._forget(group)

    def _apply_alone(
        self, replica: Replica, entries: Sequence[Entry], done: list[Applied], failed: list[Failed]
    ) -> None:
        """As ``_apply_short`` of one, whose transaction is undone where it fails: a savepoint in it would be dear."""
        try:
            with self._environment.transaction():
                results = replica.apply(entries)
        except ApplyFailed as error:
            failed.append(Failed(replica, error))
            self._forget(replica.group)
        else:
            done.append(Applied(replica, entries, results))

    def _take_short(self) -> list[tuple[Replica, Sequence[Entry]]]:
        """What waits and can be applied at once; nothing: the first that waits is long, or nothing waits."""
        short: list[tuple[Replica, Sequence[Entry]]] = []
        room = self._rows_max
        while self._waiting:
            replica, entries = self._waiting.popleft()
            count = 0
            for entry in entries:
                cost = _cost(replica, entry, self._rows_max + 1)
                if cost > self._rows_max or cost > room:
                    break
                room -= cost
                count += 1
            if count:
                short.append((replica, entries[:count]))
            if count < len(entries):
                self._waiting.appendleft((replica, entries[count:]))
                break
        return short

    def _begin_long(self) -> None:
        if not self._waiting:
            return
        replica, (entry, *rest) = self._waiting.popleft()
        if rest:
            self._waiting.appendleft((replica, rest))
        levels = ExitStack()
        levels.enter_context(self._environment.transaction())
        levels.enter_context(self._environment.savepoint())
        self._long = _Long(replica, entry, replica.apply_in_pieces(entry, self._rows_max), levels)

    def _advance(self, long: _Long, done: list[Applied], failed: list[Failed]) -> None:
        try:
            next(long.pieces)
        except StopIteration as end:
            self._long = None
            long.levels.close()
            done.append(Applied(long.replica, (long.entry,), (end.value,)))
        except ApplyFailed as error:
            self._long = None
            self._forget(long.replica.group)
            _undo(long, error)
            failed.append(Failed(long.replica, error))
        except TidyFirst as error:
            self._long = None
            _undo(long, error)
            self._waiting.appendleft((long.replica, (long.entry,)))
            self._tidied = long.replica
        else:
            self._environment.suspend()

    def sizes(self) -> Sizes:
        return {"deliveries to apply": Size(len(self._waiting) + (self._long is not None))}

    def _tidy(self, replica: Replica, failed: list[Failed]) -> None:
        try:
            with self._environment.transaction():
                replica.store.tidy()
        except ApplyFailed as error:
            self._tidied = None
            self._forget(replica.group)
            failed.append(Failed(replica, error))
        else:
            if not replica.store.untidy:
                self._tidied = None

    def _forget(self, group: int) -> None:
        """Its replica has failed: nothing more of it is applied."""
        self._waiting = deque(each for each in self._waiting if each[0].group != group)


class _Abandoned(Exception):
    """Nobody is left for whom a command would be applied."""


def _undo(long: _Long, error: Exception) -> None:
    """Leave both levels as an error would that nobody catches inside them."""
    long.pieces.close()
    long.levels.__exit__(type(error), error, error.__traceback__)


def _cost(replica: Replica, entry: Entry, most: int) -> int:
    return replica.store.cost(entry.data, most) if entry.kind is Kind.COMMAND else 0
