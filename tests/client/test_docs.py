"""The examples of ``docs/clients.md`` run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ratified.testing.processes import LocalCluster

DOCS = Path(__file__).parents[2] / "docs" / "clients.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(cluster: LocalCluster, example: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example, str(DOCS), "exec"), {"endpoints": cluster.endpoints})
    assert "hello" in capsys.readouterr().out
