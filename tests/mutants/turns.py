"""The bounds of a turn's work taken out, one by one; the machines that some seeds draw are slow enough to show it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.draw import SimulationOptions, draw_options
from ratified.sim.options import open_kv
from tests.mutants.mutant import Mutant

_NO_LIMIT = 1 << 40


@contextmanager
def _without(*bounds: str) -> Iterator[None]:
    """Worlds whose nodes have no such limits."""

    def options(arguments: Arguments) -> SimulationOptions:
        drawn = draw_options(arguments)
        limits = drawn.cluster.limits
        for room in limits.__struct_fields__:
            of_room = getattr(limits, room)
            taken_out = {name: _NO_LIMIT for name in of_room.__struct_fields__ if name in bounds}
            limits = replace(limits, **{room: replace(of_room, **taken_out)})
        open_store = drawn.cluster.open_store if drawn.state_machine else open_kv(limits.kv)
        return replace(drawn, cluster=replace(drawn.cluster, limits=limits, open_store=open_store))

    with patch.object(simulation, "draw_options", options):
        yield


def applies_without_bound() -> AbstractContextManager[Any]:
    return _without("deliver_entries_max", "deliver_bytes_max", "apply_entries_max", "apply_bytes_max")


def applies_long_commands_at_once() -> AbstractContextManager[Any]:
    return _without("apply_rows_max", "deletes_at_once")


def reads_ranges_at_once() -> AbstractContextManager[Any]:
    return _without(
        "range_rows_at_once",
        "range_rows_a_turn",
        "range_bytes_at_once",
        "slice_rows_max",
        "slice_bytes_max",
        "slices_max",
    )


def removes_at_once() -> AbstractContextManager[Any]:
    return _without("removal_events_at_once", "tidy_bytes_at_once")


def writes_tombstones_at_once() -> AbstractContextManager[Any]:
    return _without("tombstone_rows_at_once", "tidy_bytes_at_once")


MUTANTS = [
    Mutant("applies without a bound", applies_without_bound, "everything", "session", 25, seeds=300),
    Mutant("applies long commands at once", applies_long_commands_at_once, "fault-free", "session", 152, seeds=300),
    Mutant("reads ranges at once", reads_ranges_at_once, "fault-free", "session", 152, seeds=300),
    Mutant("removes what was compacted at once", removes_at_once, "fault-free", "session", 1, seeds=300),
    Mutant("writes the rows of a tombstone at once", writes_tombstones_at_once, "fault-free", "session", 1, seeds=300),
]
