"""Another group follows the configurations of group 0, while its leaders change and know the table late.

Group 0 takes a fixed row of configurations, one after the other, and in between what is said of the other group. That
one has a configuration, a leader, and one change at most that is under way; who led it may believe so for as long as it
hears nothing. A leader has applied group 0's log up to anywhere, and goes on with it while it is a member of group 0.
It has all that was committed before it was elected (that is the engines' part), and what is under way of an earlier one
is committed by then or never.

The rules are 3, 4 and 5 of ``node/steward.py``. *Gone back* is a group of which somebody is a member who has left for
good. In every state it is asked what became of the group if nothing more happened but what has to, under any leader:
*stuck* is one that does not end with the last configuration, or a member that is never let go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from tests.models.explore import Steps, Violation


class Rule(Enum):
    """The rules as they are, and what they would be without one of their parts."""

    AS_THEY_ARE = "as they are"
    ANY_TABLE = "a leader goes by whatever table it has"
    UNCONFIRMED = "a leader says what its group has, confirmed or not"
    WHATEVER_IS_SAID = "what is said of an earlier configuration counts"
    GONE_AT_ONCE = "who is removed is not in group 0 any more"
    GONE_WITH_GROUP_0 = "who is removed has left once group 0 is rid of it"


class Configuration(NamedTuple):
    voters: frozenset[int]
    learners: frozenset[int] = frozenset()

    @property
    def all(self) -> frozenset[int]:
        return self.voters | self.learners


class Table(NamedTuple):
    """What a prefix of group 0's log says."""

    wanted: int
    """The number of the configuration that the other group is to have."""
    behind: bool = False
    leaving: frozenset[int] = frozenset()
    """Who was removed, and is in group 0 still."""
    left: frozenset[int] = frozenset()


class Leading(NamedTuple):
    """What a member believes of the group, which it leads, or led."""

    era: int
    configuration: Configuration
    applied: int
    """How far it has applied group 0's log."""
    asked: int | None = None
    """How long group 0's log was when it asked for a barrier of that."""
    confirms: int | None = None
    """Which configuration was wanted when it asked whether it leads still."""
    confirmed: int | None = None
    """The same, once it was told that it does."""


@dataclass(frozen=True, slots=True)
class World:
    tables: tuple[Table, ...]
    """As each prefix of group 0's log says."""
    configuration: Configuration
    """Of the other group, committed."""
    under_way: Configuration | None
    """What its leader has proposed."""
    era: int
    leading: tuple[Leading | None, ...]
    """By member; true of who leads in ``era``."""
    said: frozenset[int]
    """Of which wanted configurations it was said that the group has them, on the way to group 0."""


