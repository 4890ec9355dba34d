"""What a node costs: a put, with many in one turn; and a turn in which little happens, with few groups and with many.

Nothing is written to a disk and nothing sent: jobs are reported done in the next turn, and the clock stands still where
turns are measured that nothing is due in. Prints

- microseconds a put, for a state machine that does nothing, and the bare cost of making the requests beside it;
- microseconds a turn with 1 to 10,000 groups on one member: with no input, with a local read of one group, and with a
  ``GoOn`` for one stream. The design demands that they do not grow with the groups;
- microseconds a turn that reads of a group where nothing waits, and where many requests of one kind wait. What a turn
  tries again because something waits costs the same however many wait.

    python bench/node_turn.py [--puts 64] [--turns 500] [--groups 1 100 1000 10000] [--waiting 12000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ratified.consensus.contract import Limits, Membership
from ratified.consensus.engines import DEFAULT_ENGINE, ENGINES
from ratified.kv.limits import KvLimits
from ratified.machine import Continuation, Slice, StateMachine, StateMachineStore
from ratified.node.boot import boot
from ratified.node.config import NodeConfig, NodeLimits
from ratified.node.node import Node
from ratified.node.ports import GoOn, Hold, JobDone, Outcome, Reply, Request, Work
from ratified.sim.cluster import Cluster
from ratified.sim.disk import Disk
from ratified.sim.limits import SystemLimits
from ratified.sim.options import ClusterOptions, DiskOptions, NetworkOptions, ProcessOptions
from ratified.sim.world import World
from ratified.storage.files import Job, ReadAt, perform
from ratified.storage.format import LogLimits
from ratified.storage.identity import Identity, create
from ratified.storage.memory import MemoryEnvironment
from ratified.wire.peer import BarrierAnswer, Batch, Forward, Frame, QuestionAnswer

SECOND = 1_000_000
VALUE = bytes(256)
FOLLOW = b"follow"


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


class Silent:
    """A watch of something that never changes."""

    deadline = None

    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        return Slice((), False)

    def cancel(self) -> None:
        """There is nothing to let go of."""


class Followed(StateMachineStore):
    """Answers ``FOLLOW`` with a stream."""

    def read(self, now: int, request: bytes) -> bytes | Continuation:
        return Silent() if request == FOLLOW else super().read(now, request)


def leader(groups: int = 1) -> tuple[Node, int]:
    """A single member that serves all of its groups, and the time."""
    limits = LogLimits(segment_bytes=1 << 30)
    disk = Disk()
    memberships = {group: Membership((1,)) for group in range(groups)}
    create(disk, Identity(1, 1, bytes(16), "raft"), memberships, LogLimits(segment_bytes=1 << 23))
    config = NodeConfig(
        cluster=1,
        member=1,
        name="n",
        directory=bytes(16),
        start=1,
        seed=1,
        engine=ENGINES["raft"],
        names={1: "n"},
        log_limits=limits,
    )
    node = boot(0, disk, config, MemoryEnvironment(), lambda group, space: Followed(Nothing()))
    now = 0
    while True:
        outputs = node.turn(now, 64)
        done(node, outputs.jobs, disk)
        if not (outputs.more or outputs.jobs):
            if all(group.engine.serving for group in node.status().groups.values()):
                return node, now
            now = max(now, outputs.deadline or now)


def done(node: Node, jobs: Sequence[Job], disk: Disk | None = None) -> None:
    """Report the jobs as done; without a disk nothing is carried out."""
    for job in jobs:
        assert disk is not None or not any(isinstance(op, ReadAt) for op in job.ops)
        node.offer(JobDone(job.id, [perform(disk, op) if disk is not None else None for op in job.ops]))


def put_us(puts: int, turns: int) -> float:
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


def bare_us(puts: int, turns: int) -> float:
    """Making the requests and putting them into a list, per put."""
    begun = time.perf_counter()
    for turn in range(turns):
        queue = [Request(turn + number, 0, Work.PROPOSE, VALUE, 5) for number in range(puts)]
        queue.clear()
    return (time.perf_counter() - begun) / (puts * turns) * 1e6


def turn_us(groups: int, turns: int) -> tuple[float, float, float]:
    """Microseconds a turn: with no input, with a read of one group, with a ``GoOn``."""
    node, now = leader(groups)
    last = groups - 1
    node.offer(Request(1, last, Work.READ_LOCAL, FOLLOW, now + SECOND))
    node.turn(now, 64)
    token = 1

    def read() -> None:
        nonlocal token
        token += 1
        node.offer(Request(token, last, Work.READ_LOCAL, b"", now + SECOND))

    def go_on() -> None:
        node.offer(Hold((1,)))
        node.offer(GoOn((1,)))

    def measured(offer: Callable[[], None]) -> float:
        best = SECOND * 1.0
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(turns):
                offer()
                outputs = node.turn(now, 64)
                assert not outputs.jobs
            best = min(best, (time.perf_counter() - begun) / turns * 1e6)
        return best

    return measured(lambda: None), measured(read), measured(go_on)


class Requester:
    """Three members, of whom one leads, and a member that is asked; what ``lost`` says does not arrive."""

    def __init__(self, lost: type, *, limits: Limits) -> None:
        options = ClusterOptions(
            engine=DEFAULT_ENGINE,
            nodes=3,
            heartbeat_us=10_000,
            election_timeout_us=100_000,
            limits=SystemLimits(limits, NodeLimits(), LogLimits(segment_bytes=1 << 20), KvLimits()),
            open_store=lambda member, group, space: StateMachineStore(Nothing()),
            process=ProcessOptions(turn_most_us=0),
            disk=DiskOptions(),
            network=NetworkOptions(),
        )
        self._lost = lost
        self._world = World(1, orderly=True)
        self.cluster = Cluster(options, self._world, self._carry)
        self._token = 0
        self.cluster.start(self)
        while self.cluster.leader() is None or not self._serves():
            self._world.step()

    def _serves(self) -> bool:
        leader = self.cluster.leader()
        node = None if leader is None else self.cluster.machines[leader].node
        return node is not None and node.status().groups[0].engine.serving

    def _carry(self, source: int, target: int, frame: Frame) -> Frame | None:
        if not isinstance(frame, Batch):
            return frame
        return Batch([each for each in frame.messages if not isinstance(each[1], self._lost)])

    def replied(self, member: int, reply: Reply) -> None:
        """Nobody looks at replies."""

    def process_gone(self, member: int) -> None:
        """No process ends here."""

    def submit(self, member: int, work: Work, count: int) -> None:
        """Each in a turn of its own."""
        for _ in range(count):
            self._token += 1
            deadline = self._world.now + 3600 * SECOND
            self.cluster.machines[member].offer(Request(self._token, 0, work, VALUE, deadline))
            self._world.run(self._world.now + 2)
        self._world.run(self._world.now + 5_000)

    def turn_us(self, member: int, turns: int) -> float:
        """Microseconds a turn that reads."""
        node, now = self.cluster.machines[member].node, self._world.now
        assert node is not None
        while node.turn(now, 64).more:
            """What is due is done first."""
        best = SECOND * 1.0
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(turns):
                self._token += 1
                node.offer(Request(self._token, 0, Work.READ_LOCAL, b"", now + SECOND))
                node.turn(now, 64)
            best = min(best, (time.perf_counter() - begun) / turns * 1e6)
        return best


class Kind(NamedTuple):
    """Requests of one kind, which wait because what would end them is lost, or because the leader's disk hangs."""

    name: str
    work: Work
    lost: type = type(None)
    at_leader: bool = False
    disk_hangs: bool = False


