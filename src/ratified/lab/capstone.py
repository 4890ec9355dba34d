"""The capstone lab: three replicas, a map of numbers, a follower that goes down; one dump of all, ``DSEDIST2``.

Two scenarios are ours: members that come and go, and a log that is cut. Their dump is ``RATCAP01``, since ``DSEDIST2``
says neither who is a member nor where a log begins. It is the same on every engine, so it leaves out what is not: the
indexes, and the entries of changes, of which a protocol with joint configurations has two.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from ratified.consensus.contract import Kind, Membership, Status
from ratified.consensus.driver import DurableLog
from ratified.consensus.engines import EngineRow
from ratified.lab.numbers import draws
from ratified.lab.replicated import LabBroken, ReplicatedCluster
from ratified.machine import StateMachine

NODES = 3
DOWN = 1
"""The follower that a fault takes down."""
MAGIC = b"DSEDIST2"
OWN_MAGIC = b"RATCAP01"
PUT, DELETE = 0, 1
SCENARIOS = {
    "normal": "nothing goes wrong",
    "fault": "follower 1 is down for the third quarter of the operations, and catches up",
    "members": "node 3 joins after a quarter of the operations, follower 1 leaves after half, and after three quarters "
    "node 4 takes the place of follower 2",
    "snapshots": "as fault; when follower 1 is back the others have cut from their logs what it lacks, and before the "
    "next operation it catches up",
}
OWN_SCENARIOS = ("members", "snapshots")
"""Those that the original announced and never published."""
CHANGES = (
    (1, Membership((0, 1, 2), learners=(3,))),
    (1, Membership((0, 1, 2, 3))),
    (2, Membership((0, 2, 3))),
    (3, Membership((0, 3, 4))),
)
"""After how many quarters of the operations which members there are to be."""
JOINED = 5
"""How many nodes there are then, members or not."""
OPS_WITH_CHANGES_MIN = 4
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

    def restore(self, pieces: Iterable[bytes]) -> None:
        """What ``snapshot`` gave."""
        self.pairs = dict(_PAIR.iter_unpack(b"".join(pieces)))


class CapstoneLab:
    """One run: ``ops`` operations on ``keys`` keys."""

    def __init__(self, row: EngineRow, seed: int, ops: int, keys: int, scenario: str) -> None:
        if scenario == "members" and ops < OPS_WITH_CHANGES_MIN:
            raise LabBroken(f"in scenario 'members' there must be at least {OPS_WITH_CHANGES_MIN} operations")
        self._scenario = scenario
        nodes = JOINED if scenario == "members" else NODES
        self._cluster = ReplicatedCluster(
            row, nodes, seed, NumberMap, voters=NODES, heartbeats_answered=scenario in OWN_SCENARIOS
        )
        numbers = draws(seed)
        for number in range(ops):
            self._before(number, ops)
            kind, key, value = (next(numbers) >> 62) & 3, next(numbers) % keys, next(numbers) % 1000
            self._cluster.propose(_OPERATION.pack(DELETE, key, 0) if kind == 3 else _OPERATION.pack(PUT, key, value))
        self._cluster.finish()

    def _before(self, number: int, ops: int) -> None:
        """What happens before operation ``number``."""
        half, three_quarters = number == ops // 2, number == ops * 3 // 4
        match self._scenario:
            case "fault" | "snapshots" if half:
                self._cluster.stop(DOWN)
            case "fault" if three_quarters:
                self._cluster.start(DOWN)
            case "snapshots" if three_quarters:
                self._cluster.cut()
                self._cluster.start(DOWN)
                self._cluster.catch_up()
            case "members":
                for quarters, membership in CHANGES:
                    if number == ops * quarters // 4:
                        self._cluster.change(membership)

    def dump(self) -> bytes:
        """All members, one after another."""
        dump = _own_dump if self._scenario in OWN_SCENARIOS else _dump
        return b"".join(dump(status, log, machine) for status, log, machine in self._ends())

    def end_state(self) -> dict[str, object]:
        """The end state for people."""
        return {
            "nodes": [
                {
                    "member": status.member,
                    "role": status.role,
                    "words": status.words,
                    "voters": status.membership.voters,
                    "base": status.base,
                    "commit": status.commit,
                    "keys": len(machine.pairs),
                }
                for status, _, machine in self._ends()
            ]
        }

    def _ends(self) -> Iterable[tuple[Status, DurableLog, NumberMap]]:
        cluster = self._cluster
        for member in cluster.members():
            node = cluster.nodes[member]
            yield node.engine.status(), node.log, cluster.machines[member]


def _dump(status: Status, log: DurableLog, machine: NumberMap) -> bytes:
    entries, pairs = log.in_order(), machine.snapshot()
    head = struct.pack("<BQQI", status.member, status.era[0], status.commit, len(entries))
    dumped = [struct.pack("<QQ", entry.era[0], entry.index) + entry.data for entry in entries]
    return b"".join([MAGIC, head, *dumped, struct.pack("<I", len(pairs) // _PAIR.size), pairs])


def _own_dump(status: Status, log: DurableLog, machine: NumberMap) -> bytes:
    commands = [entry.data for entry in log.in_order() if entry.kind is Kind.COMMAND]
    voters, pairs = status.membership.voters, machine.snapshot()
    return b"".join(
        [
            OWN_MAGIC,
            struct.pack("<BQ", status.member, status.era[0]),
            struct.pack(f"<I{len(voters)}Q", len(voters), *voters),
            struct.pack("<QI", status.base, len(commands)),
            *commands,
            struct.pack("<I", len(pairs) // _PAIR.size),
            pairs,
        ]
    )
