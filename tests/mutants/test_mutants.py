"""Each deliberate breakage is caught, and the same world unbroken passes."""

import pytest

from ratified.sim.simulation import simulate
from tests.mutants.breakages import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_the_checks_catch(mutant: Mutant) -> None:
    arguments = mutant.arguments(mutant.caught_by)
    assert simulate(arguments).broken is None, "the world without the breakage must pass"
    with mutant.breaks():
        report = simulate(arguments)
    assert report.broken is not None, (
        f"seed {mutant.caught_by} no longer catches it: run python -m tests.mutants.search"
    )
