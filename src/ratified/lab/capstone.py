"""The capstone lab: three replicas, a map of numbers, a follower that goes down; one dump of all, ``DSEDIST2``."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from ratified.consensus.contract import Status
from ratified.consensus.driver import DurableLog
from ratified.consensus.engines import EngineRow
from ratified.lab.numbers import draws
from ratified.lab.replicated import ReplicatedCluster
from ratified.machine import StateMachine

NODES = 3
DOWN = 1
"""The follower that a fault takes down."""
MAGIC = b"DSEDIST2"
PUT, DELETE = 0, 1
SCENARIOS = {
    "normal": "nothing goes wrong",
    "fault": "follower 1 is down for the third quarter of the operations, and catches up",
}
_OPERATION = struct.Struct("<Bqq")
_PAIR = struct.Struct("<qq")


class NumberMap(StateMachine):
    """A map from i64 to i64. A command is its kind, key and value (a delete carries 0)."""

    def __init__(self) -> None:
        self.pairs: dict[int, int] = {}

    def apply(self, command: bytes) -> bytes:
        """Set or remove one key; the result is empty."""
        kind, key, value = _OPERATION.unpack(command)
        if kind == PUT:
            self.pairs[key] = value
        else:
            self.pairs.pop(key, None)
        return b""

    def query(self, request: bytes) -> bytes:
        """The value of a key, both as i64; empty where there is none."""
        value = self.pairs.get(int.from_bytes(request, "little", signed=True))
        return b"" if value is None else value.to_bytes(8, "little", signed=True)

    def snapshot(self) -> bytes:
        """All pairs, ascending."""
        return b"".join(_PAIR.pack(*pair) for pair in sorted(self.pairs.items()))

    def restore(self, snapshot: bytes) -> None:
        """What ``snapshot`` gave."""
        self.pairs = dict(_PAIR.iter_unpack(snapshot))


class CapstoneLab:
    """One run: ``ops`` operations on ``keys`` keys."""

    def __init__(self, row: EngineRow, seed: int, ops: int, keys: int, scenario: str) -> None:
        self._cluster = ReplicatedCluster(row, NODES, seed, NumberMap)
        numbers = draws(seed)
        for number in range(ops):
            if scenario == "fault" and number == ops // 2:
                self._cluster.stop(DOWN)
            if scenario == "fault" and number == ops * 3 // 4:
                self._cluster.start(DOWN)
            kind, key, value = (next(numbers) >> 62) & 3, next(numbers) % keys, next(numbers) % 1000
            self._cluster.propose(_OPERATION.pack(DELETE, key, 0) if kind == 3 else _OPERATION.pack(PUT, key, value))
        self._cluster.finish()

    def dump(self) -> bytes:
        """All nodes, one after another."""
        return b"".join(_dump(status, log, machine) for status, log, machine in self._ends())

    def end_state(self) -> dict[str, object]:
        """The end state for people."""
        return {
            "nodes": [
                {
                    "member": status.member,
                    "role": status.role,
                    "words": status.words,
                    "commit": status.commit,
                    "keys": len(machine.pairs),
                }
                for status, _, machine in self._ends()
            ]
        }

    def _ends(self) -> Iterable[tuple[Status, DurableLog, NumberMap]]:
        cluster = self._cluster
        return zip(cluster.statuses(), [node.log for node in cluster.nodes], cluster.machines, strict=True)


def _dump(status: Status, log: DurableLog, machine: NumberMap) -> bytes:
    entries, pairs = log.in_order(), machine.snapshot()
    head = struct.pack("<BQQI", status.member, status.era[0], status.commit, len(entries))
    dumped = [struct.pack("<QQ", entry.era[0], entry.index) + entry.data for entry in entries]
    return b"".join([MAGIC, head, *dumped, struct.pack("<I", len(pairs) // _PAIR.size), pairs])
