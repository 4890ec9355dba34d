"""What decides knows no clock, no random source, and no order of a set (a rule of the whole house)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ratified

ROOMS = ("consensus", "storage", "node", "kv", "sim", "check", "wire")
DRIVERS = {
    "storage/descriptors.py",
    "storage/files.py",
    "storage/guard.py",
    "storage/identity.py",
    "storage/lmdb.py",
    "storage/pages.py",
    "sim/sweep.py",
}
"""They carry out what others decided: real files, a lock, a progress bar."""
FORBIDDEN = {"random", "secrets", "uuid", "time", "datetime", "os", "socket", "threading", "asyncio", "select"}
SOURCE = Path(ratified.__file__).parent


def deciding_files() -> list[Path]:
    files = [file for room in ROOMS for file in sorted((SOURCE / room).rglob("*.py"))]
    return [file for file in files if str(file.relative_to(SOURCE)) not in DRIVERS and "_pb2" not in file.name]


ORDERLESS = ("sorted", "sum", "any", "all", "len", "set", "frozenset")
"""What these make of their argument does not depend on its order."""


def broken_rules(tree: ast.Module) -> Iterator[str]:
    harmless = {
        id(generator)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ORDERLESS
        for argument in node.args
        if isinstance(argument, ast.GeneratorExp | ast.ListComp | ast.SetComp)
        for generator in argument.generators
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] in FORBIDDEN:
                    yield f"line {node.lineno}: imports {name.name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in FORBIDDEN:
            yield f"line {node.lineno}: imports from {node.module}"
        elif isinstance(node, ast.For | ast.comprehension) and is_a_set(node.iter) and id(node) not in harmless:
            yield f"line {node.iter.lineno}: iterates over a set"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("list", "tuple", "iter", "next", "enumerate")
            and node.args
            and is_a_set(node.args[0])
        ):
            yield f"line {node.lineno}: takes the order of a set"


def is_a_set(expression: ast.expr) -> bool:
    """A set where one can be seen: a display, a comprehension, a call of ``set``, or sets combined."""
    if isinstance(expression, ast.Set | ast.SetComp):
        return True
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.BitAnd | ast.BitOr | ast.Sub | ast.BitXor):
        return is_a_set(expression.left) or is_a_set(expression.right)
    return (
        isinstance(expression, ast.Call)
        and isinstance(expression.func, ast.Name)
        and expression.func.id in ("set", "frozenset")
    )


@pytest.mark.parametrize("file", deciding_files(), ids=lambda file: str(file.relative_to(SOURCE)))
def test_nothing_that_decides_knows(file: Path) -> None:
    assert list(broken_rules(ast.parse(file.read_text()))) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from random import random",
        "for x in {1, 2}: pass",
        "[x for x in set(y)]",
        "list({1} | other)",
        "import os.path",
    ],
)
def test_the_rules_are_seen_where_they_are_broken(text: str) -> None:
    assert list(broken_rules(ast.parse(text)))
