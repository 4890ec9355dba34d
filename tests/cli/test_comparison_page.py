"""``docs/comparison.md`` measures every scenario on every engine, with commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ratified.cli.compare import rows_of
from ratified.compare.comparison import PLANS, measure, summarize
from ratified.consensus.engines import ENGINES

PAGE = Path(__file__).parents[2] / "docs" / "comparison.md"


@pytest.mark.parametrize("scenario", PLANS)
def test_each_scenario_has_its_command_and_its_table(scenario: str) -> None:
    found = re.search(rf"<!-- {scenario} -->\n(.*?)<!-- /{scenario} -->", PAGE.read_text(), re.DOTALL)
    assert found is not None
    lines = found[1].splitlines()
    assert re.fullmatch(rf"`ratified compare --scenario {scenario} --seeds \d+`", lines[0])
    assert lines[2] == f"|  | {' | '.join(ENGINES)} |"
    rows = {line.split(" | ")[0].removeprefix("| ") for line in lines[4:]}
    assert rows == {heading.strip() for heading, _ in rows_of([summarize([measure("raft", scenario, 1, 3)])])}


def test_the_figure_is_there() -> None:
    assert PAGE.with_suffix(".png").stat().st_size < 200_000
