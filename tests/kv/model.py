"""etcd's store as plainly as it can be said: a list of everything that happened, looked through for every answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import Message

from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    CompactionResponse,
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)
from tests.kv.driver import FRESH_LEASE, TTL_MIN_S, Failed

COMPACTED = Failed(11, "etcdserver: mvcc: required revision has been compacted")
FUTURE = Failed(11, "etcdserver: mvcc: required revision is a future revision")
NO_LEASE = Failed(5, "etcdserver: requested lease not found")
NO_KEY = Failed(3, "etcdserver: key not found")
LEASE_EXISTS = Failed(9, "etcdserver: lease already exists")


@dataclass
class Event:
    revision: int
    key: bytes
    pair: KeyValue | None


@dataclass
class Model:
    revision: int = 1
    compacted: int = -1
    events: list[Event] = field(default_factory=list)
    leases: dict[int, int] = field(default_factory=dict)
    changed: bool = False

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def seen(self) -> int:
        return self.revision + 1 if self.changed else self.revision

    def at(self, revision: int) -> dict[bytes, KeyValue]:
        pairs: dict[bytes, KeyValue] = {}
        for event in self.events:
            if event.revision <= revision:
                if event.pair is None:
                    pairs.pop(event.key, None)
                else:
                    pairs[event.key] = event.pair
        return pairs

    def pairs(self, key: bytes, range_end: bytes, revision: int) -> list[KeyValue]:
        pairs = self.at(revision)
        return [pairs[one] for one in sorted(pairs) if in_range(one, key, range_end)]

    def range(self, request: RangeRequest) -> RangeResponse:
        if request.revision > self.seen:
            raise FUTURE
        if 0 < request.revision < self.compacted:
            raise COMPACTED
        response = RangeResponse(header=ResponseHeader(revision=self.seen))
        revision = request.revision if request.revision > 0 else self.seen
        pairs = self.pairs(request.key, request.range_end, revision)
        response.count = len(pairs)
        if request.count_only:
            return response
        pairs = [pair for pair in pairs if passes(request, pair)]
        if request.sort_order != RangeRequest.NONE or request.sort_target != RangeRequest.KEY:
            if 0 < request.limit < len(pairs) and request.sort_order == RangeRequest.NONE and not filters(request):
                pairs = pairs[: request.limit + 1]
            name = ["key", "version", "create_revision", "mod_revision", "value"][request.sort_target]
            pairs.sort(key=lambda pair: getattr(pair, name), reverse=request.sort_order == RangeRequest.DESCEND)
        if 0 < request.limit < len(pairs):
            pairs, response.more = pairs[: request.limit], True
        for pair in pairs:
            shown = response.kvs.add()
            shown.CopyFrom(pair)
            if request.keys_only:
                shown.value = b""
        return response

    # -- writing --------------------------------------------------------------------------------------------------

    def do(self, request: Message) -> Message:
        try:
            return self._do(request)
        finally:
            if self.changed:
                self.revision += 1
                self.changed = False

    def _do(self, request: Message) -> Message:
        match request:
            case PutRequest():
                self.check_put(request)
                return self.put(request)
            case DeleteRangeRequest():
                return self.delete_range(request)
            case TxnRequest():
                return self.txn(request)
            case CompactionRequest():
                if request.revision <= self.compacted:
                    raise COMPACTED
                if request.revision > self.revision:
                    raise FUTURE
                self.compacted = request.revision
                return CompactionResponse(header=ResponseHeader(revision=self.revision))
            case LeaseGrantRequest():
                lease, ttl = request.ID or FRESH_LEASE, max(request.TTL, TTL_MIN_S)
                if lease in self.leases:
                    raise LEASE_EXISTS
                self.leases[lease] = ttl
                return LeaseGrantResponse(header=ResponseHeader(revision=self.revision), ID=lease, TTL=ttl)
            case LeaseRevokeRequest():
                if request.ID not in self.leases:
                    raise NO_LEASE
                del self.leases[request.ID]
                for key, pair in sorted(self.at(self.revision).items()):
                    if pair.lease == request.ID:
                        self.change(key, None)
                return LeaseRevokeResponse(header=ResponseHeader(revision=self.seen))
        raise AssertionError(request)

    def change(self, key: bytes, pair: KeyValue | None) -> None:
        self.events.append(Event(self.revision + 1, key, pair))
        self.changed = True

    def check_put(self, request: PutRequest) -> None:
        if request.lease and request.lease not in self.leases:
            raise NO_LEASE
        if (request.ignore_value or request.ignore_lease) and request.key not in self.at(self.seen):
            raise NO_KEY

    def put(self, request: PutRequest) -> PutResponse:
        old = self.at(self.seen).get(request.key)
        new = KeyValue(key=request.key, value=request.value, lease=request.lease, mod_revision=self.revision + 1)
        new.create_revision, new.version = (self.revision + 1, 1) if old is None else (old.create_revision, old.version)
        if old is not None:
            new.version += 1
            if request.ignore_value:
                new.value = old.value
            if request.ignore_lease:
                new.lease = old.lease
        self.change(request.key, new)
        return PutResponse(header=ResponseHeader(revision=self.revision + 1), prev_kv=old if request.prev_kv else None)

    def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        doomed = self.pairs(request.key, request.range_end, self.seen)
        for pair in doomed:
            self.change(pair.key, None)
        response = DeleteRangeResponse(header=ResponseHeader(revision=self.seen), deleted=len(doomed))
        if request.prev_kv:
            response.prev_kvs.extend(doomed)
        return response

    def txn(self, request: TxnRequest) -> TxnResponse:
        taken = self.taken(request)
        self.check_puts(taken, [])
        self.check_ranges(taken)
        response = self.run(taken)
        response.header.revision = self.seen
        return response

    def taken(self, request: TxnRequest) -> Taken:
        succeeded = all(self.holds(compare) for compare in request.compare)
        operations = list(request.success if succeeded else request.failure)
        nested = [self.taken(one.request_txn) if one.HasField("request_txn") else None for one in operations]
        return Taken(succeeded, operations, nested)

    def check_puts(self, taken: Taken, gone: list[DeleteRangeRequest]) -> None:
        for operation, nested in zip(taken.operations, taken.nested, strict=True):
            if nested is not None:
                self.check_puts(nested, gone)
            elif operation.HasField("request_delete_range"):
                gone.append(operation.request_delete_range)
            elif operation.HasField("request_put"):
                request = operation.request_put
                is_gone = any(in_range(request.key, one.key, one.range_end) for one in gone)
                if (request.ignore_value or request.ignore_lease) and (
                    is_gone or request.key not in self.at(self.seen)
                ):
                    raise NO_KEY
                self.check_put(request)

    def check_ranges(self, taken: Taken) -> None:
        for operation, nested in zip(taken.operations, taken.nested, strict=True):
            if nested is not None:
                self.check_ranges(nested)
            elif operation.HasField("request_range"):
                self.range(operation.request_range)

    def run(self, taken: Taken) -> TxnResponse:
        response = TxnResponse(header=ResponseHeader(), succeeded=taken.succeeded)
        for operation, nested in zip(taken.operations, taken.nested, strict=True):
            if nested is not None:
                response.responses.append(ResponseOp(response_txn=self.run(nested)))
            elif operation.HasField("request_put"):
                response.responses.append(ResponseOp(response_put=self.put(operation.request_put)))
            elif operation.HasField("request_range"):
                response.responses.append(ResponseOp(response_range=self.range(operation.request_range)))
            else:
                deleted = self.delete_range(operation.request_delete_range)
                response.responses.append(ResponseOp(response_delete_range=deleted))
        return response

    def holds(self, compare: Compare) -> bool:
        pairs = self.pairs(compare.key, compare.range_end, self.revision)
        if not pairs and compare.target == Compare.VALUE:
            return False
        name = ["version", "create_revision", "mod_revision", "value", "lease"][compare.target]
        given = getattr(compare, name)
        relations = [
            lambda present: present == given,
            lambda present: present > given,
            lambda present: present < given,
            lambda present: present != given,
        ]
        return all(relations[compare.result](getattr(pair, name)) for pair in pairs or [KeyValue()])

    # -- watching -------------------------------------------------------------------------------------------------

    def watched(self, key: bytes, range_end: bytes, start: int) -> list[tuple[int, bytes, bytes | None]]:
        """What a watch from ``start`` must have seen by now."""
        return [
            (event.revision, event.key, None if event.pair is None else event.pair.value)
            for event in self.events
            if event.revision >= start and in_range(event.key, key, range_end)
        ]


@dataclass
class Taken:
    """The branch that a transaction takes, and those nested in it take."""

    succeeded: bool
    operations: list[RequestOp]
    nested: list[Taken | None]


def in_range(one: bytes, key: bytes, range_end: bytes) -> bool:
    if not range_end:
        return one == key
    return one >= key and (range_end == b"\x00" or one < range_end)


def filters(request: RangeRequest) -> bool:
    return bool(
        request.min_mod_revision
        or request.max_mod_revision
        or request.min_create_revision
        or request.max_create_revision
    )


def passes(request: RangeRequest, pair: KeyValue) -> bool:
    checks = (
        (request.min_mod_revision, pair.mod_revision, 1),
        (request.max_mod_revision, pair.mod_revision, -1),
        (request.min_create_revision, pair.create_revision, 1),
        (request.max_create_revision, pair.create_revision, -1),
    )
    return all(not bound or sign * present >= sign * bound for bound, present, sign in checks)