class Model:
    def __init__(self, wanted: list[Configuration], elections: int, rule: Rule = Rule.AS_THEY_ARE) -> None:
        self._wanted = wanted
        self._elections = elections
        self._rule = rule
        self._known_ends: dict[World, bool] = {}

    def initial(self) -> World:
        first = self._wanted[0]
        size = max(max(each.all) for each in self._wanted) + 1
        leading = Leading(0, first, 0)
        return World((Table(0),), first, None, 0, (leading, *[None] * (size - 1)), frozenset())

    def steps(self, world: World) -> Steps[World]:
        if world.tables[-1].left & world.configuration.all:
            yield "gone back", Violation("gone back")
        if world.tables[-1].wanted + 1 < len(self._wanted):
            yield "a change", self._changed(world)
        yield from self._applies(world)
        if world.era < self._elections:
            yield from self._elects(world)
        yield from self._follows(world)
        yield from self._lets_go(world)
        if self._is_stuck(world):
            yield "stuck", Violation("stuck")

    # ---- group 0

    def _changed(self, world: World) -> World:
        last = world.tables[-1]
        gone = self._wanted[last.wanted].all - self._wanted[last.wanted + 1].all
        return replace(world, tables=(*world.tables, Table(last.wanted + 1, True, last.leaving | gone, last.left)))

    def _applies(self, world: World) -> Iterator[tuple[str, World]]:
        last = len(world.tables) - 1
        for member, each in enumerate(world.leading):
            if each is not None and each.applied < last and self._hears(world, member):
                after = each._replace(applied=each.applied + 1)
                yield f"{member} applies {after.applied}", self._with(world, member, after)

    def _hears(self, world: World, member: int) -> bool:
        """Is it a member of group 0?"""
        table = world.tables[-1]
        if member in self._wanted[table.wanted].all:
            return True
        return member in table.leaving and self._rule is not Rule.GONE_AT_ONCE

    def _lets_go(self, world: World) -> Iterator[tuple[str, World]]:
        table = world.tables[-1]
        if table.leaving and (not table.behind or self._rule is Rule.GONE_WITH_GROUP_0):
            yield (
                f"{set(table.leaving)} left",
                replace(
                    world,
                    tables=(*world.tables, table._replace(leaving=frozenset(), left=table.left | table.leaving)),
                    leading=tuple(
                        None if member in table.leaving else each for member, each in enumerate(world.leading)
                    ),
                ),
            )

    # ---- the other group

    def _elects(self, world: World) -> Iterator[tuple[str, World]]:
        """What is under way is committed, or gone."""
        for after in {world.configuration, world.under_way or world.configuration}:
            for member in sorted(after.voters - world.tables[-1].left):
                elected = replace(world, configuration=after, under_way=None, era=world.era + 1)
                for applied in range(len(world.tables)):
                    leading = Leading(elected.era, after, applied)
                    yield f"{member} leads, with {after}, at {applied}", self._with(elected, member, leading)

    def _follows(self, world: World) -> Iterator[tuple[str, World]]:
        if world.under_way is not None:
            yield "committed", self._committed(world)
        for since in world.said:
            yield f"{since} is heard", self._heard(world, since)
        for member, leading in enumerate(world.leading):
            if leading is not None:
                yield from self._leads(world, member, leading)

    def _committed(self, world: World) -> World:
        after = world.under_way
        assert after is not None
        leading = tuple(
            Leading(each.era, after, each.applied) if each is not None and each.era == world.era else each
            for each in world.leading
        )
        return replace(world, configuration=after, under_way=None, leading=leading)

    def _heard(self, world: World, since: int) -> World:
        table = world.tables[-1]
        counts = since == table.wanted or self._rule is Rule.WHATEVER_IS_SAID
        after = replace(world, said=world.said - {since})
        return (
            replace(after, tables=(*world.tables, table._replace(behind=False))) if counts and table.behind else after
        )

    def _leads(self, world: World, member: int, leading: Leading) -> Iterator[tuple[str, World]]:
        """What it does, leading or not; only who leads can have anything taken or confirmed."""
        table = world.tables[leading.applied]
        is_true = leading.era == world.era
        if not table.behind or (is_true and world.under_way is not None):
            return
        wanted = self._wanted[table.wanted]
        if leading.configuration == wanted:
            if table.wanted in world.said:
                return
            if leading.confirmed == table.wanted or self._rule is Rule.UNCONFIRMED:
                says = replace(world, said=world.said | {table.wanted})
                after = leading._replace(confirms=None, confirmed=None)
                yield f"{member} says that it has {table.wanted}", self._with(says, member, after)
            elif leading.confirms != table.wanted:
                yield f"{member} asks", self._with(world, member, leading._replace(confirms=table.wanted))
            elif is_true:
                after = leading._replace(confirms=None, confirmed=table.wanted)
                yield f"{member} is confirmed", self._with(world, member, after)
        elif leading.asked is None and self._rule is not Rule.ANY_TABLE:
            after = leading._replace(asked=len(world.tables) - 1)
            yield f"{member} asks how long the log is", self._with(world, member, after)
        elif is_true and (leading.asked is None or leading.asked <= leading.applied):
            proposes = replace(world, under_way=_towards(wanted, leading.configuration))
            after = leading._replace(asked=None)
            yield f"{member} proposes {wanted}", self._with(proposes, member, after)

    def _with(self, world: World, member: int, leading: Leading) -> World:
        return replace(world, leading=(*world.leading[:member], leading, *world.leading[member + 1 :]))

    # ---- what becomes of it

    def _is_stuck(self, world: World) -> bool:
        """Everybody who can hears of everything, and the leader does what it has to."""
        starts = [after for _, after in self._elects(world)] if world.under_way is None else []
        return any(self._ends_wrong(start) for start in (world, *starts))

    def _ends_wrong(self, end: World) -> bool:
        passed = [end]
        while end not in self._known_ends and (step := self._next(end)) is not None:
            end = step
            passed.append(end)
        table = end.tables[-1]
        is_wrong = bool(table.behind or table.leaving or end.configuration != self._wanted[table.wanted])
        is_wrong = self._known_ends.get(end, is_wrong)
        self._known_ends.update(dict.fromkeys(passed, is_wrong))
        return is_wrong

    def _next(self, world: World) -> World | None:
        true = [member for member, each in enumerate(world.leading) if each is not None and each.era == world.era]
        if not true:  # its leader has left: somebody else is elected
            return next((after for _, after in self._elects(world)), None)
        alone = replace(
            world, leading=tuple(each if member in true else None for member, each in enumerate(world.leading))
        )
        for steps in (self._applies, self._follows, self._lets_go):
            found = next(steps(alone), None)
            if found is not None:
                return found[1]
        return None


def _towards(target: Configuration, configuration: Configuration) -> Configuration:
    strangers = target.voters - configuration.all
    return Configuration(configuration.voters, configuration.learners | strangers) if strangers else target
