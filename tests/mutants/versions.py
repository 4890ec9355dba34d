"""A rule broken of clusters whose members run two versions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.node.peers import Session
from tests.mutants.mutant import Mutant

SCENARIO = "upgrades"


def sends_snapshots_to_earlier_versions() -> AbstractContextManager[Any]:
    make = Session.__init__

    def takes_all(session: Session, *given: Any) -> None:
        make(session, *given)
        session.takes_snapshots = True

    return patch.object(Session, "__init__", takes_all)


def tells_tables_to_earlier_versions() -> AbstractContextManager[Any]:
    make = Session.__init__

    def takes_all(session: Session, *given: Any) -> None:
        make(session, *given)
        session.takes_tables = True

    return patch.object(Session, "__init__", takes_all)


MUTANTS = (
    Mutant("sends snapshots to earlier versions", sends_snapshots_to_earlier_versions, SCENARIO, "session", 4),
    Mutant("tells tables to earlier versions", tells_tables_to_earlier_versions, SCENARIO, "session", 1),
)
