"""What the simulator costs: a delivered message of a whole node with all checks on, against a bare event loop.

The bare loop pushes, pops and calls as many events as the world did and does nothing else; both run in turn in the same
process, so that a busy machine slows down both. Usage: ``python bench/sim_cost.py [--seeds N]``.
"""

from __future__ import annotations

import argparse
import time
from heapq import heappop, heappush

from ratified.sim.arguments import Arguments
from ratified.sim.simulation import simulate

PENDING = 50
"""Events in the bare loop's heap at a time: about as many as in a world of three nodes."""


def bare_loop_us(events: int) -> float:
    """Microseconds for one push, pop and call."""
    heap: list[tuple[int, int, int, int]] = []
    called = 0

    def action(number: int) -> None:
        nonlocal called
        called += number

    for sequence in range(PENDING):
        heappush(heap, (sequence * 7919 % 1_000, 0, 1, sequence))
    began = time.perf_counter()
    for sequence in range(PENDING, PENDING + events):
        at, _, _, _ = heappop(heap)
        action(1)
        heappush(heap, (at + 1 + sequence * 7919 % 1_000, 0, 1, sequence))
    assert called == events
    return (time.perf_counter() - began) / events * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Simulator cost per delivered message against a bare event loop.")
    parser.add_argument("--seeds", type=int, default=6)
    wanted = parser.parse_args()
    print(f"{'world':44} {'messages/s':>10} {'us/message':>10} {'us/event':>9} {'bare us':>8} {'times bare':>10}")
    for scenario, network, nodes in (
        ("fault-free", "session", 3),
        ("fault-free", "session", 5),
        ("everything", "datagram", 5),
    ):
        messages = events = 0
        spent = bare = 0.0
        for seed in range(1, wanted.seeds + 1):
            began = time.perf_counter()
            report = simulate(
                Arguments(seed=seed, nodes=nodes, scenario=scenario, network=network, duration_us=3_000_000)
            )
            spent += time.perf_counter() - began
            bare += bare_loop_us(report.events)
            messages += report.counters["frames delivered"]
            events += report.events
        per_message = spent / messages * 1e6
        bare /= wanted.seeds
        name = f"{scenario}, {network}, {nodes} nodes, {wanted.seeds} seeds"
        print(
            f"{name:44} {messages / spent:10.0f} {per_message:10.1f} {spent / events * 1e6:9.1f} {bare:8.2f} "
            f"{per_message / bare:10.0f}"
        )


if __name__ == "__main__":
    main()
