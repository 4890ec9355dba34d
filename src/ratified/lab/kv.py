"""The replicated KV lab: five replicas apply puts and deletes in order, and end with one dump, ``DSEDKV20``."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

from ratified.consensus.contract import Status
from ratified.consensus.engines import EngineRow
from ratified.lab.numbers import draws
from ratified.lab.replicated import LabBroken, ReplicatedCluster
from ratified.machine import StateMachine

NODES = 5
CUT_OFF = (3, 4)
"""The minority of followers that a partition cuts off."""
MAGIC = b"DSEDKV20"
SCENARIOS = {
    "default": "nothing goes wrong",
    "partition": "two followers are cut off for the second and third quarter of the operations",
}


class Put(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Set a key."""

    key: bytes
    value: bytes


class Delete(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Remove a key, if it is there."""

    key: bytes


class KvMap(StateMachine):
    """A map from bytes to bytes that counts its commands."""

    def __init__(self) -> None:
        self.commands = 0
        self.pairs: dict[bytes, bytes] = {}

    def apply(self, command: bytes) -> bytes:
        """A ``Put`` or a ``Delete``; the result is empty."""
        self.commands += 1
        match msgspec.msgpack.decode(command, type=Put | Delete):
            case Put(key, value):
                self.pairs[key] = value
            case Delete(key):
                self.pairs.pop(key, None)
        return b""

    def query(self, request: bytes) -> bytes:
        """The value of a key; empty where there is none."""
        return self.pairs.get(request, b"")

    def snapshot(self) -> bytes:
        """Everything."""
        return msgspec.msgpack.encode((self.commands, sorted(self.pairs.items())))

    def restore(self, pieces: Iterable[bytes]) -> None:
        """What ``snapshot`` gave."""
        self.commands, pairs = msgspec.msgpack.decode(b"".join(pieces), type=tuple[int, list[tuple[bytes, bytes]]])
        self.pairs = dict(pairs)


class KvLab:
    """One run: ``ops`` operations on ``keys`` keys."""

    def __init__(self, row: EngineRow, seed: int, ops: int, keys: int, scenario: str) -> None:
        self._cluster = ReplicatedCluster(row, NODES, seed, KvMap)
        numbers = draws(seed)
        for number in range(ops):
            if scenario == "partition" and number == ops // 4:
                self._cluster.cut_off(CUT_OFF)
            if scenario == "partition" and number == ops * 3 // 4:
                self._cluster.heal()
            kind, key, value = next(numbers) >> 62, b"k%d" % (next(numbers) % keys), next(numbers) % 10_000
            operation = Delete(key) if kind == 3 else Put(key, value.to_bytes(8, "little"))
            self._cluster.propose(msgspec.msgpack.encode(operation))
        self._cluster.finish()

    def dumps(self) -> list[bytes]:
        """Every replica's."""
        machines, statuses = self._cluster.machines, self._cluster.statuses()
        return [_dump(machine, status) for machine, status in zip(machines, statuses, strict=True)]

    def dump(self) -> bytes:
        """The one dump of all replicas. Raises ``LabBroken`` where there is more than one."""
        dumps = self.dumps()
        for member, dump in enumerate(dumps):
            if dump != dumps[0]:
                raise LabBroken(f"the dump of replica {member} is not that of replica 0")
        return dumps[0]

    def end_state(self) -> dict[str, object]:
        """The end state for people."""
        nodes = [
            {"member": status.member, "role": status.role, "words": status.words} for status in self._cluster.statuses()
        ]
        machine = self._cluster.machines[0]
        return {"commands": machine.commands, "keys": len(machine.pairs), "nodes": nodes}


def _dump(machine: KvMap, status: Status) -> bytes:
    parts = [MAGIC, struct.pack("<QQI", machine.commands, status.era[0], len(machine.pairs))]
    for key, value in sorted(machine.pairs.items()):
        parts += [struct.pack("<I", len(key)), key, struct.pack("<I", len(value)), value]
    return b"".join(parts)
