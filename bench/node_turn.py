"""What a put costs in node, engine and planner: 64 concurrent puts a turn on one leader of one member.

Nothing is written to a disk and nothing sent: jobs are reported done in the next turn. Prints microseconds a put, for
a state machine that does nothing, and the bare cost of making and queueing the requests beside it.

    python bench/node_turn.py [--puts 64] [--turns 2000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from ratified.consensus.contract import Membership
from ratified.consensus.engines import ENGINES
from ratified.machine import StateMachine, StateMachineStore
from ratified.node.boot import boot
from ratified.node.config import NodeConfig
from ratified.node.node import Node
from ratified.node.ports import JobDone, Outcome, Request, Work
from ratified.sim.disk import Disk
from ratified.storage.files import Job, ReadAt, perform
from ratified.storage.format import LogLimits
from ratified.storage.identity import Identity, create
from ratified.storage.memory import MemoryEnvironment

SECOND = 1_000_000
VALUE = bytes(256)


class Nothing(StateMachine):
    """Costs nothing."""

    def apply(self, command: bytes) -> bytes:
        return b""

    def query(self, request: bytes) -> bytes:
        return b""

    def snapshot(self) -> bytes:
        return b""

    def restore(self, snapshot: bytes) -> None:
        """There is nothing to restore."""


def leader() -> tuple[Node, int]:
    """A single member that serves, and the time."""
    limits = LogLimits(segment_bytes=1 << 30)
    disk = Disk()
    create(disk, Identity(1, 1, bytes(16), "raft"), {0: Membership((1,))}, LogLimits(segment_bytes=1 << 16))
    config = NodeConfig(
        cluster=1,
        member=1,
        name="n",
        directory=bytes(16),
        start=1,
        seed=1,
        engine=ENGINES["raft"],
        peers=(1,),
        log_limits=limits,
    )
    node = boot(0, disk, config, MemoryEnvironment(), lambda group, space: StateMachineStore(Nothing()))
    now = 0
    while not node.status().groups[0].engine.serving:
        outputs = node.turn(now, 64)
        done(node, outputs.jobs, disk)
        now = now if outputs.more or outputs.jobs else max(now, outputs.deadline or now)
    return node, now


def done(node: Node, jobs: Sequence[Job], disk: Disk | None = None) -> None:
    """Report the jobs as done; without a disk nothing is carried out."""
    for job in jobs:
        assert disk is not None or not any(isinstance(op, ReadAt) for op in job.ops)
        node.offer(JobDone(job.id, [perform(disk, op) if disk is not None else None for op in job.ops]))


def run(puts: int, turns: int) -> float:
    """Microseconds a put."""
    node, now = leader()
    token = answered = 0
    begun = time.perf_counter()
    for _ in range(turns):
        for _ in range(puts):
            token += 1
            node.offer(Request(token, 0, Work.PROPOSE, VALUE, now + 5 * SECOND))
        more = True
        while more:
            now += 10
            outputs = node.turn(now, 4096)
            done(node, outputs.jobs)
            answered += sum(reply.outcome is Outcome.DONE for reply in outputs.replies)
            more = outputs.more or bool(outputs.jobs)
    elapsed = time.perf_counter() - begun
    assert answered == token, f"{answered} of {token} puts were answered"
    return elapsed / token * 1e6


def bare(puts: int, turns: int) -> float:
    """Making the requests and putting them into a list, per put."""
    begun = time.perf_counter()
    for turn in range(turns):
        queue = [Request(turn + number, 0, Work.PROPOSE, VALUE, 5) for number in range(puts)]
        queue.clear()
    return (time.perf_counter() - begun) / (puts * turns) * 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--puts", type=int, default=64)
    parser.add_argument("--turns", type=int, default=500)
    arguments = parser.parse_args()
    cost = min(run(arguments.puts, arguments.turns) for _ in range(3))
    floor = min(bare(arguments.puts, arguments.turns) for _ in range(3))
    print(f"node, engine and planner: {cost:.1f} us a put of 256 bytes at {arguments.puts} puts a turn")
    print(f"bare requests:            {floor:.2f} us")


if __name__ == "__main__":
    main()
