"""Maintenance and what is not served, the same calls to etcd 3.5 and to ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grpc
import pytest
from google.protobuf.message import Message

from ratified.testing.processes import LocalCluster
from ratified.wire.etcd.rpc_pb2 import (
    CORRUPT,
    NOSPACE,
    AlarmRequest,
    AlarmResponse,
    DefragmentRequest,
    DefragmentResponse,
    DowngradeRequest,
    DowngradeResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    MemberUpdateRequest,
    MemberUpdateResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    StatusRequest,
    StatusResponse,
)
from tests.conformance.asking import Failure, settle_header
from tests.conformance.reference import etcd_35

TIMEOUT_S = 20
VERSIONS = ["", "x", "3", "3.3", "3.3.0", "3.5", "3.5.0", "3.6.0", "v3.4.0"]
CALLS: list[tuple[str, Message, type[Message]]] = [
    *(
        ("Maintenance/Downgrade", DowngradeRequest(action=action, version=version), DowngradeResponse)
        for action in DowngradeRequest.DowngradeAction.values()
        for version in VERSIONS
    ),
    ("Maintenance/Downgrade", DowngradeRequest(action=7), DowngradeResponse),  # type: ignore[arg-type]
    ("Maintenance/Alarm", AlarmRequest(), AlarmResponse),
    ("Maintenance/Alarm", AlarmRequest(alarm=CORRUPT), AlarmResponse),
    ("Maintenance/Alarm", AlarmRequest(action=AlarmRequest.ACTIVATE), AlarmResponse),
    ("Maintenance/Alarm", AlarmRequest(action=AlarmRequest.DEACTIVATE), AlarmResponse),
    ("Maintenance/Alarm", AlarmRequest(action=AlarmRequest.DEACTIVATE, alarm=NOSPACE), AlarmResponse),
    ("Maintenance/Alarm", AlarmRequest(action=AlarmRequest.DEACTIVATE, memberID=5, alarm=CORRUPT), AlarmResponse),
    ("Maintenance/Defragment", DefragmentRequest(), DefragmentResponse),
    ("Cluster/MemberUpdate", MemberUpdateRequest(ID=5), MemberUpdateResponse),
    ("Cluster/MemberUpdate", MemberUpdateRequest(ID=5, peerURLs=["http://[::1"]), MemberUpdateResponse),
]


@pytest.fixture(scope="module")
def channels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[grpc.Channel]]:
    """etcd's and ours, each with one key."""
    with (
        etcd_35(tmp_path_factory.mktemp("etcd")) as etcd,
        LocalCluster(tmp_path_factory.mktemp("ours"), 1) as cluster,
        grpc.insecure_channel(etcd) as theirs,
        grpc.insecure_channel(cluster.nodes[0].endpoint) as ours,
    ):
        for channel in (theirs, ours):
            call(channel, "KV/Put", PutRequest(key=b"k", value=b"v"), PutResponse)
        yield theirs, ours


def call(channel: grpc.Channel, method: str, request: Message, response: type[Message]) -> Message | Failure:
    ask = channel.unary_unary(
        f"/etcdserverpb.{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=response.FromString,
    )
    try:
        answer: Message = ask(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        return Failure(error.code().name, error.details())
    settle_header(answer)
    return answer


@pytest.mark.parametrize("asked", CALLS, ids=lambda asked: f"{asked[0]} {asked[1]}".replace("\n", " "))
def test_every_answer_is_etcds(channels: Sequence[grpc.Channel], asked: tuple[str, Message, type[Message]]) -> None:
    theirs, ours = (call(channel, *asked) for channel in channels)
    assert ours == theirs


def test_a_hash_is_that_of_the_newest_revision(channels: Sequence[grpc.Channel]) -> None:
    _, ours = channels
    whole = call(ours, "Maintenance/Hash", HashRequest(), HashResponse)
    of_keys = call(ours, "Maintenance/HashKV", HashKVRequest(), HashKVResponse)
    assert isinstance(whole, HashResponse)
    assert isinstance(of_keys, HashKVResponse)
    assert (whole.hash, whole.header) == (of_keys.hash, of_keys.header)
    assert whole.hash != 0


def test_a_version_to_which_etcd_would_downgrade_is_none_here(channels: Sequence[grpc.Channel]) -> None:
    _, ours = channels
    for action in (DowngradeRequest.VALIDATE, DowngradeRequest.ENABLE):
        refused = call(
            ours, "Maintenance/Downgrade", DowngradeRequest(action=action, version="3.4.0"), DowngradeResponse
        )
        assert refused == Failure("INVALID_ARGUMENT", "etcdserver: invalid downgrade target version")


def test_a_status_has_every_field(channels: Sequence[grpc.Channel]) -> None:
    _, ours = channels
    status = call(ours, "Maintenance/Status", StatusRequest(), StatusResponse)
    assert isinstance(status, StatusResponse)
    assert status.version == "3.5.8"
    assert status.leader != 0
    assert status.raftTerm > 0
    assert 0 < status.raftAppliedIndex <= status.raftIndex
    assert 0 < status.dbSizeInUse <= status.dbSize
    assert list(status.errors) == []
    assert not status.isLearner


def test_a_range_as_a_stream_is_unimplemented_on_the_first_read(channels: Sequence[grpc.Channel]) -> None:
    """etcd 3.7 has it; its clients fall back to ``Range`` by this code."""
    failures = []
    for channel in channels:
        stream = channel.unary_stream(
            "/etcdserverpb.KV/RangeStream",
            request_serializer=RangeRequest.SerializeToString,
            response_deserializer=RangeResponse.FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            next(stream(RangeRequest(key=b"k"), timeout=TIMEOUT_S))
        failures.append(Failure(caught.value.code().name, caught.value.details()))
    theirs, ours = failures
    assert ours.code == theirs.code == "UNIMPLEMENTED"
