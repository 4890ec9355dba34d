"""Looks for every mutant from seed 1 on: ``python -m tests.mutants.search [WORD...]``, of engines or names.

Prints for each the first seed that catches it, by which rule, and after how many runs it had to be found.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor

from tests.mutants.every import MUTANTS


def search(position: int) -> tuple[int | None, str]:
    """The first seed that catches this mutant, and the rule that it broke; None: no seed did."""
    mutant = MUTANTS[position]
    for seed in range(1, mutant.seeds + 1):
        rule = mutant.caught(seed)
        if rule is not None:
            return seed, rule
    return None, ""


def main() -> int:
    """Search for all of them, or for those whose engine or name holds one of the words given."""
    wanted = [
        position
        for position, mutant in enumerate(MUTANTS)
        if not sys.argv[1:] or any(word in (mutant.engine, *mutant.name.split()) for word in sys.argv[1:])
    ]
    escaped = 0
    with ProcessPoolExecutor() as workers:
        for position, (seed, rule) in zip(wanted, workers.map(search, wanted), strict=True):
            mutant = MUTANTS[position]
            if seed is None:
                escaped += 1
            found = f"seed {seed}: {rule}" if seed is not None else "ESCAPED"
            where = f"{mutant.seeds} seeds, {mutant.scenario}, {mutant.network}"
            print(f"{mutant.engine}: {mutant.name}: {found} (of {where})", flush=True)
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main())
