"""The canonical dump of a run: everything that it came to, byte by byte. ``docs/formats/dump.md`` is the format.

Two runs with the same dump have had the same events at the same times and ended in the same state.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

import msgspec

from ratified.check.violation import Violation

if TYPE_CHECKING:
    from ratified.sim.simulation import Simulation

MAGIC = b"RATIFSIM"
VERSION = 1
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_encode = msgspec.msgpack.Encoder().encode


def write_dump(simulation: Simulation, broken: Violation | None, file: IO[bytes] | None) -> str:
    """Write the dump, if there is a file for it; its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for part in _parts(simulation, broken):
        digest.update(part)
        if file is not None:
            file.write(part)
    return digest.hexdigest()


def _parts(simulation: Simulation, broken: Violation | None) -> Iterator[bytes]:
    world = simulation.world
    yield MAGIC + _U32.pack(VERSION)
    yield _block(_encode(simulation.arguments))
    yield _block(b"" if broken is None else _encode((broken.rule, broken.seen)))
    yield _U64.pack(world.now) + _U64.pack(world.executed) + _U64.pack(world.fingerprint)
    yield _U32.pack(len(simulation.checkers.groups))
    for group, checks in simulation.checkers.groups.items():
        yield _U32.pack(group) + _U64.pack(len(checks.entries))
        for encoded in checks.entries:
            yield _block(encoded)
    yield _U32.pack(len(simulation.members))
    for member, machine in simulation.machines.items():
        yield _U32.pack(member) + _U32.pack(machine.starts)
        for group, checks in simulation.checkers.groups.items():
            disk = checks.members[member].disk
            store = machine.stores.get(group)
            yield _block(disk.state) + _U64.pack(disk.last)
            yield _U64.pack(store.applied if store is not None else 0)
            yield store.digest() if store is not None else bytes(16)
    histories = simulation.clients.histories()
    yield _U32.pack(len(histories))
    for (group, key), history in histories.items():
        yield _U32.pack(group) + _block(key) + _U32.pack(len(history))
        for operation in history:
            yield _block(_encode((type(operation.call).__name__, operation)))
    yield _block(_encode(sorted(simulation.counters.items())))


def _block(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data
