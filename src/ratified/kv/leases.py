"""The leases that there are: part of the replicated state, the same on every replica.

A lease is its id, its time to live in seconds, and the log index that granted it. The index tells a lease from a later
one that was granted under the same id, so that an expiry which was proposed for the first never ends the second.
When a lease ends is no part of the state; only the leader's ``lessor`` knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from typing_extensions import override

from ratified.kv.digest import Sums
from ratified.kv.encoding import field, header_only, varint
from ratified.kv.errors import EtcdError
from ratified.machine import Continuation, Slice
from ratified.storage.space import Space
from ratified.wire.etcd import errors

TABLE = "leases"
LEASE_BYTES = 512
"""What a lease counts in the store's size: most of it is memory of the member that leads (``docs/decisions/kv.md``)."""
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
        self._by_id = dict(_read(key, row) for key, row in space.scan(TABLE, b"", None))

    def load(self, key: bytes, row: bytes) -> None:
        """Take over a row from another replica's snapshot."""
        lease, read = _read(key, row)
        self._space.put(TABLE, key, row)
        self._by_id[lease] = read

    def replace_by(self, other: Leases) -> None:
        """Serve the leases of a snapshot from now on, in the space that it was loaded into."""
        self._space, self._by_id = other._space, other._by_id

    def __contains__(self, lease: int) -> bool:
        return lease in self._by_id

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def size_bytes(self) -> int:
        """What they count in the store's size."""
        return LEASE_BYTES * len(self._by_id)

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
        sums.add_row(key + row)

    def remove(self, lease: int, sums: Sums) -> None:
        """Take a lease away; its keys are the caller's."""
        key = _ID.pack(_unsigned(lease))
        row = _ROW.pack(*self._by_id.pop(lease))
        self._space.delete(TABLE, key)
        sums.remove_row(key + row)


class SlicedLeases(Continuation):
    """The LeaseLeasesResponse of these leases; its chunks, joined, are one answer."""

    def __init__(self, revision: int, ids: Sequence[int]) -> None:
        self._begin = header_only(revision)
        self._ids = ids
        self._told = 0

    def whole(self) -> bytes:
        """All at once."""
        return b"".join([self._begin, *map(_status, self._ids)])

    @property
    @override
    def deadline(self) -> int | None:
        return 0

    @override
    def advance(self, now: int, rows_max: int, bytes_max: int) -> Slice:
        chunk = b"".join([self._begin, *map(_status, self._ids[self._told : self._told + rows_max])])
        self._begin = b""
        self._told += rows_max
        return Slice([chunk], self._told >= len(self._ids))

    @override
    def cancel(self) -> None:
        """It holds nothing."""


def _read(key: bytes, row: bytes) -> tuple[int, Lease]:
    return _signed(_ID.unpack(key)[0]), Lease(*_ROW.unpack(row))


def _status(lease: int) -> bytes:
    """A LeaseStatus, as a field of the response."""
    return field(b"\x12", b"\x08" + varint(lease))


def _unsigned(lease: int) -> int:
    return lease & 0xFFFF_FFFF_FFFF_FFFF


def _signed(lease: int) -> int:
    return lease - 2**64 if lease >= 2**63 else lease
