"""What is counted at the clients' edge: calls by how they ended, bytes, and each limit with how often it was passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ratified.api.methods import STREAM_TYPES, Method

_CODES = (
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
)
"""Of gRPC, as its Go library and etcd's metrics spell them, by number."""


class Served:
    """A method, and how many calls of it began and ended."""

    __slots__ = ("codes", "method", "started")

    def __init__(self, method: Method) -> None:
        self.method = method
        self.started = 0
        self.codes: defaultdict[int, int] = defaultdict(int)
        """Of those that have ended, by the code of gRPC."""


class Counted(Protocol):
    """Whose clients these are."""

    @property
    def methods(self) -> Mapping[bytes, Served]: ...

    @property
    def received_bytes(self) -> int: ...

    @property
    def sent_bytes(self) -> int: ...

    @property
    def passed(self) -> Mapping[str, int]:
        """How often clients have passed which limit."""

    def limits(self) -> Mapping[str, tuple[float, float | None]]:
        """Each limit, and what of it is in use now; None: it is one of each connection, or call."""


class ClientMetrics:
    """A source for ``api.metrics``."""

    def __init__(self, counted: Counted) -> None:
        self._counted = counted

    def collect(self) -> Iterator[Metric]:
        counted = self._counted
        yield from self._calls()
        received = "etcd_network_client_grpc_received_bytes"
        yield CounterMetricFamily(received, "Bytes received from clients.", value=counted.received_bytes)
        sent = "etcd_network_client_grpc_sent_bytes"
        yield CounterMetricFamily(sent, "Bytes sent to clients.", value=counted.sent_bytes)
        yield from self._limits()

    def _calls(self) -> Iterator[Metric]:
        names = ["grpc_type", "grpc_service", "grpc_method"]
        started = CounterMetricFamily("grpc_server_started", "Calls that began.", labels=names)
        handled = CounterMetricFamily("grpc_server_handled", "Calls that ended.", labels=[*names, "grpc_code"])
        for path, served in self._counted.methods.items():
            if not served.started:
                continue
            _, service, method = path.decode().split("/")
            kind = STREAM_TYPES.get(path.decode(), "unary")
            started.add_metric([kind, service, method], served.started)
            for code, count in sorted(served.codes.items()):
                handled.add_metric([kind, service, method, _CODES[code]], count)
        yield started
        yield handled

    def _limits(self) -> Iterator[Metric]:
        most = GaugeMetricFamily("ratified_client_limit", "What clients may have.", labels=["limit"])
        used = GaugeMetricFamily("ratified_client_limit_used", "What of it they have.", labels=["limit"])
        passed = CounterMetricFamily("ratified_client_limit_passed", "How often it was passed.", labels=["limit"])
        for limit, (value, in_use) in self._counted.limits().items():
            most.add_metric([limit], value)
            if in_use is not None:
                used.add_metric([limit], in_use)
            passed.add_metric([limit], self._counted.passed.get(limit, 0))
        yield most
        yield used
        yield passed
