"""How many descriptors the process may open, and how many of them clients may have.

Every connection takes a descriptor. A listener therefore accepts only so many that the node keeps its own: log and
store, the connections of other members, timers and wake-ups.
"""

from __future__ import annotations

import resource

NODE_DESCRIPTORS = 128
"""What no client may have. About 30 are always open; the others are spares of the disk, segments of the log that are
read, and up to 64 connections of peers."""

CLIENT_CONNECTIONS_MIN = 16


class TooFewDescriptors(Exception):
    """The process may not open as many as it needs; one line that says what to do."""


def client_connections_max() -> int:
    """Raise this process's limit as far as it may be raised; how many client connections then leave the node enough.

    Raises ``TooFewDescriptors``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        limit = soft  # macOS allows less than it says
    else:
        limit = hard
    if limit == resource.RLIM_INFINITY:
        limit = _UNLIMITED
    if limit < NODE_DESCRIPTORS + CLIENT_CONNECTIONS_MIN:
        raise TooFewDescriptors(
            f"this process may open {limit} files and needs at least {NODE_DESCRIPTORS + CLIENT_CONNECTIONS_MIN}: "
            "raise the limit (ulimit -n, or LimitNOFILE= of its service)"
        )
    return limit - NODE_DESCRIPTORS


_UNLIMITED = 1 << 20
