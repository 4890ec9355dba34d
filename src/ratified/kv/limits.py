"""The store's limits; every one admits at least one item."""

from __future__ import annotations

import msgspec


class KvLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Named limits with their defaults. They change when something happens, never what an answer says."""

    range_rows_at_once: int = 500
    """Pairs that a range reads before it goes on in later turns."""
    range_rows_a_turn: int = 4000
    """Pairs that all ranges together read so in one turn; beyond it they begin in later turns."""
    range_bytes_at_once: int = 256 * 1024
    watch_pending_events_max: int = 4096
    """Events that wait for one watcher before it goes back to catching up."""
    watch_pending_bytes_max: int = 256 * 1024
    """Bytes of those events; a single revision may be larger."""
    watch_rows_a_turn: int = 500
    """Rows of the events table that all watchers together read in one turn; they take about 1 ms."""
    watch_bytes_a_turn: int = 256 * 1024
    """Bytes of those rows; a single one may be larger."""
    watch_cache_bytes_max: int = 16 * 1024 * 1024
    """Bytes of those rows, and what was made of them, that are kept for other watchers that come by."""
    watch_cache_us: int = 1_000_000
    """How long they are kept after the last watcher has caught up."""
    watch_response_bytes_a_turn: int = 1024 * 1024
    """Bytes of watches' responses in one turn; one may be larger, and takes the room of further turns."""
    watch_fragment_bytes_max: int = 1024 * 1024
    """Bytes of events in one fragment of a watch's response, where its client asked for fragments; one event may be
    larger. With the header it stays below the 4 MB that a gRPC client takes by default."""
    watch_progress_us: int = 600_000_000
    """Quiet time after which a watcher that asked for it is told how far it has come (etcd: 10 minutes)."""
    removal_events_at_once: int = 128
    """Compacted events looked at, to remove their rows, in one turn."""
    deletes_at_once: int = 64
    """Pairs that are deleted in one step of a command that is applied in pieces."""
    tombstones_max: int = 32
    """Long deletes whose rows are still to be written; one more writes its own before it is done."""
    tombstone_rows_at_once: int = 128
    """Keys of such a delete whose rows are written in one turn."""
    tidy_bytes_at_once: int = 64 * 1024
    """Bytes of pairs and names that either has to do with in one turn; a single pair may be larger."""
    order_keys_at_once: int = 128
    """Long keys whose order is written in one turn where an earlier program has not kept it."""
    expiries_at_once: int = 64
    """Leases whose expiry is proposed in one go."""
    snapshot_rows_at_once: int = 500
    """Rows looked at for one piece of a snapshot; so no piece has more records either."""
    state_kept_bytes_max: int = 256 * 1024 * 1024
    """How much room a state that is being read (``QueryKind.STATE``) may keep from being used again, by its being open;
    or as much as the store holds, where that is more."""
    useless_rows_at_once: int = 500
    """Rows of a state that another one has replaced, removed in one turn."""
    token_ttl_us: int = 300_000_000
    """How long a token is known on a member where it is not used (etcd: five minutes)."""
