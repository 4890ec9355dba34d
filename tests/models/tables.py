"""Members that come and go while others are away: who meets whom, and who learns of the present table.

The cluster table changes by a fixed row of entries, which majorities take from whoever leads; a member that comes back
has the table that it had. Two members have a session where each knows the other, bound and not gone, by the latest
table that it knows of: its own one, or a later one that it was told in a session (rule 7 of ``node/peers.py``). Who
leads may change to any voter that has everything, and anybody may go away, told or not, at any time.

In every state it is asked what became of everybody if nothing more happened: all are back, one member leads, and says
what it has to whom it has a session with, whoever knows more tells it. *Stuck* is a present member that is behind then,
though by its own table it knows a present one that is not, and the directory of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations
from typing import NamedTuple

from tests.models.explore import Steps, Violation


class Rule(Enum):
    """The rule as it is, and what it would be without one of its parts."""

    AS_IT_IS = "as it is"
    NOBODY_TELLS = "nobody tells"
    LEADER_TELLS = "only who leads tells"
    UNKNOWN_ROWS = "only the rows of members that the own table lacks count"


class Row(NamedTuple):
    bound: bool
    votes: bool


class Table(NamedTuple):
    rows: dict[int, Row]
    left: frozenset[int]


ADD, BIND, PROMOTE, REMOVE = range(4)
Change = tuple[int, int]
FIRST = range(3)


def replacement(new: int, old: int) -> list[Change]:
    """One member takes another one's place."""
    return [(ADD, new), (BIND, new), (PROMOTE, new), (REMOVE, old)]


class Member(NamedTuple):
    holds: int
    """How many changes its log has."""
    joined: int = 0
    """How many had happened when it was told which member it is; its table is no older."""
    told: int = 0
    begun: bool = True
    up: bool = True

    @property
    def own(self) -> int:
        return max(self.holds, self.joined)


@dataclass(frozen=True, slots=True)
class World:
    last: int
    """How many changes a majority has taken."""
    members: tuple[Member | None, ...]
    """None: it has not joined."""
    absences_left: int


def initial(size: int, absences: int) -> World:
    """The first members, and places for others up to ``size``."""
    return World(0, tuple(Member(0) if member in FIRST else None for member in range(size)), absences)


