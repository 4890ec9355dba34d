"""How often a request is decoded and encoded between the socket's bytes and the answer's.

Once where it comes in, once where it is applied or read (on each replica); a plain put or get is read by hand instead.
Its own bytes go into the command, and the answer is put together from what applying has encoded. The counts are of
every call of protobuf's methods in one member.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from google.protobuf.message import Message

from ratified.wire.etcd import kv_pb2, rpc_pb2
from ratified.wire.etcd.rpc_pb2 import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    HashKVRequest,
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
    WatchRequest,
)
from tests.api.conftest import Act, Api

WithApi = Callable[[Act], None]
LEASE = 7
NOT_OF_A_REQUEST = (rpc_pb2.ResponseHeader, rpc_pb2.StatusResponse)
"""Made anew when the term changes, and read when the store's size is older than a quarter of a second."""


class Counts:
    """Calls by name of the message."""

    def __init__(self) -> None:
        self.decoded: Counter[str] = Counter()
        self.encoded: Counter[str] = Counter()

    def clear(self) -> None:
        self.decoded.clear()
        self.encoded.clear()


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counts:
    """Counts that go up from now on."""
    counts = Counts()
    for module in (kv_pb2, rpc_pb2):
        for message in vars(module).values():
            if isinstance(message, type) and issubclass(message, Message) and message not in NOT_OF_A_REQUEST:
                _count(monkeypatch, message, counts)
    return counts


def _count(monkeypatch: pytest.MonkeyPatch, message: type[Message], counts: Counts) -> None:
    name = message.DESCRIPTOR.name
    from_string = message.FromString

    def decode(data: bytes) -> Message:
        counts.decoded[name] += 1
        return from_string(data)

    monkeypatch.setattr(message, "FromString", staticmethod(decode))
    for method in ("ParseFromString", "MergeFromString"):
        monkeypatch.setattr(message, method, _counting(getattr(message, method), counts.decoded, name))
    for method in ("SerializeToString", "SerializePartialToString"):
        monkeypatch.setattr(message, method, _counting(getattr(message, method), counts.encoded, name))


def _counting(method: Callable[..., Any], counter: Counter[str], name: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        counter[name] += 1
        return method(*arguments, **options)

    return call


def put(key: bytes) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=b"v"))


def get(key: bytes) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key))


PLAIN = [
    ("KV/Put", PutRequest(key=b"new", value=b"v")),
    ("KV/Range", RangeRequest(key=b"old")),
    ("KV/Range", RangeRequest(key=b"old", serializable=True)),
]
"""Read by hand (``kv.plain``)."""
ONCE_IN_ONCE_APPLIED: list[tuple[str, Message]] = [
    ("KV/Put", PutRequest(key=b"old", value=b"v", prev_kv=True)),
    ("KV/Range", RangeRequest(key=b"old", keys_only=True)),
    ("KV/Range", RangeRequest(key=b"o", range_end=b"p", serializable=True)),
    ("KV/DeleteRange", DeleteRangeRequest(key=b"old")),
    ("KV/Txn", TxnRequest(compare=[Compare(key=b"old", version=1)], success=[put(b"a"), get(b"old")])),
    ("KV/Txn", TxnRequest(success=[RequestOp(request_txn=TxnRequest(success=[put(b"a")]))], failure=[put(b"b")])),
    ("KV/Txn", TxnRequest(success=[get(b"old")])),
    ("KV/Compact", CompactionRequest(revision=2)),
    ("Lease/LeaseGrant", LeaseGrantRequest(TTL=100)),
    ("Lease/LeaseGrant", LeaseGrantRequest(TTL=100, ID=8)),
    ("Lease/LeaseRevoke", LeaseRevokeRequest(ID=LEASE)),
    ("Lease/LeaseTimeToLive", LeaseTimeToLiveRequest(ID=LEASE)),
    ("Maintenance/HashKV", HashKVRequest()),
]
FILLED_IN = {"LeaseGrantRequest": 1}
"""Encoded again: the proposer chooses the id and the least time to live."""


