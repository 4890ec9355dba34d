"""Metrics of each group that a member replicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client.core import Metric

from ratified.api.families import counters, gauges

if TYPE_CHECKING:
    from ratified.node.status import GroupStatus


def group_metrics(groups: Mapping[int, GroupStatus]) -> Iterator[Metric]:
    yield from _where(groups)
    yield from _lead(groups)
    progress = [
        ([str(group), f"{member:x}"], each.match)
        for group, status in groups.items()
        for member, each in status.engine.progress.items()
    ]
    help_ = "Up to where a member has the log, as its leader sees it."
    yield gauges("ratified_group_match_index", help_, ["group", "peer"], progress)
    sent = [([str(group)], status.snapshots_sent) for group, status in groups.items()]
    yield counters("ratified_group_snapshots_sent", "Snapshots that another member has.", ["group"], sent)
    installed = [([str(group)], status.snapshots_installed) for group, status in groups.items()]
    yield counters("ratified_group_snapshots_installed", "Snapshots that were installed here.", ["group"], installed)


def _where(groups: Mapping[int, GroupStatus]) -> Iterator[Metric]:
    """How far each group's log has come."""
    values: dict[str, tuple[str, Callable[[GroupStatus], float]]] = {
        "era": ("The era as one number: term, ballot or epoch.", lambda each: each.engine.raft_term),
        "last_index": ("The last index in the log.", lambda each: each.engine.last),
        "durable_index": ("Up to where the log is durable here.", lambda each: each.engine.durable),
        "commit_index": ("Up to where the log is committed.", lambda each: each.engine.commit),
        "applied_index": ("Up to where the log is applied here.", lambda each: each.applied),
        "base_index": ("Up to where the log is cut.", lambda each: each.engine.base),
        "open_proposals": ("Writes that wait for their result.", lambda each: each.open_proposals),
        "stopped": ("Has the group stopped on this member?", lambda each: each.stopped is not None),
        "rests": ("Does the group rest, without heartbeats?", lambda each: each.engine.rests),
    }
    for name, (help_, value) in values.items():
        rows = [([str(group)], value(status)) for group, status in groups.items()]
        yield gauges(f"ratified_group_{name}", help_, ["group"], rows)


def _lead(groups: Mapping[int, GroupStatus]) -> Iterator[Metric]:
    roles = [([str(group), status.engine.role], 1) for group, status in groups.items()]
    yield gauges("ratified_group_role", "1 for the role that this member has.", ["group", "role"], roles)
    leaders = [
        ([str(group), f"{status.engine.leader:x}"], 1)
        for group, status in groups.items()
        if status.engine.leader is not None
    ]
    yield gauges("ratified_group_leader", "1 for the member that leads.", ["group", "leader"], leaders)
    changes = [
        ([str(group), cause], count)
        for group, status in groups.items()
        for cause, count in status.leader_changes_by_cause.items()
    ]
    help_ = "Leaders that this member has seen, by why it is another one."
    yield counters("ratified_group_leader_changes", help_, ["group", "cause"], changes)
