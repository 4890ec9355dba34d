"""What a node tells people about itself."""

from __future__ import annotations

import msgspec

from ratified.consensus.contract import Status


class GroupStatus(msgspec.Struct, frozen=True, kw_only=True):
    engine: Status
    applied: int
    open_proposals: int
    leader_changes: int
    """How often this member has learned of another leader than before, since its start."""
    stopped: str | None
    """Why the replica has stopped; None: it runs."""


class PeerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A member that this node has met since its start."""

    name: str
    client_urls: tuple[str, ...]
    incarnation: int
    connected: bool


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
    groups: dict[int, GroupStatus]
    peers: dict[int, PeerStatus]
