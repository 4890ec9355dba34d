"""Multi-Paxos in the lab, and its canonical dump ``DSEPAX01``. The lab's slots begin at 0, the engine's at 1."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from ratified.consensus.contract import Entry, Era
from ratified.consensus.driver import Driver
from ratified.consensus.engines import ENGINES
from ratified.lab.textbook import Protocol, delayed_by_sequence

MAGIC = b"DSEPAX01"
ROW = ENGINES["paxos"]
_ROLES = {"follower": 0, "candidate": 1, "leader": 2}


class _NodeEnd(msgspec.Struct, frozen=True):
    member: int
    role: str
    promised: Era
    own: Era
    leader: int | None
    accepted: int
    learned: int


def _describe(node: Driver) -> _NodeEnd:
    status, state = node.engine.status(), ROW.decode_state(node.log.state)
    accepted, learned = len(node.log.entries), len(_learned(node))
    return _NodeEnd(status.member, status.role, state.promised, state.own, status.leader, accepted, learned)


def _learned(node: Driver) -> list[Entry]:
    """What was delivered: these slots hold the chosen values."""
    return [entry for entry in node.log.in_order() if entry.index <= node.delivered[0]]


def _dump(nodes: Sequence[Driver]) -> bytes:
    parts = [MAGIC, struct.pack("<I", len(nodes))]
    for node in nodes:
        status, state, accepted = node.engine.status(), ROW.decode_state(node.log.state), node.log.in_order()
        parts.append(struct.pack("<III", status.member, *state.promised))
        parts.append(struct.pack("<BIII", _ROLES[status.role], *state.own, len(accepted)))
        for entry in accepted:
            parts += [struct.pack("<QIII", entry.index - 1, *entry.era, len(entry.data)), entry.data]
        learned = _learned(node)
        parts.append(struct.pack("<I", len(learned)))
        for entry in learned:
            parts += [struct.pack("<QI", entry.index - 1, len(entry.data)), entry.data]
    return b"".join(parts)


def _lowest_id(leaders: Sequence[Driver]) -> Driver:
    return leaders[0]


PAXOS = Protocol(
    row=ROW, payload=b"val-%d", arrival=delayed_by_sequence, leader=_lowest_id, dump=_dump, describe=_describe
)
