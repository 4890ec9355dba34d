"""Rules of alarms, broken: while one stands, members come back by snapshots."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from ratified.kv.alarms import Alarms
from ratified.kv.plain import PlainPut, plain_puts
from ratified.kv.store import KvStore
from ratified.machine import Command
from tests.mutants.mutant import Mutant

SCENARIO = "alarms"


def puts_while_an_alarm_stands() -> AbstractContextManager[Any]:
    return patch.object(Alarms, "check_command", lambda alarms, kind, body: None)


def applies_plain_puts_past_alarms() -> AbstractContextManager[Any]:
    """What is applied many at a time is held against no alarm."""

    def plain(store: KvStore, command: Command) -> list[PlainPut] | None:
        puts = store._plain_puts.pop(command.data, None) or plain_puts(command.data)
        return None if store._mvcc.tombstones else puts

    return patch.object(KvStore, "_plain", plain)


def forgets_alarms_with_a_snapshot() -> AbstractContextManager[Any]:
    """Who was sent a state goes on with the alarms that it had before."""

    def replace_by(alarms: Alarms, other: Alarms) -> None:
        alarms._space = other._space

    return patch.object(Alarms, "replace_by", replace_by)


MUTANTS = (
    Mutant("puts while an alarm stands", puts_while_an_alarm_stands, SCENARIO, "session", 1),
    Mutant("applies plain puts past alarms", applies_plain_puts_past_alarms, SCENARIO, "datagram", 1),
    Mutant("forgets alarms with a snapshot", forgets_alarms_with_a_snapshot, SCENARIO, "session", 1),
)
