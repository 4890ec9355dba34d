"""Each deliberate breakage is caught, and the same world unbroken passes."""

from itertools import chain

import pytest

from ratified.sim.simulation import simulate
from tests.mutants.breakages import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_checks_catch_what(mutant: Mutant) -> None:
    for seed in chain((mutant.caught_by,), range(1, mutant.seeds + 1)):
        arguments = mutant.arguments(seed)
        with mutant.world(), mutant.breaks():
            caught = simulate(arguments).broken is not None
        if caught:
            with mutant.world():
                assert simulate(arguments).broken is None, "the world without the breakage must pass"
            return
    pytest.fail(f"escaped in {mutant.seeds} seeds")
