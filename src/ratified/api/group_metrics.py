"""Metrics of each group that a member replicates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from ratified.api.families import counters, gauges

if TYPE_CHECKING:
    from ratified.runtime.status import HostStatus


def group_metrics(status: HostStatus) -> Iterator[Metric]:
    groups = status.node.groups
    yield from _where(status)
    yield from _lead(status)
    progress = [
        ([str(group), f"{member:x}"], each.match)
        for group, row in groups.items()
        for member, each in row.engine.progress.items()
    ]
    help_ = "Up to where a member has the log, as its leader sees it."
    yield gauges("ratified_group_match_index", help_, ["group", "peer"], progress)
    sent = [([str(group)], row.snapshots_sent) for group, row in groups.items()]
    yield counters("ratified_group_snapshots_sent", "Snapshots that another member has.", ["group"], sent)
    installed = [([str(group)], row.snapshots_installed) for group, row in groups.items()]
    yield counters("ratified_group_snapshots_installed", "Snapshots that were installed here.", ["group"], installed)


def _where(status: HostStatus) -> Iterator[Metric]:
    """How far each group's log has come."""
    groups = {str(group): row for group, row in status.node.groups.items()}
    engines = {group: row.engine for group, row in groups.items()}

    def of_each(name: str, help_: str, values: dict[str, int]) -> Metric:
        return gauges(f"ratified_group_{name}", help_, ["group"], [([group], value) for group, value in values.items()])

    era = "The era as one number: term, ballot or epoch."
    yield of_each("era", era, {group: row.raft_term for group, row in engines.items()})
    yield of_each("last_index", "The last index in the log.", {group: row.last for group, row in engines.items()})
    durable = "Up to where the log is durable here."
    yield of_each("durable_index", durable, {group: row.durable for group, row in engines.items()})
    commit = "Up to where the log is committed."
    yield of_each("commit_index", commit, {group: row.commit for group, row in engines.items()})
    applied = "Up to where the log is applied here."
    yield of_each("applied_index", applied, {group: row.applied for group, row in groups.items()})
    yield of_each("base_index", "Up to where the log is cut.", {group: row.base for group, row in engines.items()})
    open_ = "Writes that wait for their result."
    yield of_each("open_proposals", open_, {group: row.open_proposals for group, row in groups.items()})
    voters = "How many members vote."
    yield of_each("voters", voters, {group: len(row.membership.voters) for group, row in engines.items()})
    rests = "Does the group rest, without heartbeats?"
    yield of_each("rests", rests, {group: row.rests for group, row in engines.items()})
    stopped = "Has the group stopped on this member?"
    yield of_each("stopped", stopped, {group: row.stopped is not None for group, row in groups.items()})


def _lead(status: HostStatus) -> Iterator[Metric]:
    groups = status.node.groups
    roles = [([str(group), row.engine.role], 1) for group, row in groups.items()]
    yield gauges("ratified_group_role", "1 for the role that this member has.", ["group", "role"], roles)
    leaders = [
        ([str(group), f"{row.engine.leader:x}"], 1) for group, row in groups.items() if row.engine.leader is not None
    ]
    yield gauges("ratified_group_leader", "1 for the member that leads.", ["group", "leader"], leaders)
    changes = [
        ([str(group), cause], count)
        for group, row in groups.items()
        for cause, count in row.leader_changes_by_cause.items()
    ]
    help_ = "Leaders that this member has seen, by why it is another one."
    yield counters("ratified_group_leader_changes", help_, ["group", "cause"], changes)
