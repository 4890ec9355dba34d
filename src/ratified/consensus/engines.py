"""The one table of protocol names.

Everything outside consensus, the checks, the lab and the command line's help is given a row and never asks further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from ratified.consensus import paxos, raft, zab
from ratified.consensus.contract import Durable, Engine, Options
from ratified.consensus.salvage import Salvager

DEFAULT_ENGINE = "raft"
"""What runs where nobody chose."""


class EngineRow(msgspec.Struct, frozen=True):
    """One protocol: how to make an engine, and one that is its paper's and nothing beyond it (with
    ``Options.textbook``), the union of its messages, how to read its ``StateRecord``s, and what counts of the logs that
    are left where a majority is lost."""

    name: str
    engine: Callable[[int, Options, Durable], Engine]
    textbook: Callable[[int, Options, Durable], Engine]
    message: Any
    decode_state: Callable[[bytes], Any]
    salvager: Salvager


ENGINES: dict[str, EngineRow] = {
    "raft": EngineRow("raft", raft.Engine, raft.Textbook, raft.Message, raft.decode_state, raft.SALVAGER),
    "paxos": EngineRow("paxos", paxos.Engine, paxos.Textbook, paxos.Message, paxos.decode_state, paxos.SALVAGER),
    "zab": EngineRow("zab", zab.Engine, zab.Engine, zab.Message, zab.decode_state, zab.SALVAGER),
}
