"""The rule of ``node/directories.py`` as a model: which directories count, who has begun, what is acknowledged.

A few members, each with a directory that an operator may wipe, and one entry. Members meet in any order, take down each
other's directories and begin; a majority that counts each other acknowledges the entry; a majority that counts each
other and of which nobody has the entry loses it. What no disk in place holds any more counts for nothing.

A member that was wiped may get its own directory back, as long as nobody has voted with the new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations, permutations
from typing import NamedTuple

from tests.models.explore import Steps, Violation


class Rule(Enum):
    """The rule as it is, and what it would be without one of its parts."""

    AS_IT_IS = "as it is"
    MAJORITY_BEGINS = "a majority is enough for the first start"
    BEGUN_REPLACES = "a member that has begun takes down a new directory too"
    FRESH_VOTES = "a fresh member votes"
    ONE_SIDED = "it is enough that one of two holds the other's directory"


NONE = -1


class Member(NamedTuple):
    directory: int
    """Counts this member's directories; 0 is the first."""
    begun: bool
    holds: tuple[int, ...]
    """The directory that it holds for each member, or ``NONE``; its own place is unused."""
    has_entry: bool
    own: tuple[int, bool, tuple[int, ...], bool] | tuple[()]
    """What was set aside when it was wiped; empty: it has its own."""


@dataclass(frozen=True, slots=True)
class World:
    members: tuple[Member, ...]
    acknowledged: bool
    wipes_left: int
    directories: tuple[int, ...]
    """How many directories each member has had."""


def initial(size: int, wipes: int) -> World:
    return World((Member(0, False, (NONE,) * size, False, ()),) * size, False, wipes, (1,) * size)


def begun(size: int, wipes: int) -> World:
    """All have met and begun."""
    return World((Member(0, True, (0,) * size, False, ()),) * size, False, wipes, (1,) * size)


class Model:
    def __init__(self, rule: Rule = Rule.AS_IT_IS, *, stuck_after_wipes: int | None = None) -> None:
        """``stuck_after_wipes``: with so many wipes or fewer, a world in which nothing more can happen and no majority
        counts each other is a violation."""
        self._rule = rule
        self._stuck_after_wipes = stuck_after_wipes

    def steps(self, world: World) -> Steps[World]:
        quiet = True
        for label, after in self._steps_of_members(world):
            quiet = False
            yield label, after
        yield from self._steps_of_operators(world)
        yield from self._steps_of_majorities(world)
        if quiet and self._may_not_be_stuck(world) and not any(self._majorities(world)):
            yield "nothing more happens", Violation("stuck with all members up")

    def _may_not_be_stuck(self, world: World) -> bool:
        limit = self._stuck_after_wipes
        return limit is not None and sum(world.directories) - len(world.members) <= limit

    def _steps_of_members(self, world: World) -> Iterator[tuple[str, World]]:
        members = world.members
        for i, member in enumerate(members):
            for j, other in enumerate(members):
                if i != j and member.holds[j] != other.directory and self._takes_down(member):
                    holds = (*member.holds[:j], other.directory, *member.holds[j + 1 :])
                    yield f"{i} meets {j}", _with(world, i, member._replace(holds=holds))
            if not member.begun and self._may_begin(members, i):
                yield f"{i} begins", _with(world, i, member._replace(begun=True))

    def _takes_down(self, member: Member) -> bool:
        return not member.begun or self._rule is Rule.BEGUN_REPLACES

    def _may_begin(self, members: tuple[Member, ...], i: int) -> bool:
        agreeing = 1 + sum(self._hold_each_other(members, i, j) for j in range(len(members)) if j != i)
        if self._rule is Rule.MAJORITY_BEGINS:
            return 2 * agreeing > len(members)
        return agreeing == len(members)

    def _hold_each_other(self, members: tuple[Member, ...], i: int, j: int) -> bool:
        forth, back = members[i].holds[j] == members[j].directory, members[j].holds[i] == members[i].directory
        return forth or back if self._rule is Rule.ONE_SIDED else forth and back

    def _steps_of_operators(self, world: World) -> Iterator[tuple[str, World]]:
        for i, member in enumerate(world.members):
            if world.wipes_left and not member.own:
                fresh = Member(world.directories[i], False, (NONE,) * len(world.members), False, member[:4])
                had = (*world.directories[:i], world.directories[i] + 1, *world.directories[i + 1 :])
                wiped = _with(world, i, fresh)
                yield f"{i} is wiped", replace(wiped, wipes_left=world.wipes_left - 1, directories=had)
            if member.own and not member.begun:
                yield f"{i} gets its own back", _with(world, i, Member(*member.own, own=()))

    def _steps_of_majorities(self, world: World) -> Steps[World]:
        members = world.members
        for majority in self._majorities(world):
            if not world.acknowledged:
                having = tuple(
                    member._replace(has_entry=True) if i in majority else member for i, member in enumerate(members)
                )
                yield f"{majority} acknowledge", replace(world, members=having, acknowledged=True)
            elif not any(members[i].has_entry for i in majority) and any(member.has_entry for member in members):
                yield f"{majority} elect", Violation("an acknowledged entry is lost")

    def _majorities(self, world: World) -> Iterator[tuple[int, ...]]:
        """Smallest majorities of members that vote, with one among them that all others count and that counts them."""
        members = world.members
        voting = [i for i, member in enumerate(members) if member.begun or self._rule is Rule.FRESH_VOTES]
        for majority in combinations(voting, len(members) // 2 + 1):
            if any(all(self._hold_each_other(members, i, j) for j in majority if j != i) for i in majority):
                yield majority


def _with(world: World, i: int, member: Member) -> World:
    return replace(world, members=(*world.members[:i], member, *world.members[i + 1 :]))


def canonical(world: World) -> World:
    """The least of all worlds that differ in the members' names only."""
    size = len(world.members)
    return min((_renamed(world, order) for order in permutations(range(size))), key=_sort_key)


def _sort_key(world: World) -> tuple[object, ...]:
    return world.members, world.directories


def _renamed(world: World, order: tuple[int, ...]) -> World:
    def holds(held: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(held[i] for i in order)

    members = []
    for i in order:
        member = world.members[i]
        own = (*member.own[:2], holds(member.own[2]), member.own[3]) if member.own else ()
        members.append(member._replace(holds=holds(member.holds), own=own))
    return replace(world, members=tuple(members), directories=tuple(world.directories[i] for i in order))
