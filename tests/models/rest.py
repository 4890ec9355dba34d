"""A group that rests: nobody keeps time, so whoever rests under a leader must learn when that one leads no longer.

Members lead in eras, one after another. A leader may let everybody in session rest with it, and may wake; who has a
majority in session may be made to lead the next era, which some majority of those in session hears of at once, and the
others only by what the new leader says to those with whom it has a session. A session loses what is under way in it
when it ends, and its two ends learn of that one after the other; the next one may begin before they have.

*Stuck* is a member that rests under somebody who does not lead its era, and to whom nothing is under way that would
wake it: it keeps no time, asks nobody, and hears of the present leader only if that one happens to reach it. So is one
that rests under a leader that it has no session with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations, permutations
from typing import NamedTuple

from tests.models.explore import Steps, Violation

MEMBERS = range(3)
MAJORITY = 2


class Rule(Enum):
    """The rule as it is, and what it would be without one of its parts."""

    AS_IT_IS = "as it is"
    NOTHING_IS_SAID = "a resting leader that is deposed says nothing"
    AWAKE_IS_ENOUGH = "nor does one that has woken and has told nobody yet"
    SESSION_IS_LOST = "the end of the session with the leader does not wake"
    SESSION_IS_ANOTHER = "a session that takes an earlier one's place does not wake"


class Says(Enum):
    REST = "rest"
    BEAT = "a heartbeat"
    RESIGN = "resigns"
    LOST = "the session is lost"
    OPEN = "a session begins"
    ANOTHER = "another session begins"


class Message(NamedTuple):
    says: Says
    era: int = 0


class Member(NamedTuple):
    era: int
    leader: int | None
    rests: bool = False
    """It keeps no time."""
    others_rest: bool = False
    """It leads, and what it said last to everybody was to rest."""


Way = tuple[int, int]
WAYS: tuple[Way, ...] = tuple(permutations(MEMBERS, 2))


@dataclass(frozen=True, slots=True)
class World:
    members: tuple[Member, ...]
    sessions: tuple[bool, ...]
    """For each way whether its end has a session, as far as it knows: (to, from)."""
    queues: tuple[tuple[Message, ...], ...]
    """For each way what is under way on it: (from, to)."""
    rests_left: int
    elections_left: int
    breaks_left: int


def initial(rests: int, elections: int, breaks: int) -> World:
    """Member 0 leads, and everybody is awake."""
    members = tuple(Member(1, 0) for _ in MEMBERS)
    return World(members, (True,) * len(WAYS), ((),) * len(WAYS), rests, elections, breaks)


class Model:
    def __init__(self, rule: Rule = Rule.AS_IT_IS) -> None:
        self._rule = rule

    def steps(self, world: World) -> Steps[World]:
        if stuck := [member for member in MEMBERS if self._is_stuck(world, member)]:
            yield f"{stuck} are stuck", Violation("stuck")
            return
        yield from self._rests_and_wakes(world)
        if world.elections_left:
            yield from self._elections(world)
        if world.breaks_left:
            yield from self._breaks(world)
        for way in WAYS:
            if queue := world.queues[WAYS.index(way)]:
                yield f"{way[1]} hears of {way[0]}: {queue[0].says.value}", self._delivered(world, way)

    # ---- what happens

    def _rests_and_wakes(self, world: World) -> Iterator[tuple[str, World]]:
        for member, state in enumerate(world.members):
            if state.leader != member:
                continue
            connected = self._connected(world, member)
            if not state.rests and 1 + len(connected) >= MAJORITY and world.rests_left:
                resting = _with(world, member, state._replace(rests=True, others_rest=True))
                resting = replace(resting, rests_left=world.rests_left - 1)
                yield f"{member} rests", self._say(resting, member, connected, Says.REST)
            if state.rests:
                yield f"{member} wakes", _with(world, member, state._replace(rests=False))
            elif state.others_rest:
                yield f"{member} is heard again", self._beat(world, member)

    def _elections(self, world: World) -> Iterator[tuple[str, World]]:
        era = max(state.era for state in world.members) + 1
        for member, state in enumerate(world.members):
            connected = self._connected(world, member)
            for count in range(MAJORITY - 1, len(connected) + 1):
                for voters in combinations(connected, count):
                    after = replace(world, elections_left=world.elections_left - 1)
                    for voter in (member, *voters):
                        after = self._adopt(after, voter, era)
                    after = _with(after, member, Member(era, member))
                    yield f"{member} is elected by {voters}, after {state.era}", self._beat(after, member)

    def _breaks(self, world: World) -> Iterator[tuple[str, World]]:
        after = replace(world, breaks_left=world.breaks_left - 1)
        for one, other in combinations(MEMBERS, 2):
            ends = (one, other), (other, one)
            whole = all(world.sessions[WAYS.index(way)] for way in ends)
            for says in (Says.LOST, Says.ANOTHER) if whole else (Says.OPEN,):
                yield f"{one} and {other}: {says.value}", _queued(after, dict.fromkeys(ends, (Message(says),)))

    def _delivered(self, world: World, way: Way) -> World:
        sender, member = way
        index = WAYS.index(way)
        message, *left = world.queues[index]
        world = _queued(world, {way: tuple(left)})
        state = world.members[member]
        back = WAYS.index((member, sender))
        match message.says:
            case Says.LOST | Says.OPEN | Says.ANOTHER:
                is_open = message.says is not Says.LOST
                world = replace(
                    world, sessions=tuple(is_open if at == back else each for at, each in enumerate(world.sessions))
                )
                return self._session_changed(world, member, sender, message.says)
            case Says.RESIGN:
                if (state.era, state.leader) == (message.era, sender):
                    return _with(world, member, Member(state.era, None))
            case Says.REST | Says.BEAT:
                if message.era >= state.era:
                    world = self._adopt(world, member, message.era)
                    return _with(world, member, Member(message.era, sender, rests=message.says is Says.REST))
        return world

    def _session_changed(self, world: World, member: int, other: int, says: Says) -> World:
        state = world.members[member]
        kept = (says is Says.LOST and self._rule is Rule.SESSION_IS_LOST) or (
            says is Says.ANOTHER and self._rule is Rule.SESSION_IS_ANOTHER
        )
        if state.leader == member or (state.leader == other and not kept):
            return _with(world, member, state._replace(rests=False))
        return world

    # ---- what a member does

    def _adopt(self, world: World, member: int, era: int) -> World:
        """A later era: whoever led an earlier one tells those whom it has let rest."""
        state = world.members[member]
        if era <= state.era:
            return world
        world = _with(world, member, Member(era, None))
        tells = state.rests if self._rule is Rule.AWAKE_IS_ENOUGH else state.others_rest
        if state.leader != member or not tells or self._rule is Rule.NOTHING_IS_SAID:
            return world
        return self._say(world, member, self._connected(world, member), Says.RESIGN, state.era)

    def _beat(self, world: World, member: int) -> World:
        awake = _with(world, member, world.members[member]._replace(others_rest=False))
        return self._say(awake, member, self._connected(world, member), Says.BEAT)

    def _say(self, world: World, member: int, to: list[int], says: Says, era: int | None = None) -> World:
        message = Message(says, world.members[member].era if era is None else era)
        queues = {}
        for other in to:
            way = (member, other)
            queued = world.queues[WAYS.index(way)]
            if _is_whole(world, way):
                queues[way] = (*queued, message)
        return _queued(world, queues)

    def _connected(self, world: World, member: int) -> list[int]:
        """Whom it has a session with, as far as it knows."""
        return [other for other in MEMBERS if other != member and world.sessions[WAYS.index((member, other))]]

    # ---- what must not be

    def _is_stuck(self, world: World, member: int) -> bool:
        state = world.members[member]
        leader = state.leader
        if not state.rests or leader is None or leader == member:
            return False
        if any(world.queues[WAYS.index(way)] for way in WAYS if way[1] == member):
            return False
        leads = world.members[leader]
        connected = world.sessions[WAYS.index((member, leader))]
        return not connected or (leads.leader, leads.era) != (leader, state.era)


def _with(world: World, member: int, state: Member) -> World:
    return replace(world, members=tuple(state if at == member else each for at, each in enumerate(world.members)))


def _queued(world: World, changed: dict[Way, tuple[Message, ...]]) -> World:
    return replace(world, queues=tuple(changed.get(way, queue) for way, queue in zip(WAYS, world.queues, strict=True)))


def _is_whole(world: World, way: Way) -> bool:
    """Does what is said now arrive? Not where the session has ended, and who speaks has not heard of it yet."""
    ended = {Says.LOST, Says.ANOTHER, Says.OPEN}
    return not any(message.says in ended for message in world.queues[WAYS.index(way[::-1])])
