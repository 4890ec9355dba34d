"""What a mutant is: a deliberate breakage of one rule, and the worlds that reveal it.

A mutant patches one small place of the production code for the length of a ``with`` block. ``seeds`` is the number of
seeds, from 1 on, in which it must be caught; ``caught_by`` is a seed that is known to catch it, where the ordinary test
run begins to look, so that it stays cheap. The whole search is ``python -m tests.mutants.search``; ``make sweep`` runs
it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol
from unittest.mock import patch

import msgspec

from ratified.check.violation import Violation
from ratified.consensus.engines import DEFAULT_ENGINE
from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.draw import SimulationOptions
from ratified.sim.simulation import simulate
from tests.consensus.networks import Returns
from tests.consensus.world import World

Break = Callable[[], AbstractContextManager[Any]]
"""Breaks the rule for the length of a ``with`` block."""


class Mutant(msgspec.Struct, frozen=True):
    """One broken rule, and where that shows."""

    name: str
    breaks: Break
    scenario: str
    network: str
    caught_by: int
    seeds: int = 200
    nodes: int | None = None
    world: Break = nullcontext
    """What else about the world must be so, broken or not."""
    duration_us: int = 3_000_000
    engine: str = DEFAULT_ENGINE
    rests: bool = True
    """False: groups keep time in its worlds, always, which finds it sooner."""

    def arguments(self, seed: int) -> Arguments:
        """The world with this seed in which the mutant is looked for."""
        return Arguments(
            seed=seed,
            nodes=self.nodes,
            scenario=self.scenario,
            network=self.network,
            duration_us=self.duration_us,
            engine=self.engine,
        )

    def caught(self, seed: int) -> str | None:
        """What the mutant was caught by in this world: a check's rule, or an assertion of the code; None: nothing."""
        with self.world(), self._keeps_time(), self.breaks():
            try:
                report = simulate(self.arguments(seed))
            except AssertionError as failed:
                return f"assertion: {failed}"
        return None if report.broken is None else report.broken[0]

    def lives_unbroken(self, seed: int) -> bool:
        """Does every check hold in this world without the breakage?"""
        with self.world(), self._keeps_time():
            return simulate(self.arguments(seed)).broken is None

    def _keeps_time(self) -> AbstractContextManager[Any]:
        draw = vars(simulation)["draw_options"]  # the world's own, if it has one

        def options(arguments: Arguments) -> SimulationOptions:
            drawn: SimulationOptions = draw(arguments)
            return msgspec.structs.replace(drawn, cluster=msgspec.structs.replace(drawn.cluster, quiescence=False))

        return nullcontext() if self.rests else patch.object(simulation, "draw_options", options)


class EngineWorld(Protocol):
    def run(self, steps: int) -> None:
        """Live through trouble; raises ``Violation``."""

    def heal(self) -> None:
        """Live on without."""


def leaders_return(engine: str, seed: int) -> World:
    return World(engine, Returns, seed, 5 if seed % 3 else 3, strikes_every=5)


class EngineMutant(msgspec.Struct, frozen=True):
    """One broken rule of an engine, in worlds of bare engines; where nothing else is said, leaders return there
    (``tests.consensus.networks``)."""

    name: str
    breaks: Break
    engine: str
    caught_by: int
    seeds: int = 300
    steps: int = 3000
    scenario: str = "bare engines, leaders that return"
    network: str = "datagram"
    world: Callable[[str, int], EngineWorld] = leaders_return

    def caught(self, seed: int) -> str | None:
        """What the mutant was caught by in this world: a check's rule, or an assertion of the code; None: nothing."""
        with self.breaks():
            return self._broken(seed)

    def lives_unbroken(self, seed: int) -> bool:
        """Does every check hold in this world without the breakage?"""
        return self._broken(seed) is None

    def _broken(self, seed: int) -> str | None:
        world = self.world(self.engine, seed)
        try:
            world.run(self.steps)
            world.heal()
        except Violation as violation:
            return violation.rule
        except AssertionError as failed:
            return f"assertion: {failed}"
        return None
