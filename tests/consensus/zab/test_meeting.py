"""Where a follower's history meets its leader's: every pair that three members can come to have, within bounds.

A model of the paper's three phases in which histories are all there is. An entry is written as its epoch alone: an
epoch has one leader, which proposes once at an index, so two entries are the same if index and epoch are. A follower
may stop anywhere in a synchronisation, a leader may die with proposals that only others have on disk, an epoch may be
accepted and come to nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from ratified.consensus.contract import NO_ERA, Base, Durable, Limits, Membership, Run
from ratified.consensus.replication.history import History

QUORUM = 2
EPOCHS_MAX = 3
ENTRIES_MAX = 3


class Member(NamedTuple):
    """``origin``: where its initial history ends, while it leads; ``acked``: who has acknowledged its NEWLEADER."""

    accepted: int = 0
    current: int = 0
    history: tuple[int, ...] = ()
    origin: int | None = None
    acked: frozenset[int] = frozenset()

    def rank(self) -> tuple[int, int, int]:
        return self.current, self.history[-1] if self.history else 0, len(self.history)

    def accept(self, epoch: int) -> Member:
        return Member(epoch, self.current, self.history)


class World(NamedTuple):
    """``committed``: the longest history that some leader may have told anybody to be committed."""

    members: tuple[Member, ...]
    committed: tuple[int, ...] = ()

    def but(self, changed: dict[int, Member]) -> World:
        return self._replace(members=tuple(changed.get(at, member) for at, member in enumerate(self.members)))


class Meeting(NamedTuple):
    leader: tuple[int, ...]
    follower: tuple[int, ...]
    committed: tuple[int, ...]

    @property
    def truth(self) -> int:
        return equal_up_to(self.leader, self.follower)


def equal_up_to(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


class Model:
    """Every world that can come about; ``acks_needed``: acknowledgements of NEWLEADER before a leader proposes."""

    def __init__(self, acks_needed: int) -> None:
        self._acks_needed = acks_needed
        self.meetings: set[Meeting] = set()
        start = World((Member(),) * 3)
        self.worlds = {start}
        waiting = [start]
        while waiting:
            for world in self._steps(waiting.pop()):
                if world not in self.worlds:
                    self.worlds.add(world)
                    waiting.append(world)

    def _steps(self, world: World) -> Iterator[World]:
        for at, member in enumerate(world.members):
            yield from self._accept_epoch(world, at)
            yield from self._establish(world, at)
            if member.origin is None:
                continue
            yield from self._propose(world, at)
            yield from self._lead_no_more(world, at)
            for follower in range(3):
                if follower != at and world.members[follower].accepted <= member.accepted:
                    yield from self._synchronise(world, at, follower)
                    yield from self._append(world, at, follower)

    def _accept_epoch(self, world: World, at: int) -> Iterator[World]:
        """An epoch that nobody comes to lead."""
        member = world.members[at]
        if member.accepted < EPOCHS_MAX:
            yield world.but({at: member.accept(member.accepted + 1)})

    def _establish(self, world: World, at: int) -> Iterator[World]:
        """Phase 1: a quorum accepts a later epoch for who has the best history among them."""
        leader = world.members[at]
        for other, second in enumerate(world.members):
            epoch = max(leader.accepted, second.accepted) + 1
            if other != at and epoch <= EPOCHS_MAX and leader.rank() >= second.rank():
                leads = Member(epoch, epoch, leader.history, len(leader.history), frozenset((at,)))
                yield self._count(world.but({at: leads, other: second.accept(epoch)}), at)

    def _synchronise(self, world: World, at: int, follower: int) -> Iterator[World]:
        """Phase 2, as far as the follower gets."""
        leader, one = world.members[at], world.members[follower]
        self.meetings.add(Meeting(leader.history, one.history, world.committed))
        assert leader.origin is not None
        meet = equal_up_to(leader.history, one.history)
        for end in range(meet, max(meet, leader.origin) + 1):
            complete = end >= leader.origin
            current = leader.accepted if complete else one.current
            acked = leader.acked | {follower} if complete else leader.acked
            taken = Member(leader.accepted, current, leader.history[:end])
            yield self._count(world.but({at: leader._replace(acked=acked), follower: taken}), at)

    def _propose(self, world: World, at: int) -> Iterator[World]:
        leader = world.members[at]
        if len(leader.acked) >= self._acks_needed and len(leader.history) < ENTRIES_MAX:
            yield self._count(world.but({at: leader._replace(history=(*leader.history, leader.accepted))}), at)

    def _append(self, world: World, at: int, follower: int) -> Iterator[World]:
        leader, one = world.members[at], world.members[follower]
        if one.current == leader.accepted and len(one.history) < len(leader.history):
            history = leader.history[: len(one.history) + 1]
            yield self._count(world.but({follower: one._replace(history=history)}), at)

    def _lead_no_more(self, world: World, at: int) -> Iterator[World]:
        """Its disk may lack any of its proposals that are not committed."""
        leader = world.members[at]
        assert leader.origin is not None
        kept = max(leader.origin, equal_up_to(leader.history, world.committed))
        for end in range(kept, len(leader.history) + 1):
            yield world.but({at: Member(leader.accepted, leader.current, leader.history[:end])})

    def _count(self, world: World, at: int) -> World:
        """What the leader commits: nothing before a quorum is synchronised, then what a quorum of those has."""
        leader = world.members[at]
        assert leader.origin is not None
        if len(leader.acked) < QUORUM:
            return world
        of_epoch = [each for each in world.members if each.current == leader.accepted]
        has = sorted(equal_up_to(leader.history, each.history) for each in of_epoch)
        held = has[-QUORUM] if len(has) >= QUORUM else 0
        committed = leader.history[: max(leader.origin, held)]
        return world._replace(committed=max(world.committed, committed, key=len))


@cache
def log(history: tuple[int, ...], base: int) -> History:
    """The history, what is up to ``base`` compacted away."""
    era = (history[base - 1], 0) if base else NO_ERA
    runs = [Run(index, index, (epoch, 0)) for index, epoch in enumerate(history, 1) if index > base]
    return History(Durable(b"", Base(base, era, Membership((1, 2, 3))), runs, (), (), base), Limits())


def found(meeting: Meeting, leader_base: int = 0, follower_base: int = 0) -> int:
    """Where the leader finds that the two meet."""
    told = log(meeting.follower, follower_base)
    return log(meeting.leader, leader_base).meet(told.last_era, told.last_origin, told.last)


@cache
def model(acks_needed: int) -> Model:
    return Model(acks_needed)


def test_a_leader_finds_exactly_where_the_histories_part() -> None:
    parted = 0
    for each in model(QUORUM).meetings:
        assert found(each) == each.truth, each
        parted += each.truth < len(each.follower) and each.follower[-1] not in each.leader
    assert parted > 10, "followers with entries of an epoch that their leader lacks"


def test_what_is_committed_is_below_the_meeting() -> None:
    for each in model(QUORUM).meetings:
        assert equal_up_to(each.leader, each.committed) >= equal_up_to(each.follower, each.committed), each


def test_what_was_compacted_away_changes_no_meeting() -> None:
    """A log begins behind something committed. A meeting below the leader's base is one that needs a snapshot."""
    for each in model(QUORUM).meetings:
        for follower_base in range(equal_up_to(each.follower, each.committed) + 1):
            assert found(each, 0, follower_base) == each.truth, each
            for leader_base in range(equal_up_to(each.leader, each.committed) + 1):
                meet = found(each, leader_base, follower_base)
                assert meet == each.truth if each.truth >= leader_base else meet < leader_base, each


def test_it_takes_a_quorum_with_the_initial_history_before_anything_is_proposed() -> None:
    assert any(found(each) > each.truth for each in model(1).meetings)
