"""What a node tells people about itself."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from ratified.consensus.contract import Status
from ratified.node.peer_counts import PeerCounts


class LeaderChange(StrEnum):
    """Why another member than before leads, as far as a member can tell."""

    FIRST = "first"
    """It is the first one of which this process has heard."""
    AGAIN = "again"
    """The last one leads again, in a later era."""
    UNREACHABLE = "unreachable"
    """The last one cannot be reached."""
    REPLACED = "replaced"
    """The last one can be reached: it has handed over, or its heartbeats came too late."""


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    engine: Status
    applied: int
    open_proposals: int
    leader_changes: int
    """How often this member has learned of another leader than before, since its start."""
    leader_changes_by_cause: Mapping[LeaderChange, int]
    snapshots_sent: int
    """That the other member has, since the start."""
    snapshots_installed: int
    """Since the start."""
    stopped: str | None
    """Why the replica has stopped; None: it runs."""


class PeerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A member that this node has met since its start."""

    name: str
    client_urls: tuple[str, ...]
    incarnation: int
    connected: bool
    waiting_bytes: int
    """Of messages that wait to be sent to it."""
    window_bytes: int
    """How much may be under way to it; 0: there is no session with it."""


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    member: int
    name: str
    incarnation: int
    log_bytes: int
    checkpoint_bytes: int
    """Of the last checkpoint's copy; 0: there is none."""
    checkpoint_us: int
    """How long it took, if this process has taken it."""
    checkpoint_at: int | None
    """When it was durable, on the node's clock."""
    open_requests: int
    waits_for: tuple[str, ...]
    """Members without which this node, whose directory is new, does not begin; empty: it has begun."""
    overflows: int
    """Sessions with peers that were ended because more than ``send_queue_bytes_max`` waited, since the start."""
    late_turns: int
    """Turns of a member that leads which began more than a heartbeat after they were due, since the start: heartbeats
    were late."""
    applied_entries: int
    """Of all groups, since the start."""
    groups: dict[int, GroupStatus]
    peers: dict[int, PeerStatus]
    peer_counts: Mapping[int, PeerCounts]
    """Of every other member with which there was, or should have been, a session; they run on."""
