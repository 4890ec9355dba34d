"""A rule broken of clusters whose members run two versions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.node.peers import Session
from tests.mutants.mutant import Mutant

SCENARIO = "upgrades"


def sends_snapshots_to_earlier_versions() -> AbstractContextManager[Any]:
    return _all("takes_snapshots")


def tells_tables_to_earlier_versions() -> AbstractContextManager[Any]:
    return _all("takes_tables")


def _all(take: str) -> AbstractContextManager[Any]:
    """Whatever versions the two sides of a session speak."""
    make = Session.__init__

    def takes(session: Session, *given: Any) -> None:
        make(session, *given)
        setattr(session, take, True)

    return patch.object(Session, "__init__", takes)


MUTANTS = (
    Mutant(
        "sends snapshots to earlier versions", sends_snapshots_to_earlier_versions, SCENARIO, "session", 3, rests=False
    ),
    Mutant("tells tables to earlier versions", tells_tables_to_earlier_versions, SCENARIO, "session", 1),
)
