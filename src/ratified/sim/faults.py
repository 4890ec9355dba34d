"""What makes a scenario happen: for each kind of fault a schedule of its own, until the world heals.

A fault has a drawn moment, a drawn victim and a drawn end. Half of the victims are whoever leads, as far as the checks
have seen: that is where faults hurt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from ratified.sim.network import Network
from ratified.sim.process import CommitKill, Machine
from ratified.sim.scenario import Scenario
from ratified.sim.trace import Trace
from ratified.sim.world import Concern, Stream, World

Links = Sequence[tuple[int, int]]


class Faults:
    """All faults of one world."""

    def __init__(
        self,
        world: World,
        scenario: Scenario,
        machines: dict[int, Machine],
        network: Network,
        election_timeout_us: int,
        leader: Callable[[], int | None],
        counters: Counter[str],
        trace: Trace,
    ) -> None:
        self._world = world
        self._machines = machines
        self._members = tuple(machines)
        self._network = network
        self._timeout = election_timeout_us
        self._leader = leader
        self._counters = counters
        self._trace = trace
        self._over = False
        self._hunt = scenario.hunt
        self._hunts = Stream(world.seed, Concern.HUNT)
        self._cuts: dict[int, Links] = {}
        self._cut_last = 0
        self._kinds: list[tuple[int, Callable[[Stream], None], Stream]] = [
            (mean, fault, Stream(world.seed, Concern.FAULT, number))
            for number, (mean, fault) in enumerate(
                (
                    (scenario.kill, self._kill),
                    (scenario.lose, self._lose),
                    (scenario.lose_all, self._lose_all),
                    (scenario.cut, self._cut),
                    (scenario.pause, self._pause),
                    (scenario.hang_up, self._hang_up),
                    (scenario.stop, self._stop),
                )
            )
            if mean
        ]

    def start(self) -> None:
        """From now on things go wrong."""
        for kind in range(len(self._kinds)):
            self._schedule(kind)

    def heal(self) -> None:
        """No more faults; what is broken is mended, and every machine runs."""
        self._over = True
        for number in list(self._cuts):
            self._mend(number)
        for machine in self._machines.values():
            machine.spare()
            machine.resume()
            machine.start()

    def _schedule(self, kind: int) -> None:
        mean, _, draws = self._kinds[kind]
        delay = 1 + draws.below(2 * mean * self._timeout)
        self._world.at(self._world.now + delay, 0, 0, self._strike, kind)

    def _strike(self, kind: int) -> None:
        if self._over:
            return
        _, fault, draws = self._kinds[kind]
        fault(draws)
        self._schedule(kind)

    def _victim(self, draws: Stream) -> Machine:
        leader = self._leader()
        if leader is not None and draws.chance(500_000):
            return self._machines[leader]
        return self._machines[draws.pick(self._members)]

    def _later(self, draws: Stream, most_us: int, action: Callable[..., None], *arguments: object) -> None:
        self._world.at(self._world.now + 1 + draws.below(most_us), 0, 0, action, *arguments)

    def elected(self, member: int) -> None:
        """Somebody is being elected: the moment at which it is worth most to be rid of it.

        One of three is cut off at once, before a word of its new era gets out: its log then holds entries of that era
        which nobody else has. The others are killed, or cut off, when some of their words may have got out.
        """
        if self._over or self._hunts.below(100) >= self._hunt:
            return
        self._counters["leaders struck down"] += 1
        way = self._hunts.below(3)
        if way == 0:
            self._mute(member)
            return
        strike = self._mute if way == 1 else self._strike_dead
        self._later(self._hunts, self._hunts.pick((5_000, 20_000, 60_000)), strike, member)

    def _mute(self, member: int) -> None:
        if self._over:
            return
        others = [other for other in self._members if other != member]
        self._cut_last += 1
        links = [(member, other) for other in others] + [(other, member) for other in others]
        self._begin_cut(self._cut_last, "struck down", member, links)
        self._later(self._hunts, self._away_most(), self._mend, self._cut_last)

    def _strike_dead(self, member: int) -> None:
        machine = self._machines[member]
        if not self._over and machine.up:
            machine.kill()
            self._later(self._hunts, self._away_most(), machine.start)

    def _away_most(self) -> int:
        return self._hunts.pick((self._timeout // 2, 2 * self._timeout, 5 * self._timeout))

    # -----------------------------------------------------------------------------------------------------------
    # Kinds

    def _kill(self, draws: Stream) -> None:
        machine = self._victim(draws)
        way = draws.below(4)
        down_most = self._down_most(draws)
        if way < 2:
            where = CommitKill.BEFORE if way == 0 else CommitKill.AFTER
            machine.kill_at_commit(where, 1 + draws.below(down_most))
        else:
            machine.kill()
            self._later(draws, down_most, machine.start)

    def _stop(self, draws: Stream) -> None:
        self._victim(draws).stop(1 + draws.below(self._down_most(draws)))

    def _lose(self, draws: Stream) -> None:
        machine = self._victim(draws)
        machine.lose()
        self._later(draws, self._down_most(draws), machine.start)

    def _lose_all(self, draws: Stream) -> None:
        self._counters["power cuts"] += 1
        for machine in self._machines.values():
            machine.lose()
            self._later(draws, self._timeout, machine.start)

    def _down_most(self, draws: Stream) -> int:
        """Some are back before anybody notices, some are away for long."""
        return draws.pick((self._timeout // 10, self._timeout, 6 * self._timeout))

    def _pause(self, draws: Stream) -> None:
        machine = self._victim(draws)
        if machine.up:
            machine.pause()
            self._later(draws, draws.pick((self._timeout // 4, 2 * self._timeout, 5 * self._timeout)), machine.resume)

    def _hang_up(self, draws: Stream) -> None:
        self._network.break_all(self._victim(draws).member)

    def _cut(self, draws: Stream) -> None:
        shape = draws.below(5)
        one = self._victim(draws).member
        others = [member for member in self._members if member != one]
        if shape == 0:
            name, links = "isolated", [(one, other) for other in others] + [(other, one) for other in others]
        elif shape == 1:
            name, links = "cannot be heard", [(one, other) for other in others]
        elif shape == 2:
            name, links = "cannot hear", [(other, one) for other in others]
        elif shape == 3:
            side = [member for member in self._members if draws.chance(500_000)]
            rest = [member for member in self._members if member not in side]
            name, links = "split", [(a, b) for a in side for b in rest] + [(b, a) for a in side for b in rest]
        else:
            # All but the bridge are divided: each half reaches the other through it only.
            half = others[: len(others) // 2]
            rest = [member for member in others if member not in half]
            name, links = "bridge", [(a, b) for a in half for b in rest] + [(b, a) for a in half for b in rest]
        flaps = 1 + draws.below(4) * draws.below(2)
        at = self._world.now
        for _ in range(flaps):
            last = draws.pick((self._timeout // 3, 3 * self._timeout, 8 * self._timeout)) // flaps
            self._cut_last += 1
            self._world.at(at, 0, 0, self._begin_cut, self._cut_last, name, one, links)
            at += 1 + draws.below(last + 1)
            self._world.at(at, 0, 0, self._mend, self._cut_last)
            at += 1 + draws.below(last + 1)

    def _begin_cut(self, number: int, name: str, member: int, links: Links) -> None:
        if self._over:
            return
        self._counters["partitions"] += 1
        self._cuts[number] = links
        for source, target in links:
            self._network.cut(source, target)
        self._trace.event(self._world.now, member, "cut", shape=name, links=links)

    def _mend(self, number: int) -> None:
        links = self._cuts.pop(number, None)
        if links is None:
            return
        for source, target in links:
            self._network.heal(source, target)
        self._trace.event(self._world.now, 0, "healed", links=links)
