"""The URLs of flags: ``http://host:port`` or ``https://host:port``; for clients also ``unix:///path``.

etcd's flags hold lists of URLs, and its ``--initial-cluster`` holds ``name=url`` pairs in which a name may occur more
than once. A URL that cannot be served is refused here, with what to write instead.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

WILDCARD_HOSTS = ("0.0.0.0", "::")
PATH_BYTES_MAX = 107
"""Of a socket in the file system: the kernel's 108, less a zero."""


class UrlError(ValueError):
    """A URL that cannot be used; the text says why."""


class Url(msgspec.Struct, frozen=True):
    """A listening or advertised address. IPv6 hosts are kept without brackets."""

    host: str
    port: int
    tls: bool = False
    path: str = ""
    """Of a socket in the file system, which has neither host nor port; else empty."""

    @property
    def address(self) -> str:
        """``host:port``, with brackets around an IPv6 host."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def wildcard(self) -> bool:
        """It stands for all interfaces: fit to listen on, not to be told to others."""
        return self.host in WILDCARD_HOSTS

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"{'https' if self.tls else 'http'}://{self.address}"


def parse_url(text: str) -> Url:
    """One URL; raises ``UrlError``."""
    split = urlsplit(text)
    if split.scheme == "unix":
        raise UrlError(f"{text!r} is a socket of this machine, which only clients can use: http://host:port")
    if split.scheme not in ("http", "https") or not split.netloc:
        raise UrlError(f"{text!r} is not of the form http://host:port or https://host:port")
    if split.path not in ("", "/") or split.query or split.fragment or split.username is not None:
        raise UrlError(f"{text!r} must end after the port: http://host:port")
    try:
        host, port = split.hostname, split.port
    except ValueError as wrong:
        raise UrlError(f"{text!r}: {wrong}") from wrong
    if not host or port is None:
        raise UrlError(f"{text!r} needs a host and a port: http://host:port")
    return Url(host, port, split.scheme == "https")


def parse_client_url(text: str) -> Url:
    """As ``parse_url``, or ``unix:///path``."""
    if not text.startswith("unix:"):
        return parse_url(text)
    path = text.removeprefix("unix:").removeprefix("//")
    if not path:
        raise UrlError(f"{text!r} needs the path of a socket: unix:///run/ratified.sock")
    if len(path.encode()) > PATH_BYTES_MAX:
        raise UrlError(f"{text!r}: the path of a socket may have at most {PATH_BYTES_MAX} bytes")
    return Url("", 0, path=path)


def parse_client_urls(text: str) -> tuple[Url, ...]:
    """As ``parse_urls``, each as ``parse_client_url`` reads it."""
    return parse_urls(text, parse_client_url)


def parse_urls(text: str, parse: Callable[[str], Url] = parse_url) -> tuple[Url, ...]:
    """URLs separated by commas, at least one, none twice; raises ``UrlError``."""
    urls = tuple(parse(part.strip()) for part in text.split(",") if part.strip())
    if not urls:
        raise UrlError("at least one URL is needed: http://host:port")
    if len(set(urls)) != len(urls):
        raise UrlError(f"{text!r} names a URL twice")
    return urls


def parse_cluster(text: str) -> dict[str, tuple[Url, ...]]:
    """``name=url,name=url,...``: the members' names and their peer URLs; raises ``UrlError``."""
    members: dict[str, tuple[Url, ...]] = {}
    for part in text.split(","):
        name, equals, url = part.strip().partition("=")
        if not equals or not name:
            raise UrlError(f"{part.strip()!r} is not of the form name=http://host:port")
        members[name] = (*members.get(name, ()), parse_url(url))
    urls = [url for urls in members.values() for url in urls]
    if len(set(urls)) != len(urls):
        raise UrlError(f"{text!r} names a peer URL twice")
    return members
