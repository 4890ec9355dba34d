"""The tables of a space, and the keys of ``attached``.

``mvcc`` says what is in them; ``history`` has the names of two more, and ``order`` explains its own.
"""

from __future__ import annotations

from struct import Struct

LIVE = "live"
ATTACHED = "attached"
META = "meta"
ORDER = "order"
TABLES = (META, LIVE, ATTACHED, "history", "events", "leases", ORDER)
"""All of them; without the first, a space that is being removed looks like none that serves."""

_LEASE = Struct(">Q")
LEASE_BYTES = _LEASE.size
"""In front of a name in ``attached``."""


def lease_prefix(lease: int) -> bytes:
    return _LEASE.pack(lease & 0xFFFF_FFFF_FFFF_FFFF)


def lease_bounds(lease: int) -> tuple[bytes, bytes | None]:
    """Of the keys of a lease in ``attached``: the first, and the one that is behind all."""
    return lease_prefix(lease), lease_prefix(lease + 1) if lease != -1 else None
