"""Which endpoint a call goes to, and whether it may go to another one after a failure.

No transport: ``Endpoints`` turns to the next one after a failure, ``judge`` says what a failed call means, ``Attempts``
puts the two together for one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from ratified.client.errors import CallOutcomeUnknown, CallRefused, ClientError, Compacted, Unavailable
from ratified.wire.etcd import errors

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)
"""A member comes back within a second or so: gRPC's default of up to two minutes is for other networks."""

TIMEOUT_S_DEFAULT = 10.0
"""Longer than a server's own: 5 s and two election time-outs."""

ROUND_PAUSE_S = 0.05
"""How long to wait after every endpoint has failed once."""

SILENT = ("UNAVAILABLE", "the member has said nothing, asked for progress or not, for as long as a call may take")
"""How a watch ends on a member that hangs. After half that time without an answer it asks for its progress."""

WATCH_METADATA = (("hasleader", "true"),)
"""A member that is cut off from the others ends the stream, instead of being silent on it."""

NOTHING_HAPPENED_TEXTS = (errors.NO_LEADER.text, errors.TOO_MANY_REQUESTS.text, errors.NOT_LEADER.text)
"""etcd's refusals of something that another member, or the same one a moment later, may take."""


NO_CONNECTION_TEXTS = ("failed to connect to all addresses",)
"""gRPC's own words for a call that never left: there was no connection to send it on."""

NO_ADDRESS_TEXTS = ("errors resolving ", "DNS resolution failed ")
"""Its words where a host's name has no address, in its present and its earlier versions."""


class EndpointError(ValueError):
    """An endpoint that cannot be used; the text says why."""


def parse_endpoint(text: str) -> str:
    """``host:port`` or ``http://host:port`` as gRPC's target; raises ``EndpointError``."""
    if text.startswith("https://"):
        raise EndpointError(f"endpoint {text!r}: TLS comes in a later version; use http://")
    split = urlsplit(text if "//" in text else f"//{text}")
    try:
        host, port = split.hostname, split.port
    except ValueError as wrong:
        raise EndpointError(f"endpoint {text!r}: {wrong}") from wrong
    if split.scheme not in ("", "http") or not host or port is None or split.path not in ("", "/"):
        raise EndpointError(f"endpoint {text!r} is not of the form host:port or http://host:port")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Endpoints:
    """The targets in the order given; ``current`` is the one that last worked, ``answering`` those that have answered
    and not failed since."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        if not endpoints:
            raise EndpointError("a client needs at least one endpoint, such as 127.0.0.1:2379")
        self.targets = tuple(parse_endpoint(text) for text in endpoints)
        self.answering: set[str] = set()
        self._index = 0

    @property
    def current(self) -> str:
        return self.targets[self._index]

    def failed(self, target: str) -> None:
        """Turn to the next target, unless another call has turned already."""
        self.answering.discard(target)
        if target == self.current:
            self._index = (self._index + 1) % len(self.targets)


class Fate(Enum):
    """What a failed call means."""

    NOTHING = "nothing happened: it may be sent again"
    UNKNOWN = "it may have happened"
    FINAL = "the server's last word"


def judge(code: str, text: str) -> Fate:
    """What gRPC's status ``code`` and ``text`` tell of the call."""
    if text in NOTHING_HAPPENED_TEXTS:
        return Fate.NOTHING
    if code == "UNAVAILABLE":
        return Fate.NOTHING if text.startswith(NO_CONNECTION_TEXTS + NO_ADDRESS_TEXTS) else Fate.UNKNOWN
    if code in ("DEADLINE_EXCEEDED", "CANCELLED", "UNKNOWN", "INTERNAL"):
        return Fate.UNKNOWN
    return Fate.FINAL


def error(code: str, text: str, *, repeatable: bool) -> ClientError:
    """The exception for a call that ends with this status."""
    match judge(code, text):
        case Fate.NOTHING:
            return Unavailable(code, text)
        case Fate.UNKNOWN:
            return Unavailable(code, text) if repeatable else CallOutcomeUnknown(code, text)
        case Fate.FINAL:
            return Compacted(text) if text == errors.COMPACTED.text else CallRefused(code, text)


def may_repeat(code: str, text: str, *, repeatable: bool) -> bool:
    """May the call be sent again, to another endpoint?"""
    fate = judge(code, text)
    return fate is Fate.NOTHING or (fate is Fate.UNKNOWN and repeatable)


class Attempts:
    """One call on its way over the endpoints: may it be sent again, where, and when.

    gRPC does not tell whether a call that ran out of time was ever sent. So what may not be sent again goes only to an
    endpoint that has answered; any other is first asked a question, and where that fails nothing has happened.
    """

    def __init__(self, endpoints: Endpoints, *, repeatable: bool, deadline: float) -> None:
        """``deadline`` is by the caller's clock, in seconds."""
        self.deadline = deadline
        self._endpoints = endpoints
        self._repeatable = repeatable
        self._asking = False
        """Is the endpoint asked a question, and the call itself not sent yet?"""
        self._failed = 0
        self._unresolved = 0
        """How many endpoints in a row had no address."""

    @property
    def target(self) -> str:
        """The endpoint to send to."""
        return self._endpoints.current

    @property
    def pause_s(self) -> float:
        """How long to wait before the next attempt: not at all until every endpoint has failed once more."""
        return 0.0 if self._failed % len(self._endpoints.targets) else ROUND_PAUSE_S

    @property
    def _safe(self) -> bool:
        """May what is sent now be sent again?"""
        return self._repeatable or self._asking

    def asks_first(self, target: str) -> bool:
        """Must the endpoint answer a question before the call is sent to it?"""
        self._asking = not self._repeatable and target not in self._endpoints.answering
        return self._asking

    def answered(self, target: str) -> None:
        """The endpoint has answered the question: the call may be sent."""
        self._endpoints.answering.add(target)
        self._asking = False

    def timeout_s(self, now: float) -> float:
        """How long this attempt may take: what may be sent again leaves time for the endpoints not tried yet, of which
        the first may hang; what may not has all that is left."""
        left_s = max(self.deadline - now, 0.001)
        targets = len(self._endpoints.targets)
        return left_s / (targets - self._failed % targets) if self._safe else left_s

    def failed(self, target: str, code: str, text: str, now: float) -> None:
        """Turn to the next endpoint. Raises ``ClientError`` where the call may not be sent again, is out of time, or
        where no endpoint has an address."""
        self._endpoints.failed(target)
        self._failed += 1
        self._unresolved = self._unresolved + 1 if text.startswith(NO_ADDRESS_TEXTS) else 0
        nowhere = self._unresolved == len(self._endpoints.targets)
        if nowhere or not may_repeat(code, text, repeatable=self._safe) or now >= self.deadline:
            raise error(code, text, repeatable=self._safe)


def status_of(failed: Any) -> tuple[str, str]:
    """The name of gRPC's status code, and the text, of an error that grpcio raised."""
    return failed.code().name, failed.details() or ""
