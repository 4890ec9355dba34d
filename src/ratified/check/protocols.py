"""The tables of the protocols' own checks: what holds, what must be seen, and where it can be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from ratified.check.epochs import EpochGroupChecks
from ratified.check.group import GroupChecks
from ratified.check.raft import RaftChecks
from ratified.check.sequences import SequenceGroupChecks
from ratified.check.slots import SlotGroupChecks
from ratified.consensus.contract import Membership

PROTOCOLS: dict[str, Callable[[int, Membership, Counter[str]], GroupChecks[Any]]] = {
    "raft": partial(SequenceGroupChecks, protocol=RaftChecks),
    "paxos": SlotGroupChecks,
    "zab": EpochGroupChecks,
}
"""By the engine's name, the checks of one group: number, membership, what is counted."""

MUST_HAPPEN: dict[str, tuple[str, ...]] = {
    "raft": ("truncations", "votes refused"),
    "paxos": (),
    "zab": ("truncations",),
}
"""By the engine's name, what is counted of this protocol's own and may not stay at zero over many worlds."""

STANDS_ON_SESSIONS = frozenset({"zab"})
"""The engines that promise progress over sessions only: messages of one connection arrive in order and at most once."""
