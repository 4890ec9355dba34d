"""Spans of calls for OpenTelemetry: the call, and of a write what it waited for (``pip install ratified[otel]``).

A call is traced where its client says so (the header ``traceparent`` of W3C's Trace Context), and of all others so many
in a million are. One that is not costs one look at its headers; without tracing, nothing. Spans are handed over by a
thread of the library's, which drops what does not fit into its queue, so a collector that is away holds up nothing.

The parts of a write come from ``node.milestones``, as those of a slow call do (``slow_calls``): ``propose`` until the
entry is in this leader's log, ``fsync`` until it is on this member's disk, ``replicate`` until it is committed, and
``apply``. Where another member leads, ``replicate`` begins with the call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ratified.edge.grpc import Tally
from ratified.edge.hpack import Header
from ratified.runtime import Host
from ratified.server.config import TracingOptions
from ratified.server.slow_calls import WRITES

END_S = 1.0
"""How long the end of the process waits for the last spans to be handed over."""
_OF_CONTEXT = (b"traceparent", b"tracestate")


class _Part(NamedTuple):
    """Of a write: what took from when to when, in seconds before now."""

    name: str
    began_ago_s: float
    ended_ago_s: float


class Tracing:
    def __init__(self, options: TracingOptions, host: Host) -> None:
        self._host = host
        resource = Resource.create(
            {"service.name": options.service_name, "service.instance.id": options.instance_id or host.name}
        )
        sampler = ParentBased(TraceIdRatioBased(options.samples_per_million / 1e6))
        self._provider = TracerProvider(resource=resource, sampler=sampler, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=options.address, insecure=True)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("ratified")
        self._contexts = TraceContextTextMapPropagator()

    def tally(self, tally: Tally, path: bytes, headers: Sequence[Header]) -> Tally:
        """Who is to be told how this call ends, which begins now."""
        carried = {name.decode(): value.decode(errors="replace") for name, value in headers if name in _OF_CONTEXT}
        context = self._contexts.extract(carried)
        span = self._tracer.start_span(path.decode()[1:], context, SpanKind.SERVER)
        return _Traced(self, tally, path, span) if span.is_recording() else tally

    def ended(self, span: Span, path: bytes, code: int, took_s: float) -> None:
        """The call of this span has ended just now."""
        now_ns = time.time_ns()
        service, _, method = path.decode()[1:].partition("/")
        span.set_attributes(
            {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method, "rpc.grpc.status_code": code}
        )
        if code:
            span.set_status(Status(StatusCode.ERROR))
        elif path in WRITES:
            context = set_span_in_context(span)
            for part in _parts({str(stage): ago for stage, ago in self._host.last_applied_ago_s().items()}, took_s):
                child = self._tracer.start_span(part.name, context, start_time=now_ns - _ns(part.began_ago_s))
                child.end(now_ns - _ns(part.ended_ago_s))
        span.end(now_ns)

    def close(self) -> None:
        """Hand over what there is, within ``END_S``."""
        closing = threading.Thread(target=self._provider.shutdown, name="ratified-traces-end", daemon=True)
        closing.start()
        closing.join(END_S)


class _Traced:
    """The ``Tally`` of one call."""

    def __init__(self, tracing: Tracing, tally: Tally, path: bytes, span: Span) -> None:
        self._tracing, self._tally, self._path, self._span = tracing, tally, path, span
        self._began_s = time.monotonic()

    def ended(self, code: int, began_at: float) -> None:
        self._tally.ended(code, began_at)
        self._tracing.ended(self._span, self._path, code, time.monotonic() - self._began_s)


def _parts(ago_s: dict[str, float], took_s: float) -> Iterator[_Part]:
    """From when each stage was reached; what is older than the call is none of its."""
    own = {stage: ago for stage, ago in ago_s.items() if ago <= took_s}
    if "applied" not in own or "committed" not in own:
        return
    proposed = own.get("proposed", took_s)
    if "proposed" in own:
        yield _Part("propose", took_s, proposed)
    if "durable" in own and own["durable"] <= proposed:
        yield _Part("fsync", proposed, own["durable"])
    yield _Part("replicate", proposed, own["committed"])
    yield _Part("apply", own["committed"], own["applied"])


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
