"""What is counted at the clients' edge: calls by how they ended, bytes, and each limit with how often it was passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ratified.api.families import histograms
from ratified.api.methods import STREAM_TYPES, Method, MethodKind
from ratified.runtime import Durations
from ratified.server.slow_calls import SlowCalls

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


HANDLED_UP_TO_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""As gRPC's middleware counts for etcd how long calls took."""


class Served:
    """A method, and how many calls of it began and ended; their ``edge.grpc.Tally``."""

    __slots__ = ("_clock", "_is_unary", "_path", "_slow_calls", "codes", "durations", "method", "started")

    def __init__(self, path: bytes, method: Method, clock: Callable[[], float], slow_calls: SlowCalls) -> None:
        """``clock``: in seconds, of a millisecond or finer."""
        self._path = path
        self._clock = clock
        self._is_unary = method.kind is not MethodKind.STREAM
        self._slow_calls = slow_calls
        self.method = method
        self.started = 0
        self.codes: defaultdict[int, int] = defaultdict(int)
        """Of those that have ended, by the code of gRPC."""
        self.durations = Durations(HANDLED_UP_TO_S)

    def ended(self, code: int, began_at: float) -> None:
        self.codes[code] += 1
        now_s = self._clock()
        took_s = now_s - began_at
        self.durations.add(took_s)
        if took_s > self._slow_calls.slow_s and self._is_unary:
            self._slow_calls.ended(self._path, _CODES[code], took_s, now_s)


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
        """Series begin with 0, so that who asks for a rate, or for a difference, sees the first call."""
        names = ["grpc_type", "grpc_service", "grpc_method"]
        started = CounterMetricFamily("grpc_server_started", "Calls that began.", labels=names)
        handled = CounterMetricFamily("grpc_server_handled", "Calls that ended.", labels=[*names, "grpc_code"])
        took: list[tuple[list[str], Durations]] = []
        for path, served in self._counted.methods.items():
            _, service, method = path.decode().split("/")
            kind = STREAM_TYPES.get(path.decode(), "unary")
            started.add_metric([kind, service, method], served.started)
            for code in range(len(_CODES) if served.started else 1):
                handled.add_metric([kind, service, method, _CODES[code]], served.codes.get(code, 0))
            took.append(([kind, service, method], served.durations))
        yield started
        yield handled
        yield histograms("grpc_server_handling_seconds", "How long calls took.", names, took)

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
