"""How other groups follow the configuration of group 0, broken; in whole nodes with three groups."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from ratified.consensus.contract import Kind, Status
from ratified.node import cluster_log, replica
from ratified.node.changes import build, encoded, without
from ratified.node.cluster_table import Change as TableChange
from ratified.node.cluster_table import ClusterTable, Context, Follow, Leave, changed, encode_change
from ratified.node.steward import Steward
from ratified.sim import simulation
from ratified.sim.arguments import Arguments
from ratified.sim.draw import SimulationOptions, draw_options
from tests.mutants.mutant import Mutant

GROUPS = 3


@contextmanager
def several_groups() -> Iterator[None]:
    def options(arguments: Arguments) -> SimulationOptions:
        drawn = draw_options(arguments)
        return replace(drawn, cluster=replace(drawn.cluster, groups=GROUPS))

    with patch.object(simulation, "draw_options", options):
        yield


def counts_what_is_said_of_an_earlier_configuration() -> AbstractContextManager[Any]:
    """Rule 7 of the table."""

    def counts(table: ClusterTable, index: int, change: TableChange | Context) -> tuple[ClusterTable, str]:
        if isinstance(change, Follow):
            change = replace(change, since=table.since)
        return changed(table, index, change)

    return patch.object(cluster_log, "changed", counts)


def hears_no_more_of_group_0_once_it_is_removed() -> AbstractContextManager[Any]:
    """Rule 3 of changes: who leads another group then never learns what that is to follow."""
    return patch.object(
        replica, "build", lambda asked, table, before, others_follow: build(asked, table, before, others_follow=False)
    )


def lets_go_while_groups_are_behind() -> AbstractContextManager[Any]:
    """Rule 3 of the steward: who has left is a member of another group still."""

    def let_go(steward: Steward, member: int, status: Status) -> tuple[Kind, bytes] | None:
        if not status.settled or member in status.membership.voters:
            return None
        if member in status.membership.learners:
            return Kind.MEMBERSHIP, encoded(without(status.membership, member))
        return Kind.NODE, encode_change(Leave(member))

    return patch.object(Steward, "_let_go", let_go)


def _mutant(name: str, breaks: Any, caught_by: int, engine: str = "raft") -> Mutant:
    return Mutant(name, breaks, "members", "session", caught_by, seeds=500, world=several_groups, engine=engine)


MUTANTS = [
    _mutant("counts what is said of an earlier configuration", counts_what_is_said_of_an_earlier_configuration, 7),
    _mutant("hears no more of group 0 once it is removed", hears_no_more_of_group_0_once_it_is_removed, 5),
    _mutant("lets go while groups are behind", lets_go_while_groups_are_behind, 6),
]
