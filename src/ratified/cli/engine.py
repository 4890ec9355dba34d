"""Which engine: the option ``--engine`` of every command that runs one, and the row that it names."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from ratified.cli.failure import CommandFailed
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES, EngineRow

ENGINE = typer.Option(DEFAULT_ENGINE, "--engine", help=f"The protocol: {', '.join(ENGINES)}.", metavar="NAME")


def choose(option: str, name: str, names: Sequence[str]) -> None:
    """Raise ``CommandFailed`` where an option's value is none of those that there are."""
    if name not in names:
        raise CommandFailed(f"{option} is {name!r}; choose one of: {', '.join(names)}")


def row(name: str, option: str = "--engine") -> EngineRow:
    """The engine of this name. Raises ``CommandFailed``."""
    choose(option, name, list(ENGINES))
    return ENGINES[name]
