"""gRPC's health service, and what is not served, beside etcd, by PyPI's clients of gRPC's own services."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from ratified.client import Client
from ratified.wire.etcd import rpc_pb2
from tests.conformance.reference import etcd_35
from tests.server.test_process import Place

TIMEOUT_S = 20
SERVICES = ("", "etcdserverpb.KV", "etcdserverpb.Health", "grpc.health.v1.Health")
UNKNOWN = (
    "/etcdserverpb.KV/Steal",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/a/b/c",
)


class Pair(NamedTuple):
    ours: grpc.Channel
    etcds: grpc.Channel
    endpoints: tuple[str, str]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    directory: Path = tmp_path_factory.mktemp("health")
    with ExitStack() as stack:
        etcd = stack.enter_context(etcd_35(directory / "etcd"))
        ours = stack.enter_context(Place(directory).serving()).endpoint
        our_channel, etcds_channel = (stack.enter_context(grpc.insecure_channel(each)) for each in (ours, etcd))
        yield Pair(our_channel, etcds_channel, (ours, etcd))


def checked(channel: grpc.Channel, service: str, *metadata: tuple[str, str]) -> object:
    """The status, or the error as code and text."""
    try:
        request = HealthCheckRequest(service=service)
        return HealthStub(channel).Check(request, timeout=TIMEOUT_S, metadata=metadata).status
    except grpc.RpcError as error:
        return error.code(), error.details()


def called(channel: grpc.Channel, path: str, data: bytes = b"", *metadata: tuple[str, str]) -> object:
    try:
        return channel.unary_unary(path)(data, timeout=TIMEOUT_S, metadata=metadata)
    except grpc.RpcError as error:
        return error.code(), error.details()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_as_healthy_as_etcds(pair: Pair, service: str) -> None:
    assert checked(pair.ours, service) == checked(pair.etcds, service)


def test_the_whole_server_is_served(pair: Pair) -> None:
    assert checked(pair.ours, "") == HealthCheckResponse.SERVING


@pytest.mark.parametrize(("service", "status"), [("", "SERVING"), ("etcdserverpb.KV", "SERVICE_UNKNOWN")])
def test_who_watches_is_told_at_once_and_stays(pair: Pair, service: str, status: str) -> None:
    for channel in (pair.ours, pair.etcds):
        watch = HealthStub(channel).Watch(HealthCheckRequest(service=service), timeout=TIMEOUT_S)
        assert next(watch).status == HealthCheckResponse.ServingStatus.Value(status)
        assert checked(channel, "") == HealthCheckResponse.SERVING
        assert watch.is_active()
        watch.cancel()


@pytest.mark.parametrize("path", UNKNOWN)
def test_what_is_not_served_is_refused_in_the_same_words(pair: Pair, path: str) -> None:
    ours = called(pair.ours, path)
    assert ours == called(pair.etcds, path)
    assert isinstance(ours, tuple)
    assert ours[0] is grpc.StatusCode.UNIMPLEMENTED


def test_neither_describes_itself(pair: Pair) -> None:
    for channel in (pair.ours, pair.etcds):
        with pytest.raises(grpc.RpcError) as raised:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_neither_health_nor_a_new_token_needs_a_token_that_is_good(pair: Pair) -> None:
    asked = rpc_pb2.AuthenticateRequest(name="root", password="right").SerializeToString()
    bad = ("token", "of nobody")
    for channel, endpoint in zip((pair.ours, pair.etcds), pair.endpoints, strict=True):
        with Client([endpoint], timeout_s=TIMEOUT_S) as client:
            client.auth.add_user("root", "right")
            client.auth.add_role("root")
            client.auth.grant_role("root", "root")
            client.auth.enable()
        assert checked(channel, "", bad) == HealthCheckResponse.SERVING
        answer = called(channel, "/etcdserverpb.Auth/Authenticate", asked, bad)
        assert isinstance(answer, bytes)
        assert rpc_pb2.AuthenticateResponse.FromString(answer).token
