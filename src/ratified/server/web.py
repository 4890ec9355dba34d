"""What an address serves by HTTP beside calls of gRPC, and who may ask for it.

Rules

1. An address serves everything, or only calls of gRPC, or only what goes by HTTP (calls as JSON, and pages), or only
   the pages about metrics and health.
2. Where hosts are named, a request without TLS that is for another host is answered 421: else any page of the web
   reaches this server through its visitor's browser, under a name that its owner has pointed here (CVE-2018-5702).
3. Answers are open to pages of the origins that are named, and of no others. etcd opens them to all unless told not to.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from http import HTTPStatus

import msgspec

from ratified.api.pages import NOT_ALLOWED, NOT_FOUND, Page, page
from ratified.api.service import Service
from ratified.api.translation import is_call
from ratified.edge.hpack import Header
from ratified.server.debug import PREFIX, DebugPages

PAGES_OF_METRICS = ("/metrics", "/health", "/livez", "/readyz")
EVERY = "*"
"""As one of the origins: all."""
_TEXT = "text/plain; charset=utf-8"
_PREFLIGHT = Page(HTTPStatus.OK, _TEXT, b"")


class Serves(Enum):
    """What an address is for."""

    ALL = "all"
    CALLS = "calls"
    """By gRPC."""
    WEB = "web"
    """What goes by HTTP."""
    METRICS = "metrics"

    @property
    def option(self) -> str:
        """Which one names such an address."""
        return _OPTIONS.get(self, "listen-client-urls")


_OPTIONS = {Serves.WEB: "listen-client-http-urls", Serves.METRICS: "listen-metrics-urls"}


class WebOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator may choose about it."""

    has_gateway: bool = True
    """Are calls as JSON served?"""
    hosts: frozenset[str] = frozenset()
    """Who is asked must be one of these, where TLS does not say it; empty: anybody."""
    has_debug: bool = False
    """Are the pages of ``debug`` served?"""
    origins: frozenset[str] = frozenset()
    """Whose pages may read what is answered."""


class Web:
    """What is served on one kind of address."""

    def __init__(
        self,
        service: Service,
        serves: Serves = Serves.ALL,
        options: WebOptions | None = None,
        *,
        names_itself: bool = False,
        debug: DebugPages | None = None,
    ) -> None:
        """``names_itself``: who connects cannot mean another host, by TLS or by a socket in the file system."""
        options = options or WebOptions()
        self.service = service
        self.takes_calls = serves in (Serves.ALL, Serves.CALLS)
        """By gRPC."""
        self._serves = serves
        self._debug = debug
        self._has_routes = options.has_gateway and serves in (Serves.ALL, Serves.WEB)
        self._hosts = frozenset() if names_itself or serves is Serves.METRICS else options.hosts
        self._origins = options.origins

    def refusal(self, method: bytes, target: bytes, host: bytes) -> Page | None:
        """What a request is answered that gets nothing else; None: it is served."""
        name = _host_of(host)
        if self._hosts and name not in self._hosts:
            said = f"{name!r} is not a host of this server: use https, or name it by --host-whitelist\n"
            return Page(HTTPStatus.MISDIRECTED_REQUEST, _TEXT, said.encode())
        if method == b"OPTIONS" and self._origins:
            return _PREFLIGHT
        return None if self._has(target.decode("latin-1")) else NOT_FOUND

    def _has(self, target: str) -> bool:
        if is_call(target):
            return self._has_routes
        if self._serves is Serves.METRICS:
            return target.partition("?")[0] in PAGES_OF_METRICS
        return self._serves is not Serves.CALLS

    def headers(self, origin: bytes | None) -> Sequence[Header]:
        """What to add to the answer to a page of this origin (None: to no page)."""
        allowed = EVERY if EVERY in self._origins else (origin or b"").decode("latin-1")
        if allowed not in self._origins:
            return ()
        return (
            (b"access-control-allow-headers", b"accept, content-type, authorization"),
            (b"access-control-allow-methods", b"POST, GET, OPTIONS, PUT, DELETE"),
            (b"access-control-allow-origin", allowed.encode("latin-1")),
        )

    async def page(self, method: str, target: str) -> Page:
        """What is there, where it is not refused and no call."""
        if is_call(target):
            return NOT_ALLOWED
        if self._debug is not None and target.startswith(PREFIX):
            return await self._debug.page(method, target)
        return await page(self.service, method, target)


def _host_of(authority: bytes) -> str:
    """Without the port, and without the brackets of an IPv6 address."""
    text = authority.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]
