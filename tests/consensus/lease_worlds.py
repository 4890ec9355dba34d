"""Hostile worlds for clock leases, for tests, mutants and searches: clocks drift, leaders that hold one are cut off.

What a broken rule needs to show is a leader that a bare quorum has granted a lease, and that is cut off in the moment
after: whoever is elected too early is elected while it still reads.
"""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Any

from ratified.consensus.contract import Engine, Limits
from tests.consensus.networks import Sessions
from tests.consensus.world import ELECTION_US, Leases, World

STEPS_MOST = 400
"""After so many steps without success somebody else is chosen."""


def _campaign(engine: Engine, now: int) -> None:
    engine.campaign(now)


def _hand_over(to: int, engine: Engine, now: int) -> None:
    engine.transfer_leadership(now, to)


class _Phase(Enum):
    WORKS = "a leader is heard by its confidants alone, a bare quorum with it; others' grants run out"
    HANDS_OVER = "it is told to, and what it says to its successor waits"
    IS_CUT_OFF = "it has no sessions"


class Isolation:
    """Sessions; again and again whoever leads loses all but a bare quorum, and then that.

    In some of these, others than its confidants have all but its requests for leases, so that they can be elected. In
    some, what it says waits for a while, and what its confidants answered comes late, just before the cut. In some the
    leader is told to hand over to one of them. When it is cut off, one of them restarts at once, or somebody is told to
    stand.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._sessions = Sessions(world)
        self._phase: _Phase | None = None
        self._steps = 0
        self._until = 0
        self._leader = 0
        self._confidants: list[int] = []
        self._others: list[int] = []
        self._late_answers = False
        self._others_keep_up = False
        self._to: int | None = None
        """To whom it is told to hand over."""

    def carries(self, sender: int, target: int) -> bool:
        return self._sessions.carries(sender, target)

    def send(self, sender: int, target: int, message: Any) -> None:
        if self._others_keep_up and target in self._others and type(message).__name__ == "AskLease":
            return
        self._sessions.send(sender, target, message)

    def strike(self, fault: int, chosen: int) -> None:
        """Trouble enough is in what this network does by itself."""

    def heal(self) -> None:
        self._phase = None
        self._others_keep_up = False
        self._sessions.heal()

    def lost(self, member: int) -> None:
        self._sessions.lost(member)

    def step(self) -> None:
        self._sessions.step()
        self._steps += 1
        if not self._world.chaos:
            return
        match self._phase:
            case None:
                self._choose()
            case _Phase.WORKS:
                self._let_it_work()
            case _Phase.HANDS_OVER if self._steps > self._until:
                self._cut_off()
            case _Phase.IS_CUT_OFF:
                self._disturb()
            case _:
                pass

    def _begin(self, phase: _Phase, steps_least: int, steps_more: int) -> None:
        self._phase, self._steps = phase, 0
        self._until = steps_least + self._world.draw(steps_more)

    def _choose(self) -> None:
        draw, members = self._world.draw, self._world.members
        leader = next((member for member in members.values() if member.leads), None)
        if leader is None or not leader.driver.engine.status().serving:
            return
        self._leader = leader.id
        self._others = [member for member in members if member != leader.id]
        self._confidants = []
        for _ in range(len(members) // 2):
            self._confidants.append(self._others.pop(draw(len(self._others))))
        self._late_answers = draw(2) == 0
        self._others_keep_up = draw(2) == 0
        self._to = self._confidants[0] if draw(2) == 0 else None
        self._begin(_Phase.WORKS, 60, 60)

    def _let_it_work(self) -> None:
        left = self._until - self._steps
        stalled: set[tuple[int, int]] = set()
        if not self._others_keep_up:
            stalled |= {(self._leader, other) for other in self._others}
            stalled |= {(other, self._leader) for other in self._others}
        if self._late_answers and self._to is None and left < 45:
            stalled |= {(self._leader, confidant) for confidant in self._confidants}
        if self._late_answers and self._to is None and left in range(4, 48):
            stalled |= {(confidant, self._leader) for confidant in self._confidants}
        self._sessions.stall(stalled)
        if self._steps <= self._until:
            return
        if self._to is None:
            self._cut_off()
            return
        self._world.members[self._leader].driver.feed(partial(_hand_over, self._to))
        self._others_keep_up = False
        if self._world.draw(2):
            self._sessions.stall({(self._leader, self._to)})
            self._begin(_Phase.HANDS_OVER, 10, 25)
        else:
            self._begin(_Phase.HANDS_OVER, 1, 6)

    def _cut_off(self) -> None:
        """What it said to its successor arrives by then."""
        self._world.counts["leaders cut off"] += 1
        answers = {(member, self._leader) for member in (*self._others, *self._confidants)}
        if self._to is None:
            self._sessions.stall(set())
            self._sessions.cut(self._leader)
        else:
            self._sessions.stall(answers)
        self._begin(_Phase.IS_CUT_OFF, 60, 60)

    def _disturb(self) -> None:
        draw, world = self._world.draw, self._world
        if self._steps > self._until:
            self.heal()
        elif self._steps == 1 and draw(3) == 0:
            restarted = world.members[self._confidants[draw(len(self._confidants))]]
            if restarted.driver.up:
                world.crash(restarted)
                world.start(restarted)
        elif draw(8) == 0:
            able = [*self._others, *self._confidants]
            world.members[able[draw(len(able))]].driver.feed(_campaign)


def lease_world(engine: str, seed: int, leases: Leases | None = None) -> World:
    """Mostly three members. Disks are fast, and there is room for everything: who is elected too early has committed
    something before the lease has run out."""
    return World(
        engine,
        Isolation,
        seed,
        5 if seed % 4 == 0 else 3,
        strikes_every=20,
        limits=Limits(),
        leases=leases or Leases(transfers=0),
        disk_steps=2,
    )


DRIFT_PPM = 300_000


def drifting_world(engine: str, seed: int) -> World:
    """Clocks drift much further than the engines assume."""
    return lease_world(engine, seed, Leases(drift_ppm_max=DRIFT_PPM // 30, drift_ppm=DRIFT_PPM, transfers=0))


def wild_world(engine: str, seed: int) -> World:
    """They do, and the engines know."""
    return lease_world(engine, seed, Leases(drift_ppm_max=DRIFT_PPM, drift_ppm=DRIFT_PPM, transfers=0))


def changing_world(engine: str, seed: int, leases: Leases | None = None) -> World:
    """One to five voters at first, three more members, and long leases."""
    return World(
        engine,
        Sessions,
        seed,
        1 + seed % 5,
        joiners=3,
        changes=30,
        strikes_every=1 + seed % 3,
        limits=Limits() if seed % 2 else None,
        leases=leases or Leases(lease_us=ELECTION_US, transfers=0),
        disk_steps=2,
    )


def log_lease_world(engine: str, seed: int) -> World:
    """The leases are in the log, and long; some leaders hand over."""
    return lease_world(engine, seed, Leases(lease_us=ELECTION_US, in_the_log=True, transfers=seed % 3))


def wild_log_lease_world(engine: str, seed: int) -> World:
    """Clocks drift far, and the engines know."""
    leases = Leases(ELECTION_US, in_the_log=True, drift_ppm_max=DRIFT_PPM, drift_ppm=DRIFT_PPM, transfers=0)
    return lease_world(engine, seed, leases)


def changing_log_lease_world(engine: str, seed: int) -> World:
    """The same with leases in the log; some leaders hand over."""
    return changing_world(engine, seed, Leases(lease_us=ELECTION_US, in_the_log=True, transfers=2))
