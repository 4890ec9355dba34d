"""Drawn limits: the limits of the system, per seed, often as 1 or 2, for bugs show where limits are small.

Each limit is drawn on a key of its own, so that adding one moves no other. About half of them keep their default: if
all were tiny at once, nothing would get far enough to go wrong.
"""

from __future__ import annotations

import msgspec

from ratified.consensus.contract import Limits
from ratified.kv.limits import KvLimits
from ratified.node.config import NodeLimits
from ratified.sim.world import Concern, Draws
from ratified.storage.format import LogLimits


class SystemLimits(msgspec.Struct, frozen=True):
    """All limits of the system, by package."""

    engine: Limits
    node: NodeLimits
    log: LogLimits
    kv: KvLimits


SERVER_LIMITS = SystemLimits(engine=Limits(), node=NodeLimits(), log=LogLimits(segment_bytes=1 << 20), kv=KvLimits())
"""The defaults of a server, but for the segments: the simulated recovery reads all of one."""

_ENGINE: dict[str, tuple[int, ...]] = {
    "entries_per_message_max": (1, 1, 2, 5),
    "bytes_per_message_max": (1, 200, 2_000),
    "inflight_messages_max": (1, 2, 4),
    "deliver_bytes_max": (1, 1, 200, 2_000),
    "deliver_entries_max": (1, 2, 3),
    "tail_bytes_max": (1, 1_000, 10_000),
    "undurable_bytes_max": (1, 1_000, 10_000),
    "uncommitted_bytes_max": (1, 1_000, 10_000),
    "barriers_max": (1, 2, 8),
}
_NODE: dict[str, tuple[int, ...]] = {
    "open_requests_max": (2, 8, 32),
    "open_bytes_max": (300, 3_000),
    "streams_max": (2, 16),
    "peer_frames_max": (16, 64),
    "frame_bytes_max": (50, 500, 5_000),
    "window_bytes_first": (1, 500, 5_000),
    "window_bytes_min": (200, 2_000),
    "window_bytes_max": (5_000, 50_000),
    "forwards_max": (1, 1, 2, 4),
    "forwards_held_max": (1, 2, 4),
    "forward_bytes_max": (1, 200),
    "apply_entries_max": (1, 3),
    "apply_bytes_max": (1, 300),
    "apply_rows_max": (1, 5, 10),
    "slice_rows_max": (1, 2, 5),
    "slice_bytes_max": (1, 200),
    "slices_max": (1, 2),
    "tidy_pause_us": (1, 1_000, 50_000),
    "checkpoint_log_bytes_min": (1, 5_000, 50_000),
    "checkpoint_entries": (1, 20),
    "checkpoint_piece_bytes": (500, 5_000),
    "checkpoint_retry_us": (10_000, 1_000_000),
    "snapshot_catchup_entries": (1, 20),
    "snapshot_piece_bytes": (200, 500, 1_000),
    "snapshots_sent_max": (1,),
    "snapshot_patience_us": (300_000, 3_000_000),
    "limbo_entries_max": (1, 20),
    "limbo_bytes_max": (1, 1_000),
}
FORWARDS_MAX_SMALL = 4
_LOG: dict[str, tuple[int, ...]] = {
    "batch_bytes_max": (1, 200, 2_000),
    "rest_before_mark_us": (1, 1_000, 10_000),
    "tail_bytes_max": (1, 200, 2_000),
    "read_gap_bytes_max": (1, 100),
}
_KV: dict[str, tuple[int, ...]] = {
    "range_rows_at_once": (1, 2),
    "range_rows_a_turn": (1, 3),
    "range_bytes_at_once": (1, 200),
    "watch_pending_events_max": (1, 2, 5),
    "watch_fragment_bytes_max": (1, 100),
    "watch_rows_a_turn": (1, 3),
    "watch_bytes_a_turn": (1, 200),
    "watch_cache_bytes_max": (1, 10_000),
    "watch_cache_us": (1, 10_000),
    "watch_response_bytes_a_turn": (100, 1_000),
    "removal_events_at_once": (1, 3),
    "deletes_at_once": (1, 2),
    "tombstones_max": (1, 2),
    "tombstone_rows_at_once": (1, 3),
    "expiries_at_once": (1, 2),
    "tidy_bytes_at_once": (1, 200),
    "snapshot_rows_at_once": (1, 3),
    "useless_rows_at_once": (1, 20),
}
_SEGMENTS = (512, 2_048, 16_384, 65_536, 262_144)
"""Never the default of 64 MiB: recovery reads segments whole."""


WORK_OF_A_TURN = frozenset(
    {
        "deliver_entries_max",
        "apply_entries_max",
        "apply_rows_max",
        "slice_rows_max",
        "slices_max",
        "range_rows_at_once",
        "removal_events_at_once",
        "expiries_at_once",
        "range_rows_a_turn",
        "watch_rows_a_turn",
        "deletes_at_once",
        "tombstone_rows_at_once",
        "tidy_bytes_at_once",
        "snapshot_rows_at_once",
        "snapshot_piece_bytes",
        "useless_rows_at_once",
    }
)
"""What bounds the work of a turn: small on a slow machine, where the defaults would take longer than an election."""


CHECKPOINTS = frozenset({"checkpoint_log_bytes_min", "checkpoint_piece_bytes", "checkpoint_retry_us"})
"""What makes checkpoints frequent, and long enough to be interrupted: small where they are what a world is about."""
SNAPSHOTS = CHECKPOINTS | {"checkpoint_entries", "snapshot_catchup_entries", "snapshot_piece_bytes"}
"""What cuts logs beyond members that are away, and makes what they are sent long."""


CARRIERS = frozenset({"snapshot_piece_bytes", "frame_bytes_max", "window_bytes_first", "window_bytes_max"})
"""In small pieces, or through a small window, a large value takes longer than any patience."""


def draw_limits(
    seed: int,
    *,
    frames_are_messages: bool,
    always: frozenset[str] = frozenset(),
    never: frozenset[str] = frozenset(),
) -> SystemLimits:
    """All limits of the world with this seed; those named by ``always`` keep their default in none, those named by
    ``never`` in all.

    Where every message of a batch travels in a frame of its own, the limit of waiting frames keeps its default: a small
    one would end the session at each full batch, again and again.
    """
    node = _draw(seed, 2, _NODE, always)
    if frames_are_messages:
        node.pop("peer_frames_max", None)
    if "frame_bytes_max" in node:
        node.pop("peer_frames_max", None)  # one long message is more frames than that
    if "forwards_held_max" in node:
        # A leader that holds little from origins that send much takes one number per sending: live, and very slow.
        node.setdefault("forwards_max", FORWARDS_MAX_SMALL)
    for name in never:
        node.pop(name, None)
    return SystemLimits(
        engine=Limits(**_draw(seed, 1, _ENGINE, always)),
        node=NodeLimits(**node),
        kv=KvLimits(**_draw(seed, 5, _KV, always)),
        log=LogLimits(segment_bytes=Draws(seed, Concern.LIMIT, 3).pick(_SEGMENTS), **_draw(seed, 4, _LOG, always)),
    )


def _draw(seed: int, kind: int, choices: dict[str, tuple[int, ...]], always: frozenset[str]) -> dict[str, int]:
    """Half of the limits, and ``always`` these, each as one of its choices; the others keep their default."""
    drawn: dict[str, int] = {}
    for number, name in enumerate(choices):
        draws = Draws(seed, Concern.LIMIT, kind * 1000 + number)
        if draws.chance(500_000) or name in always:
            drawn[name] = draws.pick(choices[name])
    return drawn
