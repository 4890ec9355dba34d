"""No module needs itself: there is no circle of imports, with those that only type checkers follow counted in."""

from __future__ import annotations

import ast
from collections.abc import Collection
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ratified

ROOTS = (Path(ratified.__file__).parent, Path(__file__).parent)


def files_by_module(root: Path) -> dict[str, Path]:
    """By name, all modules of the package that lies in ``root``."""
    found = {}
    for file in root.rglob("*.py"):
        parts = file.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(source: str, modules: Collection[str]) -> set[str]:
    """Those of ``modules`` that the source imports, in functions and under ``TYPE_CHECKING`` too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"a relative import in line {node.lineno}"
            assert node.level == 0, f"a relative import in line {node.lineno}"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names.update(name if name in modules else node.module for name in inner)
    return names & set(modules)


def circle(sources: dict[str, str]) -> list[str] | None:
    """One circle among these modules, by name and source; None: there is none."""
    try:
        TopologicalSorter({name: imported(source, sources) - {name} for name, source in sources.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_a_circle_is_found_wherever_the_import_stands() -> None:
    apart = {"p": "", "p.a": "from p import b", "p.b": "import p.c", "p.c": "import os"}
    assert circle(apart) is None
    for back in ("from p.a import A", "if TYPE_CHECKING:\n    from p.a import A", "def f():\n    from p import a"):
        assert circle({**apart, "p.c": back}) is not None, back


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_there_is_no_circle(root: Path) -> None:
    sources = {name: file.read_text() for name, file in files_by_module(root).items()}
    assert len(sources) > 100
    assert circle(sources) is None
