"""What a hostile world's messages go through: sessions that stall and break, or datagrams."""

from __future__ import annotations

import heapq
from collections import deque
from functools import partial
from itertools import combinations
from typing import Any

from ratified.consensus.contract import Engine
from tests.consensus.world import ELECTION_US, World


def _step(sender: int, message: Any, engine: Engine, now: int) -> None:
    engine.step(now, sender, message)


class Sessions:
    """Sessions that keep order, stall, and break.

    ``lossy``: they also lose, double and swap messages inside a session, which they should not.
    """

    def __init__(self, world: World, *, lossy: bool = False) -> None:
        self._world = world
        self._lossy = lossy
        self._ids = list(world.members)
        self._pairs = list(combinations(self._ids, 2))
        self._open: set[tuple[int, int]] = set()
        self._opened = 0
        self._under_way: dict[tuple[int, int], deque[Any]] = {}
        self._stalled: set[tuple[int, int]] = set()
        self._cut: int | None = None
        """A member without sessions."""

    def carries(self, sender: int, target: int) -> bool:
        return (min(sender, target), max(sender, target)) in self._open

    def send(self, sender: int, target: int, message: Any) -> None:
        self._under_way.setdefault((sender, target), deque()).append(message)

    def strike(self, fault: int, chosen: int) -> None:
        draw, ids = self._world.draw, self._ids
        match fault:
            case 0 | 1 | 2 if self._cut is None:
                self._cut = chosen
            case 0 | 1 | 2 | 3:
                self._cut = None
            case 4 | 5 | 6:
                self._break(self._pairs[draw(len(self._pairs))])
                self._world.counts["sessions broken"] += 1
            case 7 | 8:
                self._stalled = {(chosen, ids[draw(len(ids))]), (ids[draw(len(ids))], chosen)}
            case _:
                self._stalled = set()

    def heal(self) -> None:
        self._cut = None
        self._stalled = set()

    def lost(self, member: int) -> None:
        for pair in self._pairs:
            if member in pair:
                self._break(pair)

    def step(self) -> None:
        self._connect()
        draw, chaos = self._world.draw, self._world.chaos
        for (sender, target), waiting in list(self._under_way.items()):
            if (sender, target) in self._stalled:
                continue
            for _ in range(min(len(waiting), draw(4) if chaos else len(waiting))):
                if self._lossy and chaos and draw(50) == 0 and self._violate(waiting):
                    continue
                self._world.members[target].driver.feed(partial(_step, sender, waiting.popleft()))

    def _violate(self, waiting: deque[Any]) -> bool:
        """Break the order of a session; True: the next message is gone."""
        self._world.counts["order violated"] += 1
        match self._world.draw(3):
            case 0:
                waiting.popleft()
                return True
            case 1:
                waiting.appendleft(waiting[0])
            case 2:
                waiting.rotate(-1)
        return False

    def _connect(self) -> None:
        members = self._world.members
        for pair in self._pairs:
            if self._cut in pair:
                self._break(pair)
            elif pair not in self._open and all(members[member].driver.up for member in pair):
                self._opened += 1
                self._open.add(pair)
                self._tell(pair, self._opened)

    def _break(self, pair: tuple[int, int]) -> None:
        if pair in self._open:
            self._open.remove(pair)
            self._under_way.pop(pair, None)
            self._under_way.pop(pair[::-1], None)
            self._tell(pair, None)

    def _tell(self, pair: tuple[int, int], session: int | None) -> None:
        for member, peer in (pair, pair[::-1]):
            self._world.members[member].driver.connect(peer, session)


class Datagrams:
    """No sessions: messages are lost, doubled and reordered; a member may be unheard by all, and deaf too.

    A leader may fade: what it says at one moment all others miss, what it says at the next some may hear, and soon it
    is cut off. So slots of Paxos stay open below one that was accepted.

    ``late_percent`` of the messages take up to two election timeouts, so that a leader that was deposed and leads again
    meets answers to what it asked the first time.
    """

    def __init__(self, world: World, *, late_percent: int = 0) -> None:
        self._world = world
        self._late_percent = late_percent
        self._late: list[tuple[int, int, int, int, Any]] = []
        """(when it arrives, a number, sender, target, message)."""
        self._under_way: list[tuple[int, int, Any]] = []
        self._unheard: int | None = None
        self._deaf: int | None = None
        self._fading: int | None = None

    def carries(self, sender: int, target: int) -> bool:
        return True

    def send(self, sender: int, target: int, message: Any) -> None:
        world = self._world
        if self._late_percent and world.chaos and world.draw(100) < self._late_percent:
            due = world.now + world.draw(2 * ELECTION_US)
            heapq.heappush(self._late, (due, world.draw(1 << 30), sender, target, message))
        else:
            self._under_way.append((sender, target, message))

    def strike(self, fault: int, chosen: int) -> None:
        match fault:
            case 0 | 1 | 2 | 3 if self._unheard is None:
                self._unheard = chosen
                self._deaf = chosen if self._world.draw(2) == 0 else None
            case 4 | 10 | 11:
                self.heal()
            case 5 | 6 | 7 | 8 | 9 if self._unheard is None:
                self._fading = self._deaf = next(
                    (member.id for member in self._world.members.values() if member.leads), None
                )

    def heal(self) -> None:
        self._unheard = self._deaf = self._fading = None

    def lost(self, member: int) -> None:
        """What it had sent may still arrive."""

    def step(self) -> None:
        draw, members, chaos = self._world.draw, self._world.members, self._world.chaos
        while self._late and (self._late[0][0] <= self._world.now or not chaos):
            self._under_way.append(heapq.heappop(self._late)[2:])
        if self._fading is not None:
            self._unheard = self._fading if draw(2) else None
            if draw(16) == 0:
                self._unheard, self._fading = self._fading, None
        for _ in range(draw(2 * len(members) + 2) + len(self._under_way) // (8 if chaos else 1)):
            if not self._under_way:
                return
            at = draw(min(len(self._under_way), 6)) if chaos else 0
            fate = draw(100) if chaos else 50
            sender, target, message = self._under_way[at]
            if fate >= 5:
                del self._under_way[at]
            if fate < 90 and sender != self._unheard and target != self._deaf:
                members[target].driver.feed(partial(_step, sender, message))
