"""Which endpoint a call goes to, and whether it may go to another one after a failure.

No transport: ``Endpoints`` turns to the next one after a failure, ``explained`` and ``judge`` say what a failed call
means, ``Attempts`` puts them together for one call.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ratified.client.errors import CallOutcomeUnknown, ClientError, Unavailable, refusal
from ratified.client.tls import Tls
from ratified.wire.etcd import errors

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 6000),
    ("grpc.keepalive_timeout_ms", 3000),
    ("grpc.http2.max_pings_without_data", 0),
)
"""A member comes back within a second or so: gRPC's default of up to two minutes is for other networks. A connection on
which a ping is not answered is dead, for all calls on it; etcd takes a ping every 5 s, and no more."""

TIMEOUT_S_DEFAULT = 10.0
"""Longer than a server's own: 5 s and two election time-outs."""

ROUND_PAUSE_S = 0.05
"""How long to wait after every endpoint has failed once."""

ROUND_PAUSE_S_MAX = 1.0
"""How long a watch waits so, doubling each time: an outage may last."""

SILENT = ("UNAVAILABLE", "the member has said nothing, asked for progress or not, for as long as an attempt may take")
"""How a watch ends on a member that hangs. After half that time without an answer it asks for its progress."""

WATCH_METADATA = (("hasleader", "true"),)
"""A member that is cut off from the others ends the stream, instead of being silent on it."""

NOTHING_HAPPENED_TEXTS = (errors.NO_LEADER.text, errors.TOO_MANY_REQUESTS.text, errors.NOT_LEADER.text)
"""etcd's refusals of something that another member, or the same one a moment later, may take."""

NO_CONNECTION_TEXTS = ("failed to connect to all addresses",)
"""gRPC's own words for a call that never left: there was no connection to send it on."""

NO_ADDRESS_TEXTS = ("errors resolving ", "DNS resolution failed ")
"""Its words where a host's name has no address, in its present and its earlier versions."""

CERTIFICATE_REFUSED = "the certificate of "
NO_TLS = "no TLS is spoken at "
"""How ``explained`` begins where TLS itself fails."""

HOPELESS_TEXTS = (*NO_ADDRESS_TEXTS, CERTIFICATE_REFUSED, NO_TLS)
"""An endpoint that fails so will fail so again a moment later."""

WRONG_NAME_TEXTS = ("Hostname Verification Check failed", "is not in peer certificate")
"""gRPC's words for a certificate made for another host, in its present and its earlier versions."""

CLOSED_TEXT = "Socket closed"
TURNED_AWAY_TEXTS = (CLOSED_TEXT, "Unwrap failed", "_ALERT_")
"""Its words where a server ends a connection that it has taken, as it does without a client certificate that it wants.
Which ones depends on the version of TLS, and on whether the server's alert is seen."""


_WITHOUT_TLS = "is one without TLS, and there are options for TLS: use https://"


class EndpointError(ValueError):
    """An endpoint that cannot be used; the text says why."""


class Target(msgspec.Struct, frozen=True):
    """An endpoint, parsed. ``address`` is as gRPC takes it: ``host:port``, with brackets around an IPv6 host, or
    ``unix:path``."""

    address: str
    tls: bool = False

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0].strip("[]")


