"""What a host tells about itself, for people and metrics; nothing decides by it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ratified.node.status import NodeStatus
from ratified.runtime.callbacks import RequestCounters
from ratified.runtime.loop import TurnCounters
from ratified.runtime.transport import PeerTraffic, TransportCounters
from ratified.storage.durations import Durations


class MemberInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A member of the cluster, as far as this host knows it."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    is_learner: bool
    client_urls: tuple[str, ...]
    """Empty until the member has told them."""


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A host at one moment. The counters run on; copy what you want to compare with later."""

    name: str
    member: int
    node: NodeStatus
    turns: TurnCounters
    peers: TransportCounters
    traffic: Mapping[int, PeerTraffic]
    """By member, of all others that there are."""
    requests: RequestCounters
    syncs: Durations
    """How long syncs of the log took."""
    commits: Durations | None
    """Of the store, which syncs with none of them; None: it is in memory."""
    copies: Durations
    """How long checkpoints took."""
    free_bytes: int
    """What the data directory's disk has left."""
    free_bytes_min: int
    """With less it counts as full."""
    open_requests: int
    checkpoint_age_us: int
    """Since this process has taken its last checkpoint; 0: it has taken none."""
