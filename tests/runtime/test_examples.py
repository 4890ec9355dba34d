"""The example that the documentation shows runs."""

from __future__ import annotations

import runpy
from pathlib import Path

from tests.runtime.loops import run

COUNTER = Path(__file__).parents[2] / "examples" / "counter.py"


def test_the_counter_counts_on_three_hosts(tmp_path: Path) -> None:
    assert run(runpy.run_path(str(COUNTER))["main"](str(tmp_path))) == 5050
