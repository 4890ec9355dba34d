"""Each deliberate breakage is caught, and the same world unbroken passes."""

from itertools import chain

import pytest

from tests.mutants.every import MUTANTS
from tests.mutants.mutant import EngineMutant, Mutant


@pytest.mark.timeout(1800)  # a seed that is lost is searched for
@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{mutant.engine} {mutant.name}" for mutant in MUTANTS])
def test_the_checks_catch_what(mutant: Mutant | EngineMutant) -> None:
    seeds = chain((mutant.caught_by,), range(1, mutant.seeds + 1))
    seed = next((seed for seed in seeds if mutant.caught(seed) is not None), None)
    assert seed is not None, f"escaped in {mutant.seeds} seeds"
    assert mutant.lives_unbroken(seed), "the world without the breakage must pass"
