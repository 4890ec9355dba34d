"""Spans of calls, as a collector of OpenTelemetry gets them from a real node."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

from ratified.testing.processes import LocalCluster
from ratified.wire.etcd import rpc_pb2

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Collector(TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[tuple[str, str]] = set()
        self._server = grpc.server(ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add((named["service.name"], named["service.instance.id"]))
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return ExportTraceServiceResponse()

    def close(self) -> None:
        self._server.stop(None)


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def put(endpoint: str, *headers: tuple[str, str]) -> None:
    with grpc.insecure_channel(endpoint) as channel:
        call = channel.unary_unary("/etcdserverpb.KV/Put", rpc_pb2.PutRequest.SerializeToString)
        call(rpc_pb2.PutRequest(key=b"a", value=b"1"), metadata=headers, timeout=10)


def test_a_write_whose_client_traces_it_has_its_parts(tmp_path: Path, collector: Collector) -> None:
    address = f"--distributed-tracing-address=127.0.0.1:{collector.port}"
    with LocalCluster(tmp_path, 1, arguments=["--enable-distributed-tracing", address]) as cluster:
        put(cluster.endpoints[0])
        put(cluster.endpoints[0], ("traceparent", NOT_SAMPLED))
        put(cluster.endpoints[0], ("traceparent", "nonsense"))
        put(cluster.endpoints[0], ("traceparent", SAMPLED))
    # A node hands its spans over before it ends.
    spans = {span.name: span for span in collector.spans}
    call = spans["etcdserverpb.KV/Put"]
    assert len(collector.spans) == len(spans) == 5
    assert collector.services == {("ratified", "node1")}
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, PARENT)
    parts = [spans[name] for name in ("propose", "fsync", "replicate", "apply")]
    assert all(part.parent_span_id == call.span_id for part in parts)
    for part in parts:
        assert call.start_time_unix_nano - 10**7 <= part.start_time_unix_nano <= part.end_time_unix_nano
        assert part.end_time_unix_nano <= call.end_time_unix_nano + 10**7
    propose, fsync, replicate, apply = parts
    assert abs(propose.end_time_unix_nano - fsync.start_time_unix_nano) < 1000
    assert abs(replicate.end_time_unix_nano - apply.start_time_unix_nano) < 1000


def test_all_calls_are_traced_where_the_rate_says_so_and_nothing_waits_for_a_collector(tmp_path: Path) -> None:
    arguments = [
        "--enable-distributed-tracing=true",
        "--distributed-tracing-address=127.0.0.1:1",
        "--distributed-tracing-sampling-rate=1000000",
    ]
    with LocalCluster(tmp_path, 1, arguments=arguments) as cluster:
        for _ in range(50):
            put(cluster.endpoints[0])
        began = time.monotonic()
        assert cluster.stop() == [0]
        assert time.monotonic() - began < 5
