"""Groups that rest and do not wake, or are not handed over: in whole nodes whose clients ask rarely."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.consensus.replication.liveness import Liveness
from ratified.consensus.replication.suspicion import Suspicion
from ratified.node.priority import Priority, StatusOf
from ratified.node.timers import Timer
from tests.mutants.mutant import Mutant


def a_leader_never_wakes() -> AbstractContextManager[Any]:
    """Rule 2 of ``rest``: whoever asks it later hears that it leads, and nothing else of it."""
    return patch.object(Liveness, "wake", lambda liveness: None)


def a_member_rests_on_without_its_leader() -> AbstractContextManager[Any]:
    """Rule 3: the end of the session is the one thing that tells of a leader's death."""
    return patch.object(Suspicion, "wake", lambda suspicion: False)


def looks_once_who_is_to_lead() -> AbstractContextManager[Any]:
    """Rule 4 of ``priority``: who was behind, or has just been elected in spite of it, leads for good."""

    def on_time(
        priority: Priority, now: int, led: Iterable[tuple[int, int]], status_of: StatusOf, full: Collection[int]
    ) -> list[tuple[int, int]]:
        found = look(priority, now, led, status_of, full)
        if not priority._wanted:
            priority._timers.stop(Timer.PRIORITY, 0)
        return found

    look = Priority.on_time
    return patch.object(Priority, "on_time", on_time)


def _mutant(name: str, breaks: Any, engine: str, caught_by: int) -> Mutant:
    return Mutant(name, breaks, "quiet", "session", caught_by, seeds=300, engine=engine)


MUTANTS = [
    *[
        _mutant("a leader that rests never wakes", a_leader_never_wakes, engine, seed)
        for engine, seed in (("raft", 1), ("paxos", 3), ("zab", 1))
    ],
    *[
        _mutant("a member rests on without its leader", a_member_rests_on_without_its_leader, engine, 4)
        for engine in ("raft", "paxos")
    ],
    _mutant("looks once who is to lead", looks_once_who_is_to_lead, "raft", 3),
]
