"""One server of etcd's API that is asked, and its answers in a form in which they can be compared.

Left out of the comparison: cluster, member and term of a header; how much of a lease's time is left, where it is nearly
all; the order of leases, and of a lease's keys, which in etcd depends on time and chance. Pairs that stand equal in the
order that was asked for have no order among them: etcd's sort is not stable.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import Message

from ratified.wire.etcd.kv_pb2 import KeyValue
from ratified.wire.etcd.rpc_pb2 import (
    CompactionResponse,
    DeleteRangeResponse,
    LeaseGrantResponse,
    LeaseKeepAliveResponse,
    LeaseLeasesResponse,
    LeaseRevokeResponse,
    LeaseTimeToLiveResponse,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    ResponseOp,
    TxnRequest,
    TxnResponse,
    WatchCreateRequest,
    WatchRequest,
    WatchResponse,
)
from tests.conformance.drawn import Call

TIMEOUT_S = 30.0
LEASE_AGE_S_MAX = 600
"""How much less than its whole time a lease may have left."""

_RESPONSES: dict[str, type[Message]] = {
    "KV/Range": RangeResponse,
    "KV/Put": PutResponse,
    "KV/DeleteRange": DeleteRangeResponse,
    "KV/Txn": TxnResponse,
    "KV/Compact": CompactionResponse,
    "Lease/LeaseGrant": LeaseGrantResponse,
    "Lease/LeaseRevoke": LeaseRevokeResponse,
    "Lease/LeaseKeepAlive": LeaseKeepAliveResponse,
    "Lease/LeaseTimeToLive": LeaseTimeToLiveResponse,
    "Lease/LeaseLeases": LeaseLeasesResponse,
}
_STREAMS = {"Lease/LeaseKeepAlive"}


class Failure(NamedTuple):
    """How a call failed."""

    code: str
    text: str


Answer = Message | Failure


class Asked:
    """One server."""

    def __init__(self, name: str, endpoint: str) -> None:
        self.name = name
        self._channel = grpc.insecure_channel(endpoint)
        self._methods = {method: self._method(method) for method in _RESPONSES}

    def _method(self, method: str) -> Any:
        kind = self._channel.stream_unary if method in _STREAMS else self._channel.unary_unary
        return kind(
            f"/etcdserverpb.{method}",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=_RESPONSES[method].FromString,
        )

    def begin(self, call: Call) -> Any:
        """Send it; ``answer`` waits for what comes."""
        asked = iter([call.request]) if call.method in _STREAMS else call.request
        return self._methods[call.method].future(asked, timeout=TIMEOUT_S)

    def watches(self) -> Watches:
        return Watches(self._channel)

    def close(self) -> None:
        self._channel.close()


def answer(call: Call, begun: Any) -> Answer:
    """What came, without what differs from cluster to cluster."""
    try:
        response: Message = begun.result()
    except grpc.RpcError as error:
        return Failure(error.code().name, error.details())
    match response:
        case TxnResponse():
            assert isinstance(call.request, TxnRequest)
            _settle_txn(call.request, response)
        case RangeResponse():
            assert isinstance(call.request, RangeRequest)
            _settle_range(call.request, response)
        case LeaseTimeToLiveResponse():
            response.keys.sort()
            if response.grantedTTL - LEASE_AGE_S_MAX < response.TTL:
                response.TTL = response.grantedTTL
        case LeaseLeasesResponse():
            response.leases.sort(key=lambda lease: lease.ID)
    settle_header(response)
    return response


def settle_header(response: Any) -> None:
    header: ResponseHeader = response.header
    header.ClearField("cluster_id")
    header.ClearField("member_id")
    header.ClearField("raft_term")


def revision(answered: Answer) -> int:
    """That of its header; 0: it has none."""
    return 0 if isinstance(answered, Failure) else int(getattr(answered, "header").revision)  # noqa: B009


def _settle_txn(request: TxnRequest, response: TxnResponse) -> None:
    operations: Sequence[RequestOp] = request.success if response.succeeded else request.failure
    for operation, answered in zip(operations, response.responses, strict=True):
        _settle_operation(operation, answered)


def _settle_operation(operation: RequestOp, answered: ResponseOp) -> None:
    match operation.WhichOneof("request"):
        case "request_range":
            _settle_range(operation.request_range, answered.response_range)
        case "request_txn":
            _settle_txn(operation.request_txn, answered.response_txn)


def _settle_range(request: RangeRequest, response: RangeResponse) -> None:
    """Those that stand equal in the order of keys; of a last group that the limit may have cut, only how many."""
    if request.sort_target == RangeRequest.KEY or not response.kvs:
        return
    groups = [(place, list(pairs)) for place, pairs in groupby(response.kvs, lambda pair: _place(request, pair))]
    settled: list[KeyValue] = []
    for number, (_, pairs) in enumerate(groups, 1):
        if number == len(groups) and response.more:
            settled += [KeyValue() for _ in pairs]
        else:
            settled += sorted(pairs, key=lambda pair: pair.key)
    del response.kvs[:]
    response.kvs.extend(settled)


def _place(request: RangeRequest, pair: KeyValue) -> int | bytes:
    match request.sort_target:
        case RangeRequest.VERSION:
            return pair.version
        case RangeRequest.CREATE:
            return pair.create_revision
        case RangeRequest.MOD:
            return pair.mod_revision
    return pair.value


class Watches:
    """One stream of watches."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._requests: queue.SimpleQueue[WatchRequest | None] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[WatchResponse | None] = queue.SimpleQueue()
        stream = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=WatchRequest.SerializeToString,
            response_deserializer=WatchResponse.FromString,
        )
        self._stream = stream(iter(self._requests.get, None))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for response in self._stream:
                settle_header(response)
                self._responses.put(response)
        except grpc.RpcError:
            self._responses.put(None)

    def ask(self, request: WatchRequest) -> None:
        self._requests.put(request)

    def create(self, request: WatchCreateRequest) -> None:
        self.ask(WatchRequest(create_request=request))

    def next(self) -> WatchResponse:
        """The next response; raises ``queue.Empty`` where none comes."""
        response = self._responses.get(timeout=TIMEOUT_S)
        assert response is not None, "the stream ended"
        return response

    def close(self) -> None:
        self._requests.put(None)
        self._stream.cancel()
