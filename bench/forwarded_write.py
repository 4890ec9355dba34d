"""What a write costs, in messages and CPU: one asked of the leader, and one asked of a follower, which forwards it.

Three nodes in one process: what a node gives out in a turn, the others get in their next one, and jobs are reported
done without a disk. Prints, for bursts of some size, the messages that went to or from the member that was asked, and
the microseconds of all three nodes, each a write.

    python bench/forwarded_write.py [--bursts 1 64 512] [--writes 20000] [--engine raft]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from ratified.consensus.contract import Membership
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.machine import StateMachine, StateMachineStore
from ratified.node.boot import boot
from ratified.node.config import NodeConfig
from ratified.node.node import Node
from ratified.node.ports import Connected, JobDone, Outcome, Received, Request, Work
from ratified.sim.disk import Disk
from ratified.storage.format import LogLimits
from ratified.storage.identity import Identity, create
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.peer import Batch

SECOND = 1_000_000
MEMBERS = (1, 2, 3)
VALUE = bytes(256)
TURN_US = 100


class Nothing(StateMachine):
    """Costs nothing."""

    def apply(self, command: bytes) -> bytes:
        return b""

    def query(self, request: bytes) -> bytes:
        return b""

    def snapshot(self) -> bytes:
        return b""

    def restore(self, pieces: Iterable[bytes]) -> None:
        """There is nothing to restore."""


class Trio:
    """Three nodes with perfect links. A connection has the number 10 low + high, at both of its ends."""

    def __init__(self, engine: str) -> None:
        self.now = 0
        self.messages = dict.fromkeys(MEMBERS, 0)
        self.done = 0
        self._token = 0
        self.nodes = {member: self._boot(member, engine) for member in MEMBERS}
        for low, high in ((1, 2), (1, 3), (2, 3)):
            self.nodes[low].offer(Connected(10 * low + high, high))
            self.nodes[high].offer(Connected(10 * low + high, None))
        while self.leader is None:
            self.turn()
        for _ in range(100):
            self.turn()

    def _boot(self, member: int, engine: str) -> Node:
        disk = Disk()
        limits = LogLimits(segment_bytes=1 << 16)
        create(disk, Identity(1, member, bytes(16), engine), {0: Membership(MEMBERS)}, limits)
        config = NodeConfig(
            cluster=1,
            member=member,
            name=f"n{member}",
            directory=bytes(16),
            start=member,
            seed=1,
            engine=ENGINES[engine],
            names={each: f"n{each}" for each in MEMBERS},
            log_limits=LogLimits(segment_bytes=1 << 30),
        )
        return boot(0, disk, config, MemoryEnvironment(), lambda group, space: StateMachineStore(Nothing()))

    @property
    def leader(self) -> int | None:
        serving = (member for member, node in self.nodes.items() if node.status().groups[0].engine.serving)
        return next(serving, None)

    def turn(self) -> None:
        """One turn of each node, all on the same inputs of the turn before."""
        self.now += TURN_US
        outputs = {member: node.turn(self.now, 4096) for member, node in self.nodes.items()}
        for member, given in outputs.items():
            for job in given.jobs:
                self.nodes[member].offer(JobDone(job.id, [None] * len(job.ops)))
            for outgoing in given.frames:
                low, high = divmod(outgoing.connection, 10)
                to = high if member == low else low
                self.nodes[to].offer(Received(outgoing.connection, outgoing.frame))
                if isinstance(outgoing.frame, Batch):
                    for end in (member, to):
                        self.messages[end] += len(outgoing.frame.messages)
            self.done += sum(reply.outcome is Outcome.DONE for reply in given.replies)

    def write(self, member: int, count: int) -> None:
        """A burst of writes at one member, until all are done."""
        expected = self.done + count
        for _ in range(count):
            self._token += 1
            self.nodes[member].offer(Request(self._token, 0, Work.PROPOSE, VALUE, self.now + 60 * SECOND))
        while self.done < expected:
            self.turn()


def measure(trio: Trio, member: int, burst: int, writes: int) -> tuple[float, float]:
    """Messages at the member and microseconds of all nodes, each a write."""
    for _ in range(20):
        trio.turn()
    trio.messages = dict.fromkeys(MEMBERS, 0)
    bursts = max(writes // burst, 1)
    begun = time.perf_counter()
    for _ in range(bursts):
        trio.write(member, burst)
    elapsed = time.perf_counter() - begun
    return trio.messages[member] / (bursts * burst), elapsed / (bursts * burst) * 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bursts", type=int, nargs="+", default=[1, 64, 512])
    parser.add_argument("--writes", type=int, default=20_000)
    parser.add_argument("--engine", choices=list(ENGINES), default=DEFAULT_ENGINE)
    arguments = parser.parse_args()
    trio = Trio(arguments.engine)
    leader = trio.leader
    assert leader is not None
    follower = next(member for member in MEMBERS if member != leader)
    print("burst   asked of   messages at it   us of three nodes, a write")
    for burst in arguments.bursts:
        for where, member in (("leader", leader), ("follower", follower)):
            messages, us = measure(trio, member, burst, arguments.writes)
            print(f"{burst:5}   {where:8}   {messages:14.2f}   {us:10.1f}")


if __name__ == "__main__":
    main()
