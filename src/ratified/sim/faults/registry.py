"""All faults, and one run's."""

from __future__ import annotations

from collections.abc import Mapping

from ratified.sim.faults.disks import FULL_DISK, HANGING_DISK
from ratified.sim.faults.fault import Fault, Injector
from ratified.sim.faults.leaders import LEADER_FAILURE
from ratified.sim.faults.machines import MACHINE_LOSS, POWER_CUT
from ratified.sim.faults.network import BROKEN_CONNECTIONS, UNRELIABLE_NETWORK
from ratified.sim.faults.operators import OLD_COPY, STRANGERS, WIPED_DIRECTORY
from ratified.sim.faults.partitions import PARTITION
from ratified.sim.faults.processes import KILL, PAUSE, STOP
from ratified.sim.faults.slow_disk import SLOW_DISK

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        KILL,
        MACHINE_LOSS,
        POWER_CUT,
        PARTITION,
        PAUSE,
        BROKEN_CONNECTIONS,
        STOP,
        LEADER_FAILURE,
        SLOW_DISK,
        FULL_DISK,
        HANGING_DISK,
        UNRELIABLE_NETWORK,
        WIPED_DIRECTORY,
        OLD_COPY,
        STRANGERS,
    )
}
"""They begin in this order and are healed in the reverse one: what is sent again goes over links that are whole."""


def begin(injector: Injector, rates: Mapping[str, int]) -> None:
    """From now on things go wrong, each fault at its rate."""
    for name, fault in FAULTS.items():
        if name in rates:
            fault.begin(injector, rates[name])


def heal(injector: Injector) -> None:
    """No more faults; what is broken is mended, and every machine runs."""
    injector.over = True
    for fault in reversed(FAULTS.values()):
        fault.heal(injector)
