"""DeleteRange and the end of a lease by a tombstone (``tombstones``): what is deleted is counted, and no row written.

Both give None, having done nothing, where the keys must be deleted one by one, because too many tombstones are pending.
That is no part of the state: whichever way a replica goes, it comes to the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from ratified.kv import names
from ratified.kv.cost import LOOK
from ratified.kv.encoding import header, varint
from ratified.kv.errors import EtcdError
from ratified.kv.leases import Leases
from ratified.kv.mvcc import Mvcc
from ratified.kv.ranges import COVERED, Interval, interval, live
from ratified.kv.tables import ATTACHED, LIVE, lease_bounds
from ratified.kv.tombstones import Tombstone
from ratified.kv.writes import Steps, end_lease
from ratified.wire.etcd import errors
from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import DeleteRangeRequest

_NAMES_A_STEP = 1_000
_NAMES_A_LOOK = 4
"""How many names are counted in the time that it takes to look at a row."""
_LOOKS_A_STEP = 16


def bury_range(mvcc: Mvcc, request: DeleteRangeRequest, pending_max: int) -> Steps[bytes | None]:
    """Gives the DeleteRangeResponse."""
    if len(mvcc.tombstones) >= pending_max:
        return None
    wanted = interval(request.key, request.range_end)
    count = 0
    if any(tombstone.lease or tombstone.meets(wanted.first, wanted.end) for tombstone in mvcc.tombstones):
        count = yield from _count_visible(live(mvcc.visible, wanted))
    elif not wanted.empty:
        count = yield from _count_range(mvcc, wanted)
    if count:
        mvcc.bury(Tombstone(mvcc.revision + 1, wanted.first, wanted.end), count)
        mvcc.end_delete(request.key, request.range_end, count)
    return header(mvcc.reading_revision) + (b"\x10" + varint(count) if count else b"")


def bury_lease(mvcc: Mvcc, leases: Leases, lease: int, pending_max: int) -> Steps[bool | None]:
    """Gives True."""
    if lease not in leases:
        raise EtcdError(*errors.LEASE_NOT_FOUND)
    if len(mvcc.tombstones) >= pending_max:
        return None
    count = yield from _count_names(mvcc, ATTACHED, *lease_bounds(lease))
    if count and mvcc.tombstones:
        count = yield from _count_visible((key, b"") if key else COVERED for key in mvcc.attached(lease))
    if count:
        mvcc.bury(Tombstone(mvcc.revision + 1, lease=lease), count)
    end_lease(mvcc, leases, lease)
    return True


def _count_range(mvcc: Mvcc, wanted: Interval) -> Steps[int]:
    """How many keys there are; only the groups that the range cuts in two are looked at."""
    first, last = names.first_name(wanted.first), None if wanted.end is None else names.last_name(wanted.end)
    count = 0
    for bound in (wanted.first, wanted.end):
        if bound is not None and not names.has_whole_name(bound) and (last is None or first < last):
            group = names.group_of(names.escaped(bound))
            count += yield from _count_held(mvcc, group, wanted)
            if bound is wanted.first:
                first = group[1]
            else:
                last = group[0]
    if last is None or first < last:
        count += yield from _count_names(mvcc, LIVE, first, last)
    return count


def _count_names(mvcc: Mvcc, table: str, first: bytes, last: bytes | None) -> Steps[int]:
    count = 0
    while found := mvcc.space.keys(table, first, last, _NAMES_A_STEP):
        count += len(found)
        first = found[-1] + b"\x00"
        yield LOOK * len(found) // _NAMES_A_LOOK + 1
        if len(found) < _NAMES_A_STEP:
            break
    return count


def _count_held(mvcc: Mvcc, group: tuple[bytes, bytes], wanted: Interval) -> Steps[int]:
    """How many keys of a group are in the range."""
    count = 0
    for looked, (_, pair) in enumerate(mvcc.space.scan(LIVE, *group), 1):
        count += wanted.holds(KeyValue.FromString(pair).key)
        if not looked % _LOOKS_A_STEP:
            yield LOOK * _LOOKS_A_STEP
    return count


def _count_visible(looks: Iterator[tuple[bytes, bytes] | tuple[()] | None]) -> Steps[int]:
    """How many pairs there are."""
    count = 0
    for looked, look in enumerate(looks, 1):
        count += bool(look)
        if not looked % _LOOKS_A_STEP:
            yield LOOK * _LOOKS_A_STEP
    return count
