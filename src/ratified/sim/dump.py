"""The canonical dump of a run: everything that it came to, byte by byte. ``docs/formats/dump.md`` is the format.

Two runs with the same dump have had the same events at the same times and ended in the same state.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import msgspec

from ratified.check.linearizability import Operation
from ratified.check.register import Call, Result
from ratified.check.violation import Violation
from ratified.sim.arguments import Arguments
from ratified.sim.cluster import Cluster

MAGIC = b"RATIFSIM"
VERSION = 1
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_encode = msgspec.msgpack.Encoder().encode


Histories = Mapping[tuple[int, bytes], Sequence[Operation[Call, Result]]]
"""By group and key, as ``Workload.histories`` gives them."""


def write_dump(
    arguments: Arguments, broken: Violation | None, cluster: Cluster, histories: Histories, file: IO[bytes] | None
) -> str:
    """Write the dump, if there is a file for it; its SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for part in _parts(arguments, broken, cluster, histories):
        digest.update(part)
        if file is not None:
            file.write(part)
    return digest.hexdigest()


def _parts(arguments: Arguments, broken: Violation | None, cluster: Cluster, histories: Histories) -> Iterator[bytes]:
    world, groups = cluster.world, cluster.checkers.groups
    yield MAGIC + _U32.pack(VERSION)
    yield _block(_encode(arguments))
    yield _block(b"" if broken is None else _encode((broken.rule, broken.seen)))
    yield _U64.pack(world.now) + _U64.pack(world.executed) + _U64.pack(world.fingerprint)
    yield _U32.pack(len(groups))
    for group, checks in groups.items():
        yield _U32.pack(group) + _U64.pack(len(checks.entries))
        for encoded in checks.entries:
            yield _block(encoded)
    ever_started = {member: machine for member, machine in cluster.machines.items() if machine.starts}
    yield _U32.pack(len(ever_started))
    for member, machine in ever_started.items():
        yield _U32.pack(member) + _U32.pack(machine.starts)
        for group, checks in groups.items():
            disk = checks.members[member].disk
            store = machine.stores.get(group)
            yield _block(disk.state) + _U64.pack(disk.last)
            yield _U64.pack(store.applied if store is not None else 0)
            yield store.digest() if store is not None else bytes(16)
    yield _U32.pack(len(histories))
    for (group, key), history in histories.items():
        yield _U32.pack(group) + _block(key) + _U32.pack(len(history))
        for operation in history:
            yield _block(_encode((type(operation.call).__name__, operation)))
    yield _block(_encode(sorted(world.counters.items())))


def _block(data: bytes) -> bytes:
    return _U32.pack(len(data)) + data
