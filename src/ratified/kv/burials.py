"""DeleteRange and the end of a lease by a tombstone (``tombstones``): what is deleted is counted, or read where the
answer has it, and no row is written.

Both give None, having done nothing, where the keys must be deleted one by one, because too many tombstones are pending.
That is no part of the state: whichever way a replica goes, it comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from ratified.kv.counting import Counted, keys_in, keys_of_lease
from ratified.kv.encoding import header, varint
from ratified.kv.errors import EtcdError
from ratified.kv.intervals import interval
from ratified.kv.leases import Leases
from ratified.kv.mvcc import Mvcc
from ratified.kv.tombstones import Tombstone
from ratified.kv.writes import Steps, end_lease, pairs_before
from ratified.wire.etcd import errors
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest


def bury_range(mvcc: Mvcc, request: DeleteRangeRequest, pending_max: int) -> Steps[bytes | None]:
    """Gives the DeleteRangeResponse."""
    if len(mvcc.tombstones) >= pending_max:
        return None
    wanted = interval(request.key, request.range_end)
    pairs: list[bytes] = []
    if request.prev_kv:
        pairs = yield from pairs_before(mvcc, request)
        count = len(pairs)
    else:
        count = yield from _count(keys_in(mvcc.visible, wanted))
    if count:
        mvcc.bury(Tombstone(mvcc.revision + 1, wanted.first, wanted.end), count)
        mvcc.end_delete(request.key, request.range_end, count)
    deleted = b"\x10" + varint(count) if count else b""
    return b"".join([header(mvcc.reading_revision), deleted, *pairs])


def bury_lease(mvcc: Mvcc, leases: Leases, lease: int, pending_max: int) -> Steps[bool | None]:
    """Gives True."""
    if lease not in leases:
        raise EtcdError(*errors.LEASE_NOT_FOUND)
    if len(mvcc.tombstones) >= pending_max:
        return None
    count = yield from _count(keys_of_lease(mvcc.visible, lease))
    if count:
        mvcc.bury(Tombstone(mvcc.revision + 1, lease=lease), count)
    end_lease(mvcc, leases, lease)
    return True


def _count(steps: Iterator[Counted]) -> Steps[int]:
    count = 0
    for keys, work in steps:
        count += keys
        yield work
    return count
