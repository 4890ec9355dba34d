"""What planning costs: append and plan one batch of entries, without any I/O, and beside it a bare join of the bytes.

Run it as ``python bench/log_planner.py``; it prints its figures and the machine's noise is in their spread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import google_crc32c

from ratified.consensus.contract import Entry, Kind, Membership, ProposalId
from ratified.consensus.entry import ENTRY_HEADER_BYTES, make_entry
from ratified.sim.disk import Disk
from ratified.storage.format import LogLimits
from ratified.storage.identity import Identity, create
from ratified.storage.log import LogPlanner
from ratified.storage.recovery import recover

ENTRIES = 64
ENTRY_BYTES = 300
ROUNDS = 2000
LIMITS = LogLimits(segment_bytes=1 << 20)


def fresh_planner() -> LogPlanner:
    disk = Disk()
    create(disk, Identity(1, 1, bytes(16), "raft"), {0: Membership((1,))}, LIMITS)
    return LogPlanner(recover(disk, LIMITS), LIMITS)


def batches() -> list[list[Entry]]:
    data = bytes(ENTRY_BYTES - ENTRY_HEADER_BYTES)
    return [
        [
            make_entry(index, (1, 0), Kind.COMMAND, ProposalId(1, 1, index), data)
            for index in range(number * ENTRIES + 1, (number + 1) * ENTRIES + 1)
        ]
        for number in range(ROUNDS)
    ]


def measured(work: Callable[[int], None]) -> str:
    microseconds = []
    for number in range(ROUNDS):
        begun = time.perf_counter_ns()
        work(number)
        microseconds.append((time.perf_counter_ns() - begun) / 1000)
    microseconds.sort()
    median, best, p99 = statistics.median(microseconds), microseconds[0], microseconds[-ROUNDS // 100]
    return f"median {median:6.1f} us, best {best:6.1f}, p99 {p99:6.1f}"


def main() -> None:
    """Print the figures."""
    given = batches()
    planner = fresh_planner()

    def plan(number: int) -> None:
        planner.append(0, number + 1, given[number])
        (job,) = planner.plan(0)
        planner.done(0, job.id, [None] * len(job.ops))

    def join(number: int) -> None:
        google_crc32c.value(b"".join([entry.encoded for entry in given[number]]))

    print(f"a batch of {ENTRIES} entries of {ENTRY_BYTES} bytes, {ROUNDS} times")
    print(f"  append, plan, done:     {measured(plan)}")
    print(f"  bare join and checksum: {measured(join)}")


if __name__ == "__main__":
    main()
