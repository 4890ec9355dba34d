"""The listener on a real process, spoken to in bare gRPC."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from ratified.wire.etcd import rpc_pb2
from tests.server.test_process import Place

WATCH, PUT = "/etcdserverpb.Watch/Watch", "/etcdserverpb.KV/Put"
WATCHES = 200
AT_ONCE = 4_000
"""More calls than gRPC keeps waiting by itself."""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    place = Place(Path(tmp_path_factory.mktemp("place")))
    with place.serving() as node, grpc.insecure_channel(node.endpoint) as opened:
        yield opened


def put(channel: grpc.Channel, key: bytes) -> int:
    request = rpc_pb2.PutRequest(key=key, value=b"v").SerializeToString()
    return rpc_pb2.PutResponse.FromString(channel.unary_unary(PUT)(request, timeout=20)).header.revision


def test_one_change_goes_to_all_the_watches_of_a_stream(channel: grpc.Channel) -> None:
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    create = rpc_pb2.WatchRequest(create_request=rpc_pb2.WatchCreateRequest(key=b"k"))
    for _ in range(WATCHES):
        requests.put(create.SerializeToString())
    stream = channel.stream_stream(WATCH)(iter(requests.get, None), timeout=60)
    created = [rpc_pb2.WatchResponse.FromString(next(stream)) for _ in range(WATCHES)]
    assert sorted(answer.watch_id for answer in created) == list(range(WATCHES))
    revisions = [put(channel, b"k") for _ in range(3)]
    seen: dict[int, list[int]] = {}
    while sum(map(len, seen.values())) < 3 * WATCHES:
        answer = rpc_pb2.WatchResponse.FromString(next(stream))
        seen.setdefault(answer.watch_id, []).extend(event.kv.mod_revision for event in answer.events)
    assert all(told == revisions for told in seen.values())
    stream.cancel()


def test_as_many_calls_as_a_node_takes_may_come_at_once(channel: grpc.Channel) -> None:
    request = rpc_pb2.PutRequest(key=b"k", value=b"v").SerializeToString()
    calls = [channel.unary_unary(PUT).future(request, timeout=120) for _ in range(AT_ONCE)]
    revisions = {rpc_pb2.PutResponse.FromString(call.result()).header.revision for call in calls}
    assert len(revisions) == AT_ONCE


@pytest.mark.parametrize("metadata", [(), (("hasleader", "true"),)])
def test_a_call_may_say_that_it_wants_a_leader(channel: grpc.Channel, metadata: tuple[tuple[str, str], ...]) -> None:
    request = rpc_pb2.PutRequest(key=b"k", value=b"v").SerializeToString()
    assert channel.unary_unary(PUT)(request, timeout=20, metadata=metadata)


@pytest.mark.parametrize(
    ("path", "request_bytes", "code", "text"),
    [
        ("/etcdserverpb.KV/RangeStream", b"", grpc.StatusCode.UNIMPLEMENTED, "unknown method RangeStream"),
        ("/etcdserverpb.Maintenance/Nothing", b"", grpc.StatusCode.UNIMPLEMENTED, "for service etcdserverpb.Maint"),
        (PUT, b"", grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: key is not provided"),
        (PUT, b"\xff\xff", grpc.StatusCode.INTERNAL, "grpc: error unmarshalling request"),
        (PUT, bytes(1600 * 1024), grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large"),
        (PUT, bytes(3 << 20), grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
    ],
)
def test_a_bad_call_gets_its_code_and_text(
    channel: grpc.Channel, path: str, request_bytes: bytes, code: grpc.StatusCode, text: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(path)(request_bytes, timeout=20)
    assert caught.value.code() is code
    assert text in caught.value.details()
    assert put(channel, b"k") > 0