def run(with_api: WithApi, counts: Counts, act: Callable[[Api], Coroutine[Any, Any, None]]) -> None:
    """With a key and a lease."""

    async def begin(api: Api) -> None:
        await api.call("/etcdserverpb.KV/Put", PutRequest(key=b"old").SerializeToString())
        await api.call("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest(ID=LEASE, TTL=100).SerializeToString())
        await act(api)

    with_api(begin)


@pytest.mark.parametrize(("path", "request_"), ONCE_IN_ONCE_APPLIED)
def test_a_request_is_decoded_once_where_it_comes_in_and_once_where_it_is_applied(
    with_api: WithApi, counts: Counts, path: str, request_: Message
) -> None:
    async def act(api: Api) -> None:
        data = request_.SerializeToString()
        counts.clear()
        await api.call(f"/etcdserverpb.{path}", data)
        decoded = {name: count for name, count in counts.decoded.items() if name != "KeyValue"}
        assert decoded == {request_.DESCRIPTOR.name: 2}
        encoded = {name: count for name, count in counts.encoded.items() if name.endswith("Request")}
        assert encoded == {name: count for name, count in FILLED_IN.items() if name == request_.DESCRIPTOR.name}

    run(with_api, counts, act)


@pytest.mark.parametrize(("path", "request_"), PLAIN)
def test_a_plain_request_is_not_decoded(with_api: WithApi, counts: Counts, path: str, request_: Message) -> None:
    async def act(api: Api) -> None:
        data = request_.SerializeToString()
        counts.clear()
        await api.call(f"/etcdserverpb.{path}", data)
        assert not counts.decoded
        assert not counts.encoded

    run(with_api, counts, act)


@pytest.mark.parametrize(("path", "request_"), [*PLAIN, *ONCE_IN_ONCE_APPLIED])
def test_an_answer_is_encoded_once_and_its_header_is_only_appended(
    with_api: WithApi, counts: Counts, path: str, request_: Message
) -> None:
    """The answers of the hot path are written by hand; of the pairs only what is stored is encoded."""

    async def act(api: Api) -> None:
        data = request_.SerializeToString()
        counts.clear()
        await api.call(f"/etcdserverpb.{path}", data)
        answers = {name: count for name, count in counts.encoded.items() if name.endswith("Response")}
        assert set(answers.values()) <= {1}
        assert set(answers) <= {"LeaseTimeToLiveResponse", "HashKVResponse"}

    run(with_api, counts, act)


def test_a_lease_is_kept_alive_with_two_decodes_and_one_encode(with_api: WithApi, counts: Counts) -> None:
    async def act(api: Api) -> None:
        data = LeaseKeepAliveRequest(ID=LEASE).SerializeToString()
        counts.clear()
        stream, task = api.open("/etcdserverpb.Lease/LeaseKeepAlive")
        await stream.requests.put(data)
        await stream.answers.get()
        assert counts.decoded == {"LeaseKeepAliveRequest": 2}
        assert counts.encoded == {"LeaseKeepAliveResponse": 1}
        task.cancel()

    run(with_api, counts, act)


def test_a_watch_is_decoded_once_where_it_comes_in_and_an_event_is_never_decoded(
    with_api: WithApi, counts: Counts
) -> None:
    """The stored pair is the event: whoever watches costs a put neither a decode nor an encode."""

    async def act(api: Api) -> None:
        create = WatchRequest(create_request=WatchCreateRequest(key=b"old")).SerializeToString()
        write = PutRequest(key=b"old").SerializeToString()
        counts.clear()
        stream, task = api.open("/etcdserverpb.Watch/Watch")
        await stream.requests.put(create)
        await stream.answers.get()
        assert counts.decoded == {"WatchRequest": 1, "WatchCreateRequest": 1}
        assert counts.encoded == {"WatchCreateRequest": 1}
        counts.clear()
        await api.call("/etcdserverpb.KV/Put", write)
        await stream.answers.get()
        assert counts.decoded == {"PutRequest": 2, "KeyValue": 1}
        assert counts.encoded == {"KeyValue": 1}
        task.cancel()

    run(with_api, counts, act)


def test_what_asks_for_nothing_is_still_decoded(with_api: WithApi, counts: Counts) -> None:
    async def act(api: Api) -> None:
        counts.clear()
        await api.call("/etcdserverpb.Lease/LeaseLeases", b"")
        assert counts.decoded == {LeaseLeasesRequest.DESCRIPTOR.name: 1}

    run(with_api, counts, act)