KINDS = (
    Kind("proposals, the leader's disk hangs", Work.PROPOSE, at_leader=True, disk_hangs=True),
    Kind("forwarded proposals, the same", Work.PROPOSE, disk_hangs=True),
    Kind("proposals, forwards lost", Work.PROPOSE, Forward),
    Kind("reads, answers lost", Work.READ, BarrierAnswer),
    Kind("questions, answers lost", Work.ASK, QuestionAnswer),
)


def waiting_us(kind: Kind, waiting: int, turns: int) -> float:
    """Microseconds a turn of the leader, where its disk hangs, else of the member that was asked."""
    requester = Requester(kind.lost, limits=Limits(undurable_bytes_max=64 << 10))
    leader = requester.cluster.leader()
    assert leader is not None
    asked = leader if kind.at_leader else leader % 3 + 1
    if kind.disk_hangs:
        requester.cluster.machines[leader].disk_queue.hang()
    requester.submit(asked, kind.work, waiting)
    return requester.turn_us(leader if kind.disk_hangs else asked, turns)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--puts", type=int, default=64)
    parser.add_argument("--turns", type=int, default=500)
    parser.add_argument("--groups", type=int, nargs="*", default=[1, 100, 1_000, 10_000])
    parser.add_argument("--waiting", type=int, default=12_000)
    arguments = parser.parse_args()
    cost = min(put_us(arguments.puts, arguments.turns) for _ in range(3))
    floor = min(bare_us(arguments.puts, arguments.turns) for _ in range(3))
    print(f"node, engine and planner: {cost:.1f} us a put of 256 bytes at {arguments.puts} puts a turn")
    print(f"bare requests:            {floor:.2f} us")
    print("groups   empty turn   one group read   GoOn, in us")
    for groups in arguments.groups:
        empty, touched, go_on = turn_us(groups, arguments.turns)
        print(f"{groups:6}   {empty:10.1f}   {touched:14.1f}   {go_on:4.1f}")
    print(f"{'which wait':36} none   {arguments.waiting}, in us a turn that reads")
    for kind in KINDS:
        none, many = (waiting_us(kind, count, arguments.turns) for count in (0, arguments.waiting))
        print(f"{kind.name:36} {none:4.1f}   {many:4.1f}")


if __name__ == "__main__":
    main()
