"""The one table of the protocols' own checks."""

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
