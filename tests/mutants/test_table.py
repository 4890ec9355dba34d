"""The table of ``docs/decisions/worlds.md`` says of each mutant in it what the suite says: the world, and the seed."""

from __future__ import annotations

import re
from pathlib import Path

from tests.mutants.every import MUTANTS

PAGE = Path(__file__).parents[2] / "docs" / "decisions" / "worlds.md"
_ROW = re.compile(r"^\| [^|]*\| (?P<mutant>[^|]+) \| (?P<world>[^|]+) \| (?P<seed>\d+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, int]]:
    return [(row["mutant"], row["world"], int(row["seed"])) for row in _ROW.finditer(PAGE.read_text())]


def test_every_row_is_a_mutant_of_the_suite() -> None:
    known = [(f"{of.engine}: {of.name}", f"{of.scenario}, {of.network}", of.caught_by) for of in MUTANTS]
    assert rows(), "the table is not found"
    for row in rows():
        assert row in known
