"""Requests drawn from a seed: every kind of KV and Lease call, every option, good and bad values.

Rules
1. What is drawn depends on the seed and on the revisions that the servers have come to, and on nothing else.
2. Nothing is drawn whose answer depends on time: leases live for hours, or are revoked by the next request.
3. Nothing is drawn at which etcd crashes: a transaction that deletes keeps no value and no lease of a key, and no
   range has an order that there is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from google.protobuf.message import Message

from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)

T = TypeVar("T")

_LONG = b"long/" + b"x" * 480
"""More than what a store of ours keeps of a key in its name."""
KEYS = [
    *(bytes([letter]) for letter in b"abcdefgh"),
    *(b"dir/%d" % number for number in range(8)),
    b"\x00",
    b"\x00\x00",
    b"\xff",
    b"\xff\xff",
    b"dir/",
    b"dir0",
    _LONG,
    _LONG + b"\x00",
    _LONG + b"a",
    _LONG + b"b",
]
VALUES = [b"", b"1", b"2", b"22", b"\x00", b"\xff\x00", b"v" * 300]
LEASES: list[int] = [*range(1, 13), -3, 1 << 62]
TTL_S = [3_600 * hours for hours in range(1, 12)]
FAR = 1 << 40
OPS_MAX = 128
NESTED_MAX = 3


class Call(NamedTuple):
    """What is asked of all servers."""

    method: str
    request: Message

    def __str__(self) -> str:
        return f"{self.method} {self.request!s}"


class Requests:
    """The calls of one seed, one after another."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(f"conformance {seed}")
        self._value = 0
        self._revision = 1
        self._compacted = 0
        self._next: Call | None = None
        self._kinds: list[tuple[int, Callable[[], Call]]] = [
            (24, self._put),
            (22, self._range),
            (9, self._delete),
            (26, self._txn),
            (2, self._compact),
            (4, self._grant),
            (3, self._revoke),
            (3, self._time_to_live),
            (2, self._keep_alive),
            (1, self._leases),
            (1, self._short_lease),
        ]

    def next(self, revision: int) -> Call:
        """The next one; ``revision`` is the servers' newest."""
        self._revision = revision
        if self._next is not None:
            call, self._next = self._next, None
            return call
        weights = [weight for weight, _ in self._kinds]
        (_, make), *_ = self._draw.choices(self._kinds, weights)
        return make()

    def watch(self, revision: int) -> WatchCreateRequest:
        """A watch of some keys, from now on."""
        self._revision = revision
        draw = self._draw
        key, end = self._interval()
        while not key or (end and end != b"\x00" and end <= key):
            key, end = self._interval()
        return WatchCreateRequest(
            key=key,
            range_end=end,
            prev_kv=self._sometimes(0.5),
            fragment=self._sometimes(0.3),
            filters=draw.choice(([], [], [WatchCreateRequest.NOPUT], [WatchCreateRequest.NODELETE])),
        )

    def late_watch(self, revision: int) -> WatchCreateRequest:
        """One from a revision that can still be watched, but for one in ten."""
        request = self.watch(revision)
        if self._sometimes(0.1):
            request.start_revision = self._draw.randrange(-3, max(self._compacted, 1))
        else:
            request.start_revision = self._draw.randrange(self._compacted + 1, revision + 1)
        return request

    # ---- the kinds

    def _put(self) -> Call:
        return Call("KV/Put", self._put_request(may_keep=True))

    def _range(self) -> Call:
        return Call("KV/Range", self._range_request())

    def _delete(self) -> Call:
        return Call("KV/DeleteRange", self._delete_request())

    def _txn(self) -> Call:
        if self._sometimes(0.01):
            return Call("KV/Txn", self._long_txn())
        deletes = self._sometimes(0.5)
        return Call("KV/Txn", self._txn_request(NESTED_MAX, deletes=deletes, reads_only=self._sometimes(0.2)))

    def _compact(self) -> Call:
        draw = self._draw
        kind = draw.random()
        if kind < 0.6:
            revision = draw.randrange(self._compacted, self._revision + 1)
        elif kind < 0.7:
            revision = self._revision
        else:
            revision = draw.choice((-1, 0, self._compacted, self._compacted - 1, self._revision + 1, FAR))
        if self._compacted < revision <= self._revision:
            self._compacted = revision
        return Call("KV/Compact", CompactionRequest(revision=revision, physical=self._sometimes(0.3)))

    def _grant(self) -> Call:
        ttl = 9_000_000_001 if self._sometimes(0.05) else self._draw.choice(TTL_S)
        return Call("Lease/LeaseGrant", LeaseGrantRequest(ID=self._draw.choice(LEASES), TTL=ttl))

    def _short_lease(self) -> Call:
        lease = 77
        self._next = Call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=lease))
        return Call("Lease/LeaseGrant", LeaseGrantRequest(ID=lease, TTL=self._draw.choice((-5, 0, 1))))

    def _revoke(self) -> Call:
        return Call("Lease/LeaseRevoke", LeaseRevokeRequest(ID=self._lease()))

    def _time_to_live(self) -> Call:
        request = LeaseTimeToLiveRequest(ID=self._lease(), keys=self._sometimes(0.6))
        return Call("Lease/LeaseTimeToLive", request)

    def _keep_alive(self) -> Call:
        return Call("Lease/LeaseKeepAlive", LeaseKeepAliveRequest(ID=self._lease()))

    def _leases(self) -> Call:
        return Call("Lease/LeaseLeases", LeaseLeasesRequest())

    # ---- their requests

    def _put_request(self, *, may_keep: bool) -> PutRequest:
        request = PutRequest(key=self._key(), prev_kv=self._sometimes(0.3))
        if may_keep and self._sometimes(0.15):
            request.ignore_value = True
        if may_keep and self._sometimes(0.15):
            request.ignore_lease = True
        if not request.ignore_value or self._sometimes(0.05):
            request.value = self._some_value()
        if (not request.ignore_lease or self._sometimes(0.05)) and self._sometimes(0.3):
            request.lease = self._lease()
        return request

    def _range_request(self) -> RangeRequest:
        key, end = self._interval()
        request = RangeRequest(
            key=key,
            range_end=end,
            serializable=self._sometimes(0.3),
            keys_only=self._sometimes(0.2),
            count_only=self._sometimes(0.1),
        )
        if self._sometimes(0.35):
            request.limit = self._draw.choice((-1, 1, 2, 3, 5, 8, 100))
        if self._sometimes(0.35):
            request.revision = self._some_revision()
        if self._sometimes(0.4):
            request.sort_order = self._draw.choice((*RangeRequest.SortOrder.values(), RangeRequest.DESCEND))
        if self._sometimes(0.4):
            request.sort_target = self._draw.choice(RangeRequest.SortTarget.values())
        for name in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if self._sometimes(0.06):
                setattr(request, name, self._some_revision())
        return request

    def _delete_request(self) -> DeleteRangeRequest:
        key, end = self._interval() if self._sometimes(0.5) else (self._key(), b"")
        return DeleteRangeRequest(key=key, range_end=end, prev_kv=self._sometimes(0.4))

    def _txn_request(self, depth: int, *, deletes: bool, reads_only: bool) -> TxnRequest:
        few = (0, 0, 1, 1, 2, 3)
        return TxnRequest(
            compare=[self._compare() for _ in range(self._draw.choice(few))],
            success=self._operations(depth, deletes=deletes, reads_only=reads_only),
            failure=self._operations(depth, deletes=deletes, reads_only=reads_only),
        )

    def _operations(self, depth: int, *, deletes: bool, reads_only: bool) -> Sequence[RequestOp]:
        count = self._draw.choice((0, 1, 1, 2, 3, 5))
        return [self._operation(depth, deletes=deletes, reads_only=reads_only) for _ in range(count)]

    def _operation(self, depth: int, *, deletes: bool, reads_only: bool) -> RequestOp:
        kind = self._draw.random()
        if reads_only or kind < 0.3:
            if self._sometimes(0.01):
                return RequestOp()
            return RequestOp(request_range=self._range_request())
        if depth > 0 and kind < 0.42:
            nested = self._txn_request(depth - 1, deletes=deletes, reads_only=self._sometimes(0.2))
            return RequestOp(request_txn=nested)
        if deletes and kind < 0.65:
            return RequestOp(request_delete_range=self._delete_request())
        return RequestOp(request_put=self._put_request(may_keep=not deletes))

    def _long_txn(self) -> TxnRequest:
        """As many operations as are admitted, or one more; in one transaction, or with those nested in it."""
        count = self._draw.choice((OPS_MAX, OPS_MAX + 1))
        nested = self._draw.choice((0, 0, 40))
        ranges = [RequestOp(request_range=RangeRequest(key=b"a")) for _ in range(count - nested)]
        if not nested:
            return TxnRequest(success=ranges)
        inner = [RequestOp(request_range=RangeRequest(key=b"b")) for _ in range(nested)]
        return TxnRequest(success=[*ranges[1:], RequestOp(request_txn=TxnRequest(failure=inner))])

    def _compare(self) -> Compare:
        draw = self._draw
        key, end = (self._key(), b"") if self._sometimes(0.7) else self._interval()
        compare = Compare(
            key=key,
            range_end=end,
            result=draw.choice(Compare.CompareResult.values()),
            target=draw.choice(Compare.CompareTarget.values()),
        )
        of = compare.target if self._sometimes(0.95) else draw.choice(Compare.CompareTarget.values())
        match of:
            case Compare.VERSION:
                compare.version = draw.randrange(4)
            case Compare.CREATE:
                compare.create_revision = draw.choice((0, self._some_revision()))
            case Compare.MOD:
                compare.mod_revision = draw.choice((0, self._some_revision()))
            case Compare.VALUE:
                compare.value = draw.choice(VALUES)
            case Compare.LEASE:
                compare.lease = draw.choice((0, self._lease()))
        return compare

    # ---- their parts

    def _sometimes(self, chance: float) -> bool:
        return self._draw.random() < chance

    def _key(self) -> bytes:
        return b"" if self._sometimes(0.01) else self._draw.choice(KEYS)

    def _interval(self) -> tuple[bytes, bytes]:
        """A key and the end of a range from it: none, none at all, a later one, or one that is not later."""
        draw = self._draw
        kind = draw.random()
        key = self._key()
        if kind < 0.25:
            return key, b""
        if kind < 0.4:
            return draw.choice((b"\x00", key)), b"\x00"
        if kind < 0.55:
            return b"dir/", b"dir0"
        other = draw.choice(KEYS)
        if kind < 0.95:
            return min(key, other), max(key, other)
        return max(key, other), min(key, other)

    def _some_value(self) -> bytes:
        if self._sometimes(0.5):
            return self._draw.choice(VALUES)
        self._value += 1
        return b"%d" % self._value

    def _lease(self) -> int:
        return self._draw.choice(LEASES)

    def _some_revision(self) -> int:
        """One that there is, but for a few that are compacted, not there yet, or none."""
        draw = self._draw
        if self._sometimes(0.1):
            return draw.choice((-1, 1, self._compacted - 1, self._compacted, self._revision + 1, FAR))
        return draw.randrange(max(self._compacted, self._revision - 200), self._revision + 1)