class Model:
    def __init__(self, changes: list[Change], rule: Rule = Rule.AS_IT_IS) -> None:
        self._rule = rule
        self._changes = changes
        self._tables = [Table(dict.fromkeys(FIRST, Row(True, True)), frozenset())]
        for kind, member in changes:
            rows, left = dict(self._tables[-1].rows), self._tables[-1].left
            if kind == REMOVE:
                del rows[member]
                left |= {member}
            else:
                rows[member] = Row(kind >= BIND, kind == PROMOTE)
            self._tables.append(Table(rows, left))

    def steps(self, world: World) -> Steps[World]:
        yield from self._commits(world)
        for _, label, after in self._learns(world):
            yield label, after
        for member, state in self._running(world):
            if world.absences_left:
                away = _with(world, member, state._replace(up=False, told=0))
                yield f"{member} goes away", replace(away, absences_left=world.absences_left - 1)
        for member, each in enumerate(world.members):
            if each is not None and not each.up:
                yield f"{member} comes back", _with(world, member, each._replace(up=True))
        if stuck := self._stuck(world):
            yield f"{stuck} are stuck", Violation("stuck")

    # ---- what happens

    def _commits(self, world: World) -> Iterator[tuple[str, World]]:
        """The next change, to any majority of the voters before it and behind it."""
        if world.last == len(self._changes):
            return
        kind, new = self._changes[world.last]
        if kind == BIND and (world.members[new] is None or not _up(world, new)):
            return
        voters = [self._voters(index) for index in (world.last, world.last + 1)]
        for leader in self._leaders(world):
            followers = [
                member
                for member, state in self._running(world)
                if state.holds == world.last and member != leader and self._in_session(world, leader, member)
            ]
            for count in range(len(followers) + 1):
                for some in combinations(followers, count):
                    taken = {leader, *some}
                    if all(2 * len(taken & each) > len(each) for each in voters):
                        members = tuple(
                            state._replace(holds=world.last + 1) if state is not None and member in taken else state
                            for member, state in enumerate(world.members)
                        )
                        yield f"{taken} take {world.last + 1}", replace(world, last=world.last + 1, members=members)

    def _learns(self, world: World, only: int | None = None) -> Iterator[tuple[bool, str, World]]:
        """What one member hears of another one; with ``only``, that one alone leads."""
        leaders = set(self._leaders(world)) if only is None else {only}
        for member, state in self._running(world):
            for other, known in self._running(world):
                if other == member:
                    continue
                if not state.begun:
                    knows = self._latest(world, other).rows.get(member, Row(False, False)).bound and known.begun
                    if knows and self._knows(world, member, other):
                        yield True, f"{member} begins", _with(world, member, state._replace(begun=True))
                    continue
                if not self._in_session(world, member, other):
                    continue
                if other in leaders and state.holds < world.last:
                    yield True, f"{member} has all of {other}", _with(world, member, state._replace(holds=world.last))
                tells = self._rule is not Rule.NOBODY_TELLS and (
                    self._rule is not Rule.LEADER_TELLS or other in leaders
                )
                if tells and known.own > max(state.own, state.told):
                    yield True, f"{other} tells {member}", _with(world, member, state._replace(told=known.own))
        for member, absent in enumerate(world.members):
            if absent is None:
                for other, known in self._running(world):
                    row = self._tables[known.own].rows.get(member)
                    if row is not None and not row.bound and known.begun:
                        joined = Member(0, known.own, begun=False)
                        yield True, f"{member} joins at {other}", _with(world, member, joined)

    # ---- who meets whom

    def _voters(self, index: int) -> set[int]:
        return {member for member, row in self._tables[index].rows.items() if row.votes}

    def _leaders(self, world: World) -> list[int]:
        """Who may lead: a voter with everything, and not by its own table one that has left."""
        voters = self._voters(world.last)
        return [member for member, state in self._running(world) if member in voters and state.holds == world.last]

    def _running(self, world: World) -> Iterator[tuple[int, Member]]:
        gone = self._tables[world.last].left
        for member, state in enumerate(world.members):
            if state is not None and state.up and member not in gone:
                yield member, state

    def _latest(self, world: World, member: int) -> Table:
        state = world.members[member]
        assert state is not None
        own, told = self._tables[state.own], self._tables[max(state.own, state.told)]
        if self._rule is Rule.UNKNOWN_ROWS:
            return Table({**told.rows, **own.rows}, own.left)
        return told

    def _knows(self, world: World, member: int, other: int) -> bool:
        row = self._latest(world, member).rows.get(other)
        return row is not None and row.bound

    def _in_session(self, world: World, one: int, other: int) -> bool:
        states = (world.members[one], world.members[other])
        return (
            all(state is not None and state.begun for state in states)
            and self._knows(world, one, other)
            and self._knows(world, other, one)
        )

    # ---- what becomes of everybody

    def _stuck(self, world: World) -> set[int]:
        """Who stays behind under some leader, although it knows somebody who does not."""
        back = tuple(state and state._replace(up=True) for state in world.members)
        healed = replace(world, members=back)
        present = self._tables[world.last].rows
        for leader in self._leaders(healed):
            end = healed
            while (following := next(self._learns(end, leader), None)) is not None:
                end = following[2]
            behind = {member for member in present if self._is_behind(end, member)}
            for member in behind:
                state = world.members[member]
                if state is None or any(
                    row.bound and other in present and other not in behind
                    for other, row in self._tables[state.own].rows.items()
                ):
                    return behind
        return set()

    def _is_behind(self, world: World, member: int) -> bool:
        state = world.members[member]
        if state is None:
            return True
        bound = self._tables[world.last].rows[member].bound
        return bound and state.holds < world.last


def _up(world: World, member: int) -> bool:
    state = world.members[member]
    return state is not None and state.up


def _with(world: World, member: int, state: Member) -> World:
    return replace(world, members=(*world.members[:member], state, *world.members[member + 1 :]))
