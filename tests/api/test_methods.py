"""The table, against the services of etcd's protocol."""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor

from ratified.api.methods import METHODS, MethodKind
from ratified.wire.etcd import election_pb2, health_pb2, lock_pb2, rpc_pb2
from ratified.wire.report import REPORT_METHOD


def services() -> list[ServiceDescriptor]:
    files = (rpc_pb2, lock_pb2, election_pb2, health_pb2)
    return [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]


def test_every_method_of_etcds_services_is_served() -> None:
    etcds = {f"{service.full_name}/{method.name}" for service in services() for method in service.methods}
    served = {path[1:] for path in METHODS if path != REPORT_METHOD}
    assert served == etcds


def test_requests_and_kinds_are_etcds() -> None:
    for service in services():
        for method in service.methods:
            row = METHODS.get(f"/{service.full_name}/{method.name}")
            if row is not None:
                assert row.request is not None
                assert row.request.DESCRIPTOR is method.input_type
                assert (row.kind is MethodKind.STREAM) == method.server_streaming
                assert method.server_streaming or not method.client_streaming
