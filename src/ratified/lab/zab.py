"""ZAB in the lab, and its canonical dump ``DSEZAB01``.

ZAB asks for sessions that keep order, so a message whose delay would let it overtake an earlier one of its pair arrives
together with that.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec

from ratified.consensus.contract import Entry
from ratified.consensus.driver import Driver
from ratified.consensus.engines import ENGINES
from ratified.lab.cluster import Arrival
from ratified.lab.textbook import Protocol, delayed_by_sequence, latest_era

MAGIC = b"DSEZAB01"
ROW = ENGINES["zab"]
_ROLES = {"looking": 0, "following": 1, "leading": 2}


class _NodeEnd(msgspec.Struct, frozen=True):
    member: int
    role: str
    current_epoch: int
    accepted_epoch: int
    leader: int | None
    last: tuple[int, int]
    committed: tuple[int, int]


def _describe(node: Driver) -> _NodeEnd:
    status, state, history = node.engine.status(), ROW.decode_state(node.log.state), node.log.in_order()
    return _NodeEnd(
        status.member,
        status.role,
        state.current_epoch,
        state.accepted_epoch,
        status.leader,
        _zxid(history, len(history)),
        _zxid(history, status.commit),
    )


def _zxid(history: Sequence[Entry], index: int) -> tuple[int, int]:
    """(epoch, counter) of the entry at ``index``, counted from its epoch's first entry; (0, 0) for none."""
    if index == 0:
        return 0, 0
    era = history[index - 1].era
    first = next(entry.index for entry in history if entry.era == era)
    return era[0], index - first + 1


def _dump(nodes: Sequence[Driver]) -> bytes:
    parts = [MAGIC, struct.pack("<I", len(nodes))]
    for node in nodes:
        end, history = _describe(node), node.log.in_order()
        head = (end.member, _ROLES[end.role], end.current_epoch, end.accepted_epoch)
        parts.append(struct.pack("<IBIIIIIII", *head, *end.last, *end.committed, len(history)))
        for entry in history:
            parts += [struct.pack("<III", *_zxid(history, entry.index), len(entry.data)), entry.data]
    return b"".join(parts)


def _arrival(seed: int) -> Arrival:
    """Delayed by sequence, and in order between each two nodes."""
    delayed = delayed_by_sequence(seed)
    latest: dict[tuple[int, int], int] = {}

    def arrival(now: int, sender: int, target: int, sequence: int) -> int:
        due = max(delayed(now, sender, target, sequence), latest.get((sender, target), 0))
        latest[sender, target] = due
        return due

    return arrival


ZAB = Protocol(row=ROW, payload=b"zab-%d", arrival=_arrival, leader=latest_era, dump=_dump, describe=_describe)