def parse_endpoint(text: str, *, tls: bool = False) -> Target:
    """``host:port``, ``http://host:port``, ``https://host:port`` or ``unix:///path``; raises ``EndpointError``.

    With ``tls`` one without a scheme is of TLS, and one of http or unix is refused.
    """
    if text.startswith("unix:"):
        return _parse_unix(text, tls)
    split = urlsplit(text if "//" in text else f"//{text}")
    try:
        host, port = split.hostname, split.port
    except ValueError as wrong:
        raise EndpointError(f"endpoint {text!r}: {wrong}") from wrong
    if split.scheme not in ("", "http", "https") or not host or port is None or split.path not in ("", "/"):
        raise EndpointError(
            f"endpoint {text!r} is not of the form host:port, http://host:port, https://host:port or unix:///path"
        )
    if split.scheme == "http" and tls:
        raise EndpointError(f"endpoint {text!r} {_WITHOUT_TLS}")
    return Target(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", tls=tls or split.scheme == "https")


def _parse_unix(text: str, tls: bool) -> Target:
    path = text.removeprefix("unix:").removeprefix("//")
    if not path:
        raise EndpointError(f"endpoint {text!r} needs the path of a socket: unix:///run/ratified.sock")
    if tls:
        raise EndpointError(f"endpoint {text!r} {_WITHOUT_TLS}")
    return Target(f"unix:{path}")


class Endpoints:
    """The targets in the order given; ``current`` is the one that last worked, ``answering`` those that have answered
    and not failed since."""

    def __init__(self, endpoints: Sequence[str], tls: Tls | None = None) -> None:
        if not endpoints:
            raise EndpointError("a client needs at least one endpoint, such as 127.0.0.1:2379")
        self.tls = tls or Tls()
        self._tls_given = tls is not None
        self.targets = tuple(map(self.parse, endpoints))
        self.answering: set[Target] = set()
        self._index = 0

    @property
    def current(self) -> Target:
        return self.targets[self._index]

    def attempt_s(self, timeout_s: float) -> float:
        """Each endpoint's share of ``timeout_s``: how long a member that serves a watch may say nothing."""
        return timeout_s / len(self.targets)

    def parse(self, endpoint: str) -> Target:
        """An endpoint, one of these or another, as this client reaches it; raises ``EndpointError``."""
        return parse_endpoint(endpoint, tls=self._tls_given)

    def failed(self, target: Target) -> None:
        """Turn to the next target, unless another call has turned already."""
        self.answering.discard(target)
        if target == self.current:
            self._index = (self._index + 1) % len(self.targets)

    def status_of(self, target: Target, failed: Any) -> tuple[str, str]:
        """The name of gRPC's status code, and the text, of an error that grpcio raised for a call to ``target``."""
        return failed.code().name, explained(failed.details() or "", target, self.tls)


def explained(text: str, target: Target, tls: Tls) -> str:
    """gRPC's text of a failed call; where there is no connection because of TLS, what that means."""
    if not text.startswith(NO_CONNECTION_TEXTS):
        return text
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("CERTIFICATE_VERIFY_FAILED")[2].strip(": ").removesuffix(": OK")
        return f"{CERTIFICATE_REFUSED}{target.address} is refused, checked against {tls.cas}: {reason}"
    if any(words in text for words in WRONG_NAME_TEXTS):
        return f"{CERTIFICATE_REFUSED}{target.address} is refused: it is not made for {tls.server_name or target.host}"
    if "WRONG_VERSION_NUMBER" in text:
        return f"{NO_TLS}{target.address}: the server takes http:// only"
    if target.tls and any(words in text for words in TURNED_AWAY_TEXTS):
        return f"{text} (does the server ask for a client certificate, and one that its own CA signed?)"
    if not target.tls and CLOSED_TEXT in text:
        return f"{text} (does the server take https:// only?)"
    return text


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
        return Fate.NOTHING if text.startswith(NO_CONNECTION_TEXTS + HOPELESS_TEXTS) else Fate.UNKNOWN
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
            return refusal(code, text)


def may_repeat(code: str, text: str, *, repeatable: bool) -> bool:
    """May the call be sent again, to another endpoint?"""
    fate = judge(code, text)
    return fate is Fate.NOTHING or (fate is Fate.UNKNOWN and repeatable)


class Attempts:
    """One call on its way over the endpoints: may it be sent again, where, and when.

    gRPC does not tell whether a call that ran out of time was ever sent. So what may not be sent again goes only to an
    endpoint that has answered; any other is first asked a question, and where that fails nothing has happened.
    """

    def __init__(self, endpoints: Endpoints, *, repeatable: bool, deadline: float | None) -> None:
        """``deadline`` is by the caller's clock, in seconds; None: what may be sent again is, until it is answered."""
        self.deadline = deadline
        self._endpoints = endpoints
        self._repeatable = repeatable
        self._asking = False
        """Is the endpoint asked a question, and the call itself not sent yet?"""
        self._failed = 0
        self._hopeless = 0
        """How many endpoints in a row had no address, or failed at TLS itself."""

    @property
    def target(self) -> Target:
        """The endpoint to send to."""
        return self._endpoints.current

    @property
    def pause_s(self) -> float:
        """How long to wait before the next attempt: not at all until every endpoint has failed once more."""
        rounds, within = divmod(self._failed, len(self._endpoints.targets))
        if within:
            return 0.0
        if self.deadline is not None:
            return ROUND_PAUSE_S
        return min(ROUND_PAUSE_S * float(2 ** min(rounds - 1, 10)), ROUND_PAUSE_S_MAX)

    @property
    def _safe(self) -> bool:
        """May what is sent now be sent again?"""
        return self._repeatable or self._asking

    def asks_first(self, target: Target) -> bool:
        """Must the endpoint answer a question before the call is sent to it?"""
        self._asking = not self._repeatable and target not in self._endpoints.answering
        return self._asking

    def answered(self, target: Target) -> None:
        """The endpoint has answered the question: the call may be sent."""
        self._endpoints.answering.add(target)
        self._asking = False

    def timeout_s(self, now: float) -> float:
        """How long this attempt may take: what may be sent again leaves time for the endpoints not tried yet, of which
        the first may hang; what may not has all that is left."""
        assert self.deadline is not None, "a call ends some time"
        left_s = max(self.deadline - now, 0.001)
        targets = len(self._endpoints.targets)
        return left_s / (targets - self._failed % targets) if self._safe else left_s

    def failed(self, target: Target, code: str, text: str, now: float) -> None:
        """Turn to the next endpoint. Raises ``ClientError`` where the call may not be sent again, and where there is a
        deadline: when that has passed, and when no endpoint has an address that speaks TLS as it should."""
        self._endpoints.failed(target)
        self._failed += 1
        self._hopeless = self._hopeless + 1 if text.startswith(HOPELESS_TEXTS) else 0
        nowhere = self._hopeless == len(self._endpoints.targets)
        given_up = self.deadline is not None and (nowhere or now >= self.deadline)
        if given_up or not may_repeat(code, text, repeatable=self._safe):
            raise error(code, text, repeatable=self._safe)
