"""One rule broken each of clusters whose members run two versions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.node.checkpoints import Claims
from ratified.node.peers import Session
from tests.mutants.mutant import Mutant

SCENARIO = "upgrades"


def sends_snapshots_to_earlier_versions() -> AbstractContextManager[Any]:
    make = Session.__init__

    def takes_all(session: Session, *given: Any) -> None:
        make(session, *given)
        session.takes_snapshots = True

    return patch.object(Session, "__init__", takes_all)


def cuts_without_who_takes_no_snapshot() -> AbstractContextManager[Any]:
    def takes(claims: Claims, member: int, *, takes: bool) -> None:
        pass

    return patch.object(Claims, "takes_snapshots", takes)


MUTANTS = (
    Mutant("sends snapshots to earlier versions", sends_snapshots_to_earlier_versions, SCENARIO, "session", 4),
    Mutant("cuts without who takes no snapshot", cuts_without_who_takes_no_snapshot, SCENARIO, "session", 1),
)
