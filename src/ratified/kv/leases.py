"""The leases that there are: part of the replicated state, the same on every replica.

A lease is its id, its time to live in seconds, and the log index that granted it. The index tells a lease from a later
one that was granted under the same id, so that an expiry which was proposed for the first never ends the second.
When a lease ends is no part of the state; only the leader's ``lessor`` knows.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from ratified.kv.digest import Sums
from ratified.kv.errors import EtcdError
from ratified.storage.space import Space
from ratified.wire.etcd import errors

TABLE = "leases"
_ID = Struct(">Q")
_ROW = Struct(">qQ")


class Lease(NamedTuple):
    """Seconds to live, and the index of the command that granted it."""

    ttl: int
    granted: int


class Leases:
    """All leases, in memory and in their table."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._by_id: dict[int, Lease] = {}
        self.reload()

    def reload(self) -> None:
        """Forget what is in memory and read the table."""
        self._by_id = {
            _signed(_ID.unpack(key)[0]): Lease(*_ROW.unpack(row)) for key, row in self._space.scan(TABLE, b"", None)
        }

    def __contains__(self, lease: int) -> bool:
        return lease in self._by_id

    def get(self, lease: int) -> Lease | None:
        return self._by_id.get(lease)

    def ids(self) -> list[int]:
        """All ids, sorted."""
        return sorted(self._by_id)

    def check(self, lease: int) -> None:
        """Raise etcd's error where a key is to be attached to a lease that is not there (0 is no lease)."""
        if lease and lease not in self._by_id:
            raise EtcdError(*errors.LEASE_NOT_FOUND)

    def grant(self, lease: int, ttl: int, granted: int, sums: Sums) -> None:
        if lease in self._by_id:
            raise EtcdError(*errors.LEASE_EXISTS)
        self._by_id[lease] = Lease(ttl, granted)
        key, row = _ID.pack(_unsigned(lease)), _ROW.pack(ttl, granted)
        self._space.put(TABLE, key, row)
        sums.add_lease(key + row)

    def remove(self, lease: int, sums: Sums) -> None:
        """Take a lease away; its keys are the caller's."""
        key = _ID.pack(_unsigned(lease))
        row = _ROW.pack(*self._by_id.pop(lease))
        self._space.delete(TABLE, key)
        sums.remove_lease(key + row)


def _unsigned(lease: int) -> int:
    return lease & 0xFFFF_FFFF_FFFF_FFFF


def _signed(lease: int) -> int:
    return lease - 2**64 if lease >= 2**63 else lease
