"""Syncs that take as long as an election timeout."""

from __future__ import annotations

from ratified.sim.faults.fault import Fault, Heals, Injector, all_the_time


def _slow(injector: Injector) -> None:
    for machine in injector.cluster.machines.values():
        machine.disk_queue.options = injector.slow_disk


def _fast(injector: Injector) -> None:
    for machine in injector.cluster.machines.values():
        machine.disk_queue.options = injector.cluster.options.disk


SLOW_DISK = Fault(
    name="slow-disk",
    scenarios={"crashes": 1, "pauses": 1, "disks": 1, "everything": 1},
    begin=all_the_time(_slow),
    heal=_fast,
    heals=Heals.CONDITIONS,
    counters=("slow syncs",),
)
