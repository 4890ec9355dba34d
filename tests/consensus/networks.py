"""What a hostile world's messages go through: sessions that stall and break, datagrams, and leaders that return."""

from __future__ import annotations

import heapq
from collections import deque
from enum import Enum
from functools import partial
from itertools import combinations
from typing import Any

from ratified.consensus.contract import Engine, Era
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

    def cut(self, member: int | None) -> None:
        """It has no sessions from now on."""
        self._cut = member

    def stall(self, pairs: set[tuple[int, int]]) -> None:
        """What these senders say to these targets waits, and nothing else does."""
        self._stalled = pairs

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


STEPS_MOST = 600
"""After so many steps without success somebody else is chosen."""


def _campaign(engine: Engine, now: int) -> None:
    engine.campaign(now)


class _Phase(Enum):
    LEADS = "a leader is chosen, at work; what its confidants answer is kept back"
    LOSES = "none but its confidants hears it, and it hears nobody"
    RETURNS = "another member leads; the chosen one stands until it leads again"
    HEARS = "it leads again, and gets the old answers"


class Returns:
    """Datagrams, and leaders that lose the lead and win it again while answers to their earlier leadership are under
    way.

    Again and again a leader is chosen. All that a few *confidants*, too few to decide anything, say to it is kept back
    while it works with the others; then none but they hear it, and it hears nobody, until somebody else leads. When it
    knows that, it is told to stand until it leads once more. Then its confidants, or all others, hear it no longer (and
    somebody else takes the lead again), and it gets the old answers.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._datagrams = Datagrams(world)
        self._phase: _Phase | None = None
        self._chosen = 0
        """The member that loses and returns; 0: none."""
        self._era: Era | None = None
        """In which it led last."""
        self._confidants: frozenset[int] = frozenset()
        self._deaf_to_it: frozenset[int] = frozenset()
        self._hears_nobody = False
        self._keeping: tuple[_Phase, ...] = ()
        """When what confidants say is kept back: all rounds of reads from the beginning, or entries of the end."""
        self._kept: deque[tuple[int, Any]] = deque()
        """Sender and message."""
        self._serves_first = False
        """Does it hear them only when it serves again, and nobody else hears it then?"""
        self._hears_after = 0
        """So many steps after it has returned."""
        self._steps = 0
        """In this phase."""
        self._patience = 0
        """How many steps it lasts, or something in it."""

    def carries(self, sender: int, target: int) -> bool:
        return True

    def send(self, sender: int, target: int, message: Any) -> None:
        if sender == self._chosen and target in self._deaf_to_it:
            return
        if target == self._chosen:
            if sender in self._confidants and self._phase in self._keeping:
                self._kept.append((sender, message))
                return
            if self._hears_nobody:
                return
        self._datagrams.send(sender, target, message)

    def strike(self, fault: int, chosen: int) -> None:
        """Trouble enough is in what this network does by itself."""

    def heal(self) -> None:
        self._choose_nobody()

    def lost(self, member: int) -> None:
        """What it had sent may still arrive."""

    def step(self) -> None:
        self._datagrams.step()
        self._steps += 1
        if self._world.chaos:
            match self._phase:
                case None:
                    self._choose()
                case _Phase.LEADS:
                    self._let_it_work()
                case _Phase.LOSES:
                    self._let_others_win()
                case _Phase.RETURNS:
                    self._let_it_return()
                case _Phase.HEARS:
                    self._let_it_hear()

    def _begin(self, phase: _Phase, steps_most: int) -> None:
        self._phase, self._steps, self._patience = phase, 0, self._world.draw(steps_most)

    def _choose_nobody(self) -> None:
        self._phase, self._chosen = None, 0
        self._deaf_to_it, self._hears_nobody = frozenset(), False
        self._kept.clear()

    def _choose(self) -> None:
        draw, members = self._world.draw, self._world.members
        leader = next((member.id for member in members.values() if member.leads), None)
        if leader is None:
            return
        others = [member for member in members if member != leader]
        self._chosen, self._era = leader, members[leader].driver.engine.leading
        self._confidants = frozenset(others[draw(len(others))] for _ in range((len(members) - 1) // 2))
        self._keeping = (_Phase.LEADS, _Phase.LOSES) if draw(2) else (_Phase.LOSES,)
        self._serves_first = draw(2) == 0
        self._begin(_Phase.LEADS, 100)

    def _let_it_work(self) -> None:
        if self._steps > self._patience:
            self._deaf_to_it = frozenset(self._world.members) - self._confidants - {self._chosen}
            self._hears_nobody = True
            self._begin(_Phase.LOSES, 60)

    def _let_others_win(self) -> None:
        if self._leads_after(self._era):
            self._deaf_to_it, self._hears_nobody = frozenset(), False
            self._begin(_Phase.RETURNS, 60)
        elif self._steps > STEPS_MOST:
            self._choose_nobody()
        else:
            self._stand(sorted(self._deaf_to_it))

    def _let_it_return(self) -> None:
        member = self._world.members[self._chosen]
        if member.leads and member.driver.engine.leading != self._era:
            if self._serves_first and not member.driver.engine.status().serving:
                return
            self._hears_nobody = self._serves_first
            others = frozenset(self._world.members) - {self._chosen}
            self._deaf_to_it = others if self._hears_nobody else self._confidants
            self._world.counts["leaders returned"] += 1
            self._era = member.driver.engine.leading
            self._hears_after = self._world.draw(60)
            self._begin(_Phase.HEARS, 20)
        elif self._steps > STEPS_MOST:
            self._choose_nobody()
        else:
            self._stand([self._chosen])

    def _let_it_hear(self) -> None:
        draw, member = self._world.draw, self._world.members[self._chosen]
        if self._hears_nobody and not self._leads_after(self._era):
            self._stand(sorted(self._deaf_to_it))
        if self._steps < self._hears_after:
            return
        if not self._kept:
            self._choose_nobody()
        for _ in range(min(len(self._kept), draw(5))):
            sender, message = self._kept.popleft()
            self._world.counts["late answers"] += member.leads
            member.driver.feed(partial(_step, sender, message))

    def _stand(self, members: list[int]) -> None:
        """From time to time, long enough for an election, one of them is told to."""
        if self._steps > self._patience:
            self._patience = self._steps + 20 + self._world.draw(60)
            self._world.members[members[self._world.draw(len(members))]].driver.feed(_campaign)

    def _leads_after(self, era: Era | None) -> bool:
        """Does anybody lead in a later era?"""
        assert era is not None, "somebody was chosen who led"
        ups = (member.driver.engine for member in self._world.members.values() if member.driver.up)
        return any(engine.leading is not None and engine.leading > era for engine in ups)
