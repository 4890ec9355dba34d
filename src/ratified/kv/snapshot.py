"""The logical state as rows, independent of what store holds it and of what it has already removed.

The first row is the state (revision, compact revision, era, sums), then come the leases, then the retained events in
order. What is live, the history and the keys of the leases follow from the events. Each row begins with its kind;
the last row is the digest and the sum of the hashes of the events, and a state that does not have them is refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from ratified.kv import leases
from ratified.kv.digest import MODULUS_MASK, row_hash
from ratified.kv.history import EVENTS, HISTORY
from ratified.kv.mvcc import Mvcc, event_hash
from ratified.kv.tables import ATTACHED, LIVE
from ratified.machine import SnapshotDamaged
from ratified.storage.space import Space

_STATE = b"s"
_LEASE = b"l"
_EVENT = b"e"
_DIGEST = b"z"
_LEASE_KEY_BYTES = 8
_POSITION_BYTES = 12


def write(mvcc: Mvcc) -> Sequence[bytes]:
    """The rows of the committed state."""
    return list(_rows(mvcc))


def _rows(mvcc: Mvcc) -> Iterator[bytes]:
    space = mvcc.space
    yield _STATE + mvcc.state()
    for key, row in space.scan(leases.TABLE, b"", None):
        yield _LEASE + key + row
    held = 0
    for at, row in heapq.merge(space.scan(EVENTS, b"", None), mvcc.pending_events()):
        if mvcc.is_retained(at, row):
            held += event_hash(at, row)
            yield _EVENT + at + row
    yield _DIGEST + mvcc.digest() + (held & MODULUS_MASK).to_bytes(16)


def clear(space: Space) -> None:
    """Remove every row of the store's tables."""
    for table in (LIVE, HISTORY, EVENTS, ATTACHED, leases.TABLE):
        for key in [key for key, _ in space.scan(table, b"", None)]:
            space.delete(table, key)


def load(mvcc: Mvcc, rows: Sequence[bytes]) -> None:
    """Fill an empty space, in the open transaction; raises ``SnapshotDamaged``."""
    if len(rows) < 2 or rows[0][:1] != _STATE or rows[-1][:1] != _DIGEST:
        raise SnapshotDamaged("a snapshot begins with its state and ends with its digest; this one does not")
    mvcc.load_state(rows[0][1:])
    lease_rows = 0
    for row in rows[1:-1]:
        kind, body = row[:1], row[1:]
        if kind == _LEASE:
            mvcc.space.put(leases.TABLE, body[:_LEASE_KEY_BYTES], body[_LEASE_KEY_BYTES:])
            lease_rows += row_hash(body)
        elif kind == _EVENT:
            mvcc.load_event(body[:_POSITION_BYTES], body[_POSITION_BYTES:])
        else:
            raise SnapshotDamaged(f"a snapshot has a row of the unknown kind {kind!r}")
    ending = _DIGEST + mvcc.digest() + mvcc.held.to_bytes(16)
    if (lease_rows & MODULUS_MASK, ending) != (mvcc.sums.leases, rows[-1]):
        raise SnapshotDamaged("a snapshot's rows do not have the digest that it ends with: it was damaged on its way")
