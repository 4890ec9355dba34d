"""What one member shows of itself to whoever looks at it for a while: its page of metrics, twice, and its certificate.

A certificate is looked at whatever is wrong with it, since that may be what is to be found out; so what the page says
is believed of whoever answers. Nothing secret is sent.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

ANSWER_S_MAX = 4.0
"""How long a page may take."""


class Page:
    """A page of metrics, and when it was read."""

    def __init__(self, text: str, asked_s: float, answered_s: float, wall_s: float) -> None:
        """``wall_s``: what our own clock said in the middle of it."""
        self.asked_s, self.answered_s, self.wall_s = asked_s, answered_s, wall_s
        self._rows: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._rows.setdefault(sample.name, []).append((sample.labels, sample.value))

    def rows(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """All series of this name: labels and value."""
        yield from self._rows.get(name, ())

    def value(self, name: str, **labels: str) -> float | None:
        """Of the first series with these labels; None: there is none."""
        for found, value in self.rows(name):
            if labels.items() <= found.items():
                return value
        return None


class MemberView(msgspec.Struct, kw_only=True):
    url: str
    problem: str | None = None
    """Why it does not answer."""
    pages: tuple[Page, Page] | None = None
    """At the beginning and at the end."""
    certificate_ends: datetime | None = None
    untrusted: str | None = None
    """Why its certificate is not to be believed, its end apart."""

    @property
    def last(self) -> Page:
        assert self.pages is not None, "only of a member that answers"
        return self.pages[1]

    @property
    def info(self) -> dict[str, str]:
        """Its ``name``, ``member``, ``cluster`` and ``engine``."""
        found = next(self.last.rows("ratified_member_info"), None)
        return {"name": "", "member": "", "cluster": "", "engine": ""} if found is None else found[0]

    @property
    def name(self) -> str:
        """What people call it."""
        return self.url if self.pages is None else self.info["name"] or self.url

    def grown(self, name: str, **labels: str) -> float:
        """By how much a counter has grown between the two pages."""
        assert self.pages is not None, "only of a member that answers"
        first, last = (page.value(name, **labels) or 0.0 for page in self.pages)
        return max(last - first, 0.0)


class Looking(msgspec.Struct, frozen=True, kw_only=True):
    """How members are looked at."""

    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None

    def at(self, url: str, window_s: float) -> MemberView:
        """One member, for so long."""
        view = MemberView(url=url)
        try:
            first = self._page(view)
            time.sleep(window_s)
            view.pages = (first, self._page(view))
        except (OSError, http.client.HTTPException, ValueError) as error:
            view.problem = str(error) or type(error).__name__
        return view

    def _page(self, view: MemberView) -> Page:
        parts = urlsplit(view.url)
        asked_s, wall_s = time.monotonic(), time.time()
        connection = self._connection(view, parts.hostname or "", parts.port or 2379, secure=parts.scheme == "https")
        try:
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise ValueError(f"its page of metrics answers {answer.status} {answer.reason}")
        answered_s = time.monotonic()
        return Page(text, asked_s, answered_s, wall_s + (answered_s - asked_s) / 2)

    def _connection(self, view: MemberView, host: str, port: int, *, secure: bool) -> http.client.HTTPConnection:
        connected = socket.create_connection((host, port), ANSWER_S_MAX)
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S_MAX)
        connection.sock = connected
        if secure:
            context = self._context()
            connection.sock = tls = context.wrap_socket(connected, server_hostname=host)
            self._look_at_certificate(view, tls.getpeercert(binary_form=True) or b"", host, port)
        return connection

    def _context(self, *, trusting: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        if trusting:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context

    def _look_at_certificate(self, view: MemberView, encoded: bytes, host: str, port: int) -> None:
        if view.certificate_ends is not None:
            return
        view.certificate_ends = x509.load_der_x509_certificate(encoded).not_valid_after_utc
        if view.certificate_ends < datetime.now(UTC):
            return
        try:
            with socket.create_connection((host, port), ANSWER_S_MAX) as plain:
                self._context(trusting=False).wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            view.untrusted = error.verify_message


def urls(endpoints: Iterable[str], *, secure: bool) -> list[str]:
    """Endpoints of the command line as URLs."""
    scheme = "https" if secure else "http"
    return [endpoint if "://" in endpoint else f"{scheme}://{endpoint}" for endpoint in endpoints]
