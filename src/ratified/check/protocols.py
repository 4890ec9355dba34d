"""The table of the protocols' own checks: what holds, what must be seen, and where it can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from ratified.check.group import GroupChecks, LogShape
from ratified.check.oracle import Oracle
from ratified.check.paxos import PaxosChecks
from ratified.check.raft import RaftChecks
from ratified.check.sequences import Sequences
from ratified.check.slots import SlotLogs
from ratified.check.zab import ZabChecks


class ProtocolRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks know of one protocol."""

    shape: Callable[[Counter[str]], LogShape[Any]]
    checks: Callable[[GroupChecks[Any]], Oracle]
    must_happen: tuple[str, ...] = ()
    """What is counted of this protocol's own and may not stay at zero over many worlds."""
    stands_on_sessions: bool = False
    """It promises progress over sessions only: messages of one connection arrive in order and at most once."""


PROTOCOLS: dict[str, ProtocolRow] = {
    "raft": ProtocolRow(
        shape=Sequences,
        checks=RaftChecks,
        must_happen=("truncations", "votes refused"),
    ),
    "paxos": ProtocolRow(
        shape=lambda counters: SlotLogs(),
        checks=PaxosChecks,
        must_happen=("void values delivered",),
    ),
    "zab": ProtocolRow(
        shape=Sequences,
        checks=ZabChecks,
        must_happen=("truncations",),
        stands_on_sessions=True,
    ),
}
"""By the engine's name."""
