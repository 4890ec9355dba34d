"""Raft in the lab, and its canonical dump ``DSERAFT1``."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from ratified.consensus.driver import Driver
from ratified.consensus.engines import ENGINES
from ratified.lab.cluster import Arrival
from ratified.lab.numbers import sm
from ratified.lab.textbook import Protocol, latest_era

MAGIC = b"DSERAFT1"
ROW = ENGINES["raft"]
_ROLES = {"follower": 0, "candidate": 1, "leader": 2}


class _NodeEnd(msgspec.Struct, frozen=True):
    member: int
    role: str
    term: int
    leader: int | None
    commit: int
    last: int


def _describe(node: Driver) -> _NodeEnd:
    status = node.engine.status()
    return _NodeEnd(status.member, status.role, status.era[0], status.leader, status.commit, status.last)


def _dump(nodes: Sequence[Driver]) -> bytes:
    parts = [MAGIC, struct.pack("<I", len(nodes))]
    for node in nodes:
        status, state, log = node.engine.status(), ROW.decode_state(node.log.state), node.log.in_order()
        voted_for = -1 if state.voted_for is None else state.voted_for
        head = (status.member, state.term, voted_for, _ROLES[status.role], status.commit, len(log))
        parts.append(struct.pack("<IQqBQI", *head))
        for entry in log:
            parts += [struct.pack("<QI", entry.era[0], len(entry.data)), entry.data]
    return b"".join(parts)


def _arrival(seed: int) -> Arrival:
    """The delay is drawn by the tick in which a message is sent."""
    return lambda now, sender, target, sequence: now + 1 + sm(seed ^ sender ^ target ^ now) % 3


RAFT = Protocol(row=ROW, payload=b"cmd-%d", arrival=_arrival, leader=latest_era, dump=_dump, describe=_describe)
