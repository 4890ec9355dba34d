"""How one node runs: who it is, its timers, and every limit of its queues, by name and unit."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from ratified.consensus.contract import CLOCK_DRIFT_PPM_MAX, LeaseKind, Limits
from ratified.consensus.engines import EngineRow
from ratified.storage.format import LogLimits
from ratified.wire.peer import PROTOCOL_VERSION

FORWARD_WINDOW = 4096
"""Answers that a leader remembers per origin; the same on every node, so no origin may have more unanswered."""


class NodeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """A node's limits. Each admits at least one item, however small it is set."""

    request_bytes_max: int = 1536 * 1024
    """Bytes of one request; a bigger one is refused as too large."""
    open_requests_max: int = 20_000
    """Requests of clients that wait, in the queue or for their answer; streams are counted by themselves."""
    open_bytes_max: int = 256 << 20
    """Bytes of those requests together."""
    streams_max: int = 100_000
    """Reads under way that answer in parts, watches above all."""
    peer_frames_max: int = 4096
    """Frames of one peer waiting for a turn; beyond it the session is ended."""
    frame_bytes_max: int = 256 << 10
    """Bytes of entries and commands in one frame to a peer; a longer message is cut."""
    window_bytes_first: int = 32 << 10
    """Bytes of entries and commands under way to a peer when a session begins: sent, and not known to have arrived."""
    window_bytes_min: int = 16 << 10
    """How far they shrink on a slow link."""
    window_bytes_max: int = 8 << 20
    """How far they grow on a fast one."""
    send_queue_bytes_max: int = 64 << 20
    """Bytes of entries and commands that wait to be sent to one peer; beyond it the session is ended."""
    forwards_max: int = 1024
    """Proposals forwarded to a leader and not yet answered by it, per group; at most ``FORWARD_WINDOW``."""
    forwards_held_max: int = 1024
    """Forwarded proposals per origin that a leader keeps until a missing number arrives."""
    forward_bytes_max: int = 1 << 20
    """Bytes of unanswered forwarded proposals that are sent again in one turn."""
    apply_entries_max: int = 512
    """Entries applied in one turn, of all groups together; a group that has begun is not interrupted."""
    apply_bytes_max: int = 1 << 20
    """Bytes of entries applied in one turn, likewise."""
    apply_rows_max: int = 2000
    """What the commands that are applied in one turn may cost, in rows looked at (``ratified.kv.cost``); one that costs
    more goes on in the next ones."""
    tidy_pause_us: int = 4_000
    """From one piece of what stores do unseen (``Store.tidy``) to the next, where nothing is applied: it takes 2 ms by
    default, and must not take all that there is of a processor which others want."""
    slice_rows_max: int = 500
    """Rows that the streams of a group may read in one turn, all together; each takes its part in one slice. They take
    0.6 to 1 ms; with four times as many a turn takes four times as long, and a long range a tenth less in all.
    """
    slice_bytes_max: int = 256 << 10
    """Bytes that they may yield in one turn, likewise."""
    slices_max: int = 64
    """Slices in one turn, of all streams of a group together."""
    free_bytes_min: int = 192 << 20
    """Room on the disk below which proposals are refused; the log allocates whole segments."""
    checkpoint_log_bytes_min: int = 256 << 20
    """How much the log grows before the store is copied and the log is cut; as much as the last copy, if that is more.
    """
    checkpoint_entries: int = 1 << 62
    """After how many entries of a group the store is copied, however little the log has grown; as it is: never."""
    checkpoint_piece_bytes: int = 1 << 20
    """What of a copy is read and written at once."""
    checkpoint_retry_us: int = 60_000_000
    """How long after one that failed the next copy is tried."""

    limbo_entries_max: int = 4_096
    limbo_bytes_max: int = 1 << 20
    """What is looked at of what a new leader does not know to be committed (log leases); more touches every read."""
    snapshot_catchup_entries: int = 5_000
    """How many entries below its own checkpoint a node keeps for members that lack them, before they are sent a
    snapshot."""
    snapshot_piece_bytes: int = 64 << 10
    """What of a snapshot is sent, written and loaded at once; less where the window to a peer is small."""
    snapshots_sent_max: int = 2
    """How many a node sends at a time, of all groups together."""
    snapshot_patience_us: int = 60_000_000
    """How long a snapshot may make no step before it is given up, at either end."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < (0 if name == "free_bytes_min" else 1):
                raise ValueError(f"the limit {name} is {getattr(self, name)}; it must admit at least one item")
        if self.forwards_max > FORWARD_WINDOW:
            raise ValueError(f"the limit forwards_max is {self.forwards_max}; it ends at {FORWARD_WINDOW}")


class NodeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who a node is and how it runs. Durations are microseconds."""

    cluster: int
    member: int
    name: str
    directory: bytes
    """The 16 bytes that name this data directory."""
    start: int
    """Drawn by the port at this start: tells two processes with one identity apart."""
    seed: int
    engine: EngineRow
    names: Mapping[int, str]
    """What people call each member, this one too: those of a new cluster."""
    peer_urls: Mapping[int, tuple[str, ...]] = {}
    """Where each member is reached by the others; with the names the first contents of the cluster table."""
    absent: tuple[int, ...] = ()
    """Members without which this node may begin, by the operator's word."""
    client_urls: tuple[str, ...] = ()
    heartbeat_us: int = 100_000
    election_timeout_us: int = 1_000_000
    """The shortest election timeout T; a follower's is drawn between T and 2 T."""
    quiescence: bool = True
    """Groups in which nothing happens keep no time."""
    priority: int = 0
    """The member with the highest one is to lead, if it can."""
    protocol_version: int = PROTOCOL_VERSION
    """What it speaks at most: an earlier one is what an earlier program would be."""
    read_lease_us: int = 0
    """For how long a leader reads without asking; 0: it asks at each read."""
    read_lease_kind: LeaseKind = LeaseKind.CLOCK
    clock_drift_ppm_max: int = CLOCK_DRIFT_PPM_MAX
    """By how much any member's clock may be fast or slow, in millionths."""
    limits: NodeLimits = NodeLimits()
    log_limits: LogLimits = LogLimits()
    engine_limits: Limits = Limits()
