"""Which engine: the option ``--engine`` of every command that runs one, and the row that it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from ratified.cli.failure import CommandFailed

if TYPE_CHECKING:
    from ratified.consensus.engines import EngineRow

ENGINE = typer.Option("raft", "--engine", help="The protocol: raft, paxos or zab.", metavar="NAME")


def choose(option: str, name: str, names: Sequence[str]) -> None:
    """Raise ``CommandFailed`` where an option's value is none of those that there are."""
    if name not in names:
        raise CommandFailed(f"{option} is {name!r}; choose one of: {', '.join(names)}")


def row(name: str, option: str = "--engine") -> EngineRow:
    """The engine of this name. Raises ``CommandFailed``."""
    from ratified.consensus.engines import ENGINES

    choose(option, name, list(ENGINES))
    return ENGINES[name]
