"""Which keys a user may read and write: the union of what the user's roles permit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from ratified.kv.intervals import Interval, interval, merged
from ratified.wire.etcd.auth_pb2 import Permission

_READS = (Permission.READ, Permission.READWRITE)
_WRITES = (Permission.WRITE, Permission.READWRITE)


class Permissions:
    """Of one user."""

    def __init__(self, permissions: Iterable[Permission]) -> None:
        given = [(each.permType, interval(each.key, each.range_end)) for each in permissions]
        self._readable = merged(keys for kind, keys in given if kind in _READS)
        self._writable = merged(keys for kind, keys in given if kind in _WRITES)

    def reads(self, keys: Interval) -> bool:
        """May all of these keys be read, those included that do not exist?"""
        return _cover(self._readable, keys)

    def writes(self, keys: Interval) -> bool:
        return _cover(self._writable, keys)


def _cover(permitted: Sequence[Interval], keys: Interval) -> bool:
    """``permitted`` do not overlap, nor touch each other: one alone has all the keys, or there is one that none has."""
    at = bisect_right(permitted, keys.first, key=lambda each: each.first)
    if at == 0:
        return False
    end = permitted[at - 1].end
    if end is None:
        return True
    return keys.end is not None and keys.first < end and keys.end <= end
